//! The request of a smoke test.

use crate::{http, say};
use deployctl_core::config::Smoke;
use deployctl_core::fault::{Fault, FaultKind};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the request of a smoke test may take.
const SMOKE: Duration = Duration::from_secs(10);
/// So much of the answer to a smoke test is read.
const SMOKE_BODY: usize = 1024 * 1024;

/// Makes the request of a smoke test to `address`, and says what is wrong with the answer, if anything.
pub async fn smoke(address: &str, smoke: &Smoke) -> Result<Result<(), String>, Fault> {
    match smoke {
        Smoke::Http { path, status, body, contains } => {
            Ok(smoke_http(address, path, *status, body.as_deref(), contains.as_deref()).await)
        }
        Smoke::Command(_) => Err(Fault::refused(FaultKind::Bug, "a smoke test by command is a job, not a request")),
    }
}

async fn smoke_http(
    address: &str,
    path: &str,
    status: Option<u16>,
    body: Option<&str>,
    contains: Option<&str>,
) -> Result<(), String> {
    let exchange = async {
        let stream = TcpStream::connect(address).await.map_err(|e| format!("{address}: {e}"))?;
        http::get(stream, address, path, false, SMOKE_BODY).await
    };
    let answer = timeout(SMOKE, exchange).await.map_err(|_| format!("GET {path}: no answer within {}", say(SMOKE)))?;
    let answer = answer.map_err(|why| format!("GET {path}: {why}"))?;
    let right = status.map_or((200..300).contains(&answer.status), |wanted| wanted == answer.status);
    if !right {
        let wanted = status.map_or_else(|| "2xx".into(), |wanted| wanted.to_string());
        return Err(format!("GET {path}: {}, {wanted} was expected", answer.status_text()));
    }
    let text = String::from_utf8_lossy(&answer.body);
    if let Some(wanted) = body
        && text.trim() != wanted.trim()
    {
        return Err(format!("GET {path}: the body is `{}`, `{}` was expected", short(&text), short(wanted)));
    }
    if let Some(wanted) = contains
        && !text.contains(wanted)
    {
        return Err(format!("GET {path}: the body `{}` does not contain `{}`", short(&text), short(wanted)));
    }
    Ok(())
}

fn short(text: &str) -> String {
    let text = text.trim();
    let cut: String = text.chars().take(200).collect();
    if cut.len() < text.len() { format!("{cut}...") } else { cut }
}
