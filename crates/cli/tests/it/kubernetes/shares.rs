//! Shares of the traffic by a real implementation of the Gateway API.

use super::cluster::{Cluster, shared};
use super::{SPEC, WEB, settles, world};
use crate::it::world::{World, finish, poll};
use deployctl_live::kube::{self, Gateway};
use deployctl_live::stage::get;
use deployctl_live::{Load, Rates, Report, Target};
use serde_json::{Value, json};

const APP: &str = "routed";
const HOST: &str = "shop.test";
const ROUTE: &str = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: web }\nspec:\n  parentRefs: [{ name: web, \
                     namespace: default }]\n  hostnames: [shop.test]\n  rules: [{ backendRefs: [{ name: web, port: 80 }] }]\n";
const REQUESTS: usize = 10_000;
const AT_ONCE: usize = 8;
/// So many points of a hundred a share may be off.
const POINTS: f64 = 2.0;

fn gateway(cluster: &Cluster) -> Option<Gateway> {
    let Some(folder) = kube::traefik() else {
        let what = "Traefik, which `cargo xtask kube build` makes";
        assert!(std::env::var("DEPLOYCTL_LIVE").is_err(), "the tests with the Gateway API need {what}");
        eprintln!("skipped: the Gateway API needs {what}");
        return None;
    };
    Some(cluster.0.gateway_api(&folder).unwrap_or_else(|why| panic!("the gateway: {why}")))
}

/// The application says which version it is, and goes on for a while when it is to end.
fn is_version(world: &World, version: &str) {
    let env = format!("env: [{{ name: VERSION, value: {version} }}, {{ name: DRAIN, value: 3s }}, ");
    let web =
        WEB.replace("env: [", &env).replace("terminationGracePeriodSeconds: 1", "terminationGracePeriodSeconds: 20");
    world.write("p/kubernetes/dev/web.yaml", &web);
}

/// What the route leads to, and the weight of each.
fn backends(cluster: &Cluster) -> Vec<(String, Value)> {
    let route = cluster.get(&["httproute", "web", "-n", APP]);
    let refs = route["spec"]["rules"][0]["backendRefs"].as_array().expect("backends").clone();
    refs.iter().map(|to| (to["name"].as_str().expect("a name").to_owned(), to["weight"].clone())).collect()
}

fn weights(cluster: &Cluster) -> Value {
    backends(cluster).into_iter().map(|(_, weight)| weight).collect()
}

/// How many of so many requests, each by a connection of its own, `version` answered. Each is answered.
fn answered(address: &str, version: &str, count: usize) -> usize {
    let ask = |count: usize| {
        (0..count).filter(|_| get(address, HOST, "/").unwrap_or_else(|why| panic!("{why}")) == version).count()
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(|| ask(count / AT_ONCE))).collect();
        all.into_iter().map(|one| one.join().expect("answers")).sum()
    })
}

/// What clients see all the time that the deployments take: by kept-alive and by fresh connections.
fn load(address: &str) -> Load {
    let target = Target::parse(&format!("http://{address}")).expect("a target").for_host(HOST);
    Load { rates: Rates { kept: 100, fresh: 60, upload: 0, h2: 0 }, ..Load::none(target) }
}

/// Every request was answered, by the application.
fn nothing_was_lost(report: &Report) {
    eprintln!("beside: {}", report.summary());
    assert_eq!(report.failed(), 0, "{}", report.summary());
    assert!(report.sent > 0 && report.skipped == 0, "{}", report.summary());
    for (kind, seen) in &report.kinds {
        assert_eq!(seen.status.keys().collect::<Vec<_>>(), [&200], "{kind:?}: {}", report.summary());
    }
}

/// Waits until the canary has this share, lets the deployment stand still there, and counts.
fn measure(world: &World, cluster: &Cluster, address: &str, share: f64, by: &Value) {
    poll("the weights", || (weights(cluster) == *by).then_some(()));
    let id = world.running();
    world.ok(&format!("pause {id}"));
    poll("the first request", || (get(address, HOST, "/").ok()? == "v2").then_some(()));
    let canary = answered(address, "v2", REQUESTS);
    assert_eq!(weights(cluster), *by, "it was measured while it stood still");
    let points = canary as f64 * 100.0 / REQUESTS as f64;
    eprintln!("{share}%: {canary} of {REQUESTS} requests, {points:.2}%");
    assert!((points - share).abs() <= POINTS, "{canary} of {REQUESTS} went to the canary, which is to have {share}%");
    world.ok(&format!("resume {id}"));
}

#[test]
fn kube_a_canary_by_a_route_has_its_share_to_two_points_and_loses_nothing() {
    let Some(cluster) = shared() else { return };
    let Some(gateway) = gateway(&cluster) else { return };
    let world = world(&cluster, APP);
    let strategy = "strategy: { canary: { steps: [5%, 50%], hold: 8s } }";
    world.spec(&format!("{}    {strategy}\n", SPEC.replace("NAME", APP)));
    world.write("p/kubernetes/dev/route.yaml", ROUTE);
    is_version(&world, "v1");
    world.ok("deploy --env dev --all --version v1");
    settles(&world, APP, "v1 healthy 2");
    let address = gateway.address();
    poll("the gateway to lead there", || (get(address, HOST, "/").ok()? == "v1").then_some(()));
    let load = load(address).start();
    is_version(&world, "v2");
    let plan = world.ok("plan --env dev --all --version v2").out;
    assert!(plan.contains("traffic by the weights of its routes"), "{plan}");
    let deploy = world.spawn("deploy --env dev --all --version v2");
    measure(&world, &cluster, address, 5.0, &json!([19, 1]));
    measure(&world, &cluster, address, 50.0, &json!([1, 1]));
    finish(deploy).code(0);
    settles(&world, APP, "v2 healthy 2");
    as_the_release_says(&cluster, address, "v2");

    // One that is called off has led some of the traffic, and leaves nothing behind.
    let route = cluster.get(&["httproute", "web", "-n", APP])["spec"].clone();
    is_version(&world, "v3");
    let deploy = world.spawn("deploy --env dev --all --version v3");
    poll("the weights", || (weights(&cluster) == json!([19, 1])).then_some(()));
    poll("the first request", || (get(address, HOST, "/").ok()? == "v3").then_some(()));
    world.ok(&format!("cancel {}", world.running()));
    finish(deploy).code(1).says("what ran before runs again");
    as_the_release_says(&cluster, address, "v2");
    assert_eq!(cluster.get(&["httproute", "web", "-n", APP])["spec"], route, "as it was");
    settles(&world, APP, "v2 healthy 2");
    assert_eq!(world.history(APP), ["v3 cancelled restored", "v2 succeeded", "v1 succeeded"]);
    nothing_was_lost(&load.finish());
    world.ok("down --env dev --app routed");
}

/// Nothing is beside any more, and all that comes in is answered by this version.
fn as_the_release_says(cluster: &Cluster, address: &str, version: &str) {
    assert_eq!(cluster.names(APP, "deployment"), ["web"]);
    assert_eq!(cluster.names(APP, "service"), ["web"]);
    assert_eq!(backends(cluster), [("web".to_owned(), json!(1))]);
    assert_eq!(answered(address, version, 400), 400);
}
