//! The composition root: which implementation stands behind which port.

use super::everywhere::Everywhere;
use super::kept::{Kept, failed};
use super::targets::Targets;
use super::vault::{self, FileVault};
use async_trait::async_trait;
use deployctl_core::ask::Refused;
use deployctl_core::config::{Artifact, ArtifactSource};
use deployctl_core::fault::{Applied, Fault, FaultKind, Retry};
use deployctl_core::id::{DeploymentId, Sha256Hex};
use deployctl_core::instance::Instances;
use deployctl_core::journal::Blobs;
use deployctl_core::ports::{Artifacts, Clock, NotTaken};
use deployctl_core::release::{Release, Releases};
use deployctl_core::time::Millis;
use deployctl_driver_docker::{Docker, DockerOptions, Endpoint};
use deployctl_driver_managed::Managed;
use deployctl_engine::{Engine, Ports};
use deployctl_node::artifacts::{IngestError, IngestKind};
use deployctl_node::{Node, NodeOptions};
use deployctl_proxy::ProxyRouter;
use deployctl_store::seal::SealedSecrets;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// An engine over the real world.
pub(crate) struct World {
    pub(crate) engine: Arc<Engine>,
    pub(crate) router: Arc<ProxyRouter>,
}

/// Puts an engine together over what is kept of a state, and the folder of what runs here. Everything in it is opened, nothing is
/// started yet.
pub(crate) fn world(state: &Path, binary: &Path, kept: Kept) -> Result<World, Refused> {
    let sealed = SealedSecrets::open(&state.join("sealed"), &kept.key);
    let sealed = sealed.map_err(|e| failed("the secrets", &e, e.hint()))?;
    let sealed = Arc::new(sealed);
    let options = NodeOptions::new(state.into(), binary.into(), vault::source(sealed.clone()));
    let node = Arc::new(Node::new(options)?);
    let router = Arc::new(ProxyRouter::new(state.into(), binary.into()));
    let releases = Arc::new(KeptReleases { blobs: kept.blobs.clone(), cache: Mutex::default() });
    let endpoint = Endpoint::of(|name| std::env::var(name).ok());
    let (secrets, logins) = (vault::source(sealed.clone()), crate::registry::engine_logins());
    let kube_secrets = secrets.clone();
    let docker = Docker::new(DockerOptions { state: state.into(), secrets, logins, endpoint });
    let artifacts = NodeArtifacts(node.clone());
    let targets = Arc::new(Targets { node, docker, artifacts });
    let managed = Managed::new(targets.clone(), targets.clone(), router.clone(), releases.clone());
    let only_clusters = kept.only_clusters();
    let kubernetes = kept.kubernetes(state, releases.clone(), kube_secrets);
    let driver = Arc::new(Everywhere { managed, kubernetes, releases, only_clusters });
    let using = targets.clone();
    let in_use = move || {
        let targets = using.clone();
        let all = async move { targets.artifacts_in_use().await.unwrap_or_default() };
        Box::pin(all) as std::pin::Pin<Box<dyn Future<Output = Vec<Sha256Hex>> + Send>>
    };
    let ports = Ports {
        journal: kept.journal,
        blobs: kept.blobs,
        driver,
        artifacts: targets,
        vault: Arc::new(FileVault { key: kept.key, sealed }),
        clock: Arc::new(WallClock),
        ids: Arc::new(new_id),
        owner: kept.owner,
        seat: kept.seat,
        in_use: Arc::new(in_use),
    };
    Ok(World { engine: Engine::new(ports), router })
}

fn new_id() -> DeploymentId {
    let text = uuid::Uuid::now_v7().to_string();
    DeploymentId::new(text).unwrap_or_else(|e| unreachable!("a UUID is a well-formed id: {e}"))
}

struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// Releases from the blobs; immutable, so a cache of them is never stale.
struct KeptReleases {
    blobs: Arc<dyn Blobs>,
    cache: Mutex<HashMap<Sha256Hex, Arc<Release>>>,
}

/// More than this many are not kept in memory.
const CACHED_MAX: usize = 1_000;

#[async_trait]
impl Releases for KeptReleases {
    async fn release(&self, id: &Sha256Hex) -> Result<Arc<Release>, Fault> {
        if let Some(release) = self.cache.lock().unwrap_or_else(PoisonError::into_inner).get(id) {
            return Ok(release.clone());
        }
        let bytes = self.blobs.get(id).await.map_err(|e| Fault::platform(e.to_string()))?;
        let lost = || Fault {
            kind: FaultKind::Platform,
            applied: Applied::No,
            retry: Retry::Never,
            message: format!("the release {} is not kept any more", id.short()),
            hint: Some("deploy a version anew".into()),
        };
        let release: Release = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).ok_or_else(lost)?;
        let release = Arc::new(release);
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= CACHED_MAX {
            cache.clear();
        }
        cache.insert(id.clone(), release.clone());
        Ok(release)
    }
}

/// Whose trouble a failed ingest is.
fn ingest(error: IngestError) -> NotTaken {
    let is_wrong = matches!(error.kind, IngestKind::Corrupt | IngestKind::WrongDigest | IngestKind::Refused);
    let fault = match error.kind {
        IngestKind::NotFound | IngestKind::Corrupt | IngestKind::WrongDigest | IngestKind::Refused => {
            Fault::refused(FaultKind::Spec, error.message)
        }
        _ => Fault::platform(error.message),
    };
    NotTaken { is_wrong, ..Fault { hint: error.hint, ..fault }.into() }
}

/// The node's artifact store, off the engine's thread.
pub(crate) struct NodeArtifacts(Arc<Node>);

impl NodeArtifacts {
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Node) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let node = self.0.clone();
        let done = tokio::task::spawn_blocking(move || work(&node)).await;
        done.unwrap_or_else(|e| Err(Fault::refused(FaultKind::Bug, format!("the artifact store failed: {e}"))))
    }
}

#[async_trait]
impl Artifacts for NodeArtifacts {
    async fn ingest(&self, source: &ArtifactSource, expected: Option<&Sha256Hex>) -> Result<Artifact, NotTaken> {
        let (source, expected) = (source.clone(), expected.cloned());
        let taken = self.blocking(move |node| Ok(node.artifacts().ingest(&source, expected.as_ref()).map_err(ingest)));
        taken.await.unwrap_or_else(|fault| Err(fault.into()))
    }

    async fn has(&self, artifact: &Artifact) -> Result<bool, Fault> {
        let artifact = artifact.clone();
        self.blocking(move |node| Ok(node.artifacts().tree(&artifact).is_dir())).await
    }

    async fn retain(&self, keep: &[Sha256Hex]) -> Result<(), Fault> {
        let keep = keep.to_vec();
        self.blocking(move |node| node.artifacts().retain(&keep).map(drop).map_err(|e| Fault::platform(e.to_string())))
            .await
    }
}
