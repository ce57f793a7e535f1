//! A health check by command: in the instance's folder, with its environment, as its user.

use crate::node::Inner;
use crate::pollable;
use crate::records::RunSpec;
use crate::tail::line;
use deployctl_runner::say;
use rustix::fd::OwnedFd;
use rustix::process::Signal;
use std::io::Read;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::time::timeout;

/// So much of what the command printed is looked at.
const PRINTED_MAX: usize = 4096;

/// Runs the command; the error is what is wrong, with the last line that it printed.
pub(super) async fn check(node: &Arc<Inner>, spec: &RunSpec, limit: Duration) -> Result<(), String> {
    let secrets = node.secrets(spec).map_err(|fault| format!("the health check cannot be run: {fault}"))?;
    let child = node.spawner().check(&spec.id, secrets.as_ref());
    let mut running = Running::new(child.map_err(|e| format!("the health check cannot be run: {e}"))?)?;
    match timeout(limit, running.end()).await {
        Err(_) => Err(format!("the health check took longer than {}", say(limit))),
        Ok(Err(error)) => Err(format!("the health check cannot be watched: {error}")),
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => {
            let how = status.code().map_or_else(|| "was killed".into(), |code| format!("exit {code}"));
            Err(match running.last_line() {
                Some(line) => format!("the health check: {how}: {line}"),
                None => format!("the health check: {how}"),
            })
        }
    }
}

/// A command that runs; killed with its group when it is dropped.
struct Running {
    child: Child,
    ended: AsyncFd<OwnedFd>,
    is_over: bool,
}

impl Running {
    fn new(mut child: Child) -> Result<Self, String> {
        let watched = deployctl_sys::process::number(child.id())
            .ok_or(rustix::io::Errno::SRCH)
            .and_then(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::NONBLOCK))
            .map_err(std::io::Error::from)
            .and_then(pollable::owned);
        match watched {
            Ok(ended) => Ok(Self { child, ended, is_over: false }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(format!("the health check cannot be watched: {error}"))
            }
        }
    }

    async fn end(&mut self) -> std::io::Result<ExitStatus> {
        let _ = self.ended.readable().await?;
        self.is_over = true;
        self.kill_group();
        self.child.wait()
    }

    /// Reads what is there already: a child that it left behind may keep the pipe open.
    fn last_line(&mut self) -> Option<String> {
        let mut printed = Vec::new();
        for pipe in [self.child.stdout.take().map(OwnedFd::from), self.child.stderr.take().map(OwnedFd::from)] {
            let Some(pipe) = pipe else { continue };
            let _ = rustix::io::ioctl_fionbio(&pipe, true);
            let mut bytes = vec![0; PRINTED_MAX];
            if let Ok(count) = std::fs::File::from(pipe).read(&mut bytes) {
                printed.extend_from_slice(&bytes[..count]);
            }
        }
        let last = printed.split(|b| *b == b'\n').rfind(|piece| !piece.is_empty());
        last.map(line)
    }

    fn kill_group(&self) {
        // It made itself the leader of a session; it is not waited for yet, so the group is its own.
        if let Some(group) = deployctl_sys::process::number(self.child.id()) {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_over {
            self.kill_group();
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
