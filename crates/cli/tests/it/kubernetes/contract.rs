//! The contract of drivers, on a real cluster: each case in a namespace of its own, by way of something that can cut it off.

use super::cluster::{self, Cluster};
use crate::it::contract::{self, Known, no_secrets, scope};
use crate::it::world::{World, text};
use async_trait::async_trait;
use deployctl_core::config::{
    Amount, AppConfig, Command, Hooks, JobsAs, KubernetesConfig, ManifestObject, Strategy, TargetConfig,
};
use deployctl_core::desired::JobGate;
use deployctl_core::driver::Driver;
use deployctl_core::id::{InstanceId, JobId, Scope, Sha256Hex};
use deployctl_core::instance::InstanceSeen;
use deployctl_core::release::Release;
use deployctl_core::time::Span;
use deployctl_driver_kubernetes::Kubernetes;
use deployctl_live::kube::faulty::{Faulty, Of, Wrong};
use deployctl_testkit::contract::{Bench, Character, LAST_LINE, Task};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use tokio::sync::RwLockReadGuard;

const COUNT: u32 = 2;
const IMAGE: &str = "deployctl.test/contract:1";

mod kube {
    use super::Objects;

    deployctl_testkit::driver_contract!(match Objects::new().await {
        Some(bench) => bench,
        None => return,
    });
}

/// A state directory that deploys to a namespace of its own.
struct Objects {
    world: World,
    cluster: RwLockReadGuard<'static, Cluster>,
    faulty: Faulty,
    namespace: String,
}

impl Objects {
    async fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let cluster = cluster::shared_in_task().await?;
        let world = World::bare();
        std::fs::create_dir(world.state()).expect("a state directory");
        std::fs::create_dir(world.path("place")).expect("a folder");
        let namespace = format!("contract-{}", NUMBER.fetch_add(1, Relaxed));
        cluster.kubectl(&["create", "namespace", &namespace]);
        let (pod, shell, sleep) = (cluster.0.programs().pod(), "/bin/sh".into(), "/bin/sleep".into());
        let files = [(pod, "/pod"), (shell, "/bin/sh"), (sleep, "/bin/sleep")];
        cluster.0.image(IMAGE, &files, &["/pod"]).expect("an image");
        let faulty = Faulty::before(&cluster.0).expect("a proxy");
        world.write("kubeconfig", &cluster.kubeconfig_by(&faulty.url()));
        Some(Self { world, cluster, faulty, namespace })
    }

    fn releases(&self) -> HashMap<Sha256Hex, Arc<Release>> {
        let all = [Character::Good(1), Character::Good(2), Character::ExitsAtOnce, Character::NeverHealthy];
        all.into_iter().map(|character| self.release(character)).map(|release| (release.id(), release)).collect()
    }

    /// A folder that all pods of the bench see.
    fn place(&self) -> String {
        self.world.path("place").display().to_string()
    }

    /// A variable with its value that all processes of the bench have, and no others.
    fn mark(&self) -> String {
        format!("BENCH={}", self.place())
    }

    fn begun_file(&self) -> PathBuf {
        self.world.path("place").join("begun")
    }

    fn deployment(&self, character: Character) -> Value {
        let (version, path, deadline, script) = match character {
            Character::Good(number) => (number.to_string(), "/healthz", 120, "exec /pod serve 8080".to_owned()),
            Character::ExitsAtOnce => ("exits".into(), "/healthz", 5, format!("echo '{LAST_LINE}'; exit 1")),
            Character::NeverHealthy => {
                ("never".into(), "/healthz", 5, format!("echo '{LAST_LINE}'; UNREADY=yes exec /pod serve 8080"))
            }
        };
        let container = json!({
            "name": "web", "image": IMAGE, "command": ["/bin/sh", "-c", script],
            "env": [{ "name": "VERSION", "value": version }, { "name": "BENCH", "value": self.place() }],
            "volumeMounts": [{ "name": "place", "mountPath": self.place() }],
            "readinessProbe": { "httpGet": { "path": path, "port": 8080 }, "periodSeconds": 1 },
        });
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
            "spec": {
                "replicas": COUNT, "progressDeadlineSeconds": deadline,
                "selector": { "matchLabels": { "app": "web" } },
                "template": {
                    "metadata": { "labels": { "app": "web" } },
                    "spec": {
                        "terminationGracePeriodSeconds": 1, "containers": [container],
                        "volumes": [{ "name": "place", "hostPath": { "path": self.place(), "type": "Directory" } }],
                    },
                },
            },
        })
    }
}

/// What a release says besides its objects.
fn config(target: KubernetesConfig, before: Vec<Command>) -> AppConfig {
    AppConfig {
        target: TargetConfig::Kubernetes(target),
        instances: COUNT,
        strategy: Strategy::Rolling { surge: Amount::Count(COUNT), unavailable: Amount::Count(0) },
        depends_on: Vec::new(),
        route: None,
        health: None,
        smoke: Vec::new(),
        migrate: None,
        hooks: Hooks { before, after: Vec::new() },
        drain: Span::secs(1),
        deadline: Span::secs(600),
        bake: Span::default(),
    }
}

#[async_trait]
impl Bench for Objects {
    fn driver(&self) -> Arc<dyn Driver> {
        let releases = Arc::new(Known(self.releases()));
        let driver = Kubernetes::new(&self.world.state(), releases, Arc::new(no_secrets));
        Arc::new(driver.with_kubeconfig(self.world.path("kubeconfig")))
    }

    fn scope(&self) -> Scope {
        scope()
    }

    fn release(&self, character: Character) -> Arc<Release> {
        let version = match character {
            Character::Good(number) => format!("v{number}"),
            Character::ExitsAtOnce => "exits".into(),
            Character::NeverHealthy => "never".into(),
        };
        let Scope { project, environment, region, app } = scope();
        let object = ManifestObject { from: "web.yaml:1".into(), object: self.deployment(character) };
        let target = KubernetesConfig {
            context: Some("test".into()),
            namespace: self.namespace.clone(),
            patience: Span::secs(60),
            adopt: false,
            replace: Vec::new(),
            jobs: Some(JobsAs { workload: "web".into(), container: "web".into() }),
            smoke_port: None,
            objects: vec![object],
        };
        Arc::new(Release {
            project,
            environment,
            region,
            app,
            version: version.parse().expect("a version"),
            artifact: None,
            config: config(target, contract::jobs(&self.begun_file())),
            secrets: BTreeMap::new(),
            built_here: false,
        })
    }

    fn job(&self, task: Task) -> JobGate {
        JobGate { what: contract::kind(task), release: self.release(Character::Good(1)).id() }
    }

    async fn alive(&self) -> Vec<InstanceId> {
        let pods = self.cluster.get(&["pods", "-n", &self.namespace, "-l", "app=web"]);
        let names = pods["items"].as_array().expect("items").iter().map(|pod| text(&pod["metadata"]["name"]));
        names.map(|name| name.parse().expect("the id of an instance")).collect()
    }

    async fn begun(&self, job: &JobId) -> usize {
        contract::begun(&self.begun_file(), job)
    }

    async fn working(&self, job: &JobId) -> usize {
        let all = contract::with_variable(&self.mark(), "DEPLOYCTL_JOB_ID");
        all.iter().filter(|(_, id)| id == job.as_str()).count()
    }

    async fn take_away(&self, instance: &InstanceSeen) -> bool {
        self.cluster.kubectl(&["delete", "pod", instance.id.as_str(), "-n", &self.namespace]);
        true
    }

    async fn set_reachable(&self, reachable: bool) -> bool {
        match reachable {
            true => self.faulty.is_well(),
            false => {
                self.faulty.does(Of::All, Wrong::Closes);
                self.faulty.cut();
            }
        }
        true
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        let _ = self.cluster.0.kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]);
    }
}
