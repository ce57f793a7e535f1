//! An engine, its ports, and questions to it.

use async_trait::async_trait;
use deployctl_core::ask::{Answer, By, Deploy, DeployLeg, Refused, Rollback, Selection};
use deployctl_core::config::{
    AppConfig, Artifact, ArtifactFormat, ArtifactSource, Command, Hooks, LateText, Limits, Migrate, ProcessConfig,
    Restart, SecretRef, Strategy, TargetConfig,
};
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::{DeploymentId, OwnerId, RegionName, Scope, Sha256Hex, Version};
use deployctl_core::instance::SecretValues;
use deployctl_core::lease::Seat;
use deployctl_core::ports::{Artifacts, Clock, NotTaken, Vault};
use deployctl_core::release::Release;
use deployctl_core::time::{Millis, Span};
use deployctl_core::view;
use deployctl_engine::{Engine, Ports};
use deployctl_store::{MemoryBlobs, MemoryJournal, MemoryObjects, ObjectSeat};
use deployctl_testkit::fake::Fake;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What outlives an engine.
#[derive(Clone, Default)]
pub(crate) struct World {
    pub(crate) journal: MemoryJournal,
    pub(crate) blobs: Arc<MemoryBlobs>,
    pub(crate) fake: Arc<Fake>,
    count: Arc<AtomicU64>,
}

struct Wall;

impl Clock for Wall {
    fn now(&self) -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Millis(u64::try_from(since.as_millis()).unwrap())
    }
}

/// Every path is an artifact of its own; what is under `gone/` is not there, under `wrong/` of other bytes than expected.
struct Paths;

#[async_trait]
impl Artifacts for Paths {
    async fn ingest(&self, source: &ArtifactSource, _: Option<&Sha256Hex>) -> Result<Artifact, NotTaken> {
        // Others get a turn meanwhile, as they do while a real one is read.
        tokio::task::yield_now().await;
        let not =
            |message: &str, is_wrong| Err(NotTaken { is_wrong, ..Fault::refused(FaultKind::Spec, message).into() });
        let path = match source {
            ArtifactSource::Path(path) if path.starts_with("gone/") => return not("there is no such file", false),
            ArtifactSource::Path(path) if path.starts_with("wrong/") => return not("it has another sha256", true),
            ArtifactSource::Path(path) => path,
            ArtifactSource::Digests(digests) => return Ok(Artifact::pulled(digests)),
            ArtifactSource::Url(_) | ArtifactSource::Image(_) | ArtifactSource::SignedImage { .. } => {
                return not("no network here", false);
            }
        };
        Ok(Artifact { sha256: Sha256Hex::of(path.as_bytes()), format: ArtifactFormat::File })
    }

    async fn has(&self, _: &Artifact) -> Result<bool, Fault> {
        Ok(true)
    }

    async fn retain(&self, _: &[Sha256Hex]) -> Result<(), Fault> {
        Ok(())
    }
}

struct NoVault;

#[async_trait]
impl Vault for NoVault {
    fn digest(&self, _: &SecretRef, value: &[u8]) -> Sha256Hex {
        Sha256Hex::of(value)
    }

    async fn seal(&self, _: &Sha256Hex, _: &SecretValues) -> Result<(), Fault> {
        Ok(())
    }

    async fn has(&self, _: &Sha256Hex) -> Result<bool, Fault> {
        Ok(true)
    }

    async fn retain(&self, _: &[Sha256Hex]) -> Result<(), Fault> {
        Ok(())
    }

    fn sign(&self, bytes: &[u8]) -> String {
        Sha256Hex::of(bytes).to_string()
    }

    fn is_ours(&self, bytes: &[u8], signature: &str) -> bool {
        self.sign(bytes) == signature
    }
}

impl World {
    /// A new engine over what there is, recovered.
    pub(crate) async fn engine(&self) -> Arc<Engine> {
        let engine = self.engine_with(None);
        engine.recover().await.unwrap();
        engine
    }

    /// An engine that is one of several, by what it sees of the seat.
    pub(crate) async fn one_of_several(&self, who: &str, seen: MemoryObjects) -> Arc<Engine> {
        let owner = OwnerId::new(who).unwrap();
        let seat = ObjectSeat::new(Arc::new(seen), owner.clone(), format!("{who}@there"), Span::secs(3));
        let engine = self.engine_with(Some((owner, Arc::new(seat))));
        engine.attend().await.unwrap();
        engine
    }

    fn engine_with(&self, seat: Option<(OwnerId, Arc<dyn Seat>)>) -> Arc<Engine> {
        let (count, owner) = (self.count.clone(), self.count.fetch_add(1, Ordering::Relaxed));
        let ports = Ports {
            journal: Arc::new(self.journal.clone()),
            blobs: self.blobs.clone(),
            driver: self.fake.clone(),
            artifacts: Arc::new(Paths),
            vault: Arc::new(NoVault),
            clock: Arc::new(Wall),
            ids: Arc::new(move || {
                DeploymentId::new(format!("d-{:06}", count.fetch_add(1, Ordering::Relaxed))).unwrap()
            }),
            owner: seat
                .as_ref()
                .map_or_else(|| OwnerId::new(format!("o-{owner}")).unwrap(), |(owner, _)| owner.clone()),
            seat: seat.map(|(_, seat)| seat),
            in_use: Arc::new(|| Box::pin(async { Vec::new() })),
        };
        Engine::new(ports)
    }
}

pub(crate) fn scope(app: &str) -> Scope {
    Scope {
        project: "shop".parse().unwrap(),
        environment: "dev".parse().unwrap(),
        region: RegionName::default_region(),
        app: app.parse().unwrap(),
    }
}

pub(crate) fn config(strategy: Strategy) -> AppConfig {
    AppConfig {
        target: TargetConfig::Process(ProcessConfig {
            command: vec![LateText::plain("./app")],
            env: BTreeMap::new(),
            port: true,
            user: None,
            limits: Limits::default(),
            restart: Restart::default(),
            log_bytes_max: 1 << 20,
        }),
        instances: 2,
        strategy,
        depends_on: Vec::new(),
        route: None,
        health: None,
        smoke: Vec::new(),
        migrate: None,
        hooks: Hooks::default(),
        drain: Span::secs(1),
        deadline: Span::secs(60),
        bake: Span::default(),
    }
}

pub(crate) fn command(program: &str) -> Command {
    Command { run: vec![LateText::plain(program)], timeout: Span::secs(5), repeatable: false }
}

pub(crate) fn migrating(irreversible: bool) -> AppConfig {
    let run = command("./migrate");
    let undo = (!irreversible).then(|| run.clone());
    AppConfig { migrate: Some(Migrate { run, undo, irreversible }), ..config(Strategy::BlueGreen) }
}

pub(crate) fn leg(app: &str, version: &str, config: AppConfig) -> DeployLeg {
    DeployLeg {
        scope: scope(app),
        version: version.parse::<Version>().unwrap(),
        config,
        artifact: Some(ArtifactSource::Path(format!("{app}-{version}"))),
        sha256: None,
        known_first: false,
        built_here: false,
        secrets: BTreeMap::new(),
    }
}

pub(crate) fn deploy(legs: Vec<DeployLeg>) -> Deploy {
    Deploy { legs, after: None, approvals: 0, spec: None, by: by(), plan: None, id: None, correct_drift: false }
}

pub(crate) fn by() -> By {
    By { actor: "somebody@here".into(), reason: None }
}

pub(crate) fn rollback(app: &str) -> Rollback {
    let place = Selection { app: Some(app.parse().unwrap()), ..Selection::default() };
    Rollback { place, version: None, from: None, across_migration: false, by: by(), id: None }
}

/// The release that a leg becomes.
pub(crate) fn release_id(leg: &DeployLeg) -> Sha256Hex {
    let Some(ArtifactSource::Path(path)) = &leg.artifact else { panic!("tests deploy paths") };
    let artifact = Artifact { sha256: Sha256Hex::of(path.as_bytes()), format: ArtifactFormat::File };
    let release = Release {
        project: leg.scope.project.clone(),
        environment: leg.scope.environment.clone(),
        region: leg.scope.region.clone(),
        app: leg.scope.app.clone(),
        version: leg.version.clone(),
        artifact: Some(artifact),
        config: leg.config.clone(),
        secrets: BTreeMap::new(),
        built_here: false,
    };
    release.id()
}

pub(crate) fn id_of(answer: Result<Answer, Refused>) -> DeploymentId {
    match answer {
        Ok(Answer::Deployment { id, .. }) => id,
        other => panic!("wanted a deployment, got {other:?}"),
    }
}

/// Waits for the verdict.
pub(crate) async fn end(engine: &Engine, id: &DeploymentId) -> view::Deployment {
    let mut watch = engine.watch(id).await.unwrap();
    let ended = watch.wait_for(|view| view.closed.is_some());
    let ended = tokio::time::timeout(Duration::from_secs(60), ended).await.map(|view| view.unwrap().clone());
    match ended {
        Ok(view) => view,
        Err(_) => panic!("it did not end: {:?}", engine.watch(id).await.unwrap().borrow()),
    }
}

/// Deploys and waits for the verdict: its word, whether it was restored, and the reason.
pub(crate) async fn verdict(engine: &Arc<Engine>, ask: &Deploy) -> (&'static str, bool, String) {
    let id = id_of(engine.deploy(ask).await);
    let closed = end(engine, &id).await.closed.unwrap();
    (closed.verdict.word(), closed.restored, closed.reason)
}

/// Polls until `holds`, for ten seconds at most.
pub(crate) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never became true that {what}");
}
