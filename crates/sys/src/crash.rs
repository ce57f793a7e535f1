//! Named points where a test can kill or stop this process, to prove that any instant will do.
//!
//! `DEPLOYCTL_CRASH=ROLE:NAME:NTH:kill|stop` arms one point for processes of one role; `DEPLOYCTL_CRASH_RECORD=FILE`
//! appends `ROLE NAME` to FILE at every point that is passed. Without either a point costs one relaxed load.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

struct Plan {
    role: &'static str,
    armed: Option<Armed>,
    record: Option<PathBuf>,
}

struct Armed {
    name: String,
    left: AtomicU64,
    signal: rustix::process::Signal,
}

static PLAN: OnceLock<Option<Plan>> = OnceLock::new();

/// Says which role this process has and arms what the environment asks for. Call once, first thing in the role's main.
pub fn arm(role: &'static str) {
    let record = std::env::var_os("DEPLOYCTL_CRASH_RECORD").map(PathBuf::from);
    let armed = std::env::var("DEPLOYCTL_CRASH").ok().and_then(|text| parse(role, &text));
    let plan = (armed.is_some() || record.is_some()).then_some(Plan { role, armed, record });
    let _ = PLAN.set(plan);
}

fn parse(role: &str, text: &str) -> Option<Armed> {
    let mut fields = text.split(':');
    let (for_role, name, nth, how) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let signal = match how {
        "kill" => rustix::process::Signal::KILL,
        "stop" => rustix::process::Signal::STOP,
        _ => return None,
    };
    (for_role == role).then(|| Some(Armed { name: name.into(), left: AtomicU64::new(nth.parse().ok()?), signal }))?
}

/// Whether this process stops or records at any point; saves making up names where it does not.
pub fn is_armed() -> bool {
    matches!(PLAN.get(), Some(Some(_)))
}

/// Passes the point `name`; does not return if it is armed and due.
pub fn point(name: &str) {
    let Some(Some(plan)) = PLAN.get() else { return };
    if let Some(file) = &plan.record
        && let Ok(mut file) = OpenOptions::new().create(true).append(true).open(file)
    {
        let _ = file.write_all(format!("{} {name}\n", plan.role).as_bytes());
    }
    let Some(armed) = plan.armed.as_ref().filter(|armed| armed.name == name) else { return };
    if armed.left.fetch_sub(1, Ordering::Relaxed) == 1 {
        let _ = rustix::process::kill_process(rustix::process::getpid(), armed.signal);
    }
}
