//! A real Kubernetes cluster, as a person sees it through deployctl.

mod adoption;
mod bad;
mod classes;
pub(crate) mod cluster;
mod contract;
mod credentials;
mod digests;
mod drift;
mod faults;
mod hooks;
mod in_cluster;
mod jobs;
mod meanwhile;
mod namespaces;
mod parted;
mod plans;
mod regions;
mod rendered;
mod replace;
mod restart;
mod secrets;
mod shares;
mod state;
mod strategies;
mod trouble;
mod verdict;

use crate::it::world::{World, text};
use cluster::{Cluster, shared};
use std::time::{Duration, Instant};

/// An app in the namespace `NAME`, with two pods of one container.
pub(crate) const SPEC: &str = r#"
project: p
environments: { dev: {} }
apps:
  NAME:
    target: kubernetes
    context: test
    namespace: NAME
    manifests: "kubernetes/{{ environment }}"
    images: { web: "deployctl.test/web:{{ version }}" }
    pin_tags: false
    patience: 5s
    deadline: 3m
"#;

pub(crate) const WEB: &str = r#"
# What the app is.
apiVersion: v1
kind: Service
metadata: { name: web }
spec:
  selector: { app: web }
  ports: [{ port: 80, targetPort: 8080 }]
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: 2
  progressDeadlineSeconds: 15
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: deployctl.test/web:none
          command: [/pod, serve, "8080"]
          env: [{ name: UNREADY, value: "" }]
          readinessProbe: { httpGet: { path: /healthz, port: 8080 }, periodSeconds: 1 }
"#;

pub(crate) const CONFIG: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: { name: more }
data: { mode: "0644" }
"#;

/// A world whose app `name` lives in a namespace of its own in `cluster`.
pub(crate) fn world(cluster: &Cluster, name: &str) -> World {
    let mut world = World::new(&SPEC.replace("NAME", name));
    world.write("p/kubernetes/dev/web.yaml", WEB);
    world.write("kubeconfig", &cluster.kubeconfig());
    world.var("KUBECONFIG", world.path("kubeconfig"));
    cluster.kubectl(&["create", "namespace", name]);
    world
}

/// The app comes to this; pods that end are still there for a moment. A cluster is slow where much else runs.
#[track_caller]
pub(crate) fn settles(world: &World, app: &str, wanted: &str) {
    let end = Instant::now() + Duration::from_secs(120);
    let mut now = world.now(app);
    while now != wanted {
        assert!(Instant::now() < end, "waited in vain for {wanted} of {app}: {now}");
        std::thread::sleep(Duration::from_millis(100));
        now = world.now(app);
    }
}

/// The image that a Deployment's pods are to run.
pub(crate) fn image(cluster: &Cluster, namespace: &str) -> String {
    let found = cluster.get(&["deployment", "web", "-n", namespace]);
    text(&found["spec"]["template"]["spec"]["containers"][0]["image"])
}

#[test]
fn kube_a_release_is_planned_deployed_replaced_rolled_back_and_taken_down() {
    let Some(cluster) = shared() else { return };
    let world = world(&cluster, "first");
    let plan = world.ok("plan --env dev --all --version v1").out;
    assert!(plan.contains("create Deployment/web") && plan.contains("create Service/web"), "{plan}");
    assert!(plan.contains("v1: by the target itself   then: v1 healthy"), "{plan}");
    assert_eq!(cluster.names("first", "deployment"), Vec::<String>::new(), "a plan changes nothing");
    world.ok("deploy --env dev --all --version v1");
    settles(&world, "first", "v1 healthy 2");
    assert_eq!(image(&cluster, "first"), "deployctl.test/web:v1");
    let again = world.ok("deploy --env dev --all --version v1").err;
    assert!(again.contains("current and healthy already"), "{again}");
    let changed = world.ok("plan --env dev --all --version v2").out;
    let line = "change Deployment/web: spec.template.spec.containers[web].image: deployctl.test/web:v1 -> deployctl.test/web:v2";
    assert!(changed.contains(line) && !changed.contains("Service/web"), "{changed}");
    world.ok("deploy --env dev --all --version v2");
    settles(&world, "first", "v2 healthy 2");
    // What is rolled back to is what was kept, whatever the files say by now.
    world.write("p/kubernetes/dev/web.yaml", "nothing of use: [");
    world.ok("rollback --env dev --app first");
    assert_eq!(image(&cluster, "first"), "deployctl.test/web:v1");
    settles(&world, "first", "v1 healthy 2");
    assert_eq!(world.history("first"), ["v1 succeeded", "v2 succeeded", "v1 succeeded"]);
    world.ok("down --env dev --app first");
    assert_eq!(cluster.names("first", "deployment"), Vec::<String>::new());
    assert_eq!(cluster.names("first", "service"), Vec::<String>::new());
}

#[test]
fn kube_what_a_release_does_not_have_any_more_goes_and_data_and_strangers_stay() {
    let Some(cluster) = shared() else { return };
    let world = world(&cluster, "prune");
    let claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: { name: data }\nspec:\n  storageClassName: \"\"\n  \
                 accessModes: [ReadWriteOnce]\n  volumeName: prune-data\n  resources: { requests: { storage: 1Mi } }\n";
    let volume = "apiVersion: v1\nkind: PersistentVolume\nmetadata: { name: prune-data }\nspec:\n  storageClassName: \"\"\n  \
                  accessModes: [ReadWriteOnce]\n  capacity: { storage: 1Mi }\n  hostPath: { path: /tmp }\n";
    cluster.apply(volume);
    world.write("p/kubernetes/dev/more/config.yaml", CONFIG);
    world.write("p/kubernetes/dev/more/claim.yml", claim);
    cluster.kubectl(&["create", "configmap", "theirs", "-n", "prune"]);
    world.ok("deploy --env dev --all --version v1");
    assert_eq!(cluster.get(&["configmap", "more", "-n", "prune"])["data"]["mode"], "0644");
    std::fs::remove_dir_all(world.path("p/kubernetes/dev/more")).expect("the files");
    let plan = world.ok("plan --env dev --all --version v2").out;
    assert!(plan.contains("delete ConfigMap/more"), "{plan}");
    assert!(plan.contains("keep PersistentVolumeClaim/data"), "{plan}");
    world.ok("deploy --env dev --all --version v2");
    let maps = cluster.names("prune", "configmap");
    assert!(!maps.contains(&"more".to_owned()) && maps.contains(&"theirs".to_owned()), "{maps:?}");
    assert_eq!(cluster.names("prune", "pvc"), ["data"]);
    // The way back brings it again.
    world.ok("rollback --env dev --app prune");
    assert!(cluster.names("prune", "configmap").contains(&"more".to_owned()));
    world.ok("down --env dev --app prune");
    let maps = cluster.names("prune", "configmap");
    assert!(!maps.contains(&"more".to_owned()) && maps.contains(&"theirs".to_owned()), "{maps:?}");
    assert_eq!(cluster.names("prune", "pvc"), ["data"], "no deployment deletes data");
}

#[test]
fn kube_an_image_that_is_not_there_is_turned_back_with_its_reason() {
    let Some(cluster) = shared() else { return };
    let world = world(&cluster, "noimage");
    world.ok("deploy --env dev --all --version v1");
    let why = world.run("deploy --env dev --all --version v404").code(1);
    assert!(why.last().contains("v404 did not") && why.last().contains("Deployment/web"), "{}", why.err);
    assert!(why.last().to_lowercase().contains("image"), "{}", why.err);
    assert_eq!(image(&cluster, "noimage"), "deployctl.test/web:v1");
    settles(&world, "noimage", "v1 healthy 2");
    assert_eq!(world.history("noimage"), ["v404 rolled_back restored", "v1 succeeded"]);
    world.ok("down --env dev --app noimage");
}

#[test]
fn kube_pods_that_never_become_ready_are_turned_back_and_what_came_with_them_goes() {
    let Some(cluster) = shared() else { return };
    let world = world(&cluster, "never-ready");
    world.ok("deploy --env dev --all --version v1");
    world.write("p/kubernetes/dev/web.yaml", &WEB.replace("value: \"\"", "value: \"yes\""));
    world.write("p/kubernetes/dev/more.yaml", CONFIG);
    let why = world.run("deploy --env dev --all --version v2").code(1);
    assert!(why.last().contains("v2 did not") && why.last().contains("Deployment/web"), "{}", why.err);
    assert_eq!(image(&cluster, "never-ready"), "deployctl.test/web:v1");
    assert!(!cluster.names("never-ready", "configmap").contains(&"more".to_owned()), "the bad release brought it");
    settles(&world, "never-ready", "v1 healthy 2");
    world.ok("down --env dev --app never-ready");
}

#[test]
fn kube_a_first_release_whose_pods_end_at_once_leaves_nothing_and_says_what_they_printed() {
    let Some(cluster) = shared() else { return };
    let world = world(&cluster, "crashes");
    let words = "command: [/pod, exit, \"1\", no such table]";
    world.write("p/kubernetes/dev/web.yaml", &WEB.replace("command: [/pod, serve, \"8080\"]", words));
    let why = world.run("deploy --env dev --all --version v1").code(1);
    assert!(why.last().contains("v1 did not") && why.last().contains("Deployment/web"), "{}", why.err);
    assert_eq!(cluster.names("crashes", "deployment"), Vec::<String>::new());
    assert_eq!(cluster.names("crashes", "service"), Vec::<String>::new());
}
