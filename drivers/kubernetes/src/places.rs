//! Which scopes are in which cluster: kept where the state is, since what is to be looked after must be known without its
//! release.

use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::{JobId, Scope, Sha256Hex};
use deployctl_core::objects::{Object, ObjectError, Objects};
use deployctl_runner::fence::make_private;
use deployctl_runner::trouble::trouble;
use deployctl_sys::durable;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The name of what tells states apart.
const IDENTITY: &str = "identity";
/// What the names of what is kept of jobs begin with.
const JOBS: &str = "jobs";
/// What became of a job is kept this long.
const JOBS_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// Where a scope's objects are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) context: Option<String>,
    pub(crate) namespace: String,
}

#[derive(Clone, Serialize, Deserialize)]
struct Identity {
    state: String,
}

/// Something, and since when it is so, in seconds.
#[derive(Serialize, Deserialize)]
struct Since<T> {
    at: u64,
    what: T,
}

/// What is known of clusters, by name.
pub(crate) enum Places {
    /// Files below `kubernetes` in a state folder.
    Folder(PathBuf),
    /// Objects, and those of them that were seen: a scope does not move.
    Objects(Arc<dyn Objects>, Mutex<BTreeMap<String, Vec<u8>>>),
}

impl Places {
    pub(crate) fn in_folder(state: &Path) -> Self {
        Self::Folder(state.join("kubernetes"))
    }

    pub(crate) fn in_objects(objects: Arc<dyn Objects>) -> Self {
        Self::Objects(objects, Mutex::default())
    }

    /// Where a scope is; none if it never had an object.
    pub(crate) async fn of(&self, scope: &Scope) -> Result<Option<Place>, Fault> {
        self.once(&name(scope)).await
    }

    /// Whether a scope may have a place, without asking anybody.
    pub(crate) fn may_have(&self, scope: &Scope) -> bool {
        match self {
            Self::Folder(root) => !matches!(read_file::<Place>(&root.join(name(scope))), Ok(None)),
            Self::Objects(..) => true,
        }
    }

    /// Keeps where a scope is, durably, before anything is made there.
    pub(crate) async fn keep(&self, scope: &Scope, place: &Place) -> Result<(), Fault> {
        if self.of(scope).await?.as_ref() == Some(place) {
            return Ok(());
        }
        self.put(&name(scope), place).await
    }

    /// Tells this state apart from every other; made when it is first asked for.
    pub(crate) async fn state(&self) -> Result<String, Fault> {
        if let Some(known) = self.once::<Identity>(IDENTITY).await? {
            return Ok(known.state);
        }
        let mut bytes = [0; 6];
        let random = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
        random.map_err(|e| trouble("a random number cannot be read from", Path::new("/dev/urandom"), &e))?;
        let state = hex::encode(bytes);
        let identity = Identity { state: state.clone() };
        let Self::Objects(objects, _) = self else { return self.put(IDENTITY, &identity).await.map(|()| state) };
        let bytes = serde_json::to_vec(&identity).map_err(|e| Fault::refused(FaultKind::Bug, e.to_string()))?;
        match objects.create(IDENTITY, &bytes).await {
            Ok(()) => Ok(state),
            // Another one was first.
            Err(error) => self.once::<Identity>(IDENTITY).await?.map(|known| known.state).ok_or(fault(error)),
        }
    }

    /// The same as [`Places::get`], of what is written once: it is asked for until it is there.
    async fn once<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Fault> {
        let Self::Objects(objects, seen) = self else { return self.get(name).await };
        let known = seen.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        let bytes = match known {
            Some(bytes) => bytes,
            None => match objects.get(&object(name)).await.map_err(fault)? {
                Some(found) => found.bytes,
                None => return Ok(None),
            },
        };
        let value = serde_json::from_slice(&bytes).map_err(|e| damaged(&object(name), &e))?;
        seen.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), bytes);
        Ok(Some(value))
    }

    /// What was put under a name, such as `places/ID`; none if nothing was.
    pub(crate) async fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Fault> {
        match self {
            Self::Folder(root) => read_file(&file(root, name)),
            Self::Objects(objects, _) => {
                let found = objects.get(&object(name)).await.map_err(fault)?;
                let read = |found: Object| serde_json::from_slice(&found.bytes);
                found.map(read).transpose().map_err(|e| damaged(&object(name), &e))
            }
        }
    }

    /// Puts a value under a name, durably, over whatever was there.
    pub(crate) async fn put<T: Serialize>(&self, name: &str, value: &T) -> Result<(), Fault> {
        let bytes = serde_json::to_vec(value).map_err(|e| Fault::refused(FaultKind::Bug, e.to_string()))?;
        match self {
            Self::Folder(root) => write_file(&file(root, name), &bytes),
            Self::Objects(objects, seen) => {
                seen.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
                let over = objects.get(&object(name)).await.map_err(fault)?.map(|found| found.version);
                objects.replace(&object(name), &bytes, over.as_ref()).await.map(drop).map_err(fault)
            }
        }
    }

    /// What is kept of a job; none if its command never began.
    pub(crate) async fn job<T: DeserializeOwned>(&self, id: &JobId) -> Result<Option<T>, Fault> {
        Ok(self.get::<Since<T>>(&job(id)).await?.map(|kept| kept.what))
    }

    /// Keeps that a job's command may have begun, or how it ended; unless its end is kept already: then that is given. So whoever
    /// was replaced, and comes late, does not let it begin again.
    pub(crate) async fn keep_job<T>(
        &self,
        id: &JobId,
        what: &T,
        is_end: impl Fn(&T) -> bool + Send,
    ) -> Result<Option<T>, Fault>
    where
        T: Serialize + DeserializeOwned + Sync,
    {
        let since = Since { at: now().as_secs(), what };
        let Self::Objects(objects, _) = self else {
            // Who writes there has the lock of the state.
            return match self.job(id).await?.filter(is_end) {
                Some(end) => Ok(Some(end)),
                None => self.put(&job(id), &since).await.map(|()| None),
            };
        };
        let name = object(&job(id));
        let found = objects.get(&name).await.map_err(fault)?;
        if let Some(found) = &found {
            let kept: Since<T> = serde_json::from_slice(&found.bytes).map_err(|e| damaged(&name, &e))?;
            if is_end(&kept.what) {
                return Ok(Some(kept.what));
            }
        }
        let bytes = serde_json::to_vec(&since).map_err(|e| Fault::refused(FaultKind::Bug, e.to_string()))?;
        objects.replace(&name, &bytes, found.map(|found| found.version).as_ref()).await.map_err(fault)?;
        Ok(None)
    }

    /// Removes what is kept of jobs that ended so long ago: their outcome is in the journal.
    pub(crate) async fn forget_old_jobs(&self) {
        let is_old = |kept: &Since<IgnoredAny>| kept.at < now().saturating_sub(JOBS_KEPT).as_secs();
        // What cannot be read or removed is left for the next time, like everything that is only in the way.
        match self {
            Self::Folder(root) => {
                for entry in std::fs::read_dir(root.join(JOBS)).into_iter().flatten().flatten() {
                    if read_file(&entry.path()).ok().flatten().as_ref().is_some_and(is_old) {
                        let _ = std::fs::remove_file(entry.path());
                    }
                }
            }
            Self::Objects(objects, _) => {
                for name in objects.list(&format!("{JOBS}-")).await.unwrap_or_default() {
                    let Ok(Some(found)) = objects.get(&name).await else { continue };
                    if serde_json::from_slice(&found.bytes).as_ref().is_ok_and(is_old) {
                        let _ = objects.delete(&name).await;
                    }
                }
            }
        }
    }
}

/// The time of day.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn job(id: &JobId) -> String {
    format!("{JOBS}/{id}")
}

fn name(scope: &Scope) -> String {
    format!("places/{}", Sha256Hex::of(scope.to_string().as_bytes()).short())
}

/// The identity has an ending, for people; nothing else has one.
fn file(root: &Path, name: &str) -> PathBuf {
    root.join(if name == IDENTITY { "identity.json" } else { name })
}

fn object(name: &str) -> String {
    name.replace('/', "-")
}

fn fault(error: ObjectError) -> Fault {
    match error {
        ObjectError::Refused(why) => Fault::refused(FaultKind::Platform, why),
        other => Fault::platform(format!("what is known of clusters: {other}")),
    }
}

fn damaged(what: &dyn std::fmt::Display, error: &serde_json::Error) -> Fault {
    Fault::refused(FaultKind::Platform, format!("{what} is damaged: {error}"))
}

fn read_file<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Fault> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| damaged(&path.display(), &e)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(trouble("what is known of clusters cannot be read from", path, &error)),
    }
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    let made = path.parent().map_or(Ok(()), make_private);
    made.and_then(|()| durable::replace(path, bytes, 0o600))
        .map_err(|e| trouble("what is known of clusters cannot be written to", path, &e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use deployctl_core::id::{AppName, EnvName, ProjectName, RegionName};
    use deployctl_store::MemoryObjects;

    fn scope() -> Scope {
        Scope {
            project: ProjectName::new("shop").unwrap(),
            environment: EnvName::new("dev").unwrap(),
            region: RegionName::default_region(),
            app: AppName::new("api").unwrap(),
        }
    }

    async fn outlives(make: impl Fn() -> Places) {
        make().put("jobs/one", &"begun").await.unwrap();
        make().put("jobs/one", &"ended").await.unwrap();
        assert_eq!(make().get("jobs/one").await.unwrap(), Some("ended".to_owned()));
        let place = Place { context: Some("here".into()), namespace: "shop".into() };
        let places = make();
        assert_eq!(places.of(&scope()).await.unwrap(), None);
        places.keep(&scope(), &place).await.unwrap();
        places.keep(&scope(), &place).await.unwrap();
        let state = places.state().await.unwrap();
        let later = make();
        assert!(later.may_have(&scope()));
        assert_eq!(later.of(&scope()).await.unwrap(), Some(place));
        assert_eq!((later.state().await.unwrap(), state.len()), (state, 12));
    }

    async fn forgets(places: Places) {
        let [old, new] = ["old", "new"].map(|id| JobId::new(id).unwrap());
        assert_eq!(keep(&places, &new, "begun").await, Ok(None));
        places.put(&job(&old), &Since { at: 1, what: "ended" }).await.unwrap();
        assert_eq!(places.job(&old).await.unwrap(), Some("ended".to_owned()));
        places.forget_old_jobs().await;
        assert_eq!(places.job::<String>(&old).await.unwrap(), None);
        assert_eq!(places.job(&new).await.unwrap(), Some("begun".to_owned()));
    }

    async fn keep(places: &Places, id: &JobId, what: &str) -> Result<Option<String>, Fault> {
        places.keep_job(id, &what.to_owned(), |kept| kept != "begun").await
    }

    async fn ends_once(one: Places, other: Places) {
        let id = JobId::new("job").unwrap();
        for (places, what) in [(&one, "begun"), (&other, "begun"), (&other, "ended")] {
            assert_eq!(keep(places, &id, what).await, Ok(None));
        }
        for late in ["begun", "lost"] {
            assert_eq!(keep(&one, &id, late).await, Ok(Some("ended".to_owned())), "who comes late learns of the end");
        }
        assert_eq!(other.job(&id).await, Ok(Some("ended".to_owned())));
    }

    #[tokio::test]
    async fn a_job_that_ended_does_not_begin_for_whoever_comes_late() {
        let folder = tempfile::tempdir().unwrap();
        ends_once(Places::in_folder(folder.path()), Places::in_folder(folder.path())).await;
        let objects: Arc<dyn Objects> = Arc::new(MemoryObjects::default());
        ends_once(Places::in_objects(objects.clone()), Places::in_objects(objects)).await;
    }

    #[tokio::test]
    async fn only_old_jobs_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        forgets(Places::in_folder(folder.path())).await;
        forgets(Places::in_objects(Arc::new(MemoryObjects::default()))).await;
    }

    #[tokio::test]
    async fn places_outlive_whoever_kept_them() {
        let folder = tempfile::tempdir().unwrap();
        outlives(|| Places::in_folder(folder.path())).await;
        let objects: Arc<dyn Objects> = Arc::new(MemoryObjects::default());
        outlives(|| Places::in_objects(objects.clone())).await;
        let later = Places::in_folder(folder.path());
        std::fs::write(folder.path().join("kubernetes").join(name(&scope())), "{").unwrap();
        assert!(later.of(&scope()).await.unwrap_err().message.contains("is damaged"));
    }
}
