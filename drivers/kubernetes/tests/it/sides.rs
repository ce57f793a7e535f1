//! Walks from one release to the next and back, cut off at every change, by blue-green and by canary.

use crate::controller::{image, is_ready};
use crate::server::{Dies, Server};
use async_trait::async_trait;
use deployctl_core::config::{
    Amount, AppConfig, Canary, Hooks, KubernetesConfig, ManifestObject, Strategy, TargetConfig,
};
use deployctl_core::desired::{Desired, Gate, Waypoint};
use deployctl_core::driver::{Driver, Step, Way};
use deployctl_core::fault::{Fault, Retry};
use deployctl_core::id::{Fence, RegionName, Revision, Scope, Sha256Hex};
use deployctl_core::instance::SecretValues;
use deployctl_core::release::{Release, Releases};
use deployctl_core::strategy::{Goal, path};
use deployctl_core::time::Span;
use deployctl_driver_kubernetes::Kubernetes;
use deployctl_kubernetes::sides::SIDE;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

/// Far more than any walk takes.
const STEPS_MAX: usize = 200;

struct Known(HashMap<Sha256Hex, Arc<Release>>);

#[async_trait]
impl Releases for Known {
    async fn release(&self, id: &Sha256Hex) -> Result<Arc<Release>, Fault> {
        self.0.get(id).cloned().ok_or_else(|| Fault::platform("no such release"))
    }
}

/// A workload, and the Service that leads to it.
fn served(kind: &str, name: &str, replicas: u32, version: &str) -> [Value; 2] {
    let container = json!({ "name": "web", "image": format!("web:{version}") });
    let template = json!({ "metadata": { "labels": { "app": name } }, "spec": { "containers": [container] } });
    let spec = json!({ "replicas": replicas, "selector": { "matchLabels": { "app": name } }, "template": template });
    let ports = json!([{ "port": 80 }]);
    [
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
            "spec": { "selector": { "app": name }, "ports": ports } }),
        json!({ "apiVersion": "apps/v1", "kind": kind, "metadata": { "name": name }, "spec": spec }),
    ]
}

/// What takes requests in a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Has {
    Deployment,
    StatefulSet,
    Both,
}

pub(crate) fn release(version: &str, strategy: Strategy, has: Has) -> Release {
    let web = served("Deployment", "web", 2, version);
    let db = served("StatefulSet", "db", 3, version);
    let objects: Vec<Value> = match has {
        Has::Deployment => web.into(),
        Has::StatefulSet => db.into(),
        Has::Both => web.into_iter().chain(db).collect(),
    };
    let target = KubernetesConfig {
        context: Some("test".into()),
        namespace: "shop".into(),
        patience: Span::secs(60),
        adopt: false,
        replace: Vec::new(),
        jobs: None,
        smoke_port: None,
        objects: objects.into_iter().map(|object| ManifestObject { from: "web.yaml:1".into(), object }).collect(),
    };
    let config = AppConfig {
        target: TargetConfig::Kubernetes(target),
        instances: 1,
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
    };
    let Scope { project, environment, region, app } = scope();
    let (version, artifact, secrets) = (version.parse().unwrap(), None, Default::default());
    Release { project, environment, region, app, version, artifact, config, secrets, built_here: false }
}

pub(crate) fn scope() -> Scope {
    Scope {
        project: "shop".parse().unwrap(),
        environment: "dev".parse().unwrap(),
        region: RegionName::default_region(),
        app: "web".parse().unwrap(),
    }
}

/// A server, and whoever drives it.
pub(crate) struct World {
    pub(crate) server: Server,
    folder: tempfile::TempDir,
    pub(crate) releases: Vec<Release>,
    has: Has,
    pub(crate) fence: u64,
    /// Whether a way back is walked.
    back: bool,
}

impl World {
    pub(crate) fn new(strategy: &Strategy, has: Has) -> Self {
        let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "clusters": [{ "name": "c", "cluster": { "server": server.url } }],
            "users": [{ "name": "u", "user": {} }],
            "contexts": [{ "name": "test", "context": { "cluster": "c", "user": "u" } }],
        });
        std::fs::write(folder.path().join("kubeconfig"), config.to_string()).unwrap();
        let releases = ["v1", "v2", "bad"].map(|version| release(version, strategy.clone(), has)).into();
        Self { server, folder, releases, has, fence: 1, back: false }
    }

    pub(crate) fn revision(&self, number: usize) -> Revision {
        Revision { release: self.releases[number].id(), nonce: 0 }
    }

    pub(crate) fn driver(&self) -> Kubernetes {
        let known = self.releases.iter().map(|release| (release.id(), Arc::new(release.clone()))).collect();
        let secrets = Arc::new(|_: &Sha256Hex| Ok(SecretValues::default()));
        let driver = Kubernetes::new(self.folder.path(), Arc::new(Known(known)), secrets);
        driver.with_kubeconfig(self.folder.path().join("kubeconfig"))
    }

    /// The way from what is there to a release.
    pub(crate) fn path(&self, from: &Desired, to: usize, tested: bool) -> Vec<Waypoint> {
        let (revision, config) = (self.revision(to), &self.releases[to].config);
        path(from, &Goal { to: &revision, config, tested, alone: false })
    }

    /// Walks as an engine does. Whoever walks is another one after each trouble.
    async fn walk(&mut self, path: &[Waypoint]) {
        let mut driver = self.driver();
        for waypoint in path {
            let mut steps = 0;
            loop {
                steps += 1;
                assert!(steps < STEPS_MAX, "{waypoint:?} is not reached: {:#?}", self.server.store().objects);
                let way = Way { fence: Fence(self.fence), back: self.back, ..Way::default() };
                match driver.converge(&scope(), waypoint, &way).await {
                    Ok(Step::Done) if is_through(&driver, waypoint).await => break,
                    Ok(_) => {}
                    Err(fault) => {
                        assert_ne!(fault.retry, Retry::Never, "{fault}");
                        (driver, self.fence) = (self.driver(), self.fence + 1);
                    }
                }
            }
        }
    }

    /// Just the release under its names.
    fn is_only(&self, version: &str) {
        let store = self.server.store();
        assert_eq!(store.broken, Vec::<String>::new());
        let names = |kind: &str| -> Vec<&str> {
            let all = store.objects.keys().filter_map(|path| path.split_once(&format!("/{kind}/")));
            all.map(|(_, name)| name).collect()
        };
        let (web, db) = (self.has != Has::StatefulSet, self.has != Has::Deployment);
        let wanted: Vec<&str> =
            [("db", db), ("web", web)].into_iter().filter(|(_, has)| *has).map(|(name, _)| name).collect();
        assert_eq!((names("deployments").len(), names("services")), (usize::from(web), wanted));
        drop(store);
        if db {
            assert_eq!(self.pods(), vec![(format!("web:{version}"), true); 3]);
            let set = self.server.get("statefulsets/db").unwrap();
            let strategy = &set["spec"]["updateStrategy"];
            assert_eq!((image(&set["spec"]["template"]), strategy), (&*format!("web:{version}"), &Value::Null));
            assert_eq!(set["metadata"]["annotations"][SIDE], Value::Null);
        }
        if !web {
            return;
        }
        let web = self.server.get("deployments/web").unwrap();
        assert_eq!(web["spec"]["template"]["spec"]["containers"][0]["image"], format!("web:{version}"));
        assert_eq!(self.server.get("services/web").unwrap()["spec"]["selector"], json!({ "app": "web" }));
    }
}

impl World {
    /// What the pods of `db` run, in their order, and whether they are ready.
    fn pods(&self) -> Vec<(String, bool)> {
        let store = self.server.store();
        let pods = store.objects.iter().filter(|(path, _)| path.contains("/pods/")).map(|(_, pod)| pod);
        pods.map(|pod| (image(pod).to_owned(), is_ready(pod))).collect()
    }
}

pub(crate) async fn is_through(driver: &Kubernetes, waypoint: &Waypoint) -> bool {
    let observed = driver.observe(&scope()).await.unwrap_or_default();
    waypoint.gates.iter().all(|gate| match gate {
        Gate::Ready(revision) => observed.is_ready(revision, waypoint.desired.extent(revision)),
        Gate::Gone(revision) => observed.is_gone(revision),
        _ => true,
    })
}

pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn canary() -> Strategy {
    by_steps(vec![5_000])
}

fn by_steps(steps: Vec<u32>) -> Strategy {
    Strategy::Canary(Canary { steps, hold: Span::default(), analysis: None, sticky: None })
}

#[test]
fn a_release_comes_beside_is_led_to_and_gets_the_names() {
    for strategy in [Strategy::BlueGreen, canary()] {
        run(async {
            let mut world = World::new(&strategy, Has::Deployment);
            let first = world.path(&Desired::nothing(), 0, true);
            world.walk(&first).await;
            world.is_only("v1");
            let forward = world.path(&first[0].desired, 1, true);
            world.walk(&forward[..forward.len() - 1]).await;
            // What was there has its pods and its names, and the other one has all of the traffic.
            let web = world.server.get("deployments/web").unwrap();
            assert_eq!((&web["spec"]["replicas"], &web["metadata"]["generation"]), (&json!(2), &json!(1)));
            let selector = world.server.get("services/web").unwrap()["spec"]["selector"].clone();
            assert_ne!(selector["deployctl.io/side"], Value::Null, "{selector}");
            world.walk(&forward[forward.len() - 1..]).await;
            world.is_only("v2");
        });
    }
}

#[test]
fn the_highest_ordinals_become_the_new_release_and_then_all_do() {
    for has in [Has::StatefulSet, Has::Both] {
        run(async {
            let mut world = World::new(&by_steps(vec![3_300, 6_700]), has);
            let first = world.path(&Desired::nothing(), 0, true);
            world.walk(&first).await;
            world.is_only("v1");
            let forward = world.path(&first[0].desired, 1, true);
            let news: Vec<usize> = world.news_along(&forward).await;
            assert_eq!(news, [0, 1, 1, 2, 2, 3, 3], "{has:?}");
            world.is_only("v2");
        });
    }
}

impl World {
    /// Walks, and says of how many pods of `db` each waypoint makes new ones: the highest, and no others.
    async fn news_along(&mut self, path: &[Waypoint]) -> Vec<usize> {
        let mut all = Vec::new();
        for waypoint in path {
            self.walk(std::slice::from_ref(waypoint)).await;
            let pods = self.pods();
            let new = pods.iter().filter(|(image, _)| image == "web:v2").count();
            assert!(pods.iter().rev().take(new).all(|(image, _)| image == "web:v2"), "{pods:?}");
            assert!(pods.iter().all(|(_, ready)| *ready) && pods.len() == 3, "{pods:?}");
            // What is told of them is so.
            let observed = self.driver().observe(&scope()).await.unwrap();
            let (old, revision) = (self.revision(0), self.revision(1));
            assert_eq!(observed.existing(&revision) as usize, new, "{observed:?}");
            assert_eq!(observed.existing(&old) as usize, 3 - new, "{observed:?}");
            all.push(new);
        }
        all
    }

    /// Goes towards a waypoint until the last pod of `db` runs what never is ready.
    async fn comes_to_a_bad_pod(&mut self, waypoint: &Waypoint) {
        let driver = self.driver();
        for _ in 0..STEPS_MAX {
            let way = Way { fence: Fence(self.fence), ..Way::default() };
            let _ = driver.converge(&scope(), waypoint, &way).await.unwrap();
            let observed = driver.observe(&scope()).await.unwrap();
            if self.pods().last() == Some(&("web:bad".to_owned(), false)) {
                assert!(!observed.is_ready(&self.revision(2), waypoint.desired.extent(&self.revision(2))));
                return;
            }
        }
        panic!("no bad pod: {:?}", self.pods());
    }
}

#[test]
fn a_pod_that_never_is_ready_is_freed_on_the_way_back_and_no_other() {
    // By which strategy the one that is gone back to came, and the bad one.
    let canary = by_steps(vec![3_300]);
    for (good, bad) in [(false, false), (true, true), (false, true)] {
        run(async {
            let mut world = World::new(&canary, Has::StatefulSet);
            for (release, _) in world.releases.iter_mut().zip([good, good, bad]).filter(|(_, is_rolling)| *is_rolling) {
                *release = rolling(release.clone());
            }
            let first = world.path(&Desired::nothing(), 0, true);
            world.walk(&first).await;
            let forward = world.path(&first[0].desired, 2, true);
            let at = usize::from(!bad);
            world.walk(&forward[..at]).await;
            world.comes_to_a_bad_pod(&forward[at]).await;
            let back = world.path(&forward[at].desired, 0, false);
            world.back = true;
            world.walk(&back).await;
            world.is_only("v1");
        });
    }
}

fn rolling(release: Release) -> Release {
    let strategy = Strategy::Rolling { surge: Amount::Count(1), unavailable: Amount::Count(0) };
    Release { config: AppConfig { strategy, ..release.config }, ..release }
}

#[test]
fn whoever_dies_at_any_change_is_gone_on_with_forward_and_back() {
    for (strategy, has) in
        [(Strategy::BlueGreen, Has::Deployment), (canary(), Has::Deployment), (by_steps(vec![3_300]), Has::Both)]
    {
        let world = World::new(&strategy, has);
        let from = world.path(&Desired::nothing(), 0, true)[0].desired.clone();
        // All the way, and back from each of the waypoints on it.
        for turn in 1..=world.path(&from, 1, true).len() {
            let mut at = 1;
            let dies = |dies: Dies| dies_at((&strategy, has), &from, turn, dies);
            while dies(Dies::Before(at)) && dies(Dies::After(at)) {
                at += 1;
            }
            assert!(at > 4, "there was too little to die at");
        }
    }
}

/// Walks so many waypoints and back, or all the way; whether there were so many changes.
fn dies_at((strategy, has): (&Strategy, Has), from: &Desired, turn: usize, dies: Dies) -> bool {
    let mut world = World::new(strategy, has);
    run(async {
        let first = world.path(&Desired::nothing(), 0, true);
        world.walk(&first).await;
        let begun = world.server.store().writes;
        let (then, number) = match dies {
            Dies::Before(at) => (Dies::Before(begun + at), begun + at),
            Dies::After(at) => (Dies::After(begun + at), begun + at),
        };
        world.server.store().dies = Some(then);
        let forward = world.path(from, 1, true);
        world.walk(&forward[..turn]).await;
        if turn == forward.len() {
            world.is_only("v2");
        } else {
            let back = world.path(&forward[turn - 1].desired, 0, false);
            world.back = true;
            world.walk(&back).await;
            world.is_only("v1");
        }
        let writes = world.server.store().writes;
        writes >= number
    })
}
