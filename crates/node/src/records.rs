//! The files by which engine and shims know of each other. They outlive both and are read by binaries of other builds:
//! fields may be added with a default, never renamed or given another meaning.

use deployctl_core::config::{Health, Limits, Restart, SecretRef};
use deployctl_core::id::{AppName, Revision, Scope, Sha256Hex, Version};
use deployctl_core::time::{Millis, Span};
use deployctl_sys::process::Identity;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// What is to run, completely bound. Holds references to secrets, never values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSpec {
    /// The id of the instance or job.
    pub id: String,
    /// Where it belongs.
    pub scope: Scope,
    /// What it is a copy of.
    pub revision: Revision,
    /// The app's version.
    pub version: Version,
    /// Its number among its siblings.
    pub slot: u32,
    /// Whether it goes on until it is stopped, or to its end.
    pub kind: Kind,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Its whole environment.
    pub env: BTreeMap<String, Value>,
    /// Where it starts.
    pub cwd: PathBuf,
    /// The artifact that `cwd` is made of.
    pub artifact: Option<Sha256Hex>,
    /// Its port, if it has one.
    pub port: Option<u16>,
    /// Whether the port belongs to the scope and not to the instance.
    #[serde(default)]
    pub port_is_stable: bool,
    /// The user to run as.
    pub user: Option<String>,
    /// Its limits.
    pub limits: Limits,
    /// How much output is kept.
    pub log_bytes_max: u64,
    /// How long it may take to end when it is told to and nobody says how long.
    pub drain: Span,
}

/// What kind of run it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An instance of an app.
    Instance {
        /// What happens when it exits by itself.
        restart: Restart,
        /// How it is asked whether it is healthy.
        health: Option<Health>,
        /// The bound command of a health check by command.
        check: Vec<String>,
        /// Whether `health.check` speaks HTTP/2.
        #[serde(default)]
        h2: bool,
    },
    /// A job.
    Job {
        /// How long it may take.
        timeout: Span,
        /// Whether it may run again when nobody saw how it ended.
        repeatable: bool,
    },
}

/// The value of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// A text.
    Text(String),
    /// The value of a secret, which the shim is handed apart.
    Secret(SecretRef),
}

impl RunSpec {
    /// The app, for messages.
    pub fn app(&self) -> &AppName {
        &self.scope.app
    }

    /// `127.0.0.1:PORT`, if it has a port.
    pub fn address(&self) -> Option<String> {
        self.port.map(|port| format!("127.0.0.1:{port}"))
    }

    /// Whether any variable is a secret.
    pub fn has_secrets(&self) -> bool {
        self.env.values().any(|value| matches!(value, Value::Secret(_)))
    }
}

/// How an instance or a job is, as its shim last wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunState {
    /// What the shim does.
    pub phase: Phase,
    /// The process, while there is one.
    pub process: Option<Proc>,
    /// The shim.
    pub shim: Proc,
    /// When the process was started last.
    pub since: Millis,
    /// How often it was started again after exiting by itself.
    pub restarts: u32,
    /// The last exits, oldest first.
    pub exits: Vec<Exit>,
    /// Where in the log the output of the present, or else the last, process begins.
    pub log_from: u64,
    /// What a person should know, such as a limit that holds per process only.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The folders of its control groups.
    #[serde(default)]
    pub cgroups: Vec<PathBuf>,
}

/// What a shim does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// About to start the process.
    Starting,
    /// Watches the process.
    Running,
    /// Waits before it starts the process again.
    Pausing,
    /// Ends the process.
    Stopping,
    /// Nothing is left of it.
    Gone,
}

/// An exit that nobody asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// When.
    pub at: Millis,
    /// Such as `exit 3`, `killed by SIGKILL`, `cannot run ./x: ...`.
    pub how: String,
    /// Where its output begins in the log.
    pub log_from: u64,
    /// The process, if there ever was one.
    pub process: Option<Proc>,
}

/// A process, as it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proc {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since boot.
    pub start: u64,
    /// The boot that it runs in.
    pub boot: String,
}

impl From<Identity> for Proc {
    fn from(id: Identity) -> Self {
        Self { pid: id.pid, start: id.start, boot: id.boot }
    }
}

impl From<&Proc> for Identity {
    fn from(proc: &Proc) -> Self {
        Self { pid: proc.pid, start: proc.start, boot: proc.boot.clone() }
    }
}

impl Proc {
    /// Whether it runs.
    pub fn is_alive(&self) -> bool {
        Identity::from(self).is_alive()
    }
}

/// An order to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopOrder {
    /// How long it may take to end by itself.
    pub grace_ms: Span,
}

/// That a job's command may have begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// When.
    pub at: Millis,
    /// In which boot.
    pub boot: String,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobResult {
    /// Whether it exited 0.
    pub ok: bool,
    /// Such as `exit 3` or `killed after 10 s`.
    pub how: String,
    /// When.
    pub at: Millis,
}

/// Reads a record; `None` if there is none.
pub fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let broken = |error| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).map(Some).map_err(broken)
}

/// Replaces a record, durably.
pub fn write_durable<T: Serialize>(path: &Path, record: &T) -> io::Result<()> {
    deployctl_sys::durable::replace(path, &bytes(record), 0o600)
}

/// Replaces a record whole, without waiting for the disk: for what a reboot makes void anyway. Each record has one
/// writer, so that the temporary file has a fixed name and a crash leaves at most that one.
pub fn write<T: Serialize>(path: &Path, record: &T) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let temporary = path.with_extension("tmp");
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| io::Write::write_all(&mut file, &bytes(record)))
        .and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

fn bytes<T: Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_vec(record).unwrap_or_else(|e| unreachable!("records have string keys only: {e}"))
}
