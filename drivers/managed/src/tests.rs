//! The driver over ports in memory: what it waits for.

use crate::Managed;
use async_trait::async_trait;
use deployctl_core::config::{
    AppConfig, Hooks, LateText, Limits, ProcessConfig, Restart, Route, Smoke, Strategy, TargetConfig,
};
use deployctl_core::desired::{Desired, Extent, Part, Share, Waypoint};
use deployctl_core::driver::{Driver, Step, Way};
use deployctl_core::fault::Fault;
use deployctl_core::id::{Fence, InstanceId, JobId, Revision, Scope, Sha256Hex, instance_id};
use deployctl_core::instance::{InstanceSeen, InstanceSpec, InstanceState, Instances, LogLine, LogQuery};
use deployctl_core::job::{JobSpec, JobState, Jobs};
use deployctl_core::release::{Release, Releases};
use deployctl_core::route::{Mode, RouteTable, Router, Traffic};
use deployctl_core::time::{Millis, Span};
use futures_core::stream::BoxStream;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// One healthy instance, and requests that are held until the table was asked about some times.
struct World {
    release: Arc<Release>,
    table: Mutex<RouteTable>,
    held: Mutex<u64>,
    /// Whether a publication ends before the data plane knows of it.
    dies: Mutex<bool>,
    /// By which table the data plane works.
    known: Mutex<u64>,
    /// Requests that the instance has to answer.
    in_flight: Mutex<u64>,
    /// So many come in before the data plane knows of a publication.
    late: Mutex<u64>,
    /// Whether the instance was stopped.
    stopped: Mutex<bool>,
    /// How often the table and the traffic were asked for, and how often somebody began to wait for changes.
    asked: Mutex<[usize; 3]>,
    changes: tokio::sync::Notify,
}

fn nothing<T>() -> Result<T, Fault> {
    Err(Fault::platform("not in this world"))
}

impl World {
    fn revision(&self) -> Revision {
        Revision { release: self.release.id(), nonce: 0 }
    }

    fn is_open(&self) -> bool {
        self.table.lock().unwrap().services.iter().any(|service| service.mode == Mode::Open)
    }
}

#[async_trait]
impl Instances for World {
    async fn admit(&self, _: &Scope, _: Fence) -> Result<(), Fault> {
        Ok(())
    }

    async fn list(&self, scope: &Scope) -> Result<Vec<InstanceSeen>, Fault> {
        if *self.stopped.lock().unwrap() {
            return Ok(Vec::new());
        }
        Ok(vec![InstanceSeen {
            id: instance_id(scope, &self.revision(), 0),
            scope: scope.clone(),
            revision: self.revision(),
            slot: 0,
            state: InstanceState::Ready,
            address: Some("127.0.0.1:1".into()),
            pid: None,
            started_at: Millis(0),
            restarts: 0,
            container: None,
            drift: None,
        }])
    }
    async fn start(&self, _: &InstanceSpec, _: Fence) -> Result<(), Fault> {
        nothing()
    }
    async fn stop(&self, _: &Scope, _: &InstanceId, _: Span, _: Fence) -> Result<(), Fault> {
        *self.stopped.lock().unwrap() = true;
        Ok(())
    }
    async fn forget(&self, _: &Scope, _: &InstanceId, _: Fence) -> Result<(), Fault> {
        nothing()
    }
    async fn changed(&self, _: &Scope) {
        std::future::pending().await
    }
    async fn stable_address(&self, _: &Scope) -> Result<String, Fault> {
        nothing()
    }
    fn logs(&self, _: &Scope, _: LogQuery) -> BoxStream<'static, Result<LogLine, Fault>> {
        unreachable!("nobody reads logs here")
    }
    async fn artifacts_in_use(&self) -> Result<Vec<Sha256Hex>, Fault> {
        nothing()
    }
}

#[async_trait]
impl Jobs for World {
    async fn run(&self, _: &JobSpec, _: Fence) -> Result<JobState, Fault> {
        nothing()
    }
    async fn kill(&self, _: &Scope, _: &JobId, _: Fence) -> Result<(), Fault> {
        nothing()
    }
    async fn changed(&self, _: &Scope, _: &JobId) {}
    async fn smoke(&self, _: &str, _: &Smoke) -> Result<Result<(), String>, Fault> {
        nothing()
    }
}

#[async_trait]
impl Router for World {
    async fn table(&self) -> Result<RouteTable, Fault> {
        self.asked.lock().unwrap()[0] += 1;
        Ok(self.table.lock().unwrap().clone())
    }
    async fn publish(&self, table: RouteTable) -> Result<(), Fault> {
        let generation = table.generation;
        *self.table.lock().unwrap() = table;
        if *self.dies.lock().unwrap() {
            return Err(Fault::platform("it ended in the middle"));
        }
        *self.known.lock().unwrap() = generation;
        *self.in_flight.lock().unwrap() += std::mem::take(&mut *self.late.lock().unwrap());
        Ok(())
    }
    async fn traffic(&self) -> Result<Traffic, Fault> {
        self.asked.lock().unwrap()[1] += 1;
        let mut held = self.held.lock().unwrap();
        let now = *held;
        // One gets in with every look.
        *held -= u64::from(now > 0 && self.is_open());
        let generation = Some(*self.known.lock().unwrap());
        let in_flight = BTreeMap::from([(instance_id(&scope(), &self.revision(), 0), *self.in_flight.lock().unwrap())]);
        Ok(Traffic { generation, in_flight, held: BTreeMap::from([(scope().to_string(), now)]), ..Traffic::default() })
    }
    async fn changed(&self) {
        self.asked.lock().unwrap()[2] += 1;
        self.changes.notified().await;
    }
}

#[async_trait]
impl Releases for World {
    async fn release(&self, _: &Sha256Hex) -> Result<Arc<Release>, Fault> {
        Ok(self.release.clone())
    }
}

pub(crate) fn scope() -> Scope {
    Scope {
        project: "shop".parse().unwrap(),
        environment: "dev".parse().unwrap(),
        region: "default".parse().unwrap(),
        app: "api".parse().unwrap(),
    }
}

pub(crate) fn release() -> Release {
    let route = Route {
        listen: Vec::new(),
        published: Vec::new(),
        hosts: Vec::new(),
        redirect_hosts: Vec::new(),
        path: "/".into(),
        strip: false,
        https_only: false,
        tls: None,
        body_bytes_max: None,
        timeout: Span::secs(60),
        hold: Span::secs(30),
        h2: false,
        error_pages: BTreeMap::new(),
        access_log: false,
    };
    let process = ProcessConfig {
        command: vec![LateText::plain("./api")],
        env: BTreeMap::new(),
        port: true,
        user: None,
        limits: Limits::default(),
        restart: Restart::default(),
        log_bytes_max: 1 << 20,
    };
    let config = AppConfig {
        target: TargetConfig::Process(process),
        instances: 1,
        strategy: Strategy::Recreate,
        depends_on: Vec::new(),
        route: Some(route),
        health: None,
        smoke: Vec::new(),
        migrate: None,
        hooks: Hooks::default(),
        drain: Span::secs(1),
        deadline: Span::secs(60),
        bake: Span::default(),
    };
    Release {
        project: scope().project,
        environment: scope().environment,
        region: scope().region,
        app: scope().app,
        version: "v1".parse().unwrap(),
        artifact: None,
        config,
        secrets: BTreeMap::new(),
        built_here: false,
    }
}

fn world(held: u64) -> (Arc<World>, Arc<Managed>, Waypoint) {
    let (asked, changes) = (Mutex::default(), tokio::sync::Notify::new());
    let world = Arc::new(World {
        release: Arc::new(release()),
        table: Mutex::default(),
        held: Mutex::new(held),
        dies: Mutex::default(),
        known: Mutex::default(),
        in_flight: Mutex::default(),
        late: Mutex::default(),
        stopped: Mutex::default(),
        asked,
        changes,
    });
    let driver = Managed::new(world.clone(), world.clone(), world.clone(), world.clone());
    let desired = Desired::only(&world.revision(), 1, true);
    (world, Arc::new(driver), Waypoint { desired, floor: 0, gates: Vec::new() })
}

#[tokio::test]
async fn done_is_when_all_who_were_held_got_in() {
    let (world, driver, to) = world(40);
    let step = driver.converge(&scope(), &to, &Way::default()).await.unwrap();
    assert_eq!(step, Step::Done);
    assert!(world.is_open());
    assert_eq!(*world.held.lock().unwrap(), 0, "some wait still, and the next thing may be to pause again");
}

#[tokio::test]
async fn a_look_at_what_rests_asks_once() {
    let (world, driver, to) = world(0);
    driver.converge(&scope(), &to, &Way::default()).await.unwrap();
    *world.asked.lock().unwrap() = [0; 3];
    assert_eq!(driver.converge(&scope(), &to, &Way::default()).await.unwrap(), Step::Done);
    assert_eq!(*world.asked.lock().unwrap(), [1, 1, 0], "keepers do this every few seconds for every app");
    world.table.lock().unwrap().services.clear();
    driver.converge(&scope(), &to, &Way::default()).await.unwrap();
    assert!(world.is_open(), "what drifts is put right");
}

#[tokio::test]
async fn all_scopes_wait_for_the_data_plane_together_and_miss_nothing() {
    let (world, driver, _) = world(0);
    let scopes: Vec<Scope> = ["a", "b", "c"].map(|app| Scope { app: app.parse().unwrap(), ..scope() }).into();
    let waiting: Vec<_> = scopes
        .iter()
        .map(|scope| {
            let (driver, scope) = (driver.clone(), scope.clone());
            tokio::spawn(async move { driver.changed(&scope).await })
        })
        .collect();
    while world.asked.lock().unwrap()[2] == 0 {
        tokio::task::yield_now().await;
    }
    // Everybody has begun to wait by now: on one thread, tasks begin in the order in which they were made.
    tokio::task::yield_now().await;
    world.changes.notify_one();
    for waits in waiting {
        waits.await.unwrap();
    }
    assert_eq!(world.asked.lock().unwrap()[2], 1, "one wait for all");
    world.changes.notify_one();
    driver.changed(&scopes[0]).await;
    driver.changed(&scopes[1]).await;
    assert_eq!(world.asked.lock().unwrap()[2], 2, "what happened while nobody of this scope waited is told at once");
}

/// To nothing, as `down` goes.
fn down() -> Waypoint {
    Waypoint { desired: Desired::default(), floor: 0, gates: Vec::new() }
}

#[tokio::test]
async fn what_a_withdrawn_service_has_in_flight_is_answered_before_the_end() {
    let (world, driver, to) = world(0);
    driver.converge(&scope(), &to, &Way::default()).await.unwrap();
    *world.in_flight.lock().unwrap() = 1;
    let step = driver.converge(&scope(), &down(), &Way::default()).await.unwrap();
    assert!(world.table.lock().unwrap().services.is_empty());
    assert!(!*world.stopped.lock().unwrap(), "its instance still has to answer");
    assert!(matches!(&step, Step::Pending(why) if why.contains("1 requests")), "{step:?}");
    *world.in_flight.lock().unwrap() = 0;
    assert_eq!(driver.converge(&scope(), &down(), &Way::default()).await.unwrap(), Step::Done);
    assert!(*world.stopped.lock().unwrap());
}

#[tokio::test]
async fn a_withdrawal_that_only_the_table_knows_is_finished_first() {
    let (world, driver, to) = world(0);
    driver.converge(&scope(), &to, &Way::default()).await.unwrap();
    *world.dies.lock().unwrap() = true;
    driver.converge(&scope(), &down(), &Way::default()).await.unwrap_err();
    assert!(world.table.lock().unwrap().services.is_empty(), "the table says so");
    driver.converge(&scope(), &down(), &Way::default()).await.unwrap_err();
    assert!(!*world.stopped.lock().unwrap(), "requests may come in still");
    *world.dies.lock().unwrap() = false;
    *world.late.lock().unwrap() = 1;
    let step = driver.converge(&scope(), &down(), &Way::default()).await.unwrap();
    assert!(
        matches!(step, Step::Pending(_)) && !*world.stopped.lock().unwrap(),
        "one came in at the last moment: {step:?}"
    );
    *world.in_flight.lock().unwrap() = 0;
    assert_eq!(driver.converge(&scope(), &down(), &Way::default()).await.unwrap(), Step::Done);
    assert_eq!(*world.known.lock().unwrap(), world.table.lock().unwrap().generation);
    assert!(*world.stopped.lock().unwrap());
}

#[tokio::test]
async fn the_table_says_which_side_came_last() {
    let (world, driver, to) = world(0);
    driver.converge(&scope(), &to, &Way::default()).await.unwrap();
    assert_eq!(world.table.lock().unwrap().services[0].newest, None, "one side is neither new nor old");
    let old = world.revision();
    let new = Revision { nonce: old.nonce + 1, ..old.clone() };
    let part = |weight: u32| Part { extent: Extent::Count(0), share: Share::Weight(weight) };
    let mut to = to;
    to.desired.parts.insert(new.clone(), part(1_000));
    driver.converge(&scope(), &to, &Way::default()).await.unwrap();
    assert_eq!(world.table.lock().unwrap().services[0].newest, Some(new.clone()));
    to.desired.base = Some(new.clone());
    to.desired.parts.insert(new.clone(), part(10_000));
    driver.converge(&scope(), &to, &Way::default()).await.unwrap();
    assert_eq!(world.table.lock().unwrap().services[0].newest, Some(new), "it still is");
}
