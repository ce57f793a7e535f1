//! Which scopes are in which cluster: on the disk, since what is to be looked after must be known without its release.

use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::{Scope, Sha256Hex};
use deployctl_runner::fence::make_private;
use deployctl_runner::trouble::trouble;
use deployctl_sys::durable;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Where a scope's objects are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) context: Option<String>,
    pub(crate) namespace: String,
}

#[derive(Serialize, Deserialize)]
struct Identity {
    state: String,
}

/// Files below `kubernetes` in a state folder.
pub(crate) struct Places {
    root: PathBuf,
}

impl Places {
    pub(crate) fn new(state: &Path) -> Self {
        Self { root: state.join("kubernetes") }
    }

    /// Where a scope is; none if it never had an object.
    pub(crate) fn of(&self, scope: &Scope) -> Result<Option<Place>, Fault> {
        read(&self.file(scope))
    }

    /// Keeps where a scope is, durably, before anything is made there.
    pub(crate) fn keep(&self, scope: &Scope, place: &Place) -> Result<(), Fault> {
        if self.of(scope)?.as_ref() == Some(place) {
            return Ok(());
        }
        write(&self.file(scope), place)
    }

    /// Tells this state apart from every other; made when it is first asked for.
    pub(crate) fn state(&self) -> Result<String, Fault> {
        let path = self.root.join("identity.json");
        if let Some(known) = read::<Identity>(&path)? {
            return Ok(known.state);
        }
        let mut bytes = [0; 6];
        let random = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
        random.map_err(|e| trouble("a random number cannot be read from", Path::new("/dev/urandom"), &e))?;
        let state = hex::encode(bytes);
        write(&path, &Identity { state: state.clone() })?;
        Ok(state)
    }

    fn file(&self, scope: &Scope) -> PathBuf {
        self.root.join("places").join(Sha256Hex::of(scope.to_string().as_bytes()).short())
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Fault> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| Fault::refused(FaultKind::Platform, format!("{} is damaged: {e}", path.display()))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(trouble("what is known of clusters cannot be read from", path, &error)),
    }
}

fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), Fault> {
    let bytes = serde_json::to_vec(value).map_err(|e| Fault::refused(FaultKind::Bug, e.to_string()))?;
    let made = path.parent().map_or(Ok(()), make_private);
    made.and_then(|()| durable::replace(path, &bytes, 0o600))
        .map_err(|e| trouble("what is known of clusters cannot be written to", path, &e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use deployctl_core::id::{AppName, EnvName, ProjectName, RegionName};

    #[test]
    fn places_outlive_whoever_kept_them() {
        let folder = tempfile::tempdir().unwrap();
        let scope = Scope {
            project: ProjectName::new("shop").unwrap(),
            environment: EnvName::new("dev").unwrap(),
            region: RegionName::default_region(),
            app: AppName::new("api").unwrap(),
        };
        let place = Place { context: Some("here".into()), namespace: "shop".into() };
        let places = Places::new(folder.path());
        assert_eq!(places.of(&scope).unwrap(), None);
        places.keep(&scope, &place).unwrap();
        let state = places.state().unwrap();
        let later = Places::new(folder.path());
        assert_eq!(later.of(&scope).unwrap(), Some(place));
        assert_eq!(later.state().unwrap(), state);
        assert_eq!(state.len(), 12);
        std::fs::write(later.file(&scope), "{").unwrap();
        assert!(later.of(&scope).unwrap_err().message.contains("is damaged"));
    }
}
