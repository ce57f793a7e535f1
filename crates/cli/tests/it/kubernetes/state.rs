//! A state in the cluster: runners without a disk that lasts, each a world of its own.

use super::cluster::{self, Cluster, shared};
use super::{SPEC, WEB, image, settles};
use crate::it::world::{World, finish, kill, poll, text};
use async_trait::async_trait;
use deployctl_core::journal::{Blobs, Journal};
use deployctl_core::objects::{Object, ObjectError, ObjectVersion, Objects};
use deployctl_driver_kubernetes::{Kept, NamespaceObjects};
use deployctl_live::kube::Part;
use deployctl_store::{ObjectBlobs, ObjectJournal, conformance};
use rustix::process::Signal;
use std::cell::Cell;
use std::sync::Arc;

/// A machine that has nothing but the project and a kubeconfig.
pub(super) fn runner(cluster: &Cluster, name: &str, actor: &str) -> World {
    let mut world = World::bare();
    world.spec(&SPEC.replace("NAME", name));
    world.write("p/kubernetes/dev/web.yaml", WEB);
    world.write("kubeconfig", &cluster.kubeconfig());
    world.var("KUBECONFIG", world.path("kubeconfig"));
    world.var("DEPLOYCTL_STATE", format!("kubernetes://test/{name}"));
    world.var("DEPLOYCTL_ACTOR", actor);
    world
}

/// A rollout takes so long that something can happen meanwhile.
pub(super) fn slow(world: &World, seconds: u32) {
    let replicas = format!("replicas: 2\n  minReadySeconds: {seconds}");
    // The cluster's own patience goes on while its API server is away.
    let web =
        WEB.replace("replicas: 2", &replicas).replace("progressDeadlineSeconds: 15", "progressDeadlineSeconds: 300");
    world.write("p/kubernetes/dev/web.yaml", &web);
}

#[test]
fn kube_a_fresh_runner_goes_on_with_what_another_one_deployed() {
    let Some(cluster) = shared() else { return };
    cluster.kubectl(&["create", "namespace", "nodisk"]);
    let first = runner(&cluster, "nodisk", "alice");
    first.ok("deploy --env dev --all --version v1");
    first.ok("deploy --env dev --all --version v2");
    let head = text(&first.json("audit verify")["head"]);
    drop(first);
    let second = runner(&cluster, "nodisk", "bob");
    settles(&second, "nodisk", "v2 healthy 2");
    assert_eq!(second.history("nodisk"), ["v2 succeeded", "v1 succeeded"]);
    assert!(text(&second.json("history")[0]["actor"]).starts_with("alice@"));
    assert!(second.json(&format!("audit verify --head {head}"))["known_at"].is_u64(), "the head is in it");
    second.ok("rollback --env dev --app nodisk");
    assert_eq!(image(&cluster, "nodisk"), "deployctl.test/web:v1");
    let third = runner(&cluster, "nodisk", "carol");
    assert_eq!(third.history("nodisk"), ["v1 succeeded", "v2 succeeded", "v1 succeeded"]);
    assert_eq!(third.history("nodisk"), second.history("nodisk"), "two look on at the same time");
    third.ok("down --env dev --app nodisk");
    assert_eq!(cluster.names("nodisk", "deployment"), Vec::<String>::new());
    // Who may see the ConfigMaps of a namespace sees what was deployed; the key is a Secret.
    let secrets = cluster.names("nodisk", "secret");
    assert_eq!(
        secrets.iter().filter(|name| name.starts_with("deployctl-")).collect::<Vec<_>>(),
        ["deployctl-state-key"]
    );
    let maps = cluster.names("nodisk", "configmap");
    assert!(maps.contains(&"deployctl-state-journal".to_owned()) && maps.len() < 30, "{maps:?}");
}

#[test]
fn kube_the_deployment_of_a_killed_runner_is_ended_by_the_next_command_elsewhere() {
    let Some(cluster) = shared() else { return };
    cluster.kubectl(&["create", "namespace", "lost"]);
    let first = runner(&cluster, "lost", "alice");
    first.ok("deploy --env dev --all --version v1");
    slow(&first, 4);
    let client = first.spawn("deploy --env dev --all --version v2");
    poll("the deployment to begin", || (image(&cluster, "lost") == "deployctl.test/web:v2").then_some(()));
    kill(client.id(), Signal::KILL);
    kill(first.role("engine")[0], Signal::KILL);
    finish(client);
    // All that this runner had is gone with it.
    drop(first);
    let second = runner(&cluster, "lost", "bob");
    let running = second.json("history")[0].clone();
    assert_eq!((text(&running["verdict"]), text(&running["version"])), ("running".into(), "v2".into()));
    settles(&second, "lost", "v2 healthy 2");
    assert_eq!(second.ended(), "succeeded");
    assert_eq!(second.history("lost"), ["v2 succeeded", "v1 succeeded"]);
    second.ok("deploy --env dev --all --version v3");
    assert_eq!(image(&cluster, "lost"), "deployctl.test/web:v3");
}

#[test]
fn kube_the_second_of_two_runners_is_told_who_is_first_or_waits() {
    let Some(cluster) = shared() else { return };
    cluster.kubectl(&["create", "namespace", "both"]);
    let (first, second) = (runner(&cluster, "both", "alice"), runner(&cluster, "both", "bob"));
    first.ok("deploy --env dev --all --version v1");
    slow(&first, 6);
    let deploy = first.spawn("deploy --env dev --all --version v2");
    poll("the deployment to begin", || (image(&cluster, "both") == "deployctl.test/web:v2").then_some(()));
    let why = second.run("deploy --env dev --all --version v3").code(4);
    let id = text(&second.json("history")[0]["id"]);
    assert!(why.err.contains("alice@") && why.err.contains(&id), "{}", why.err);
    assert!(why.last().contains("nothing was changed; next: wait for it with --wait 10m"), "{}", why.err);
    assert_eq!(text(&second.json(&format!("show {id}"))["verdict"]), "running", "whoever looks on sees it");
    second.ok("deploy --env dev --all --version v3 --wait 2m");
    finish(deploy).code(0);
    assert_eq!(image(&cluster, "both"), "deployctl.test/web:v3");
    assert_eq!(first.history("both"), ["v3 succeeded", "v2 succeeded", "v1 succeeded"]);
}

#[test]
fn kube_what_needs_this_machine_is_refused_with_a_state_in_a_cluster() {
    let Some(cluster) = shared() else { return };
    cluster.kubectl(&["create", "namespace", "local"]);
    let world = runner(&cluster, "local", "alice");
    world.spec("project: p\nenvironments: { dev: {} }\napps:\n  api: { target: process, command: [APP] }\n");
    world.fails(
        2,
        "deploy --env dev --all --version v1",
        "api would run on this machine, and the state is in a cluster",
    );
    world.fails(2, "service install --print", "a state in a cluster needs no engine that is kept running");
    let mut nowhere = runner(&cluster, "local", "alice");
    nowhere.var("DEPLOYCTL_STATE", "kubernetes://test/missing");
    nowhere.fails(5, "status", "there is no namespace `missing` in `test`");
    nowhere.var("DEPLOYCTL_STATE", "kubernetes://other/local");
    nowhere.fails(5, "status", "there is no context `other` in the kubeconfig");
    nowhere.var("DEPLOYCTL_STATE", "kubernetes:///local");
    nowhere.fails(5, "status", "deployctl does not run in a cluster");
    nowhere.var("DEPLOYCTL_STATE", "kubernetes://test");
    nowhere.fails(2, "status", "names no namespace of a cluster");
}

#[test]
fn kube_a_state_in_a_cluster_whose_api_server_is_away_goes_on_when_it_is_back() {
    let Some(cluster) = cluster::alone() else { return };
    cluster.kubectl(&["create", "namespace", "gap"]);
    let world = runner(&cluster, "gap", "alice");
    world.ok("deploy --env dev --all --version v1");
    slow(&world, 4);
    let deploy = world.spawn("deploy --env dev --all --version v2");
    poll("the deployment to begin", || (image(&cluster, "gap") == "deployctl.test/web:v2").then_some(()));
    let id = world.running();
    cluster.0.stop(Part::ApiServer);
    poll("word of it", || {
        let waiting = text(&world.json(&format!("show {id}"))["waiting"]);
        waiting.contains("the API server of `test` cannot be reached").then_some(())
    });
    let fresh = runner(&cluster, "gap", "bob");
    fresh.fails(5, "status", "the API server of `test` cannot be reached");
    cluster.0.begin(Part::ApiServer).expect("the API server");
    finish(deploy).code(0);
    settles(&world, "gap", "v2 healthy 2");
    settles(&fresh, "gap", "v2 healthy 2");
}

#[test]
fn kube_an_api_server_that_is_away_for_longer_than_a_deployment_may_take_condemns_nothing() {
    let Some(cluster) = cluster::alone() else { return };
    cluster.kubectl(&["create", "namespace", "longer"]);
    let world = runner(&cluster, "longer", "alice");
    // Nodes and controllers take their time to notice that it is back.
    world.spec(&SPEC.replace("NAME", "longer").replace("patience: 5s", "patience: 100s"));
    world.ok("deploy --env dev --all --version v1");
    let short = "replicas: 2\n  minReadySeconds: 4";
    world.write("p/kubernetes/dev/web.yaml", &WEB.replace("replicas: 2", short));
    let deploy = world.spawn("deploy --env dev --all --version v2");
    poll("the deployment to begin", || (image(&cluster, "longer") == "deployctl.test/web:v2").then_some(()));
    cluster.0.stop(Part::ApiServer);
    let away = std::time::Instant::now();
    let id = world.running();
    poll("word of it", || {
        let waiting = text(&world.json(&format!("show {id}"))["waiting"]);
        waiting.contains("the API server of `test` cannot be reached").then_some(())
    });
    // Longer than pods may take, by the cluster's own clock.
    std::thread::sleep(std::time::Duration::from_secs(20).saturating_sub(away.elapsed()));
    cluster.0.begin(Part::ApiServer).expect("the API server");
    let done = finish(deploy).code(0);
    assert!(done.last().starts_with("succeeded: "), "{}", done.err);
    settles(&world, "longer", "v2 healthy 2");
}

/// What people are told to apply.
pub(super) const RBAC: &str = include_str!("../../../../../docs/deploy/rbac.yaml");

#[test]
fn kube_the_documented_role_is_enough_for_a_runner() {
    let Some(cluster) = shared() else { return };
    cluster.kubectl(&["create", "namespace", "least"]);
    cluster.0.kubectl_with(&["apply", "-n", "least", "-f", "-"], RBAC).unwrap_or_else(|why| panic!("{why}"));
    let world = runner(&cluster, "least", "ci");
    let token = cluster.kubectl(&["create", "token", "deployctl", "-n", "least"]);
    let mut config: serde_json::Value = serde_json::from_str(&cluster.kubeconfig()).expect("JSON");
    config["users"][0]["user"] = serde_json::json!({ "token": token });
    world.write("kubeconfig", &config.to_string());
    world.ok("plan --env dev --all --version v1");
    world.ok("deploy --env dev --all --version v1");
    // What a smoke test by a request needs is known beforehand, and can be left out where there is none.
    world.spec(&format!(
        "{}    smoke: [{{ http: /healthz }}]\n",
        std::fs::read_to_string(world.path("p/deployctl.yaml")).expect("it")
    ));
    let without = RBAC.replace("resources: [pods/proxy]", "resources: [pods/other]");
    assert_ne!(without, RBAC);
    cluster.0.kubectl_with(&["apply", "-n", "least", "-f", "-"], &without).unwrap_or_else(|why| panic!("{why}"));
    let why = poll("the right to be gone", || {
        let plan = world.run("plan --env dev --all --version v2");
        (plan.code != 0).then(|| plan.code(3).err)
    });
    assert!(why.contains("`test` does not allow in `least`: get pods/proxy"), "{why}");
    assert!(why.contains("`kubectl auth can-i get pods --subresource=proxy -n least` says the same"), "{why}");
    cluster.0.kubectl_with(&["apply", "-n", "least", "-f", "-"], RBAC).unwrap_or_else(|why| panic!("{why}"));
    poll("the right to be there", || (world.run("plan --env dev --all --version v2").code == 0).then_some(()));
    world.ok("deploy --env dev --all --version v2");
    world.ok("rollback --env dev --app least");
    settles(&world, "least", "v1 healthy 2");
    // A pod that does not run says why.
    let why = world.run("deploy --env dev --all --version v404").code(1);
    assert!(why.last().to_lowercase().contains("image"), "{}", why.err);
    world.ok("down --env dev --app least");
}

/// Objects whose names begin with something of their own: as if in an empty namespace.
#[derive(Clone, Debug)]
struct Among(Arc<NamespaceObjects>, String);

#[async_trait]
impl Objects for Among {
    async fn get(&self, name: &str) -> Result<Option<Object>, ObjectError> {
        self.0.get(&format!("{}{name}", self.1)).await
    }

    async fn create(&self, name: &str, bytes: &[u8]) -> Result<(), ObjectError> {
        self.0.create(&format!("{}{name}", self.1), bytes).await
    }

    async fn replace(
        &self,
        name: &str,
        bytes: &[u8],
        over: Option<&ObjectVersion>,
    ) -> Result<ObjectVersion, ObjectError> {
        self.0.replace(&format!("{}{name}", self.1), bytes, over).await
    }

    async fn delete(&self, name: &str) -> Result<(), ObjectError> {
        self.0.delete(&format!("{}{name}", self.1)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, ObjectError> {
        let names = self.0.list(&format!("{}{prefix}", self.1)).await?;
        Ok(names.iter().filter_map(|name| name.strip_prefix(&self.1)).map(str::to_owned).collect())
    }
}

#[test]
fn kube_the_suites_of_journals_and_blobs_pass_on_a_namespace() {
    let Some(cluster) = shared() else { return };
    cluster.kubectl(&["create", "namespace", "suite"]);
    let folder = tempfile::tempdir().expect("a folder");
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, cluster.kubeconfig()).expect("a file");
    // A process of its own, since the kubeconfig is named by the environment.
    let program = std::env::current_exe().expect("this program");
    let mut suite = std::process::Command::new(program);
    suite.args(["--exact", "it::kubernetes::state::suite_on_the_cluster_of_the_environment", "--nocapture"]);
    suite.env("KUBECONFIG", &kubeconfig).env("DEPLOYCTL_TEST_SUITE", "yes");
    suite.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let done = finish(suite.spawn().expect("it starts")).code(0);
    assert!(done.out.contains("1 passed"), "{}", done.out);
}

/// The program of the test above.
#[tokio::test]
async fn suite_on_the_cluster_of_the_environment() {
    if std::env::var_os("DEPLOYCTL_TEST_SUITE").is_none() {
        return;
    }
    let objects = Arc::new(NamespaceObjects::new(Some("test".into()), "suite".into(), Kept::ConfigMaps));
    let next = Cell::new(0);
    let fresh = || {
        next.set(next.get() + 1);
        Arc::new(Among(objects.clone(), format!("n{}.", next.get()))) as Arc<dyn Objects>
    };
    conformance::journal(async || Arc::new(ObjectJournal::new(fresh())) as Arc<dyn Journal>).await;
    conformance::blobs(async || Arc::new(ObjectBlobs::new(fresh())) as Arc<dyn Blobs>).await;
    // Two engines, each of which sees what the other one wrote.
    let both = fresh();
    let journals = [ObjectJournal::new(both.clone()), ObjectJournal::new(both)];
    let name = deployctl_core::journal::StreamId("s".into());
    for n in 0..20_u64 {
        let entry = deployctl_core::journal::NewEntry {
            at: deployctl_core::time::Millis(n),
            actor: "alice".into(),
            event: r#"{"type":"x"}"#.into(),
        };
        let expected = deployctl_core::journal::Seq(n);
        let write = deployctl_core::journal::Write { stream: name.clone(), expected, entries: vec![entry] };
        let batch = deployctl_core::journal::Batch { writes: vec![write], fences: vec![] };
        let (one, two) = tokio::join!(journals[0].append(batch.clone()), journals[1].append(batch));
        assert!(one.is_ok() != two.is_ok(), "exactly one is first: {one:?} {two:?}");
    }
    assert_eq!(journals[0].verify(None).await.expect("it is whole").entries, 20);
}
