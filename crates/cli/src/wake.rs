//! Reaching the engine: connect to it, start it where none runs, hand over where another build runs.

use crate::state::State;
use crate::{asking, binary, state};
use deployctl_api::client::Client;
use deployctl_api::{API, Hello, Query, SOCKET, paths};
use deployctl_core::ask::{Refused, RefusedKind};
use deployctl_sys::process::{self, Identity};
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// An engine that does not come up within this time is reported.
const PATIENCE: Duration = Duration::from_secs(20);

/// An engine that takes a connection and says nothing for this long is not alive any more.
const SILENCE: Duration = Duration::from_secs(5);

/// Where an engine says which process it is.
const PID_FILE: &str = "engine.pid";

/// Which build asked last for an engine of its own.
const SUCCESSOR: &str = "engine.successor";

/// A connection to the engine of `state`, which is started if need be. One of another build hands over to ours first.
pub(crate) async fn engine(state: &State) -> Result<Client, crate::fail::Failure> {
    reach(state, true).await
}

/// The same, but an engine of another build will do: who only goes on watching has no say in which one runs.
pub(crate) async fn any_engine(state: &State) -> Result<Client, crate::fail::Failure> {
    reach(state, false).await
}

async fn reach(at: &State, ours: bool) -> Result<Client, crate::fail::Failure> {
    let state = at.folder.as_path();
    state::prepare(state)?;
    let (build, copy) = binary::copy_of_self(state).map_err(|e| no_engine(&e.to_string()))?;
    let end = Instant::now() + PATIENCE;
    let mut asked = None;
    loop {
        match hello(state).await {
            Greeting::Here(client, hello) if hello.build == build || (!ours && hello.api == API) => return Ok(client),
            Greeting::Here(mut client, hello) if asked != Some(hello.pid) => {
                // Whoever only watches leaves the start to us for a while.
                let _ = std::fs::write(state.join(SUCCESSOR), build.as_str());
                if client.post::<Hello>(paths::HANDOVER, &()).await.is_ok() {
                    asked = Some(hello.pid);
                }
                continue;
            }
            Greeting::Here(..) => {}
            Greeting::Silent => take_over(state),
            Greeting::Nobody if !ours && is_awaited(state, build.as_str()) => {}
            Greeting::Nobody => {
                if let Some(refused) = start(at, &copy).await? {
                    return Err(refused.into());
                }
            }
        }
        if Instant::now() > end {
            return Err(no_engine("it did not answer in time").into());
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

/// Lets the engine leave in good order where it is killed with this process, the first one of a container: whoever comes next need not
/// wait until it is known to be dead.
pub(crate) async fn farewell(at: &State) {
    if std::process::id() != 1 || at.cluster.is_none() {
        return;
    }
    let Greeting::Here(mut client, _) = hello(&at.folder).await else { return };
    let _ = client.post::<Hello>(paths::HANDOVER, &()).await;
    let end = Instant::now() + SILENCE;
    while engine_of(&at.folder).is_some() && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Whether a command of another build asked for its own engine a moment ago.
fn is_awaited(state: &Path, build: &str) -> bool {
    let path = state.join(SUCCESSOR);
    let age = std::fs::metadata(&path).and_then(|file| file.modified()).ok().and_then(|at| at.elapsed().ok());
    age.is_some_and(|age| age < SILENCE) && std::fs::read_to_string(&path).is_ok_and(|other| other != build)
}

/// Who is at the socket.
enum Greeting {
    /// An engine that answers.
    Here(Client, Hello),
    /// An engine that takes connections and does not answer: stopped, or hung.
    Silent,
    /// None.
    Nobody,
}

async fn hello(state: &Path) -> Greeting {
    let Ok(mut client) = Client::connect(state).await else { return Greeting::Nobody };
    match tokio::time::timeout(SILENCE, client.get::<Hello>(paths::HELLO, &Query::default())).await {
        Ok(Ok(hello)) => Greeting::Here(client, hello),
        Ok(Err(_)) => Greeting::Nobody,
        Err(_) => Greeting::Silent,
    }
}

/// Kills an engine that does not answer and waits for its end, so that it can never wake up late and write.
fn take_over(state: &Path) {
    let Some(holder) = engine_of(state) else { return };
    let _ = holder.signal(rustix::process::Signal::KILL);
    let end = Instant::now() + SILENCE;
    while holder.is_alive() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The process that said last that it is the engine of `state`, if it still runs and still is one.
fn engine_of(state: &Path) -> Option<Identity> {
    let text = std::fs::read_to_string(state.join(PID_FILE)).ok()?;
    let mut fields = text.split_whitespace();
    let identity = Identity {
        pid: fields.next()?.parse().ok()?,
        start: fields.next()?.parse().ok()?,
        boot: fields.next()?.to_owned(),
    };
    let is_engine = process::command_line(identity.pid).contains(" engine ");
    (is_engine && identity.is_alive()).then_some(identity)
}

/// Says in the state directory which process its engine is.
pub(crate) fn write_pid(state: &Path) -> std::io::Result<()> {
    let me = Identity::own()?;
    std::fs::write(state.join(PID_FILE), format!("{} {} {}", me.pid, me.start, me.boot))
}

/// By which the Docker Engine is found and reached.
const OF_DOCKER: [&str; 7] = [
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_CONFIG",
    "DOCKER_TLS",
    "DOCKER_TLS_VERIFY",
    "DOCKER_CERT_PATH",
    "SSH_AUTH_SOCK",
];

/// The way out, where there is but one.
const OF_NETWORK: [&str; 2] = ["HTTPS_PROXY", "NO_PROXY"];

/// Starts an engine and waits until it listens, says why it cannot, or finds that another one is at it.
async fn start(at: &State, copy: &Path) -> Result<Option<Refused>, Refused> {
    let state = at.folder.as_path();
    let failed = |e: std::io::Error| no_engine(&e.to_string());
    let log = state.join("engine.log");
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(log).map_err(failed)?;
    let mut command = Command::new(copy);
    command.arg("engine").arg("--state").arg(state).current_dir("/").env_clear();
    for (name, value) in std::env::vars_os() {
        let kept =
            matches!(name.to_str(), Some("PATH" | "HOME" | "LANG" | "TZ" | "USER" | "LOGNAME" | "XDG_RUNTIME_DIR"));
        // A state belongs to the engine that it is first used with; see `drivers/docker`.
        let kept = kept || name.to_str().is_some_and(|name| OF_DOCKER.contains(&name));
        // Which clusters there are, and the one that a pod is in; credentials are in files.
        let clusters = ["KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "DEPLOYCTL_CONTEXT_HERE"];
        let kept = kept || name.to_str().is_some_and(|name| clusters.contains(&name) || OF_NETWORK.contains(&name));
        let ours = name.to_str().is_some_and(|n| n.starts_with("DEPLOYCTL_CRASH") || n.starts_with("DEPLOYCTL_PROXY_"));
        if kept || ours {
            command.env(name, value);
        }
    }
    if let Some(namespace) = &at.cluster {
        // Others who reach the state are told who is at it.
        command.arg("--cluster").arg(namespace.to_string()).env("DEPLOYCTL_ACTOR", asking::user());
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
