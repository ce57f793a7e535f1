//! What happens in the new process between fork and exec. The only unsafe code of the node runtime.
#![allow(unsafe_code)]

use crate::user::User;
use rustix::fs::Mode;
use rustix::io::FdFlags;
use rustix::process::{Gid, Resource, Rlimit, Uid};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What the new process does to itself before it becomes the command.
#[derive(Debug, Default)]
pub(super) struct Prelude {
    /// Stays open in the command and all that it starts.
    pub(super) inherited: Option<OwnedFd>,
    /// The `cgroup.procs` that it writes itself into.
    pub(super) cgroups: Vec<File>,
    /// Open files, at most.
    pub(super) files: Option<u64>,
    /// Private memory, at most, where no cgroup can be had.
    pub(super) data_bytes: Option<u64>,
    /// Whom it becomes.
    pub(super) user: Option<User>,
}

/// Has `command` play `prelude` between fork and exec.
pub(super) fn play(command: &mut Command, mut prelude: Prelude) {
    // SAFETY: the shim has one thread, so no lock can be held by another one at the fork; the closure makes system
    // calls on values that were made before the fork, and allocates nothing.
    unsafe { command.pre_exec(move || prelude.enter()) };
}

impl Prelude {
    fn enter(&mut self) -> io::Result<()> {
        // Fails only for the leader of a group, which a health check's shim may be.
        let _ = rustix::process::setsid();
        rustix::process::umask(Mode::from_raw_mode(0o022));
        for procs in &mut self.cgroups {
            procs.write_all(b"0")?;
        }
        if let Some(files) = self.files {
            limit(Resource::Nofile, files)?;
        }
        if let Some(bytes) = self.data_bytes {
            limit(Resource::Data, bytes)?;
        }
        if let Some(user) = &self.user {
            become_user(user)?;
        }
        if let Some(fd) = &self.inherited {
            rustix::io::fcntl_setfd(fd, FdFlags::empty())?;
        }
        Ok(())
    }
}

fn limit(resource: Resource, most: u64) -> io::Result<()> {
    Ok(rustix::process::setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?)
}

fn become_user(user: &User) -> io::Result<()> {
    let gid = Gid::from_raw(user.gid);
    // A system has a limit of 65,536 groups; no allocation here, so the first 64 of them must do.
    let mut groups = [gid; 64];
    let count = user.groups.len().min(groups.len());
    for (slot, group) in groups.iter_mut().zip(&user.groups) {
        *slot = Gid::from_raw(*group);
    }
    rustix::thread::set_thread_groups(&groups[..count])?;
    rustix::thread::set_thread_gid(gid)?;
    rustix::thread::set_thread_uid(Uid::from_raw(user.uid))?;
    Ok(rustix::thread::set_no_new_privs(true)?)
}
