//! Two releases side by side on a real cluster: blue-green and canary.

use super::cluster::{Cluster, shared};
use super::{SPEC, WEB, image, settles, world};
use crate::it::world::{World, finish, kill, poll, text};
use rustix::process::Signal;
use serde_json::Value;
use std::process::Child;

/// A world whose app has these keys besides.
fn with(cluster: &Cluster, name: &str, keys: &str) -> World {
    let world = world(cluster, name);
    respecify(&world, name, keys);
    world
}

fn respecify(world: &World, name: &str, keys: &str) {
    world.spec(&format!("{}    {}\n", SPEC.replace("NAME", name), keys.replace('\n', "\n    ")));
}

/// What the Service `web` selects.
fn selected(cluster: &Cluster, namespace: &str) -> Value {
    cluster.get(&["service", "web", "-n", namespace])["spec"]["selector"].clone()
}

/// The Deployment that is beside `web`, if there is one.
fn beside(cluster: &Cluster, namespace: &str) -> Option<Value> {
    let all = cluster.get(&["deployment", "-n", namespace]);
    let items = all["items"].as_array().expect("items").clone();
    items.into_iter().find(|item| item["metadata"]["name"] != "web")
}

fn ready(deployment: &Value) -> u64 {
    deployment["status"]["readyReplicas"].as_u64().unwrap_or(0)
}

/// The images of pods that are behind the Service `web` and ready.
fn serving(cluster: &Cluster, namespace: &str) -> Vec<String> {
    let slices = cluster.get(&["endpointslice", "-n", namespace, "-l", "kubernetes.io/service-name=web"]);
    let pods = cluster.get(&["pods", "-n", namespace]);
    let pods = pods["items"].as_array().expect("items");
    let image_of = |name: &Value| {
        let pod = pods.iter().find(|pod| pod["metadata"]["name"] == *name)?;
        Some(text(&pod["spec"]["containers"][0]["image"]).trim_start_matches("deployctl.test/web:").to_owned())
    };
    let endpoints = slices["items"]
        .as_array()
        .expect("items")
        .iter()
        .flat_map(|slice| slice["endpoints"].as_array().cloned().unwrap_or_default());
    let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true);
    let mut images: Vec<String> = ready.filter_map(|endpoint| image_of(&endpoint["targetRef"]["name"])).collect();
    images.sort();
    images
}

/// The uids of the pods of `web` itself.
fn pods(cluster: &Cluster, namespace: &str) -> Vec<String> {
    let all = cluster.get(&["pods", "-n", namespace, "-l", "app=web"]);
    let mut uids: Vec<String> =
        all["items"].as_array().expect("items").iter().map(|pod| text(&pod["metadata"]["uid"])).collect();
    uids.sort();
    uids
}

fn switched(cluster: &Cluster, namespace: &str) {
    let is_other = || (selected(cluster, namespace)["app"] != "web").then_some(());
    poll("the Service to be switched", is_other);
}

fn only_web(cluster: &Cluster, namespace: &str, version: &str) {
    assert_eq!(cluster.names(namespace, "deployment"), ["web"]);
    assert_eq!(cluster.names(namespace, "service"), ["web"]);
    assert_eq!(selected(cluster, namespace), serde_json::json!({ "app": "web" }));
    assert_eq!(image(cluster, namespace), format!("deployctl.test/web:{version}"));
}

fn begin(world: &World, version: &str) -> Child {
    world.spawn(&format!("deploy --env dev --all --version {version}"))
}

#[test]
fn kube_blue_green_comes_beside_is_switched_to_and_gets_the_names() {
    let Some(cluster) = shared() else { return };
    let world = with(&cluster, "green", "strategy: { blue-green: { bake: 4s } }");
    let budget = "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: { name: web }\nspec:\n  minAvailable: 1\n  \
                  selector: { matchLabels: { app: web } }\n";
    world.write("p/kubernetes/dev/budget.yaml", budget);
    world.ok("deploy --env dev --all --version v1");
    settles(&world, "green", "v1 healthy 2");
    let before = pods(&cluster, "green");
    let plan = world.ok("plan --env dev --all --version v2").out;
    assert!(plan.contains("run Deployment/web-"), "{plan}");
    assert!(plan.contains(" beside Deployment/web: traffic by the selector of its Services"), "{plan}");
    assert!(plan.contains("v1: by the target itself @ 100%, v2: by the target itself @ 0%"), "{plan}");
    let deploy = begin(&world, "v2");
    switched(&cluster, "green");
    let side = beside(&cluster, "green").expect("a second Deployment");
    assert_eq!(ready(&side), 2, "capacity comes before traffic");
    poll("the endpoints", || (serving(&cluster, "green") == ["v2", "v2"]).then_some(()));
    assert_eq!(pods(&cluster, "green"), before, "what was there is untouched");
    assert_eq!(cluster.names("green", "poddisruptionbudget").len(), 2, "its budget follows");
    finish(deploy).code(0);
    only_web(&cluster, "green", "v2");
    assert_eq!(cluster.names("green", "poddisruptionbudget"), ["web"]);
    settles(&world, "green", "v2 healthy 2");
    // A bad one is turned back, and what serves does not notice.
    let good = pods(&cluster, "green");
    world.write("p/kubernetes/dev/web.yaml", &WEB.replace("value: \"\"", "value: \"yes\""));
    let why = world.run("deploy --env dev --all --version v3").code(1);
    assert!(why.last().contains("v3 did not") && why.last().contains("Deployment/web-"), "{}", why.err);
    only_web(&cluster, "green", "v2");
    assert_eq!(pods(&cluster, "green"), good);
    settles(&world, "green", "v2 healthy 2");
    assert_eq!(world.history("green"), ["v3 rolled_back restored", "v2 succeeded", "v1 succeeded"]);
    // And back to what was before all that.
    world.ok("rollback --env dev --app green --version v1");
    only_web(&cluster, "green", "v1");
    world.ok("down --env dev --app green");
    assert_eq!(cluster.names("green", "deployment"), Vec::<String>::new());
}

#[test]
fn kube_blue_green_goes_back_after_the_switch_and_goes_on_after_a_crash() {
    let Some(cluster) = shared() else { return };
    let keys = "strategy: { blue-green: { bake: 6s } }\nhooks: { after: [[/pod, exit, \"1\", it is bad]] }";
    let world = with(&cluster, "back", "strategy: blue-green");
    world.ok("deploy --env dev --all --version v1");
    settles(&world, "back", "v1 healthy 2");
    let before = pods(&cluster, "back");
    respecify(&world, "back", keys);
    let deploy = begin(&world, "v2");
    switched(&cluster, "back");
    let why = finish(deploy).code(1);
    assert!(why.last().contains("hook after #1 failed") && why.last().contains("it is bad"), "{}", why.err);
    only_web(&cluster, "back", "v1");
    assert_eq!(pods(&cluster, "back"), before, "it was there all the time");
    // Whoever leads it is killed when traffic has moved; the next one goes on from there.
    respecify(&world, "back", "strategy: { blue-green: { bake: 3s } }");
    world.ok("deploy --env dev --all --version v2 --detach");
    switched(&cluster, "back");
    kill(world.role("engine")[0], Signal::KILL);
    poll("the end", || (world.history("back")[0] == "v2 succeeded").then_some(()));
    only_web(&cluster, "back", "v2");
    settles(&world, "back", "v2 healthy 2");
    // And in the middle of getting the names.
    let slow = WEB.replace("replicas: 2", "replicas: 2\n  minReadySeconds: 3");
    world.write("p/kubernetes/dev/web.yaml", &slow);
    respecify(&world, "back", "strategy: blue-green");
    world.ok("deploy --env dev --all --version v3 --detach");
    poll("the names to change", || (image(&cluster, "back") == "deployctl.test/web:v3").then_some(()));
    assert_eq!(serving(&cluster, "back"), ["v3", "v3"], "the side serves meanwhile");
    kill(world.role("engine")[0], Signal::KILL);
    poll("the end", || (world.history("back")[0] == "v3 succeeded").then_some(()));
    only_web(&cluster, "back", "v3");
    world.ok("down --env dev --app back");
}

#[test]
fn kube_a_canary_without_a_route_has_its_share_by_the_number_of_pods() {
    let Some(cluster) = shared() else { return };
    let keys = |steps: &str| format!("strategy: {{ canary: {{ steps: [{steps}], hold: 4s }} }}");
    let world = with(&cluster, "ratio", &keys("10%"));
    world.ok("deploy --env dev --all --version v1");
    settles(&world, "ratio", "v1 healthy 2");
    let before = pods(&cluster, "ratio");
    let why = world.run("deploy --env dev --all --version v2").code(2);
    let words = "v2 cannot have 10% of the traffic by the number of pods, beside the 2 of Deployment/web: the nearest are 33.33% and \
                 50%; any share takes an HTTPRoute";
    assert!(why.err.contains(words), "{}", why.err);
    assert_eq!(cluster.names("ratio", "deployment"), ["web"], "nothing was changed");
    respecify(&world, "ratio", &keys("33%, 50%"));
    let plan = world.ok("plan --env dev --all --version v2").out;
    assert!(plan.contains("traffic by the number of its pods: 1 for 33%, 2 for 50%"), "{plan}");
    let deploy = begin(&world, "v2");
    poll("a third", || (serving(&cluster, "ratio") == ["v1", "v1", "v2"]).then_some(()));
    poll("a half", || (serving(&cluster, "ratio") == ["v1", "v1", "v2", "v2"]).then_some(()));
    finish(deploy).code(0);
    only_web(&cluster, "ratio", "v2");
    settles(&world, "ratio", "v2 healthy 2");
    assert_ne!(pods(&cluster, "ratio"), before);
    // One whose pods do not come up takes no request.
    let good = pods(&cluster, "ratio");
    world.write("p/kubernetes/dev/web.yaml", &WEB.replace("value: \"\"", "value: \"yes\""));
    let why = world.run("deploy --env dev --all --version v3").code(1);
    assert!(why.last().contains("v3 did not") && why.last().contains("Deployment/web-"), "{}", why.err);
    only_web(&cluster, "ratio", "v2");
    assert_eq!(pods(&cluster, "ratio"), good);
    world.ok("down --env dev --app ratio");
}

#[test]
fn kube_what_cannot_be_doubled_is_refused_before_anything_changes() {
    let Some(cluster) = shared() else { return };
    let world = with(&cluster, "single", "strategy: blue-green");
    let set = WEB.replace("kind: Deployment", "kind: StatefulSet").replace("  progressDeadlineSeconds: 15\n", "");
    world.write("p/kubernetes/dev/web.yaml", &set);
    world.ok("deploy --env dev --all --version v1");
    let why = world.run("deploy --env dev --all --version v2").code(2);
    let words = "v2 cannot run beside another release: StatefulSet/web takes requests and changes, and two of it cannot run beside each \
                 other";
    assert!(why.err.contains(words), "{}", why.err);
    world.ok("down --env dev --app single");
}

/// The strategy of the release before is about how others came after it, not about whether there is a way back to it.
#[test]
fn kube_there_is_a_way_back_to_what_would_not_have_come_beside_this() {
    let Some(cluster) = shared() else { return };
    let world = with(&cluster, "instead", "strategy: blue-green");
    let set = WEB.replace("kind: Deployment", "kind: StatefulSet").replace("  progressDeadlineSeconds: 15\n", "");
    world.write("p/kubernetes/dev/web.yaml", &set);
    world.ok("deploy --env dev --all --version v1");
    settles(&world, "instead", "v1 healthy 2");
    respecify(&world, "instead", "strategy: rolling");
    let why = world.run("deploy --env dev --all --version v404").code(1);
    assert!(why.last().ends_with("; what ran before runs again"), "{}", why.err);
    settles(&world, "instead", "v1 healthy 2");
    world.ok("deploy --env dev --all --version v2");
    settles(&world, "instead", "v2 healthy 2");
    let back = world.ok("rollback --env dev --app instead");
    let words = "instead: goes back in its place: v1 cannot run beside another release: StatefulSet/web takes requests and changes";
    assert!(back.err.contains(words), "{}", back.err);
    settles(&world, "instead", "v1 healthy 2");
    assert_eq!(world.history("instead")[0], "v1 succeeded");
    world.ok("down --env dev --app instead");
}
