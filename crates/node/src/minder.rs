//! The task that minds one run's shim: it reads what the shim writes, and when the shim is gone it finds out whether the
//! run is, too, or needs another shim.

use crate::layout::RunFolder;
use crate::notify::{Folders, Watch};
use crate::pollable;
use crate::records::{self, Phase, Proc, RunState};
use crate::shim::family::Family;
use deployctl_sys::lock;
use deployctl_sys::process::{self, Identity};
use rustix::fd::OwnedFd;
use rustix::process::Signal;
use std::io;
use std::process::Child;
use std::time::{Duration, Instant};
use tokio::io::unix::AsyncFd;

/// A look at the folder without being told, should a notice be lost.
const LOOK: Duration = Duration::from_secs(5);
/// The same where the kernel gives no notices.
const LOOK_BLIND: Duration = Duration::from_millis(50);

/// A shim that was stopped by a signal for so long is killed: another one takes over, and this one never wakes up late.
const STOPPED_MAX: Duration = Duration::from_secs(4);

/// What is left of a run whose shim is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remains {
    /// Nothing, proven.
    Nothing,
    /// Processes that nobody owns.
    Processes,
}

/// A shim that runs.
pub(crate) struct Shim {
    ended: AsyncFd<OwnedFd>,
    pid: u32,
    child: Option<Child>,
}

impl Shim {
    /// The shim that was just started; if another one was quicker it ends at once.
    pub(crate) fn started(child: Child) -> io::Result<Self> {
        let pid = deployctl_sys::process::number(child.id()).ok_or(rustix::io::Errno::SRCH)?;
        let fd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::NONBLOCK)?;
        Ok(Self { ended: pollable::owned(fd)?, pid: child.id(), child: Some(child) })
    }

    /// The shim that owns the run in `folder`, if one does. Waits for one that has the lock and did not yet say who it is.
    pub(crate) async fn find(folder: &RunFolder) -> io::Result<Option<Self>> {
        loop {
            if let Some(run) = records::read::<RunState>(&folder.state()).unwrap_or_default()
                && let Some(fd) = Identity::from(&run.shim).pidfd()?
            {
                return Ok(Some(Self { ended: pollable::owned(fd)?, pid: run.shim.pid, child: None }));
            }
            if !lock::is_held(&folder.lock())? {
                return Ok(None);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Calls `look` whenever something may have changed, until the shim has ended, and once more then.
    pub(crate) async fn attend(&mut self, folders: Option<&Watch>, mut look: impl FnMut()) {
        let pause = if folders.is_some() { LOOK } else { LOOK_BLIND };
        let mut stopped = None;
        loop {
            look();
            self.end_if_stopped(&mut stopped);
            let noticed = async {
                match folders {
                    Some(watch) => watch.replaced.notified().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                _ = self.ended.readable() => break,
                () = noticed => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        if let Some(mut child) = self.child.take() {
            // It has ended: this only takes its status.
            let _ = child.wait();
        }
        look();
    }

    /// Kills the shim if it is stopped, and was at an earlier look, long enough ago.
    fn end_if_stopped(&self, since: &mut Option<Instant>) {
        // The pid is its own: had it ended, that would have been seen, or its child not yet been waited for.
        if process::stat(self.pid).is_none_or(|stat| stat.state != b'T') {
            *since = None;
        } else if since.get_or_insert_with(Instant::now).elapsed() > STOPPED_MAX {
            let _ = rustix::process::pidfd_send_signal(self.ended.get_ref(), Signal::KILL);
        }
    }
}

/// Watches `folder` if the kernel can.
pub(crate) fn watch(folders: Option<&Folders>, folder: &RunFolder) -> Option<Watch> {
    folders.and_then(|folders| folders.watch(folder.path()).ok())
}

/// What is left of a run that no shim owns.
pub(crate) fn remains(folder: &RunFolder, family: &Family) -> io::Result<Remains> {
    if lock::is_held(&folder.live_lock())? {
        return Ok(Remains::Processes);
    }
    let run = records::read::<RunState>(&folder.state()).unwrap_or_default();
    match run {
        Some(run) if run.phase == Phase::Gone => return Ok(Remains::Nothing),
        Some(run) if run.process.as_ref().is_some_and(Proc::is_alive) => return Ok(Remains::Processes),
        _ => {}
    }
    let nobody = family.members(None)?.is_empty();
    Ok(if nobody { Remains::Nothing } else { Remains::Processes })
}
