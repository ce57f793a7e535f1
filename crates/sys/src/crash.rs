//! Named points where a test can kill or stop this process, to prove that any instant will do.
//!
//! `DEPLOYCTL_CRASH=ROLE:NAME:NTH:kill|stop` arms one point for processes of one role. Each process counts for itself,
//! or, with `:FILE` behind it, all of them together in that file (a byte for each time), so that exactly one is hit; as
//! long as that file is not there, nothing counts.
//! `DEPLOYCTL_CRASH_RECORD=FILE` appends `ROLE NAME` to FILE at every point that is passed. Without either a point costs
//! one relaxed load.

use std::fs::OpenOptions;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

struct Plan {
    role: &'static str,
    armed: Option<Armed>,
    record: Option<PathBuf>,
}

struct Armed {
    name: String,
    nth: u64,
    passed: AtomicU64,
    tally: Option<PathBuf>,
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
    let mut fields = text.splitn(5, ':');
    let (for_role, name, nth, how) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let tally = fields.next().map(PathBuf::from);
    let signal = match how {
        "kill" => rustix::process::Signal::KILL,
        "stop" => rustix::process::Signal::STOP,
        _ => return None,
    };
    let nth = nth.parse().ok()?;
    (for_role == role).then(|| Armed { name: name.into(), nth, passed: AtomicU64::new(0), tally, signal })
}

impl Armed {
    /// The how-manieth time this is.
    fn pass(&self) -> u64 {
        match &self.tally {
            Some(tally) => count(tally).unwrap_or(0),
            None => self.passed.fetch_add(1, Ordering::Relaxed) + 1,
        }
    }
}

/// Appends a byte, and so is told by the kernel how many there were: no two processes get the same answer.
fn count(tally: &Path) -> std::io::Result<u64> {
    let mut file = OpenOptions::new().append(true).open(tally)?;
    file.write_all(b".")?;
    file.stream_position()
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
    if armed.pass() == armed.nth {
        let _ = rustix::process::kill_process(rustix::process::getpid(), armed.signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_armed_for_one_role_and_one_time() {
        assert!(parse("engine", "shim:shim.locked:1:kill").is_none());
        assert!(parse("shim", "shim:shim.locked:1:laugh").is_none());
        assert!(parse("shim", "shim:shim.locked:often:kill").is_none());
        let armed = parse("shim", "shim:shim.locked:2:stop").unwrap();
        assert_eq!((armed.name.as_str(), armed.nth, armed.pass(), armed.pass()), ("shim.locked", 2, 1, 2));
    }

    #[test]
    fn processes_count_together_in_a_file() {
        let tally = std::env::temp_dir().join(format!("deployctl-tally:{}", std::process::id()));
        let text = format!("shim:shim.locked:2:kill:{}", tally.display());
        let (one, other) = (parse("shim", &text).unwrap(), parse("shim", &text).unwrap());
        assert_eq!(one.pass(), 0, "nothing counts as long as the file is not there");
        std::fs::write(&tally, "").unwrap();
        assert_eq!([one.pass(), other.pass(), one.pass()], [1, 2, 3]);
        std::fs::remove_file(tally).unwrap();
    }
}
