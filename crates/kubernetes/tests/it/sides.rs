//! Two releases side by side: what is doubled, as what, and how traffic is led.

use deployctl_core::desired::{Extent, FULL};
use deployctl_kubernetes::sides::{Means, SIDE, Sided, Sizes, called, expressible, led, made, pick, size};
use serde_json::{Value, json};

const MARK: &str = "ab12cd34";

fn object(api_version: &str, kind: &str, name: &str, more: Value) -> Value {
    let mut object = json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": name } });
    object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    object
}

fn deployment(name: &str, image: &str, replicas: u32) -> Value {
    let container = json!({ "name": "c", "image": image, "envFrom": [{ "configMapRef": { "name": "settings" } }] });
    let near = json!({ "podAntiAffinity": { "x": [{ "labelSelector": { "matchLabels": { "app": name } } }] } });
    let spec = json!({
        "replicas": replicas, "selector": { "matchLabels": { "app": name } },
        "template": {
            "metadata": { "labels": { "app": name, "tier": "front" } },
            "spec": { "containers": [container], "affinity": near },
        },
    });
    object("apps/v1", "Deployment", name, json!({ "spec": spec }))
}

fn service(name: &str, selector: Value) -> Value {
    let ports = json!([{ "port": 80, "targetPort": 8080, "nodePort": 30080 }]);
    object("v1", "Service", name, json!({ "spec": { "type": "NodePort", "selector": selector, "ports": ports } }))
}

fn settings(word: &str) -> Value {
    object("v1", "ConfigMap", "settings", json!({ "data": { "word": word } }))
}

fn route(refs: Value) -> Value {
    let rules = json!([{ "backendRefs": refs }]);
    object("gateway.networking.k8s.io/v1", "HTTPRoute", "web", json!({ "spec": { "rules": rules } }))
}

fn scaler() -> Value {
    let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" });
    let spec = json!({ "scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 3 });
    object("autoscaling/v2", "HorizontalPodAutoscaler", "web", json!({ "spec": spec }))
}

fn release(image: &str) -> Vec<Value> {
    vec![
        settings("a"),
        service("web", json!({ "app": "web", "tier": "front" })),
        deployment("web", image, 4),
        deployment("worker", image, 2),
    ]
}

fn with(mut all: Vec<Value>, more: &[Value]) -> Vec<Value> {
    all.extend_from_slice(more);
    all
}

fn sided(means: Means) -> Vec<Sided> {
    vec![Sided { name: "web".into(), means }]
}

fn sizes(count: u32) -> Sizes {
    [("web".to_owned(), count)].into()
}

/// The copy of an object of the side, by its kind.
fn copy(all: &[(Value, Value)], kind: &str) -> Value {
    let found: Vec<_> = all.iter().filter(|(copy, _)| copy["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "{kind}");
    found[0].0.clone()
}

#[test]
fn what_takes_requests_and_changes_is_doubled_and_nothing_else() {
    let (old, new) = (release("v1"), release("v2"));
    assert_eq!(pick(&old, &new, false).unwrap(), sided(Means::Switch));
    assert_eq!(pick(&old, &new, true).unwrap(), sided(Means::Ratio));
    assert_eq!(pick(&old, &old, true).unwrap(), []);
    // What it reads is a part of it.
    let mut other = release("v1");
    other[0] = settings("b");
    assert_eq!(pick(&old, &other, false).unwrap(), sided(Means::Switch));
    let routed = |all| with(all, &[route(json!([{ "name": "web", "port": 80 }]))]);
    assert_eq!(pick(&routed(old.clone()), &routed(new.clone()), true).unwrap(), sided(Means::Route));
    assert_eq!(pick(&old, &routed(new.clone()), false).unwrap(), sided(Means::Switch), "it is not there yet");
    let elsewhere = |all| with(all, &[route(json!([{ "name": "web", "namespace": "other", "port": 80 }]))]);
    assert_eq!(pick(&elsewhere(old), &elsewhere(new), false).unwrap(), sided(Means::Switch));
}

#[test]
fn what_cannot_be_beside_itself_is_refused_with_the_reason() {
    let set = |image: &str| {
        let mut set = deployment("db", image, 1);
        set["kind"] = "DaemonSet".into();
        vec![settings("a"), service("db", json!({ "app": "db" })), set]
    };
    let claims = |image: &str| {
        let mut all = release(image);
        all[2]["spec"]["template"]["spec"]["volumes"] = json!([{ "persistentVolumeClaim": { "claimName": "data" } }]);
        let claim = json!({ "spec": { "accessModes": ["ReadWriteOnce"] } });
        with(all, &[object("v1", "PersistentVolumeClaim", "data", claim)])
    };
    let both = |image: &str| {
        let mut all = release(image);
        all[1]["spec"]["selector"] = json!({ "tier": "front" });
        all
    };
    let scaled = |image: &str| with(release(image), &[scaler()]);
    let ports = |image: &str| {
        let mut all = release(image);
        all[1]["spec"]["ports"][0]["targetPort"] = image.into();
        all
    };
    let expressions = |image: &str| {
        let mut all = release(image);
        all[2]["spec"]["selector"]["matchExpressions"] = json!([]);
        all
    };
    type Make<'a> = &'a dyn Fn(&str) -> Vec<Value>;
    let cases: [(Make<'_>, bool, &str); 6] = [
        (
            &set,
            true,
            "DaemonSet/db takes requests and changes, and two of it cannot run beside each other: each node has one pod of it; \
             `strategy: rolling` replaces them node by node",
        ),
        (
            &claims,
            false,
            "Deployment/web has the claim data, which only one node may have: two of it cannot run at once",
        ),
        (&both, false, "Service/web leads to Deployment/web and Deployment/worker: it cannot be led to one alone"),
        (
            &scaled,
            true,
            "an autoscaler decides how many pods Deployment/web has, so their number cannot stand for a share of the traffic; it takes \
             an HTTPRoute",
        ),
        (&ports, true, "the ports of Service/web change, and pods of both versions would be behind it"),
        (
            &expressions,
            false,
            "Deployment/web selects its pods by expressions: no other labels can be made for a second one",
        ),
    ];
    for (make, split, why) in cases {
        assert_eq!(pick(&make("v1"), &make("v2"), split).unwrap_err(), why);
    }
    assert!(pick(&set("v1"), &set("v1"), false).is_ok(), "what stays may stay as it is");
    assert!(pick(&scaled("v1"), &scaled("v2"), false).is_ok() && pick(&ports("v1"), &ports("v2"), false).is_ok());
}

#[test]
fn nothing_of_the_stable_side_selects_the_pods_of_the_other() {
    let budget = json!({ "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": "web" } } } });
    let peers = json!([{ "from": [{ "podSelector": { "matchLabels": { "app": "web" } } }] }]);
    let policy = json!({ "spec": { "podSelector": { "matchLabels": { "app": "db" } }, "ingress": peers } });
    let more = [
        object("policy/v1", "PodDisruptionBudget", "web", budget),
        object("networking.k8s.io/v1", "NetworkPolicy", "db", policy),
        scaler(),
    ];
    let all = made(&with(release("v2"), &more), &sided(Means::Switch), &sizes(4), MARK);
    let web = copy(&all, "Deployment");
    let labels = json!({ "app": "web-ab12cd34", "tier": "front-ab12cd34", SIDE: MARK });
    assert_eq!(web["metadata"]["name"], "web-ab12cd34");
    assert_eq!(web["spec"]["template"]["metadata"]["labels"], labels);
    assert_eq!(web["spec"]["selector"]["matchLabels"], json!({ "app": "web-ab12cd34", SIDE: MARK }));
    assert_eq!(web["spec"]["replicas"], 4);
    let near = &web["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"]["x"][0]["labelSelector"];
    assert_eq!(near["matchLabels"], json!({ "app": "web-ab12cd34" }));
    let container = &web["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        (&container["image"], &container["envFrom"][0]["configMapRef"]["name"]),
        (&json!("v2"), &json!("settings-ab12cd34"))
    );
    assert_eq!(copy(&all, "ConfigMap")["metadata"]["name"], "settings-ab12cd34");
    let entrance = copy(&all, "Service");
    assert_eq!(entrance["metadata"]["name"], "web-ab12cd34");
    let spec = json!({ "selector": labels, "ports": [{ "port": 80, "targetPort": 8080 }] });
    assert_eq!(entrance["spec"], spec, "it is no entrance from elsewhere");
    let budget = copy(&all, "PodDisruptionBudget");
    assert_eq!(budget["spec"]["selector"]["matchLabels"], json!({ "app": "web-ab12cd34" }));
    let policy = &copy(&all, "NetworkPolicy")["spec"];
    assert_eq!(policy["podSelector"]["matchLabels"], json!({ "app": "db" }));
    assert_eq!(policy["ingress"][0]["from"][0]["podSelector"]["matchLabels"], json!({ "app": "web-ab12cd34" }));
    let scaler = &copy(&all, "HorizontalPodAutoscaler")["spec"];
    assert_eq!(
        (&scaler["scaleTargetRef"]["name"], &scaler["minReplicas"], &scaler["maxReplicas"]),
        (&json!("web-ab12cd34"), &json!(4), &json!(4))
    );
    assert_eq!(all.len(), 6, "the worker is not doubled");
    assert!(all.iter().all(|(copy, _)| copy["metadata"]["labels"][SIDE] == MARK));
}

#[test]
fn where_pods_share_by_number_they_have_all_labels_and_one_more() {
    let all = made(&release("v2"), &sided(Means::Ratio), &sizes(1), MARK);
    let web = copy(&all, "Deployment");
    let labels = json!({ "app": "web", "tier": "front", SIDE: MARK });
    assert_eq!(web["spec"]["template"]["metadata"]["labels"], labels);
    assert_eq!(web["spec"]["selector"]["matchLabels"], json!({ "app": "web", SIDE: MARK }));
    assert!(!all.iter().any(|(copy, _)| copy["kind"] == "Service"), "they are behind the one that is there");
}

#[test]
fn a_service_is_switched_when_all_goes_to_the_side_and_is_as_it_was_else() {
    let (old, mut new) = (release("v1"), release("v2"));
    new[1]["spec"]["ports"][0]["targetPort"] = 9090.into();
    for share in [0, 5_000] {
        assert_eq!(led(&old, &new, &sided(Means::Switch), MARK, share), [old[1].clone()]);
    }
    let [switched] = &led(&old, &new, &sided(Means::Switch), MARK, FULL)[..] else { panic!("one Service") };
    assert_eq!(switched["metadata"]["name"], "web");
    let selector = json!({ "app": "web-ab12cd34", "tier": "front-ab12cd34", SIDE: MARK });
    assert_eq!(switched["spec"]["selector"], selector);
    assert_eq!(switched["spec"]["ports"][0]["targetPort"], 9090, "who has the traffic says where it goes");
    assert_eq!(switched["spec"]["type"], "NodePort");
    let [narrowed] = &led(&old, &new, &sided(Means::Ratio), MARK, FULL)[..] else { panic!("one Service") };
    assert_eq!(narrowed["spec"]["selector"], json!({ "app": "web", "tier": "front", SIDE: MARK }));
}

#[test]
fn a_route_has_weights_and_its_other_backends_keep_their_parts() {
    let refs = |all: Value| -> Value {
        let objects = |image| with(release(image), &[route(all.clone())]);
        let led = led(&objects("v1"), &objects("v2"), &sided(Means::Route), MARK, 1_000);
        let [route] = &led[..] else { panic!("only the route") };
        route["spec"]["rules"][0]["backendRefs"].clone()
    };
    assert_eq!(
        refs(json!([{ "name": "web", "port": 80 }])),
        json!([{ "name": "web", "port": 80, "weight": 9 }, { "name": "web-ab12cd34", "port": 80, "weight": 1 }])
    );
    assert_eq!(
        refs(json!([{ "name": "web", "port": 80, "weight": 3 }, { "name": "api", "port": 80 }])),
        json!([
            { "name": "web", "port": 80, "weight": 27 }, { "name": "web-ab12cd34", "port": 80, "weight": 3 },
            { "name": "api", "port": 80, "weight": 10 }
        ])
    );
    let objects = |image| with(release(image), &[route(json!([{ "name": "web", "port": 80 }]))]);
    let all = led(&objects("v1"), &objects("v2"), &sided(Means::Route), MARK, FULL);
    assert_eq!(all[0]["spec"]["rules"][0]["backendRefs"], json!([{ "name": "web-ab12cd34", "port": 80, "weight": 1 }]));
    let none = led(&objects("v1"), &objects("v2"), &sided(Means::Route), MARK, 0);
    assert_eq!(none, [objects("v1")[4].clone()], "as the release says it");
}

#[test]
fn a_side_is_as_large_as_its_share_takes() {
    let new = release("v2");
    let of = |means, extent, share| size(&sided(means)[0], &new, 9, extent, share);
    assert_eq!(of(Means::Switch, Extent::Auto, 0), 4, "the release says 4");
    assert_eq!(of(Means::Route, Extent::Enough(1_000), 0), 1);
    assert_eq!(of(Means::Route, Extent::Enough(5_100), 1_000), 3);
    assert_eq!(of(Means::Ratio, Extent::Enough(1_000), 0), 0, "pods are traffic");
    assert_eq!(of(Means::Ratio, Extent::Enough(1_000), 1_000), 1);
    assert_eq!(of(Means::Ratio, Extent::Auto, 5_000), 9);
    assert_eq!(of(Means::Ratio, Extent::Auto, FULL), 4);
    let mut free = release("v2");
    free[2]["spec"].as_object_mut().unwrap().remove("replicas");
    assert_eq!(size(&sided(Means::Switch)[0], &free, 9, Extent::Auto, 0), 9, "as many as are there");
}

#[test]
fn a_share_that_replicas_cannot_express_is_told_with_the_nearest_that_can() {
    assert_eq!(expressible(9, 1_000), Ok(1));
    assert_eq!(expressible(1, 5_000), Ok(1));
    assert_eq!(expressible(2, 3_300), Ok(1), "within half a point");
    assert_eq!(expressible(10, 1_000), Err(vec![909, 1_666]));
    assert_eq!(expressible(2, 1_000), Err(vec![3_333, 5_000]));
    assert_eq!(expressible(0, 1_000), Err(vec![]));
}

#[test]
fn names_with_a_mark_fit_where_labels_do() {
    assert_eq!(called("web", MARK), "web-ab12cd34");
    let long = called(&format!("{}-x", "a".repeat(53)), MARK);
    assert_eq!(long, format!("{}-{MARK}", "a".repeat(53)));
    assert!(long.len() <= 63, "{long}");
}
