//! Whether the one who answers on an instance's port is the instance. A neighbour must not vouch for it.

use crate::records::Proc;
use crate::shim::family::Family;
use crate::shim::launch::taken_by;
use deployctl_sys::ports::{self, Listener};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Mutex;
use std::sync::PoisonError;

/// Who listens on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Nobody.
    Nobody,
    /// The instance, and nobody else.
    Instance,
    /// Somebody else.
    Other(String),
    /// It cannot be seen.
    Unknown(String),
}

/// Finds it out, and remembers the sockets that were the instance's.
#[derive(Debug, Default)]
pub(super) struct Vouch {
    known: Mutex<Vec<u64>>,
}

impl Vouch {
    /// Who listens on `port` where `process` should.
    pub(super) async fn owner(&self, port: u16, process: &Proc, family: &Family) -> Owner {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if all_known(port, &known) {
            return Owner::Instance;
        }
        let (process, family) = (process.clone(), family.clone());
        let look = tokio::task::spawn_blocking(move || look(port, &process, &family, &known));
        match look.await {
            Ok(Ok((owner, inodes))) => {
                if owner == Owner::Instance {
                    *self.known.lock().unwrap_or_else(PoisonError::into_inner) = inodes;
                }
                owner
            }
            Ok(Err(error)) => Owner::Unknown(error.to_string()),
            Err(error) => Owner::Unknown(error.to_string()),
        }
    }
}

/// Whether nobody but the sockets that were the instance's listens: one question to the kernel, not worth another thread.
fn all_known(port: u16, known: &[u64]) -> bool {
    let listeners = if known.is_empty() { Vec::new() } else { ports::listeners(port).unwrap_or_default() };
    !listeners.is_empty() && listeners.iter().all(|listener| known.contains(&listener.inode))
}

fn look(port: u16, process: &Proc, family: &Family, known: &[u64]) -> io::Result<(Owner, Vec<u64>)> {
    let listeners = ports::listeners(port)?;
    let inodes: Vec<u64> = listeners.iter().map(|listener| listener.inode).collect();
    if listeners.is_empty() {
        return Ok((Owner::Nobody, inodes));
    }
    let mut members = None;
    for listener in &listeners {
        if known.contains(&listener.inode) || ports::holds(process.pid, listener.inode) {
            continue;
        }
        let members = match &members {
            Some(members) => members,
            None => members.insert(family.members(Some(process.pid).filter(|_| process.is_alive()))?),
        };
        if members.iter().any(|member| ports::holds(member.pid, listener.inode)) {
            continue;
        }
        match ports::owner(listener.inode)? {
            Some(pid) => return Ok((Owner::Other(taken_by(port, Some(pid))), inodes)),
            // Nobody's files can be seen: a socket of the instance's own user is taken for its own.
            None if same_user(process, *listener) => {}
            None if ports::listeners(port)?.contains(listener) => {
                return Ok((Owner::Other(taken_by(port, None)), inodes));
            }
            None => return Ok((Owner::Nobody, inodes)),
        }
    }
    Ok((Owner::Instance, inodes))
}

fn same_user(process: &Proc, listener: Listener) -> bool {
    let unseen = std::fs::read_dir(format!("/proc/{}/fd", process.pid)).is_err();
    unseen && std::fs::metadata(format!("/proc/{}", process.pid)).is_ok_and(|entry| entry.uid() == listener.uid)
}
