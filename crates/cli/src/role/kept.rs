//! What of a state is kept, and where: in its directory, or in a namespace of a cluster.

use super::crashing::Crashing;
use crate::asking;
use crate::state::Namespace;
use deployctl_core::ask::{Refused, RefusedKind};
use deployctl_core::id::OwnerId;
use deployctl_core::journal::{Blobs, Journal};
use deployctl_core::lease::Seat;
use deployctl_core::objects::{ObjectError, Objects};
use deployctl_core::release::Releases;
use deployctl_core::time::Span;
use deployctl_driver_kubernetes::{Kubernetes, NamespaceObjects};
use deployctl_node::SecretSource;
use deployctl_store::seal::Key;
use deployctl_store::{FileBlobs, ObjectBlobs, ObjectJournal, ObjectSeat, SqliteJournal};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// An engine that says nothing for so long is dead.
const LEASE: Span = Span::secs(10);
/// What others wrote to a state in a cluster is asked for so often at most while a deployment is walked or watched. A command
/// always sees what was written before it.
const FRESH: Duration = Duration::from_millis(250);
/// The Secret's object with the state's key.
const KEY: &str = "key";

/// What is kept of a state.
pub(crate) struct Kept {
    pub(crate) owner: OwnerId,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) blobs: Arc<dyn Blobs>,
    pub(crate) key: Key,
    pub(crate) seat: Option<Arc<dyn Seat>>,
    objects: Option<Arc<dyn Objects>>,
}

fn new_owner() -> OwnerId {
    OwnerId::new(uuid::Uuid::now_v7().to_string()).unwrap_or_else(|e| unreachable!("a UUID is a well-formed id: {e}"))
}

pub(crate) fn failed(what: &str, error: &dyn std::fmt::Display, hint: &str) -> Refused {
    let message = format!("{what} cannot be opened: {error}");
    Refused::new(RefusedKind::Unreachable, "state-unusable", message).hint(hint)
}

impl Kept {
    /// In a directory, for the engine that has its lock.
    pub(crate) fn in_folder(state: &Path) -> Result<Self, Refused> {
        let journal = SqliteJournal::open(&state.join("journal.db"));
        let journal = journal.map_err(|e| failed("the journal", &e, e.hint()))?;
        let disk = "nothing was changed; check the disk and the permissions of the state directory";
        let blobs = FileBlobs::open(&state.join("blobs")).map_err(|e| failed("the blobs", &e, disk))?;
        let key = Key::load_or_create(&state.join("key")).map_err(|e| failed("the state's key", &e, e.hint()))?;
        let (journal, blobs) = (Arc::new(Crashing(journal)), Arc::new(blobs));
        Ok(Self { owner: new_owner(), journal, blobs, key, seat: None, objects: None })
    }

    /// In a namespace of a cluster.
    pub(crate) async fn in_namespace(namespace: &Namespace) -> Result<Self, Refused> {
        let of = |kept| NamespaceObjects::new(namespace.context.clone(), namespace.namespace.clone(), kept);
        let key = key(&of(deployctl_driver_kubernetes::Kept::Secrets)).await.map_err(|why| {
            failed(
                &format!("the state {namespace}"),
                &why,
                "nothing was changed; check the cluster and the permissions",
            )
        })?;
        let objects: Arc<dyn Objects> = Arc::new(of(deployctl_driver_kubernetes::Kept::ConfigMaps));
        let owner = new_owner();
        let journal = ObjectJournal::new(objects.clone()).fresh_for(FRESH);
        Ok(Self {
            journal: Arc::new(Crashing(journal)),
            blobs: Arc::new(ObjectBlobs::new(objects.clone())),
            key,
            seat: Some(Arc::new(ObjectSeat::new(objects.clone(), owner.clone(), asking::who(), LEASE))),
            objects: Some(objects),
            owner,
        })
    }

    /// Whether nothing that needs this machine can be run.
    pub(crate) fn only_clusters(&self) -> bool {
        self.objects.is_some()
    }

    /// The driver of clusters, which keeps where each scope is.
    pub(crate) fn kubernetes(&self, state: &Path, releases: Arc<dyn Releases>, secrets: SecretSource) -> Kubernetes {
        match &self.objects {
            None => Kubernetes::new(state, releases, secrets),
            Some(objects) => Kubernetes::in_objects(objects.clone(), releases, secrets),
        }
    }
}

/// The state's key, made by whoever is first.
async fn key(secrets: &dyn Objects) -> Result<Key, String> {
    for _ in 0..3 {
        if let Some(object) = secrets.get(KEY).await.map_err(|e| e.to_string())? {
            let key = std::str::from_utf8(&object.bytes).ok().and_then(Key::parse);
            return key
                .ok_or_else(|| format!("the Secret with its key is damaged; restore it from a backup ({secrets:?})"));
        }
        let text = Key::random_text().map_err(|e| e.to_string())?;
        match secrets.create(KEY, text.as_bytes()).await {
            Ok(()) | Err(ObjectError::Changed | ObjectError::Unknown(_)) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    Err("its key was written, and is not there".into())
}
