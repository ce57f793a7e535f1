//! A StatefulSet some of whose pods are of another version, on a real cluster.

use super::cluster::{Cluster, shared};
use super::{SPEC, WEB, settles, world};
use crate::it::world::{World, finish, kill, poll, text};
use rustix::process::Signal;
use serde_json::Value;

const APP: &str = "parted";

/// A StatefulSet of three pods behind a Service.
fn set() -> String {
    let set = WEB.replace("kind: Deployment", "kind: StatefulSet").replace("  progressDeadlineSeconds: 15\n", "");
    set.replace("replicas: 2", "replicas: 3\n  serviceName: web")
}

fn by_steps(world: &World, steps: &str) {
    let strategy = format!("strategy: {{ canary: {{ steps: [{steps}], hold: 10s }} }}");
    world.spec(&format!("{}    {strategy}\n", SPEC.replace("NAME", APP)));
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// The version of each pod by its ordinal, of those that are ready.
fn versions(cluster: &Cluster) -> Vec<String> {
    let pods = cluster.get(&["pods", "-n", APP, "-l", "app=web"]);
    let mut all: Vec<(String, String)> = Vec::new();
    for pod in pods["items"].as_array().expect("items").iter().filter(|pod| is_ready(pod)) {
        let image = text(&pod["spec"]["containers"][0]["image"]);
        all.push((text(&pod["metadata"]["name"]), image.trim_start_matches("deployctl.test/web:").to_owned()));
    }
    all.sort();
    all.into_iter().map(|(_, version)| version).collect()
}

/// How many pods are behind the Service and ready.
fn behind(cluster: &Cluster) -> usize {
    let slices = cluster.get(&["endpointslice", "-n", APP, "-l", "kubernetes.io/service-name=web"]);
    let slices = slices["items"].as_array().expect("items").clone();
    let endpoints = slices.iter().flat_map(|slice| slice["endpoints"].as_array().cloned().unwrap_or_default());
    endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true).count()
}

fn partition(cluster: &Cluster) -> u64 {
    let set = cluster.get(&["statefulset", "web", "-n", APP]);
    set["spec"]["updateStrategy"]["rollingUpdate"]["partition"].as_u64().unwrap_or(0)
}

/// The versions that `status` tells of instances.
fn told(world: &World) -> Vec<String> {
    let status = world.status("dev", APP);
    let instances = status["instances"].as_array().expect("instances");
    let mut versions: Vec<String> = instances.iter().map(|one| text(&one["version"])).collect();
    versions.sort();
    versions
}

#[test]
fn kube_a_canary_of_a_stateful_set_goes_by_its_partition() {
    let Some(cluster) = shared() else { return };
    let world = world(&cluster, APP);
    world.write("p/kubernetes/dev/web.yaml", &set());
    by_steps(&world, "10%");
    world.ok("deploy --env dev --all --version v1");
    settles(&world, APP, "v1 healthy 3");
    let why = world.run("deploy --env dev --all --version v2").code(2);
    let words = "v2 cannot have 10% of the traffic by the number of pods, of the 3 of StatefulSet/web: the nearest are 33.33% and 66.66%";
    assert!(why.err.contains(words), "{}", why.err);
    by_steps(&world, "33%");
    let plan = world.ok("plan --env dev --all --version v2").out;
    let words = "replace the pods of StatefulSet/web in their places, the highest ordinals first: traffic by their number: 1 of 3 for 33%; \
                 one at a time does not answer meanwhile";
    assert!(plan.contains(words), "{plan}");
    assert_eq!(versions(&cluster), ["v1", "v1", "v1"], "nothing was changed");

    // A step stands: the highest ordinal, and no other; whoever leads it is killed there.
    world.ok("deploy --env dev --all --version v2 --detach");
    let shown = || world.json(&format!("show {}", world.newest()));
    poll("the hold", || text(&shown()["waiting"]).contains("held for").then_some(()));
    assert_eq!(versions(&cluster), ["v1", "v1", "v2"], "what is held is there");
    let shares = serde_json::json!({ "v1": "67%", "v2": "33%" });
    poll("the shares", || (shown()["shares"] == shares).then_some(()));
    assert_eq!(told(&world), ["v1", "v1", "v2"]);
    let id = world.running();
    world.ok(&format!("pause {id}"));
    poll("the Service", || (behind(&cluster) == 3).then_some(()));
    assert_eq!((versions(&cluster), partition(&cluster)), (["v1", "v1", "v2"].map(str::to_owned).into(), 2));
    kill(world.role("engine")[0], Signal::KILL);
    world.ok(&format!("resume {id}"));
    poll("the end", || (world.history(APP)[0] == "v2 succeeded").then_some(()));
    assert_eq!((versions(&cluster), partition(&cluster)), (["v2", "v2", "v2"].map(str::to_owned).into(), 0));
    settles(&world, APP, "v2 healthy 3");
    let annotations = cluster.get(&["statefulset", "web", "-n", APP])["metadata"]["annotations"].clone();
    assert_eq!(annotations["deployctl.io/side"], Value::Null);

    // A bad one comes no farther than its step, and is turned back, though the cluster would wait for it for ever.
    world.write("p/kubernetes/dev/web.yaml", &set().replace("value: \"\"", "value: \"yes\""));
    let why = world.run("deploy --env dev --all --version v3").code(1);
    assert!(why.last().contains("v3 did not") && why.last().contains("StatefulSet/web"), "{}", why.err);
    assert_eq!((versions(&cluster), partition(&cluster)), (["v2", "v2", "v2"].map(str::to_owned).into(), 0));
    settles(&world, APP, "v2 healthy 3");
    assert_eq!(world.history(APP), ["v3 rolled_back restored", "v2 succeeded", "v1 succeeded"]);

    // One that is called off at its step, too.
    world.write("p/kubernetes/dev/web.yaml", &set());
    let deploy = world.spawn("deploy --env dev --all --version v3");
    poll("the step", || (versions(&cluster) == ["v2", "v2", "v3"]).then_some(()));
    world.ok(&format!("cancel {}", world.running()));
    finish(deploy).code(1).says("what ran before runs again");
    assert_eq!((versions(&cluster), partition(&cluster)), (["v2", "v2", "v2"].map(str::to_owned).into(), 0));
    // By the cluster's own rolling update a bad one is gone back from as well.
    world.spec(&SPEC.replace("NAME", APP));
    world.write("p/kubernetes/dev/web.yaml", &set().replace("value: \"\"", "value: \"yes\""));
    let why = world.run("deploy --env dev --all --version v3").code(1);
    assert!(why.last().starts_with("rolled back: ") && why.last().contains("StatefulSet/web"), "{}", why.err);
    assert_eq!(versions(&cluster), ["v2", "v2", "v2"]);
    // And what went all the way is.
    world.ok("rollback --env dev --app parted --version v1");
    assert_eq!((versions(&cluster), partition(&cluster)), (["v1", "v1", "v1"].map(str::to_owned).into(), 0));
    world.ok("down --env dev --app parted");
    assert_eq!(cluster.names(APP, "statefulset"), Vec::<String>::new());
}
