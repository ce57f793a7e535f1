//! Regions as clusters, in waves: two contexts, one after the other, and all of it back if one fails.

use super::cluster::{Cluster, shared};
use super::{SPEC, WEB};
use crate::it::world::{World, text};
use serde_json::{Value, json};

/// A kubeconfig in which the cluster has a name for each region; `away`: the region whose server cannot be reached.
fn kubeconfig(cluster: &Cluster, away: Option<&str>) -> String {
    let mut config: Value = serde_json::from_str(&cluster.kubeconfig()).expect("JSON");
    let user = config["users"][0]["name"].clone();
    let there = config["clusters"][0]["cluster"].clone();
    let regions = ["eu", "us"];
    let clusters = regions.map(|region| match away == Some(region) {
        true => json!({ "name": region, "cluster": { "server": "http://127.0.0.1:1" } }),
        false => json!({ "name": region, "cluster": there }),
    });
    config["clusters"] = json!(clusters);
    config["contexts"] =
        json!(regions.map(|region| json!({ "name": region, "context": { "cluster": region, "user": user } })));
    config.to_string()
}

fn image(cluster: &Cluster, region: &str) -> String {
    let found = cluster.get(&["deployment", "web", "-n", &format!("waves-{region}")]);
    text(&found["spec"]["template"]["spec"]["containers"][0]["image"])
}

#[test]
fn kube_regions_are_waves_and_one_that_fails_turns_all_of_them_back() {
    let Some(cluster) = shared() else { return };
    let spec = SPEC
        .replace("NAME:", "waves:")
        .replace("dev: {}", "dev: { regions: [eu, us] }")
        .replace("context: test", "context: \"{{ region }}\"")
        .replace("namespace: NAME", "namespace: \"waves-{{ region }}\"")
        .replace("kubernetes/{{ environment }}", "kubernetes/{{ region }}");
    let mut world = World::new(&spec);
    let web = |region: &str, text: &str| world.write(&format!("p/kubernetes/{region}/web.yaml"), text);
    for region in ["eu", "us"] {
        cluster.kubectl(&["create", "namespace", &format!("waves-{region}")]);
        web(region, WEB);
    }
    world.write("kubeconfig", &kubeconfig(&cluster, None));
    world.var("KUBECONFIG", world.path("kubeconfig"));
    world.ok("deploy --env dev --all --version v1");
    let made = |region: &str| {
        let namespace = format!("waves-{region}");
        let found = cluster.get(&["deployment", "web", "-n", &namespace]);
        text(&found["metadata"]["creationTimestamp"])
    };
    assert!(made("eu") <= made("us"), "the first region is the first wave");
    let at = |region: &str| text(&world.json(&format!("status --region {region}"))[0]["version"]);
    assert_eq!((at("eu"), at("us")), ("v1".into(), "v1".into()));

    // What is wrong in the last wave turns the first one back as well.
    let bad = WEB.replace("value: \"\"", "value: \"yes\"");
    let web = |region: &str, text: &str| world.write(&format!("p/kubernetes/{region}/web.yaml"), text);
    web("us", &bad);
    let why = world.run("deploy --env dev --all --version v2").code(1);
    assert!(why.last().ends_with("what ran before runs again"), "{}", why.err);
    assert_eq!((at("eu"), at("us")), ("v1".into(), "v1".into()));
    assert_eq!((image(&cluster, "eu"), image(&cluster, "us")), (image(&cluster, "us"), "deployctl.test/web:v1".into()));
    // What is wrong in the first one never comes to the second.
    web("us", WEB);
    web("eu", &bad);
    let touched = || cluster.get(&["deployment", "web", "-n", "waves-us"])["metadata"]["generation"].clone();
    let before = touched();
    world.run("deploy --env dev --all --version v2").code(1);
    assert_eq!(touched(), before);
    web("eu", WEB);
    world.ok("deploy --env dev --all --version v2");
    assert_eq!((image(&cluster, "eu"), image(&cluster, "us")), (image(&cluster, "us"), "deployctl.test/web:v2".into()));
    world.ok("rollback --env dev --all");
    assert_eq!((at("eu"), at("us")), ("v1".into(), "v1".into()));
}

#[test]
fn kube_a_region_that_cannot_be_reached_is_told_before_any_of_them_changes() {
    let Some(cluster) = shared() else { return };
    let spec = SPEC
        .replace("NAME", "far")
        .replace("dev: {}", "dev: { regions: [eu, us] }")
        .replace("context: test", "context: \"{{ region }}\"");
    let mut world = World::new(&spec);
    cluster.kubectl(&["create", "namespace", "far"]);
    world.write("p/kubernetes/dev/web.yaml", WEB);
    world.write("kubeconfig", &kubeconfig(&cluster, Some("us")));
    world.var("KUBECONFIG", world.path("kubeconfig"));
    world.fails(5, "deploy --env dev --all --version v1", "the API server of `us` cannot be reached");
    assert_eq!(cluster.names("far", "deployment"), Vec::<String>::new());
}
