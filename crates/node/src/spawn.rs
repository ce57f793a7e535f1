//! Starting a shim.

use crate::layout::RunFolder;
use deployctl_core::instance::SecretValues;
use deployctl_sys::process::{self, Identity};
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What a shim is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShimFor {
    /// An instance.
    Run,
    /// A job.
    Job,
    /// One health check by command.
    Check,
}

impl ShimFor {
    fn flag(self) -> &'static str {
        match self {
            Self::Run => "--run",
            Self::Job => "--job",
            Self::Check => "--check",
        }
    }
}

/// The shims of a run or job, by their arguments: also one that was stopped before it could say who it is.
pub(crate) fn shims_of(state: &Path, what: ShimFor, id: &str) -> Vec<Identity> {
    let wanted =
        [&b"shim"[..], b"--state", state.as_os_str().as_encoded_bytes(), what.flag().as_bytes(), id.as_bytes()];
    let is_one = |pid: &u32| process::arguments(*pid).iter().skip(1).take(wanted.len()).eq(wanted.iter());
    let pids = process::all().unwrap_or_default();
    pids.into_iter().filter(is_one).filter_map(|pid| Identity::of(pid).ok().flatten()).collect()
}

/// How shims are started.
#[derive(Clone, Debug)]
pub(crate) struct Spawner<'a> {
    /// The binary, whose first argument is the role.
    pub(crate) binary: &'a Path,
    /// The state folder.
    pub(crate) state: &'a Path,
    /// Variables for the shim alone.
    pub(crate) env: &'a [(String, String)],
}

impl Spawner<'_> {
    /// Starts a shim that lives on without this process.
    pub(crate) fn shim(
        &self,
        what: ShimFor,
        id: &str,
        folder: &RunFolder,
        secrets: Option<&SecretValues>,
        stop: Option<Duration>,
    ) -> io::Result<Child> {
        let log = folder.path().join("shim.log");
        let errors = OpenOptions::new().append(true).create(true).mode(0o600).open(log);
        let mut command = self.command(what, id, secrets)?;
        // A full disk must not keep a shim from its work.
        command.stdout(Stdio::null()).stderr(errors.map_or_else(|_| Stdio::null(), Stdio::from));
        if let Some(grace) = stop {
            command.arg("--stop").arg(grace.as_millis().to_string());
        }
        command.spawn()
    }

    /// Starts one health check by command; what it prints comes through its pipes.
    pub(crate) fn check(&self, id: &str, secrets: Option<&SecretValues>) -> io::Result<Child> {
        let mut command = self.command(ShimFor::Check, id, secrets)?;
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
    }

    fn command(&self, what: ShimFor, id: &str, secrets: Option<&SecretValues>) -> io::Result<Command> {
        let stdin = match secrets {
            Some(values) => Stdio::from(crate::secrets::pack(values)?),
            None => Stdio::null(),
        };
        let mut command = Command::new(self.binary);
        command.arg("shim").arg("--state").arg(self.state).arg(what.flag()).arg(id);
        command.env_clear().env("DEPLOYCTL_STATE", self.state).stdin(stdin).current_dir("/");
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }
}
