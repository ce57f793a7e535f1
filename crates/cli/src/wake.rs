//! Reaching the engine: connect to it, start it where none runs, hand over where another build runs.

use crate::{binary, state};
use deployctl_api::client::Client;
use deployctl_api::{Hello, Query, SOCKET, paths};
use deployctl_core::ask::{Refused, RefusedKind};
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// An engine that does not come up within this time is reported.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection to the engine of `state`, which is started if need be.
pub(crate) async fn engine(state: &Path) -> Result<Client, crate::fail::Failure> {
    state::prepare(state)?;
    let (build, copy) = binary::copy_of_self(state).map_err(|e| no_engine(&e.to_string()))?;
    let end = Instant::now() + PATIENCE;
    let mut asked = false;
    loop {
        if let Ok(mut client) = Client::connect(state).await {
            match client.get::<Hello>(paths::HELLO, &Query::default()).await {
                Ok(hello) if hello.build == build => return Ok(client),
                Ok(_) if !asked => {
                    asked = client.post::<Hello>(paths::HANDOVER, &()).await.is_ok();
                    continue;
                }
                _ => {}
            }
        } else if let Some(refused) = start(state, &copy).await? {
            return Err(refused.into());
        }
        if Instant::now() > end {
            return Err(no_engine("it did not answer in time").into());
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

/// Starts an engine and waits until it listens, says why it cannot, or finds that another one is at it.
async fn start(state: &Path, copy: &Path) -> Result<Option<Refused>, Refused> {
    let failed = |e: std::io::Error| no_engine(&e.to_string());
    let log = state.join("engine.log");
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(log).map_err(failed)?;
    let mut command = Command::new(copy);
    command.arg("engine").arg("--state").arg(state).current_dir("/").env_clear();
    for (name, value) in std::env::vars_os() {
        let kept =
            matches!(name.to_str(), Some("PATH" | "HOME" | "LANG" | "TZ" | "USER" | "LOGNAME" | "XDG_RUNTIME_DIR"));
        let ours = name.to_str().is_some_and(|n| n.starts_with("DEPLOYCTL_CRASH") || n.starts_with("DEPLOYCTL_PROXY_"));
        if kept || ours {
            command.env(name, value);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::from(log));
    let mut child = command.spawn().map_err(failed)?;
    let Some(mut out) = child.stdout.take() else { return Ok(None) };
    let read = tokio::task::spawn_blocking(move || {
        let mut said = String::new();
        out.read_to_string(&mut said).map(|_| said)
    });
    let said = read.await.map_err(|e| no_engine(&e.to_string()))?.map_err(failed)?;
    if said.is_empty() || said == "ready" {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&said).unwrap_or_else(|_| no_engine(&said))))
}

fn no_engine(why: &str) -> Refused {
    Refused::new(RefusedKind::Unreachable, "no-engine", format!("the engine cannot be started: {why}"))
        .hint(format!("look into engine.log in the state directory; {SOCKET} there is its socket"))
}
