//! A real cluster for these tests alone, shared by all who do not stop it.

use deployctl_live::kube;
use serde_json::Value;
use std::sync::OnceLock;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The cluster of this test program.
pub(crate) struct Cluster(pub(crate) kube::Cluster);

static CLUSTER: OnceLock<Option<RwLock<Cluster>>> = OnceLock::new();

/// The cluster, shared; none, with a word about it, where the machine cannot run one.
pub(crate) fn shared() -> Option<RwLockReadGuard<'static, Cluster>> {
    cluster().map(RwLock::blocking_read)
}

/// The cluster, shared by who waits in a task.
pub(crate) async fn shared_in_task() -> Option<RwLockReadGuard<'static, Cluster>> {
    match cluster() {
        Some(cluster) => Some(cluster.read().await),
        None => None,
    }
}

/// The cluster, alone.
pub(crate) fn alone() -> Option<RwLockWriteGuard<'static, Cluster>> {
    cluster().map(RwLock::blocking_write)
}

fn cluster() -> Option<&'static RwLock<Cluster>> {
    let cluster = CLUSTER.get_or_init(|| match kube::lacking() {
        None => Some(RwLock::new(Cluster::start())),
        Some(what) => {
            assert!(std::env::var("DEPLOYCTL_LIVE").is_err(), "the tests with a real cluster need {what}");
            eprintln!("skipped: a real cluster needs {what}");
            None
        }
    });
    if cluster.is_none() {
        eprintln!("skipped: there is no real cluster here");
    }
    cluster.as_ref()
}

impl Cluster {
    fn start() -> Self {
        let cluster = kube::Cluster::start().unwrap_or_else(|why| panic!("the cluster: {why}"));
        let pod = cluster.programs().pod();
        for version in ["v1", "v2", "v3"] {
            let name = format!("deployctl.test/web:{version}");
            cluster.image(&name, &[(pod.clone(), "/pod")], &["/pod"]).expect("an image");
        }
        Self(cluster)
    }

    /// A kubeconfig whose context `test` is this cluster.
    pub(crate) fn kubeconfig(&self) -> String {
        let file = std::fs::read_to_string(self.0.kubeconfig()).expect("the kubeconfig");
        let mut config: Value = serde_json::from_str(&file).expect("JSON");
        config["contexts"][0]["name"] = "test".into();
        config["current-context"] = Value::from("");
        config.to_string()
    }

    /// The same by way of this server.
    pub(crate) fn kubeconfig_by(&self, server: &str) -> String {
        let mut config: Value = serde_json::from_str(&self.kubeconfig()).expect("JSON");
        config["clusters"][0]["cluster"] = serde_json::json!({ "server": server });
        config.to_string()
    }

    #[track_caller]
    pub(crate) fn kubectl(&self, args: &[&str]) -> String {
        self.0.kubectl(args).unwrap_or_else(|why| panic!("{why}"))
    }

    #[track_caller]
    pub(crate) fn apply(&self, text: &str) {
        self.0.apply(text).unwrap_or_else(|why| panic!("{why}"));
    }

    #[track_caller]
    pub(crate) fn get(&self, args: &[&str]) -> Value {
        self.0.get(args).unwrap_or_else(|why| panic!("{why}"))
    }

    /// The names of all objects of a kind in a namespace.
    #[track_caller]
    pub(crate) fn names(&self, namespace: &str, kind: &str) -> Vec<String> {
        let found = self.get(&[kind, "-n", namespace]);
        let items = found["items"].as_array().expect("items").iter();
        items.map(|item| item["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect()
    }
}
