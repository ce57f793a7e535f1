//! What cannot change in place: refused with its name, made anew where that is asked for, and back.

use super::cluster::{Cluster, shared};
use super::{CONFIG, SPEC, WEB, image, settles, world};
use crate::it::world::{finish, poll, text};

fn uid(cluster: &Cluster, namespace: &str) -> String {
    text(&cluster.get(&["deployment", "web", "-n", namespace])["metadata"]["uid"])
}

#[test]
fn kube_what_cannot_change_in_place_is_made_anew_on_request_and_back() {
    let Some(cluster) = shared() else { return };
    let world = world(&cluster, "anew");
    world.ok("deploy --env dev --all --version v1");
    let first = uid(&cluster, "anew");
    let moved = WEB.replace("app: web", "app: web-2");
    world.write("p/kubernetes/dev/web.yaml", &moved);
    for command in ["plan --env dev --all --version v2", "deploy --env dev --all --version v2"] {
        let why = world.run(command).code(2);
        assert!(why.err.contains("immutable") && why.err.contains("`replace: [Deployment/web]`"), "{}", why.err);
    }
    assert_eq!(uid(&cluster, "anew"), first);
    let spec = SPEC.replace("NAME", "anew");
    world.spec(&format!("{spec}    replace: [Deployment/wbe]\n"));
    world.fails(2, "validate", "no object in the manifests is called `Deployment/wbe`");
    world.spec(&format!("{spec}    replace: [Deployment/web]\n"));
    let plan = world.ok("plan --env dev --all --version v2").out;
    let words = "replace Deployment/web: it is deleted and made anew, its pods end before new ones begin: nobody answers meanwhile; ";
    assert!(plan.contains(words), "{plan}");
    assert_eq!(uid(&cluster, "anew"), first, "a plan changes nothing");
    // A bad release is turned back by the same way.
    let why = world.run("deploy --env dev --all --version v404").code(1);
    assert!(why.last().ends_with("what ran before runs again"), "{}", why.err);
    settles(&world, "anew", "v1 healthy 2");
    let second = uid(&cluster, "anew");
    assert_ne!(second, first);
    world.ok("deploy --env dev --all --version v2");
    settles(&world, "anew", "v2 healthy 2");
    let selector =
        || cluster.get(&["deployment", "web", "-n", "anew"])["spec"]["selector"]["matchLabels"]["app"].clone();
    assert_eq!((selector(), uid(&cluster, "anew") == second), ("web-2".into(), false));
    world.ok("rollback --env dev --app anew");
    settles(&world, "anew", "v1 healthy 2");
    assert_eq!((selector(), image(&cluster, "anew")), ("web".into(), "deployctl.test/web:v1".into()));
    assert_eq!(world.history("anew"), ["v1 succeeded", "v2 succeeded", "v404 rolled_back restored", "v1 succeeded"]);
    world.ok("down --env dev --app anew");
}

#[test]
fn kube_what_somebody_told_to_go_is_made_anew_when_it_is_gone() {
    let Some(cluster) = shared() else { return };
    let world = world(&cluster, "going");
    world.write("p/kubernetes/dev/more.yaml", CONFIG);
    world.ok("deploy --env dev --all --version v1");
    let held = |by: &str| {
        let patch = format!(r#"{{"metadata":{{"finalizers":[{by}]}}}}"#);
        cluster.kubectl(&["patch", "configmap", "more", "-n", "going", "--type=merge", "-p", &patch]);
    };
    held(r#""deployctl.test/held""#);
    cluster.kubectl(&["delete", "configmap", "more", "-n", "going", "--wait=false"]);
    let deploy = world.spawn("deploy --env dev --all --version v2");
    let id = world.running();
    poll("word of it", || {
        let waiting = text(&world.json(&format!("show {id}"))["waiting"]);
        waiting.contains("ConfigMap/more is to end before it is made anew").then_some(())
    });
    assert_eq!(image(&cluster, "going"), "deployctl.test/web:v1", "what needs it comes later");
    held("");
    finish(deploy).code(0);
    let more = cluster.get(&["configmap", "more", "-n", "going"]);
    assert_eq!((more["data"]["mode"].clone(), more["metadata"]["deletionTimestamp"].is_null()), ("0644".into(), true));
    settles(&world, "going", "v2 healthy 2");
    world.ok("down --env dev --app going");
}
