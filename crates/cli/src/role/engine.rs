//! `deployctl engine --state DIR`: one per state directory; started by any command that needs it.

use super::compose::{World, world};
use super::kept::Kept;
use super::state_of;
use crate::binary;
use crate::state::Namespace;
use deployctl_api::{API, Hello, SOCKET};
use deployctl_core::ask::{Refused, RefusedKind};
use deployctl_core::fault::Fault;
use deployctl_proxy::ProxyRouter;
use deployctl_server::Shared;
use deployctl_sys::crash;
use deployctl_sys::lock::Lock;
use deployctl_sys::socket::SocketPath;
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

/// An engine with nothing to run or watch leaves after this long without a request.
const IDLE: Duration = Duration::from_secs(60);

/// A proxy that died is noticed after this long, should no keeper have been told of it.
const PROXY_LOOK: Duration = Duration::from_secs(2);

/// What is left of a request when the engine leaves gets this long.
const FAREWELL: Duration = Duration::from_millis(500);

pub(crate) fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    crash::arm("engine");
    let args: Vec<OsString> = args.collect();
    // Kept by a boot unit: it waits its turn instead of leaving, and does not leave when there is nothing to do.
    let stay = args.iter().any(|arg| arg == "--stay");
    let cluster = args.iter().skip_while(|arg| *arg != "--cluster").nth(1);
    let cluster = cluster.and_then(|arg| Namespace::of_argument(arg.to_str()?));
    let Some(state) = state_of(args.into_iter()) else { return ExitCode::from(2) };
    let _ = rustix::process::setsid();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let run = runtime.map_err(|e| internal(&e)).and_then(|runtime| {
        let done = runtime.block_on(run(&state, cluster.as_ref(), stay));
        runtime.shutdown_timeout(FAREWELL);
        done
    });
    match run {
        Ok(()) => ExitCode::SUCCESS,
        Err(refused) => {
            let text = serde_json::to_string(&refused).unwrap_or_else(|_| refused.message.clone());
            say(&text);
            crate::output::err(&format!("engine: {}", refused.message));
            ExitCode::FAILURE
        }
    }
}

async fn run(state: &Path, cluster: Option<&Namespace>, stay: bool) -> Result<(), Refused> {
    let lock_path = state.join("engine.lock");
    let Some(_lock) = take(&lock_path, stay).await.map_err(|e| internal(&e))? else {
        return Ok(());
    };
    let (build, copy) = binary::copy_of_self(state).map_err(|e| internal(&e))?;
    crate::wake::write_pid(state).map_err(|e| internal(&e))?;
    crash::point("engine.locked");
    sweep(state);
    let kept = match cluster {
        None => Kept::in_folder(state)?,
        Some(namespace) => Kept::in_namespace(namespace).await?,
    };
    let World { engine, router } = world(state, &copy, kept)?;
    match cluster {
        None => engine.recover().await?,
        Some(_) => engine.attend().await?,
    }
    crash::point("engine.recovered");
    let listener = listen(state).map_err(|e| internal(&e))?;
    let shared = Shared {
        engine: engine.clone(),
        hello: Hello { api: API, build, pid: std::process::id() },
        handover: Arc::new(Notify::new()),
        requests: Arc::new(AtomicU64::new(0)),
    };
    let stop = Arc::new(Notify::new());
    let server = tokio::spawn(deployctl_server::serve(listener, shared.clone(), stop.clone()));
    say("ready");
    if cluster.is_none() {
        tokio::spawn(async move { keep_proxy(&router, &copy).await });
    }
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| internal(&e))?;
    tokio::select! {
        _ = terminate.recv() => {}
        () = shared.handover.notified() => {}
        () = idle(&engine, &shared.requests), if !stay => {}
    }
    // From here on nobody finds this engine; the next one waits for the lock, which falls with the process.
    let _ = std::fs::remove_file(state.join(SOCKET));
    stop.notify_one();
    let _ = tokio::time::timeout(FAREWELL, server).await;
    let _ = tokio::time::timeout(FAREWELL, engine.retire()).await;
    Ok(())
}

/// Removes what writers that were killed left half written, beside the files that it should have become.
fn sweep(state: &Path) {
    let mut folders: Vec<_> = ["", "proxy", "fences", "bin", "docker"].iter().map(|name| state.join(name)).collect();
    for holder in ["bin", "run", "run-jobs", "docker", "kubernetes"] {
        let entries = std::fs::read_dir(state.join(holder)).into_iter().flatten().flatten();
        folders.extend(entries.map(|entry| entry.path()).filter(|path| path.is_dir()));
    }
    for folder in folders {
        // Left for the next time, like everything that is only in the way.
        let _ = deployctl_sys::durable::sweep(&folder);
    }
}

async fn take(path: &Path, stay: bool) -> std::io::Result<Option<Lock>> {
    loop {
        match Lock::try_exclusive(path)? {
            None if stay => tokio::time::sleep(Duration::from_millis(200)).await,
            taken => return Ok(taken),
        }
    }
}

/// The data plane is started again if it dies, and brought to this build.
async fn keep_proxy(router: &ProxyRouter, binary: &Path) {
    loop {
        let mut pause = PROXY_LOOK;
        if let Err(fault) = bring_proxy(router, binary).await {
            crate::output::err(&format!("engine: the proxy is in trouble: {fault}"));
            pause = PROXY_LOOK * 5;
        }
        tokio::time::sleep(pause).await;
    }
}

async fn bring_proxy(router: &ProxyRouter, binary: &Path) -> Result<(), Fault> {
    match router.build().await? {
        Some(running) if !is_same_build(&running.binary, binary) => router.upgrade(binary).await,
        Some(_) => Ok(()),
        None => router.ensure().await,
    }
}

/// Copies of the binary lie in folders that are named by what is in them.
fn is_same_build(one: &Path, other: &Path) -> bool {
    let folder = |path: &Path| path.parent().and_then(Path::file_name).map(std::ffi::OsStr::to_owned);
    folder(one) == folder(other)
}

async fn idle(engine: &deployctl_engine::Engine, requests: &AtomicU64) {
    let mut before = None;
    loop {
        tokio::time::sleep(IDLE).await;
        let now = requests.load(Ordering::Relaxed);
        if engine.is_idle() && before == Some(now) {
            return;
        }
        before = Some(now);
    }
}

fn listen(state: &Path) -> std::io::Result<tokio::net::UnixListener> {
    // Bound beside its place and renamed: whoever finds the socket finds it listening.
    let temporary = state.join(".engine.sock.new");
    let _ = std::fs::remove_file(&temporary);
    let path = SocketPath::new(&temporary)?;
    let listener = tokio::net::UnixListener::bind(path.as_path())?;
    std::fs::rename(&temporary, state.join(SOCKET))?;
    Ok(listener)
}

/// Tells who started this engine how it went, once, and lets go of standard output.
fn say(text: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
    if let Ok(null) = std::fs::OpenOptions::new().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
    }
}

fn internal(error: &dyn std::fmt::Display) -> Refused {
    Refused::new(RefusedKind::Internal, "no-engine", format!("the engine cannot be started: {error}"))
        .hint("check the disk and the permissions of the state directory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dead_writers_left_is_swept_wherever_anything_is_written() {
        let state = tempfile::tempdir().unwrap();
        // No process has this number: it is above what any kernel gives.
        let places =
            ["", "proxy", "fences", "bin", "bin/abc", "run/api-0-1", "run-jobs/api-1", "docker", "docker/healthy"];
        let left: Vec<_> = places.iter().map(|at| state.path().join(at).join(".file.4194305-1.0.tmp")).collect();
        let kept = state.path().join("proxy/routes.json");
        for file in left.iter().chain([&kept]) {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "x").unwrap();
        }
        sweep(state.path());
        assert_eq!(left.iter().filter(|file| file.exists()).collect::<Vec<_>>(), Vec::<&std::path::PathBuf>::new());
        assert!(kept.exists());
    }
}
