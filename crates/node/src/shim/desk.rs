//! What a shim has at hand: its run's folder and records, its orders, and its run's processes.

use super::control::{Control, Woken};
use super::family::Family;
use super::launch;
use super::trim::Trim;
use crate::cgroup::{self, Groups, Places};
use crate::clock::now;
use crate::layout::{Layout, RunFolder};
use crate::records::{self, Exit, Phase, Proc, RunSpec, RunState, StopOrder};
use deployctl_core::instance::SecretValues;
use deployctl_sys::crash;
use deployctl_sys::lock::Lock;
use deployctl_sys::process::Identity;
use rustix::fd::OwnedFd;
use rustix::process::{Signal, WaitOptions, WaitStatus};
use std::io;
use std::time::{Duration, Instant};

/// A record that could not be written (a full disk) is tried again this often.
const RETRY: Duration = Duration::from_millis(500);
/// So many exits are remembered.
const EXITS_KEPT: usize = 8;

pub(super) struct Desk {
    pub(super) folder: RunFolder,
    pub(super) spec: RunSpec,
    pub(super) secrets: SecretValues,
    pub(super) state: RunState,
    pub(super) family: Family,
    control: Control,
    trim: Trim,
    stop: Option<Duration>,
    unwritten: bool,
    /// Whether nothing of this run can exist yet.
    fresh: bool,
    pub(super) groups: Groups,
    /// How often the kernel had killed in the groups before the present process.
    oom_kills: u64,
    _lock: Lock,
}

/// The process that a shim watches.
pub(super) struct Watched {
    pub(super) identity: Identity,
    pub(super) pidfd: OwnedFd,
    /// Whether it is the shim's own child, so that its exit status can be known.
    pub(super) child: bool,
}

impl Desk {
    /// Opens the desk of the run whose lock the caller holds.
    pub(super) fn open(
        layout: &Layout,
        folder: RunFolder,
        spec: RunSpec,
        secrets: SecretValues,
        lock: Lock,
        stop: Option<Duration>,
    ) -> io::Result<Self> {
        let control = Control::open(&folder.control())?;
        // Looked at only after the control is open: an order given in between is in one of the two.
        let ordered = records::read::<StopOrder>(&folder.stop())?.map(|order| order.grace_ms.0);
        let shim = Proc::from(Identity::own()?);
        let before = records::read::<RunState>(&folder.state()).unwrap_or_default();
        let fresh = before.is_none() && !folder.live_lock().exists();
        let state = RunState {
            phase: Phase::Starting,
            process: before.as_ref().and_then(|state| state.process.clone()),
            shim,
            since: before.as_ref().map_or_else(now, |state| state.since),
            restarts: before.as_ref().map_or(0, |state| state.restarts),
            log_from: before.as_ref().map_or(0, |state| state.log_from),
            cgroups: before.as_ref().map(|state| state.cgroups.clone()).unwrap_or_default(),
            exits: before.map(|state| state.exits).unwrap_or_default(),
            notes: Vec::new(),
        };
        let mut family = Family::new(layout, &folder, &spec);
        family.with_cgroups(state.cgroups.clone());
        let trim = Trim::new(folder.log(), folder.old_log(), spec.log_bytes_max);
        let stop = stop.or(ordered);
        Ok(Self {
            folder,
            spec,
            secrets,
            state,
            family,
            control,
            trim,
            stop,
            unwritten: false,
            fresh,
            groups: Groups::default(),
            oom_kills: 0,
            _lock: lock,
        })
    }

    /// Writes down how things are. A disk that takes nothing stops nothing: it is tried again.
    pub(super) fn record(&mut self, phase: Phase) {
        self.state.phase = phase;
        self.unwritten = records::write(&self.folder.state(), &self.state).is_err();
    }

    /// Whether the run was told to stop, and with how much grace.
    pub(super) fn stop_ordered(&self) -> Option<Duration> {
        self.stop
    }

    /// Starts the process, in the order that leaves no instant in which it could be lost: its lock is taken before.
    pub(super) fn start(&mut self) -> Result<Watched, String> {
        if !std::mem::take(&mut self.fresh) {
            let left = |e| format!("what is left of the run before cannot be ended: {e}");
            self.family.end_all(None).map_err(left)?;
        }
        self.state.process = None;
        self.state.log_from = std::fs::metadata(self.folder.log()).map_or(0, |log| log.len());
        self.record(Phase::Starting);
        self.limit()?;
        let pid = launch::start(self)?;
        crash::point("shim.spawned");
        let lost = |e: io::Error| format!("process {pid} cannot be watched: {e}");
        let identity = Identity::of(pid).map_err(lost)?.ok_or("it ended before it could be watched")?;
        let raw = deployctl_sys::process::number(pid).ok_or("it has no pid")?;
        let pidfd =
            rustix::process::pidfd_open(raw, rustix::process::PidfdFlags::empty()).map_err(|e| lost(e.into()))?;
        self.state.process = Some(identity.clone().into());
        self.state.since = now();
        self.record(Phase::Running);
        crash::point("shim.recorded");
        Ok(Watched { identity, pidfd, child: true })
    }

    /// Makes the control groups of the run, if it has limits that need some. They are written down before they are used.
    fn limit(&mut self) -> Result<(), String> {
        let limits = &self.spec.limits;
        if limits.memory_bytes.is_none() && limits.cpu_millis.is_none() {
            return Ok(());
        }
        let groups = Places::find().make(&self.family.name(), limits);
        self.groups = groups.map_err(|e| format!("its control groups cannot be made: {e}"))?;
        self.oom_kills = self.groups.oom_kills();
        for folder in &self.groups.folders {
            if !self.state.cgroups.contains(folder) {
                self.state.cgroups.push(folder.clone());
            }
        }
        self.state.notes.clear();
        if limits.memory_bytes.is_some() && self.groups.memory.is_none() {
            let note =
                "no control group can be made here: the memory limit holds for each process, not for all together";
            self.state.notes.push(note.into());
        }
        self.family.with_cgroups(self.state.cgroups.clone());
        self.record(Phase::Starting);
        Ok(())
    }

    /// Waits until the process has ended, an order to stop comes, or `due`; keeps the house meanwhile.
    pub(super) fn wait(&mut self, process: Option<&Watched>, due: Option<Instant>) -> io::Result<Woken> {
        loop {
            let left = due.map_or(Duration::MAX, |due| due.saturating_duration_since(Instant::now()));
            let span = left.min(self.trim.pause()).min(if self.unwritten { RETRY } else { Duration::MAX });
            let woken = self.control.wait(process.map(|p| &p.pidfd), span)?;
            if self.unwritten {
                self.record(self.state.phase);
            }
            match woken {
                Woken::Due if due.is_none_or(|due| Instant::now() < due) => {
                    self.trim.look();
                    bury(process.filter(|p| p.child).map(|p| p.identity.pid));
                }
                Woken::Stop(grace) => {
                    self.stop = Some(self.stop.map_or(grace, |before| before.min(grace)));
                    return Ok(Woken::Stop(grace));
                }
                woken => return Ok(woken),
            }
        }
    }

    /// Ends everything that is left after the process has ended, and says how it did.
    pub(super) fn finish(&mut self, process: &Watched) -> io::Result<String> {
        // Before its status is taken: until then its pid, and so its group, can be nobody else's.
        self.family.end_all(process.child.then_some(process.identity.pid))?;
        if !process.child {
            return Ok("it ended; how is not known, its shim had been killed".into());
        }
        let raw = deployctl_sys::process::number(process.identity.pid).ok_or(rustix::io::Errno::SRCH)?;
        let status = rustix::process::waitpid(Some(raw), WaitOptions::empty())?;
        bury(None);
        let how = status.map_or_else(|| "it ended".into(), |(_, status)| say(status));
        match self.spec.limits.memory_bytes {
            Some(bytes) if self.groups.oom_kills() > self.oom_kills => {
                Ok(format!("{how}: it needed more than its {} MiB of memory", bytes >> 20))
            }
            _ => Ok(how),
        }
    }

    /// Notes an exit that nobody asked for.
    pub(super) fn note_exit(&mut self, how: String) {
        let process = self.state.process.take();
        self.state.exits.push(Exit { at: now(), how, log_from: self.state.log_from, process });
        let over = self.state.exits.len().saturating_sub(EXITS_KEPT);
        self.state.exits.drain(..over);
    }

    /// Ends the process: asks it to, gives it `grace`, then kills whatever is left. Returns when nothing is.
    pub(super) fn end(&mut self, process: Option<Watched>, grace: Duration) -> io::Result<()> {
        self.record(Phase::Stopping);
        crash::point("shim.stopping");
        match process {
            Some(process) => {
                self.ask_to_end(&process, grace)?;
                self.finish(&process)?;
            }
            None => self.family.end_all(None)?,
        }
        crash::point("shim.ended");
        self.state.process = None;
        cgroup::remove(&self.state.cgroups);
        self.record(Phase::Gone);
        Ok(())
    }

    fn ask_to_end(&mut self, process: &Watched, grace: Duration) -> io::Result<()> {
        let begun = Instant::now();
        process.identity.signal(Signal::TERM)?;
        if let Some(group) = deployctl_sys::process::number(process.identity.pid) {
            let _ = rustix::process::kill_process_group(group, Signal::TERM);
        }
        let mut due = begun + grace;
        while let Woken::Stop(shorter) = self.wait(Some(process), Some(due))? {
            due = due.min(begun + shorter);
        }
        // Its children have the rest of the time.
        while Instant::now() < due && self.family.anybody(process.child.then_some(process.identity.pid)) {
            let slice = (Instant::now() + Duration::from_millis(10)).min(due);
            if let Woken::Stop(shorter) = self.wait(None, Some(slice))? {
                due = due.min(begun + shorter);
            }
        }
        process.identity.signal(Signal::KILL)?;
        while self.wait(Some(process), None)? != Woken::Ended {}
        crash::point("shim.killed");
        Ok(())
    }
}

/// Takes the status of every child that ended, but not of `but`: nothing that the run left behind stays a zombie.
fn bury(but: Option<u32>) {
    for pid in deployctl_sys::process::children() {
        if Some(pid) != but
            && let Some(raw) = deployctl_sys::process::number(pid)
        {
            let _ = rustix::process::waitpid(Some(raw), WaitOptions::NOHANG);
        }
    }
}

fn say(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("killed by {}", name(signal)),
        (None, None) => "it ended".into(),
    }
}

fn name(signal: i32) -> String {
    let known = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        other => return format!("signal {other}"),
    };
    known.into()
}
