//! What is kept in the state folder of containers.

use crate::address::Address;
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::{InstanceId, JobId, Scope, Sha256Hex};
use deployctl_runner::fence::make_private;
use deployctl_runner::trouble::trouble;
use deployctl_sys::durable;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Files below `docker` in a state folder.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    state: PathBuf,
}

/// Which state this is and which engine it belongs to: written once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Random; part of the name of every container, so that two states never meet.
    pub(crate) state: String,
    /// Where the engine is.
    #[serde(flatten)]
    pub(crate) engine: Address,
}

impl Layout {
    pub(crate) fn new(state: PathBuf) -> Self {
        Self { state }
    }

    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    fn root(&self) -> PathBuf {
        self.state.join("docker")
    }

    /// Which scopes ever had a container.
    pub(crate) fn mark(&self, scope: &Scope) -> PathBuf {
        self.root().join("scopes").join(Sha256Hex::of(scope.to_string().as_bytes()).short())
    }

    /// Whose a Compose project is.
    pub(crate) fn project(&self, name: &str) -> PathBuf {
        self.root().join("projects").join(crate::compose::file_name(name))
    }

    /// Holds a file per container of Compose's that was taken over.
    pub(crate) fn adopted_root(&self) -> PathBuf {
        self.root().join("adopted")
    }

    /// Which container of Compose's an instance is.
    pub(crate) fn adopted(&self, id: &InstanceId) -> PathBuf {
        self.adopted_root().join(id.as_str())
    }

    /// Which container of an instance was healthy last.
    pub(crate) fn healthy(&self, id: &InstanceId) -> PathBuf {
        self.root().join("healthy").join(id.as_str())
    }

    /// That a job's command may have begun, and how it ended.
    pub(crate) fn job(&self, id: &JobId) -> PathBuf {
        self.root().join("jobs").join(id.as_str())
    }

    /// Removes what is kept of jobs that ended so long ago: their outcome is in the journal.
    pub(crate) fn forget_old_jobs(&self, kept: Duration) {
        for entry in std::fs::read_dir(self.root().join("jobs")).into_iter().flatten().flatten() {
            let age = entry.metadata().and_then(|file| file.modified()).ok().and_then(|at| at.elapsed().ok());
            if age.is_some_and(|age| age > kept) {
                let _ = remove(&entry.path());
            }
        }
    }

    /// Holds a file per image that was pulled here.
    pub(crate) fn images(&self) -> PathBuf {
        self.root().join("images")
    }

    /// Which engine answered first, of those that are named by more than a socket.
    pub(crate) fn engine(&self) -> PathBuf {
        self.root().join("engine")
    }

    /// Holds a file per container that is reached through SSH.
    pub(crate) fn ways(&self) -> PathBuf {
        self.root().join("ways")
    }

    /// Where the `ssh` that leads to them has its socket.
    pub(crate) fn tunnel(&self) -> PathBuf {
        self.root().join("tunnel")
    }

    /// The identity, if containers were ever used here.
    pub(crate) fn known(&self) -> Result<Option<Identity>, Fault> {
        read(&self.root().join("identity.json"))
    }

    /// The identity; made now if there is none.
    pub(crate) fn identity(&self, engine: Address) -> Result<Identity, Fault> {
        if let Some(known) = self.known()? {
            return Ok(known);
        }
        let mut bytes = [0; 6];
        let random = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
        random.map_err(|e| trouble("a random number cannot be read from", Path::new("/dev/urandom"), &e))?;
        let made = Identity { state: hex::encode(bytes), engine };
        write(&self.root().join("identity.json"), &made)?;
        Ok(made)
    }
}

/// Reads what [`write`] wrote.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Fault> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| Fault::refused(FaultKind::Platform, format!("{} is damaged: {e}", path.display()))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(trouble("what is known of containers cannot be read from", path, &error)),
    }
}

/// Writes a value durably.
pub(crate) fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), Fault> {
    let bytes = serde_json::to_vec(value).map_err(|e| Fault::refused(FaultKind::Bug, e.to_string()))?;
    let made = path.parent().map_or(Ok(()), make_private);
    made.and_then(|()| durable::replace(path, &bytes, 0o600))
        .map_err(|e| trouble("what is known of containers cannot be written to", path, &e))
}

/// Removes a file that may not be there.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
