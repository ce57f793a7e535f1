//! The request of a smoke test.

use crate::http::{self, Answer};
use crate::say;
use deployctl_core::config::Smoke;
use deployctl_core::fault::{Fault, FaultKind};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the request of a smoke test may take.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// So much of the answer to a smoke test is read.
pub const BODY: usize = 1024 * 1024;

/// Makes the request of a smoke test to `address`, and says what is wrong with the answer, if anything.
pub async fn smoke(address: &str, smoke: &Smoke) -> Result<Result<(), String>, Fault> {
    let asks = async |path: String| {
        let stream = TcpStream::connect(address).await.map_err(|e| format!("{address}: {e}"))?;
        http::get(stream, address, &path, false, BODY).await
    };
    by(smoke, async |path| Ok(timeout(TIMEOUT, asks(path)).await.unwrap_or_else(|_| Err(no_answer())))).await
}

/// What is said when there was no answer for [`TIMEOUT`].
pub fn no_answer() -> String {
    format!("no answer within {}", say(TIMEOUT))
}

/// Has the request of a smoke test made, and says what is wrong with the answer, or why there is none. Whoever makes it bounds its time.
pub async fn by<A>(smoke: &Smoke, asks: A) -> Result<Result<(), String>, Fault>
where
    A: AsyncFnOnce(String) -> Result<Result<Answer, String>, Fault>,
{
    let Smoke::Http { path, status, body, contains } = smoke else {
        return Err(Fault::refused(FaultKind::Bug, "a smoke test by command is a job, not a request"));
    };
    let judged =
        asks(path.clone()).await?.and_then(|answer| judge(&answer, *status, body.as_deref(), contains.as_deref()));
    Ok(judged.map_err(|why| format!("GET {path}: {why}")))
}

fn judge(answer: &Answer, status: Option<u16>, body: Option<&str>, contains: Option<&str>) -> Result<(), String> {
    let right = status.map_or((200..300).contains(&answer.status), |wanted| wanted == answer.status);
    if !right {
        let wanted = status.map_or_else(|| "2xx".into(), |wanted| wanted.to_string());
        return Err(format!("{}, {wanted} was expected", answer.status_text()));
    }
    let text = String::from_utf8_lossy(&answer.body);
    if let Some(wanted) = body
        && text.trim() != wanted.trim()
    {
        return Err(format!("the body is `{}`, `{}` was expected", short(&text), short(wanted)));
    }
    if let Some(wanted) = contains
        && !text.contains(wanted)
    {
        return Err(format!("the body `{}` does not contain `{}`", short(&text), short(wanted)));
    }
    Ok(())
}

fn short(text: &str) -> String {
    let text = text.trim();
    let cut: String = text.chars().take(200).collect();
    if cut.len() < text.len() { format!("{cut}...") } else { cut }
}
