//! Which processes belong to a world, as the kernel tells it.

use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;

/// What a process is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Client,
    Engine,
    Proxy,
    /// The shim of an instance, with its id.
    Shim(String),
    /// The shim of a job or of a check.
    JobShim(String),
    /// An instance or a job, with its id.
    Instance(String),
    /// Something else that has the state directory in its environment.
    Other,
}

/// One process.
#[derive(Clone, Debug)]
pub(crate) struct Proc {
    pub(crate) pid: u32,
    pub(crate) role: Role,
    pub(crate) stopped: bool,
}

/// By what processes are known.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whose<'a> {
    /// Their state directory.
    State(&'a Path),
    /// The folder that their homes are in: each is a machine without a state directory that lasts.
    Machines(&'a Path),
}

impl Whose<'_> {
    fn has(self, args: &[String], environ: &[u8]) -> bool {
        let mut entries = environ.split(|b| *b == 0);
        match self {
            Self::State(state) => {
                let mark = [b"DEPLOYCTL_STATE=", state.as_os_str().as_encoded_bytes()].concat();
                let named = args.windows(2).any(|two| two[0] == "--state" && Path::new(&two[1]) == state);
                named || entries.any(|entry| entry == mark)
            }
            Self::Machines(folder) => {
                let mark = [b"HOME=", folder.as_os_str().as_encoded_bytes(), b"/"].concat();
                entries.any(|entry| entry.starts_with(&mark))
            }
        }
    }
}

/// All of these processes, this one aside; ended ones that nobody waited for are no processes any more.
pub(crate) fn of(whose: Whose<'_>) -> Vec<Proc> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let bytes = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
        let args: Vec<String> =
            bytes("cmdline").split(|b| *b == 0).map(|arg| String::from_utf8_lossy(arg).into_owned()).collect();
        let environ = bytes("environ");
        if pid == std::process::id() || !whose.has(&args, &environ) {
            continue;
        }
        let id = environ.split(|b| *b == 0).find_map(|entry| entry.strip_prefix(b"DEPLOYCTL_INSTANCE="));
        let id = id.map(|id| String::from_utf8_lossy(id).into_owned());
        let Some(letter) = letter(pid) else { continue };
        if !matches!(letter, b'Z' | b'X') {
            found.push(Proc { pid, role: role(&args, id), stopped: letter == b'T' });
        }
    }
    found
}

/// The state of a process as one letter.
fn letter(pid: u32) -> Option<u8> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let after = stat.iter().rposition(|b| *b == b')')? + 2;
    stat.get(after).copied()
}

fn role(args: &[String], instance: Option<String>) -> Role {
    let ours = args.first().is_some_and(|program| program.ends_with("deployctl"));
    let id = || args.get(5).cloned().unwrap_or_default();
    match (ours, args.get(1).map(String::as_str), instance) {
        (false, _, Some(id)) => Role::Instance(id),
        (true, Some("engine"), _) => Role::Engine,
        (true, Some("proxy"), _) => Role::Proxy,
        (true, Some("shim"), _) if args.get(4).is_some_and(|flag| flag == "--run") => Role::Shim(id()),
        (true, Some("shim"), _) => Role::JobShim(id()),
        (true, ..) => Role::Client,
        (false, ..) => Role::Other,
    }
}

/// Sends a signal; a process that is gone gets none.
pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Kills all of them until nothing is left, or says what is.
pub(crate) fn kill_all(whose: Whose<'_>) -> Result<(), String> {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let mut looks = 0;
    loop {
        let left = of(whose);
        // Who is about to become another program has no name for a moment.
        looks = if left.is_empty() { looks + 1 } else { 0 };
        if looks == 3 {
            return Ok(());
        }
        if std::time::Instant::now() > end {
            return Err(format!("cannot be killed: {left:?}"));
        }
        for one in left {
            signal(one.pid, Signal::KILL);
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}
