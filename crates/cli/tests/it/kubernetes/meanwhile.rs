//! What others do meanwhile, what pods take their time for, and what the plan warns of.

use super::{WEB, cluster, image, settles, world};
use crate::it::world::poll;

#[test]
fn kube_what_somebody_changed_is_told_with_who_and_when() {
    let Some(cluster) = cluster::shared() else { return };
    let world = world(&cluster, "drift");
    world.ok("deploy --env dev --all --version v1");
    settles(&world, "drift", "v1 healthy 2");
    let same = world.ok("status --env dev --app drift --drift");
    assert_eq!(same.out.trim(), "dev drift: as v1 was deployed");
    cluster.kubectl(&["scale", "deployment", "web", "--replicas=3", "-n", "drift"]);
    // It is tolerated, and said.
    settles(&world, "drift", "v1 healthy 3");
    let changed = world.run("status --env dev --app drift --drift").code(1);
    assert!(changed.out.starts_with("dev drift: changed since v1 was deployed\n"), "{}", changed.out);
    let line = "  Deployment/web: spec.replicas: 3 instead of 2, by kubectl (scale)";
    assert!(changed.out.contains(line), "{}", changed.out);
    assert_eq!(changed.last(), "1 thing was changed by hand");
    let status = world.status("dev", "drift");
    assert!(status["drift"][0].as_str().is_some_and(|line| line.contains("spec.replicas")), "{status}");
    assert!(
        status["detail"].as_str().is_some_and(|why| why.starts_with("changed by hand: Deployment/web")),
        "{status}"
    );
    cluster.kubectl(&["scale", "deployment", "web", "--replicas=2", "-n", "drift"]);
    settles(&world, "drift", "v1 healthy 2");
    world.ok("status --env dev --app drift --drift");
    world.ok("down --env dev --app drift");
}

#[test]
fn kube_who_scales_in_the_middle_is_tolerated() {
    let Some(cluster) = cluster::shared() else { return };
    let world = world(&cluster, "middle");
    world.write("p/kubernetes/dev/web.yaml", &WEB.replace("replicas: 2", "replicas: 2\n  minReadySeconds: 3"));
    world.ok("deploy --env dev --all --version v1");
    let deploy = world.spawn("deploy --env dev --all --version v2");
    poll("the deployment to begin", || (image(&cluster, "middle") == "deployctl.test/web:v2").then_some(()));
    cluster.kubectl(&["scale", "deployment", "web", "--replicas=3", "-n", "middle"]);
    crate::it::world::finish(deploy).code(0);
    settles(&world, "middle", "v2 healthy 3");
    assert_eq!(world.history("middle"), ["v2 succeeded", "v1 succeeded"]);
    // Whoever holds a field now is asked before it is taken.
    let why = world.run("deploy --env dev --all --version v1").code(4);
    assert!(why.err.contains("`spec.replicas` by `kubectl` (scale)"), "{}", why.err);
    world.ok("down --env dev --app middle");
}

#[test]
fn kube_pods_that_answer_their_probe_badly_get_patience_and_no_more() {
    let Some(cluster) = cluster::shared() else { return };
    let world = world(&cluster, "patience");
    let web = WEB.replace("  progressDeadlineSeconds: 15\n", "");
    world.write("p/kubernetes/dev/web.yaml", &web);
    world.ok("deploy --env dev --all --version v1");
    world.write("p/kubernetes/dev/web.yaml", &web.replace("value: \"\"", "value: \"yes\""));
    let why = world.run("deploy --env dev --all --version v2").code(1);
    assert!(why.last().contains("v2 did not become healthy within 5 s of trouble: Deployment/web"), "{}", why.err);
    assert!(why.last().contains("container web is not ready: Readiness probe failed"), "{}", why.err);
    settles(&world, "patience", "v1 healthy 2");
    // One that says that it has not begun yet is waited for.
    let probe = "startupProbe: { httpGet: { path: /healthz, port: 8080 }, periodSeconds: 1, failureThreshold: 300 }\n          readinessProbe";
    let slow = web.replace("value: \"\"", "value: \"yes\"").replace("readinessProbe", probe);
    world
        .write("p/kubernetes/dev/web.yaml", &slow.replace("replicas: 2", "replicas: 2\n  progressDeadlineSeconds: 12"));
    let why = world.run("deploy --env dev --all --version v3").code(1);
    assert!(why.last().contains("v3 did not come up: Deployment/web"), "{}", why.err);
    assert!(why.last().contains("has timed out progressing"), "{}", why.err);
    world.ok("down --env dev --app patience");
}

#[test]
fn kube_what_loses_requests_is_in_the_plan_and_what_is_the_same_is_not() {
    let Some(cluster) = cluster::shared() else { return };
    let world = world(&cluster, "minds");
    let plan = world.ok("plan --env dev --all --version v1").out;
    assert!(plan.contains("mind Deployment/web: no container has a `preStop` that waits"), "{plan}");
    assert!(plan.contains("mind Deployment/web: no PodDisruptionBudget of the release covers it"), "{plan}");
    assert!(!plan.contains("readinessProbe"), "{plan}");
    world.ok("deploy --env dev --all --version v1");
    // A Deployment is written to by its controller as well.
    let service = || cluster.get(&["service", "web", "-n", "minds"])["metadata"]["resourceVersion"].clone();
    let generation = || cluster.get(&["deployment", "web", "-n", "minds"])["metadata"]["generation"].clone();
    settles(&world, "minds", "v1 healthy 2");
    let before = (service(), generation());
    // Another release, of the same objects.
    world.write("p/kubernetes/dev/web.yaml", &format!("# A word more.\n{WEB}"));
    let plan = world.ok("plan --env dev --all --version v1").out;
    assert!(!plan.contains("change ") && !plan.contains("create "), "{plan}");
    world.ok("deploy --env dev --all --version v1");
    assert_eq!((service(), generation()), before, "nothing was applied");
    world.ok("down --env dev --app minds");
}

/// What writes over what was seen rest on: the words of the server, and that nothing is made again by them.
#[test]
fn kube_a_server_refuses_to_apply_over_what_has_changed_or_is_gone() {
    let Some(cluster) = cluster::shared() else { return };
    cluster.kubectl(&["create", "namespace", "seen"]);
    let apply = |seen: &serde_json::Value, mode: &str| {
        let mut metadata = serde_json::json!({ "name": "more" });
        for field in ["uid", "resourceVersion"].into_iter().filter(|_| seen.is_object()) {
            metadata[field] = seen["metadata"][field].clone();
        }
        let map = serde_json::json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": { "mode": mode } });
        cluster.0.kubectl_with(&["apply", "--server-side", "-n", "seen", "-f", "-"], &map.to_string())
    };
    apply(&serde_json::Value::Null, "0").expect("a new one");
    let seen = cluster.get(&["configmap", "more", "-n", "seen"]);
    apply(&seen, "1").expect("over what there is");
    let why = apply(&seen, "2").expect_err("it was changed");
    assert!(why.contains("the object has been modified"), "{why}");
    let seen = cluster.get(&["configmap", "more", "-n", "seen"]);
    assert_eq!(seen["data"]["mode"], "1");
    cluster.kubectl(&["delete", "configmap", "more", "-n", "seen"]);
    let why = apply(&seen, "3").expect_err("it is gone");
    assert!(why.contains("(Conflict)") || why.contains("no existing object was found"), "{why}");
    assert!(!cluster.names("seen", "configmap").contains(&"more".to_owned()));
}
