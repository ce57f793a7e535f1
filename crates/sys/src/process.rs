//! Processes, told apart for good: a pid alone is used again, a pid with its start time and the machine's boot is not.

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::OnceLock;

/// One process, for good.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Its number; used again after its end.
    pub pid: u32,
    /// When it started, in clock ticks since boot.
    pub start: u64,
    /// The boot that it ran in.
    pub boot: String,
}

impl Identity {
    /// This process.
    pub fn own() -> io::Result<Self> {
        Self::of(std::process::id())?.ok_or_else(|| io::Error::other("/proc does not show this process"))
    }

    /// The process that has `pid` now, if one has.
    pub fn of(pid: u32) -> io::Result<Option<Self>> {
        let Some(stat) = stat(pid) else { return Ok(None) };
        Ok(Some(Self { pid, start: stat.start, boot: boot_id()? }))
    }

    /// Whether it runs; one that ended and was not waited for does not.
    pub fn is_alive(&self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.start == self.start && !stat.ended())
            && boot_id().is_ok_and(|boot| boot == self.boot)
    }

    /// A descriptor of the process, readable when it has ended; `None` if it is gone already.
    pub fn pidfd(&self) -> io::Result<Option<OwnedFd>> {
        let Some(pid) = number(self.pid) else { return Ok(None) };
        match pidfd_open(pid, PidfdFlags::NONBLOCK) {
            // The descriptor is bound to whoever has the pid now, so only then is it looked whether that is the one.
            Ok(fd) => Ok(self.is_alive().then_some(fd)),
            Err(Errno::SRCH) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a signal to exactly this process; `false` if it is gone.
    pub fn signal(&self, signal: Signal) -> io::Result<bool> {
        let Some(fd) = self.pidfd()? else { return Ok(false) };
        match pidfd_send_signal(fd, signal) {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// What `/proc/PID/stat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// One letter, such as `R`, `S`, `Z`.
    pub state: u8,
    /// The parent.
    pub parent: u32,
    /// The process group.
    pub group: u32,
    /// The session.
    pub session: u32,
    /// When it started, in clock ticks since boot.
    pub start: u64,
}

impl Stat {
    /// Whether it ended and only waits for its parent to notice.
    pub fn ended(self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }
}

/// What is known of the process that has `pid` now, if one has.
pub fn stat(pid: u32) -> Option<Stat> {
    // One read of enough: this is done for every process of the machine.
    let mut buffer = [0; 1024];
    let count = fs::File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut buffer).ok()?;
    parse_stat(&buffer[..count])
}

fn parse_stat(text: &[u8]) -> Option<Stat> {
    // The name is in parentheses and may hold anything, so what follows is counted from the last one.
    let after = &text[text.iter().rposition(|b| *b == b')')? + 1..];
    let mut fields = std::str::from_utf8(after).ok()?.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    let mut next = || fields.next()?.parse::<u64>().ok();
    let (parent, group, session) = (next()?, next()?, next()?);
    let mut rest = std::str::from_utf8(after).ok()?.split_ascii_whitespace();
    let start = rest.nth(19)?.parse().ok()?;
    let narrow = |n: u64| u32::try_from(n).ok();
    Some(Stat { state, parent: narrow(parent)?, group: narrow(group)?, session: narrow(session)?, start })
}

/// The boot that the machine is in.
pub fn boot_id() -> io::Result<String> {
    static BOOT: OnceLock<String> = OnceLock::new();
    if let Some(boot) = BOOT.get() {
        return Ok(boot.clone());
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
    Ok(BOOT.get_or_init(|| boot).clone())
}

/// All pids that this process can see.
pub fn all() -> io::Result<Vec<u32>> {
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        if let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
            pids.push(pid);
        }
    }
    Ok(pids)
}

/// The arguments of a process, the program's name first; empty if it cannot be seen.
pub fn arguments(pid: u32) -> Vec<Vec<u8>> {
    let mut bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    bytes.pop_if(|last| *last == 0);
    bytes.split(|b| *b == 0).map(<[u8]>::to_vec).collect()
}

/// The arguments of a process joined by blanks, for people; empty if it cannot be seen.
pub fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    text.trim_end_matches('\0').replace('\0', " ")
}

/// The environment of a process as it was at its start, `NAME=VALUE` pieces, each ended by a zero byte; empty if it
/// cannot be seen.
pub fn environment(pid: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8192);
    let read = fs::File::open(format!("/proc/{pid}/environ")).and_then(|mut file| file.read_to_end(&mut bytes));
    read.map_or_else(|_| Vec::new(), |_| bytes)
}

/// The children of this process's main thread, also those that ended; empty where the kernel does not list them.
pub fn children() -> Vec<u32> {
    let own = std::process::id();
    let list = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
    list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// What the open files of a process are, as `/proc/PID/fd` shows them; empty if they cannot be seen.
pub fn open_files(pid: u32) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()).collect()
}

/// The pid as the system calls want it.
pub fn number(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_parentheses_do_not_confuse() {
        let line = b"42 (a) R 9 (b)) S 1 42 42 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 777 9 9";
        let stat = parse_stat(line).unwrap();
        assert_eq!(stat, Stat { state: b'S', parent: 1, group: 42, session: 42, start: 777 });
        assert!(!stat.ended());
    }

    #[test]
    fn an_ended_process_is_not_alive_and_gets_no_signal() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let identity = Identity::of(child.id()).unwrap().expect("it runs");
        assert!(identity.is_alive());
        assert!(
            !Identity { start: identity.start + 1, ..identity.clone() }.is_alive(),
            "another start, another process"
        );
        assert!(!Identity { boot: "other".into(), ..identity.clone() }.is_alive(), "another boot, another process");
        assert!(identity.signal(Signal::KILL).unwrap());
        let fd = identity.pidfd().unwrap();
        if let Some(fd) = fd {
            let mut wait = [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut wait, None).unwrap();
        }
        assert!(!identity.is_alive(), "ended though nobody waited for it");
        child.wait().unwrap();
        assert!(!identity.signal(Signal::KILL).unwrap());
    }
}
