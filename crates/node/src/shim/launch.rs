//! From a run's record to a running process.

use super::child::{Prelude, play};
use super::desk::Desk;
use crate::records::{Kind, RunSpec, Value};
use crate::user;
use deployctl_core::instance::SecretValues;
use deployctl_sys::lock::Lock;
use deployctl_sys::{ports, process};
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Starts the run's process and returns its pid. The error is what a person should read.
pub(super) fn start(desk: &mut Desk) -> Result<u32, String> {
    let spec = &desk.spec;
    if let Some(port) = spec.port {
        port_is_free(port)?;
    }
    let live = Lock::try_exclusive(&desk.folder.live_lock())
        .map_err(|e| format!("{} cannot be locked: {e}", desk.folder.live_lock().display()))?
        .ok_or("somebody holds the live lock of this run")?;
    let log = OpenOptions::new().append(true).create(true).mode(0o600).open(desk.folder.log());
    let log = log.map_err(|e| format!("{} cannot be opened: {e}", desk.folder.log().display()))?;
    let errors = log.try_clone().map_err(|e| format!("the log cannot be shared: {e}"))?;
    let mut command = command(spec, &spec.argv, &desk.secrets)?;
    command.stdin(Stdio::null()).stdout(log).stderr(errors);
    let cgroups = desk.groups.doors().map_err(|e| format!("its control groups cannot be entered: {e}"))?;
    let data_bytes = spec.limits.memory_bytes.filter(|_| desk.groups.memory.is_none());
    play(&mut command, Prelude { inherited: Some(live.into()), cgroups, data_bytes, ..prelude(spec)? });
    let child = command.spawn().map_err(|error| explain(spec, &spec.argv[0], &error))?;
    Ok(child.id())
}

/// Becomes the command of the instance's health check; returns only with what prevented it.
pub(super) fn become_check(spec: &RunSpec, secrets: &SecretValues) -> io::Error {
    let Kind::Instance { check, .. } = &spec.kind else { return io::Error::other("a job has no health check") };
    let Some(program) = check.first() else { return io::Error::other("the instance has no command to check it") };
    let mut command = match command(spec, check, secrets) {
        Ok(command) => command,
        Err(message) => return io::Error::other(message),
    };
    match prelude(spec) {
        Ok(prelude) => play(&mut command, prelude),
        Err(message) => return io::Error::other(message),
    }
    let error = command.stdin(Stdio::null()).exec();
    io::Error::other(explain(spec, program, &error))
}

fn command(spec: &RunSpec, argv: &[String], secrets: &SecretValues) -> Result<Command, String> {
    let name = argv.first().ok_or("the command is empty")?;
    let mut command = Command::new(program(spec, name)?);
    command.arg0(name).args(&argv[1..]).current_dir(&spec.cwd).env_clear();
    for (name, value) in &spec.env {
        match value {
            Value::Text(text) => command.env(name, text),
            Value::Secret(reference) => {
                let value = secrets.0.get(reference);
                let value = value.ok_or_else(|| format!("the value of the secret `{}` is not at hand", reference.0))?;
                command.env(name, OsString::from_vec(value.to_vec()))
            }
        };
    }
    Ok(command)
}

/// A name with a `/` is a path, from the artifact's folder on; one without is looked up there, then in `PATH`.
fn program(spec: &RunSpec, name: &str) -> Result<PathBuf, String> {
    if name.contains('/') {
        return Ok(PathBuf::from(name));
    }
    let is_program = |path: &Path| {
        path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    if spec.artifact.is_some() && is_program(&spec.cwd.join(name)) {
        return Ok(Path::new(".").join(name));
    }
    let Some(Value::Text(path)) = spec.env.get("PATH") else {
        return Err(format!("cannot run {name}: it is not in the artifact, and PATH is not a plain text"));
    };
    let found = path.split(':').filter(|folder| !folder.is_empty()).map(|folder| Path::new(folder).join(name));
    found.into_iter().find(|path| is_program(path)).ok_or_else(|| {
        format!("cannot run {name}: it is neither in the artifact's folder {} nor in PATH ({path})", spec.cwd.display())
    })
}

fn prelude(spec: &RunSpec) -> Result<Prelude, String> {
    let user = spec.user.as_deref().map(user::find).transpose()?;
    Ok(Prelude { files: spec.limits.files, user, ..Prelude::default() })
}

fn port_is_free(port: u16) -> Result<(), String> {
    let taken = ports::listeners(port).map_err(|e| format!("the listening sockets cannot be looked at: {e}"))?;
    match taken.first() {
        None => Ok(()),
        Some(listener) => Err(taken_by(port, ports::owner(listener.inode).ok().flatten())),
    }
}

/// What is said of a port that a process other than the instance listens on.
pub(crate) fn taken_by(port: u16, owner: Option<u32>) -> String {
    match owner {
        Some(pid) => format!("port {port} is taken by pid {pid} ({})", process::command_line(pid)),
        None => format!("port {port} is taken by a process that cannot be seen"),
    }
}

fn explain(spec: &RunSpec, program: &str, error: &io::Error) -> String {
    let inside = spec.cwd.join(program);
    let why = match error.kind() {
        io::ErrorKind::NotFound if !spec.cwd.is_dir() => {
            return format!("the folder {} is missing", spec.cwd.display());
        }
        io::ErrorKind::NotFound if inside.exists() => {
            "it is there, but the interpreter of its first line, or its loader, is missing".into()
        }
        io::ErrorKind::NotFound => "no such file".into(),
        io::ErrorKind::PermissionDenied if inside.is_dir() => "it is a folder".into(),
        io::ErrorKind::PermissionDenied if spec.user.is_some() => {
            format!(
                "permission denied; it must be executable, and user `{}` must be able to reach it",
                spec.user.as_deref().unwrap_or_default()
            )
        }
        io::ErrorKind::PermissionDenied => "it is not executable".into(),
        _ if error.raw_os_error() == Some(8) => {
            "it is not a program of this machine (another architecture, or a script without a #! line)".into()
        }
        _ => error.to_string(),
    };
    format!("cannot run {program} in {}: {why}", spec.cwd.display())
}
