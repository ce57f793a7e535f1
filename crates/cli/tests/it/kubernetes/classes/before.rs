//! What crashed before a deployment is none of its reasons.

use super::super::cluster::{Cluster, shared};
use super::super::{CONFIG, WEB, settles, world};
use crate::it::world::{kill, poll, processes_with};
use rustix::process::Signal;
use serde_json::Value;

/// Stands in the environment of the processes that are killed.
const MARK: &str = "killed-from-outside-by-a-test";

fn container(cluster: &Cluster, name: &str) -> Value {
    let pods = cluster.get(&["pods", "-n", name]);
    pods["items"][0]["status"]["containerStatuses"][0].clone()
}

/// Kills the app's process until its pod is in a crash loop.
fn crash(cluster: &Cluster, name: &str) {
    poll("a crash loop", || {
        for (pid, _) in processes_with(MARK) {
            kill(pid, Signal::KILL);
        }
        (container(cluster, name)["state"]["waiting"]["reason"] == "CrashLoopBackOff").then_some(())
    });
}

#[test]
fn kube_crashes_from_before_a_deployment_never_count() {
    let Some(cluster) = shared() else { return };
    let world = world(&cluster, "earlier");
    let web = WEB.replace("replicas: 2", "replicas: 1");
    let marked = web.replace("env: [", &format!("env: [{{ name: MARK, value: {MARK} }}, "));
    world.write("p/kubernetes/dev/web.yaml", &marked);
    world.spec(
        &super::super::SPEC
            .replace("NAME", "earlier")
            .replace("deployctl.test/web:{{ version }}", "deployctl.test/web:v1"),
    );
    world.ok("deploy --env dev --all --version v1");
    settles(&world, "earlier", "v1 healthy 1");
    crash(&cluster, "earlier");
    settles(&world, "earlier", "v1 healthy 1");
    // The same pod, which was started again more than once, in another release.
    world.write("p/kubernetes/dev/more.yaml", CONFIG);
    let ran = world.ok("deploy --env dev --all --version v2");
    assert!(!ran.err.contains("exit code") && !ran.err.contains("crash"), "{}", ran.err);
    assert!(container(&cluster, "earlier")["restartCount"].as_u64() > Some(0));
    // And while it crashes, pods that are others.
    crash(&cluster, "earlier");
    world.write("p/kubernetes/dev/web.yaml", &web);
    let ran = world.ok("deploy --env dev --all --version v3");
    assert!(!ran.err.contains("exit code") && !ran.err.contains("crash"), "{}", ran.err);
    settles(&world, "earlier", "v3 healthy 1");
    assert_eq!(world.history("earlier"), ["v3 succeeded", "v2 succeeded", "v1 succeeded"]);
    world.ok("down --env dev --app earlier");
}
