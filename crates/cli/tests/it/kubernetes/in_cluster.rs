//! deployctl as a Job in the cluster: by the documents as they stand, and by `--in-cluster`.

use super::cluster::{Cluster, shared};
use super::state::{RBAC, runner, slow};
use super::{SPEC, WEB, image, settles};
use crate::it::world::{World, finish, kill, poll, text};
use rustix::process::Signal;
use serde_json::Value;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

const JOB: &str = include_str!("../../../../../docs/deploy/job.yaml");
const DOCKERFILE: &str = include_str!("../../../../../Dockerfile");
/// The image of deployctl, as the node knows it.
const IMAGE: &str = "deployctl.test/deployctl:1";

/// Gives the node the image of deployctl: what the last stage of the Dockerfile makes, with the libraries of this machine.
fn give_image(cluster: &Cluster) {
    static GIVEN: OnceLock<()> = OnceLock::new();
    GIVEN.get_or_init(|| {
        let stage = DOCKERFILE.rsplit("FROM ").next().expect("a last stage");
        let of = |word: &str| {
            let line = stage.lines().find_map(|line| line.strip_prefix(word));
            line.unwrap_or_else(|| panic!("the Dockerfile says no {word}")).trim().to_owned()
        };
        let program = of("COPY").split_whitespace().last().expect("a path").to_owned();
        assert_eq!(of("ENTRYPOINT"), format!("[\"{program}\"]"));
        let folder = tempfile::tempdir().expect("a folder");
        let binary = folder.path().join("deployctl");
        let strip =
            std::process::Command::new("strip").arg("-o").arg(&binary).arg(env!("CARGO_BIN_EXE_deployctl")).status();
        if !strip.is_ok_and(|done| done.success()) {
            std::fs::copy(env!("CARGO_BIN_EXE_deployctl"), &binary).expect("a copy");
        }
        let given = cluster.0.image_of(IMAGE, &[(binary, &program)], &[&program], &of("USER"));
        given.unwrap_or_else(|why| panic!("{why}"));
    });
}

fn apply(cluster: &Cluster, namespace: &str, how: &str, text: &str) -> String {
    cluster.0.kubectl_with(&[how, "-n", namespace, "-f", "-"], text).unwrap_or_else(|why| panic!("{why}"))
}

/// A namespace where deployctl may run by the documented role, and somebody's machine.
fn prepared(cluster: &Cluster, name: &str) -> World {
    give_image(cluster);
    cluster.kubectl(&["create", "namespace", name]);
    apply(cluster, name, "apply", RBAC);
    let world = runner(cluster, name, "alice");
    world.spec(&spec(name));
    world
}

fn spec(name: &str) -> String {
    SPEC.replace("NAME", name).replace("project: p\n", &format!("project: p\nin_cluster: {{ image: {IMAGE} }}\n"))
}

/// As `poll`, for what a cluster does not do as quickly.
#[track_caller]
fn poll_long<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(150);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Waits until a Job has ended well.
#[track_caller]
fn ended(cluster: &Cluster, namespace: &str, job: &str) {
    poll_long("the job to end", || {
        let found = cluster.get(&["job", job, "-n", namespace]);
        let has = |kind: &str| {
            let all = found["status"]["conditions"].as_array().into_iter().flatten();
            all.filter(|c| c["type"] == kind).any(|c| c["status"] == "True")
        };
        let said = || cluster.kubectl(&["logs", &format!("job/{job}"), "-n", namespace, "--tail=20"]);
        assert!(!has("Failed"), "{}", said());
        has("Complete").then_some(())
    });
}

#[test]
fn kube_a_job_in_the_cluster_deploys_by_its_service_account() {
    let Some(cluster) = shared() else { return };
    give_image(&cluster);
    cluster.kubectl(&["create", "namespace", "shop"]);
    apply(&cluster, "shop", "apply", RBAC);
    let spec = SPEC
        .replace("NAME", "shop")
        .replace("    context: test\n", "")
        .replace("kubernetes/{{ environment }}", "kubernetes");
    let project = serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "project" },
        "data": { "deployctl.yaml": spec, "web.yaml": WEB },
    });
    apply(&cluster, "shop", "apply", &project.to_string());
    let job = |version: &str| {
        let text = JOB.replace("registry.example.com/deployctl:0.1.0", IMAGE).replace("v1.4.0", version);
        let made = apply(&cluster, "shop", "create", &text.replace("--env, prod", "--env, dev"));
        let name = made.split_whitespace().next().unwrap_or_default();
        name.trim_start_matches("job.batch/").to_owned()
    };
    ended(&cluster, "shop", &job("v1"));
    assert_eq!(image(&cluster, "shop"), "deployctl.test/web:v1");
    ended(&cluster, "shop", &job("v2"));
    assert_eq!(image(&cluster, "shop"), "deployctl.test/web:v2");
    // From outside it is the same state, by another name.
    let world = runner(&cluster, "shop", "alice");
    assert_eq!(world.history("shop"), ["v2 succeeded", "v1 succeeded"]);
}

#[test]
fn kube_the_documented_role_allows_nothing_else() {
    let Some(cluster) = shared() else { return };
    cluster.kubectl(&["create", "namespace", "bounds"]);
    cluster.kubectl(&["create", "namespace", "beyond"]);
    apply(&cluster, "bounds", "apply", RBAC);
    let token = cluster.kubectl(&["create", "token", "deployctl", "-n", "bounds"]);
    let refused = |args: &[&str]| {
        let said = cluster.0.kubectl(&[args, &["--token", &token]].concat());
        let why = said.expect_err(&format!("{args:?} is refused"));
        assert!(why.contains("orbidden"), "{args:?}: {why}");
    };
    refused(&["create", "configmap", "x", "-n", "beyond"]);
    refused(&["get", "secrets", "-n", "beyond"]);
    refused(&["get", "nodes"]);
    refused(&["create", "namespace", "more"]);
    refused(&["create", "role", "x", "--verb=get", "--resource=pods", "-n", "bounds"]);
    refused(&["run", "x", "--image=deployctl.test/web:v1", "-n", "bounds"]);
    refused(&["delete", "--raw", "/api/v1/namespaces/bounds/events/x"]);
    // As itself it is told before anything is changed.
    let world = runner(&cluster, "bounds", "ci");
    let mut config: Value = serde_json::from_str(&cluster.kubeconfig()).expect("JSON");
    config["users"][0]["user"] = serde_json::json!({ "token": token });
    world.write("kubeconfig", &config.to_string());
    world.spec(&SPEC.replace("NAME", "bounds").replace("namespace: bounds", "namespace: beyond"));
    let why = world.run("deploy --env dev --all --version v1").code(3);
    assert!(why.last().contains("`test` does not allow in `beyond`: create, get, update configmaps"), "{}", why.err);
    assert_eq!(cluster.names("beyond", "deployment"), Vec::<String>::new());
}

/// The one Job of a namespace that was made by `--in-cluster` and is not among those that were known.
#[track_caller]
fn new_job(cluster: &Cluster, namespace: &str, known: &[String]) -> String {
    poll_long("a new Job", || cluster.names(namespace, "job").into_iter().find(|job| !known.contains(job)))
}

#[test]
fn kube_in_cluster_ends_as_it_would_here_and_outlives_its_client() {
    let Some(cluster) = shared() else { return };
    let world = prepared(&cluster, "inside");
    let done = world.ok("deploy --env dev --all --version v1 --in-cluster");
    assert!(done.err.contains("inside: nothing -> v1"), "{}", done.err);
    assert!(done.last().starts_with("succeeded: deploy inside nothing -> v1 in dev"), "{}", done.err);
    assert_eq!(world.history("inside"), ["v1 succeeded"]);
    assert!(text(&world.json("history")[0]["actor"]).starts_with("alice@"));
    let id = text(&world.json("history")[0]["id"]);
    let first = cluster.names("inside", "job");
    assert_eq!(first, [format!("deployctl-{id}")], "the deployment is called as its Job");
    ended(&cluster, "inside", &first[0]);
    let secrets = cluster.names("inside", "secret");
    assert!(!secrets.contains(&first[0]), "what was asked for is not kept: {secrets:?}");
    let pods = cluster.get(&["pods", "-n", "inside", "-l", "deployctl.io/carries=yes"]);
    assert_eq!(pods["items"][0]["spec"]["securityContext"]["runAsUser"], 65_532);
    // What fails there fails here, with the same words.
    let why = world.run("deploy --env dev --all --version v404 --in-cluster").code(1);
    assert!(why.last().starts_with("rolled back: deploy inside v1 -> v404"), "{}", why.err);
    assert!(why.last().to_lowercase().contains("image"), "{}", why.err);
    let again = world.ok("deploy --env dev --all --version v1 --in-cluster").err;
    assert!(again.contains("current and healthy already"), "{again}");
    // Nobody of those who asked is left.
    slow(&world, 4);
    let known = cluster.names("inside", "job");
    let client = world.spawn("deploy --env dev --all --version v2 --in-cluster");
    let job = new_job(&cluster, "inside", &known);
    poll_long("the deployment to begin", || (image(&cluster, "inside") == "deployctl.test/web:v2").then_some(()));
    kill(client.id(), Signal::KILL);
    for engine in world.role("engine") {
        kill(engine, Signal::KILL);
    }
    finish(client);
    drop(world);
    ended(&cluster, "inside", &job);
    assert_eq!(image(&cluster, "inside"), "deployctl.test/web:v2");
    let other = runner(&cluster, "inside", "bob");
    other.spec(&spec("inside"));
    settles(&other, "inside", "v2 healthy 2");
    assert_eq!(other.history("inside"), ["v2 succeeded", "v404 rolled_back restored", "v1 succeeded"]);
    let back = other.ok("rollback --env dev --app inside --in-cluster");
    assert!(back.last().starts_with("succeeded: rollback inside v2 -> v1"), "{}", back.err);
    assert_eq!(image(&cluster, "inside"), "deployctl.test/web:v1");
}

#[test]
fn kube_in_cluster_goes_on_when_its_pod_is_killed() {
    let Some(cluster) = shared() else { return };
    let world = prepared(&cluster, "moved");
    world.ok("deploy --env dev --all --version v1 --in-cluster");
    slow(&world, 6);
    let known = cluster.names("moved", "job");
    let id = world.ok("deploy --env dev --all --version v2 --in-cluster --detach").out.trim().to_owned();
    let job = new_job(&cluster, "moved", &known);
    assert_eq!(job, format!("deployctl-{id}"));
    // Nobody here could go on with it instead.
    for engine in world.role("engine") {
        kill(engine, Signal::KILL);
    }
    let select = format!("batch.kubernetes.io/job-name={job}");
    cluster.kubectl(&["delete", "pods", "-l", &select, "-n", "moved", "--grace-period=0", "--force"]);
    ended(&cluster, "moved", &job);
    assert_eq!(image(&cluster, "moved"), "deployctl.test/web:v2");
    assert_eq!(world.history("moved"), ["v2 succeeded", "v1 succeeded"], "one deployment, whoever ended it");
}

#[test]
fn kube_in_cluster_says_what_is_missing() {
    let Some(cluster) = shared() else { return };
    let world = prepared(&cluster, "lacks");
    let deploy = "deploy --env dev --all --version v1 --in-cluster";
    world.spec(&SPEC.replace("NAME", "lacks"));
    world.fails(2, deploy, "--in-cluster needs to know the image of deployctl");
    world.spec(&spec("lacks").replace("context: test", "context: other"));
    world.fails(2, deploy, "lacks runs in the cluster `other`, and the Job would run in `test`");
    world.spec(&spec("lacks").replace("in_cluster: { ", "in_cluster: { service_account: nobody, "));
    world.fails(2, deploy, "there is no service account `nobody` in the namespace `lacks`");
    // There is one, and it may do nothing: the Job says so, and does not try for ever.
    cluster.kubectl(&["create", "serviceaccount", "nobody", "-n", "lacks"]);
    let why = world.run(deploy).code(5);
    assert!(why.last().contains("began no deployment") && why.last().contains("orbidden"), "{}", why.err);
    world.spec(&spec("lacks"));
    let why = world.run(&format!("{deploy} --in-cluster-image deployctl.test/none:1")).code(5);
    assert!(why.err.contains("  waits: ") && why.last().to_lowercase().contains("image"), "{}", why.err);
    assert!(why.last().contains("nothing was changed"), "{}", why.err);
    assert_eq!(cluster.names("lacks", "job"), Vec::<String>::new(), "what came to nothing is gone");
    assert_eq!(cluster.names("lacks", "deployment"), Vec::<String>::new());
    let mut here = runner(&cluster, "lacks", "alice");
    here.spec(&spec("lacks"));
    here.var("DEPLOYCTL_STATE", here.path("state"));
    here.fails(2, deploy, "--in-cluster needs a state in the cluster");
    // A bad request of the right form is refused by whoever reads it.
    poll("a file", || std::fs::write(here.path("request"), "x").ok());
    here.fails(2, &format!("kubernetes carry {}", here.path("request").display()), "is no request of --in-cluster");
}
