//! Every class of failure, on a real control plane and a real node: a good release becomes a bad one, the verdict is in time and has its
//! reason, and what was there before is there again.

mod before;
mod table;

use super::cluster::{Cluster, shared};
use super::settles;
use crate::it::world::{Ran, World, poll, text};
use deployctl_live::registry::Registry;
use deployctl_live::registry::faulty::{Faulty, Of, Wrong};
use serde_json::{Value, json};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use table::{Class, Images, never, perhaps};

/// So many deployments are under way at once.
const AT_ONCE: usize = 6;

/// How a deployment ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Before anything is changed, with this exit code.
    RefusedBefore(i32),
    /// At once: patience was not waited for.
    Fails,
    /// When patience ran out; what is waited for was shown before.
    RunsOut,
}

/// Two releases that never become right would be waited for longer than any command of the tests may take.
const LONG: &str = "patience: 30m, deadline: 1h";
/// What may heal is not waited for longer than this.
const SHORT: &str = "patience: 5s, deadline: 1h";

#[test]
fn kube_what_can_never_become_right_fails_at_once_with_its_reason() {
    let Some(cluster) = shared() else { return };
    let Some(registry) = Registry::open() else { return };
    cluster.0.mirror(registry.address()).expect("a way to the registry");
    forbid(&cluster);
    let images = Images { empty: registry.address(), answers: [(0, ""); 3] };
    every(&cluster, &never(&images), LONG);
}

#[test]
fn kube_what_may_heal_is_shown_with_its_reason_and_turned_back_after_patience() {
    let Some(cluster) = shared() else { return };
    let Some(registry) = Registry::open() else { return };
    let broken = [401, 429, 503].map(|status| {
        let faulty = Faulty::before(&registry);
        faulty.does(Of::All, Wrong::Says(status, "", "UNAVAILABLE"));
        cluster.0.mirror(faulty.address()).expect("a way to the registry");
        (status, faulty)
    });
    nobody_answers(&cluster);
    let [a, b, c] = &broken;
    let answers = [(a.0, a.1.address()), (b.0, b.1.address()), (c.0, c.1.address())];
    every(&cluster, &perhaps(&Images { empty: "", answers }), SHORT);
}

/// All of them, some at once, each an app in a namespace of its own.
fn every(cluster: &Cluster, classes: &[Class], keys: &str) {
    let world = world(cluster, classes, keys);
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(class) = classes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| one(cluster, &world, class)));
                    if ran.is_err() {
                        wrong.lock().expect("the names").push(class.name);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("the names");
    assert!(wrong.is_empty(), "not as they should be, see above: {wrong:?}");
}

fn world(cluster: &Cluster, classes: &[Class], keys: &str) -> World {
    let app = |class: &Class| {
        let name = class.name;
        format!(
            "  {name}: {{ target: kubernetes, context: test, namespace: {name}, manifests: kubernetes/{name}, {keys} }}\n"
        )
    };
    let apps: String = classes.iter().map(app).collect();
    let mut world = World::new(&format!("project: p\nenvironments: {{ dev: {{}} }}\napps:\n{apps}"));
    world.write("kubeconfig", &cluster.kubeconfig());
    world.var("KUBECONFIG", world.path("kubeconfig"));
    let space = |class: &Class| json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": class.name } });
    cluster.apply(&list(&classes.iter().map(space).collect::<Vec<_>>()));
    for class in classes {
        write(&world, class.name, &[table::web(json!({}), json!({}))]);
    }
    world
}

fn list(items: &[Value]) -> String {
    json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
}

fn write(world: &World, name: &str, objects: &[Value]) {
    // The others are read while this one changes.
    let folder = format!("p/kubernetes/{name}");
    world.write(&format!("{folder}/new"), &list(objects));
    let path = |file: &str| world.path(&format!("{folder}/{file}"));
    std::fs::rename(path("new"), path("all.json")).expect("the file");
}

/// A good release, a bad one, and what there is then.
fn one(cluster: &Cluster, world: &World, class: &Class) {
    let name = class.name;
    let deploy = |version: &str| world.run(&format!("deploy --env dev --app {name} --version {version}"));
    deploy("v1").code(0);
    settles(world, name, "v1 healthy 1");
    let before = template(cluster, name);
    for object in &class.meanwhile {
        cluster.0.kubectl_with(&["apply", "-n", name, "-f", "-"], &object.to_string()).expect("what somebody makes");
        if object["kind"] == "ResourceQuota" {
            // It limits nothing before its controller has counted.
            let quota = ["resourcequota", "-n", name];
            let counted = || cluster.get(&quota)["items"][0]["status"]["hard"].is_object().then_some(());
            poll("the quota to be in force", counted);
        }
    }
    write(world, name, &class.bad);
    match class.end {
        End::RefusedBefore(code) => {
            deploy("v2").code(code).says(class.says);
            assert_eq!(world.history(name), ["v1 succeeded"]);
        }
        end => {
            let ran = deploy("v2").code(1);
            is_told(name, &ran, class.says, end);
            let entry = world.json(&format!("history --env dev --app {name}"))[0].clone();
            let how = (text(&entry["version"]), text(&entry["verdict"]), entry["restored"] == true);
            assert_eq!(how, ("v2".into(), "rolled_back".into(), true), "{name}: {}", ran.err);
            assert!(text(&entry["reason"]).contains(class.says), "{name}: {entry}");
        }
    }
    // And what was there before is there again, all of it and nothing else.
    settles(world, name, "v1 healthy 1");
    assert_eq!(template(cluster, name), before, "{name}");
    let drift = world.ok(&format!("status --env dev --app {name} --drift"));
    assert_eq!(drift.out.trim(), "dev ".to_owned() + name + ": as v1 was deployed");
    assert_eq!(cluster.names(name, "job"), Vec::<String>::new());
    world.ok(&format!("down --env dev --app {name}"));
}

/// The reason is in the verdict, and, where it was waited for, was shown before that.
#[track_caller]
fn is_told(name: &str, ran: &Ran, says: &str, end: End) {
    let last = ran.last();
    assert!(
        last.starts_with(&format!("rolled back: deploy {name} v1 -> v2 in dev: v2 did not ")),
        "{name}: {}",
        ran.err
    );
    assert!(last.contains(says) && last.ends_with("; what ran before runs again"), "{name}: {}", ran.err);
    if end == End::Fails {
        return assert!(last.contains("v2 did not come up: "), "{name}: {}", ran.err);
    }
    assert!(last.contains("v2 did not become healthy within 5 s of trouble: "), "{name}: {}", ran.err);
    let before = ran.err.split("turning back: ").next().unwrap_or_default();
    let shown = before.lines().any(|line| line.starts_with("  waiting: ") && line.contains(says));
    assert!(shown, "{name}: nobody was told while it was waited for:\n{}", ran.err);
}

fn template(cluster: &Cluster, name: &str) -> Value {
    cluster.get(&["deployment", "web", "-n", name])["spec"]["template"].clone()
}

/// What has the label `forbidden`, be it a Deployment or a pod, is denied from now on.
fn forbid(cluster: &Cluster) {
    let rule = |group: &str, resource: &str| json!({ "apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": [resource] });
    let object = |kind: &str, spec: Value| {
        let version = "admissionregistration.k8s.io/v1";
        json!({ "apiVersion": version, "kind": kind, "metadata": { "name": "forbidden" }, "spec": spec })
    };
    let label = json!({ "matchExpressions": [{ "key": "forbidden", "operator": "Exists" }] });
    let validation = json!({ "expression": "false", "message": "it is forbidden here", "reason": "Forbidden" });
    let policy = json!({
        "matchConstraints": { "objectSelector": label, "resourceRules": [rule("apps", "deployments"), rule("", "pods")] },
        "validations": [validation],
    });
    let binding = json!({ "policyName": "forbidden", "validationActions": ["Deny"] });
    let both = [object("ValidatingAdmissionPolicy", policy), object("ValidatingAdmissionPolicyBinding", binding)];
    cluster.apply(&list(&both));
    poll("the policy to be in force", || {
        let trial = ["run", "trial", "--image=x", "--labels=forbidden=pod", "--dry-run=server"];
        cluster.0.kubectl(&trial).is_err_and(|why| why.contains("it is forbidden here")).then_some(())
    });
}

/// Pods that have the label `asked` need the word of somebody who does not answer from now on.
fn nobody_answers(cluster: &Cluster) {
    let rule = json!({ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"] });
    let webhook = json!({
        "name": "asked.deployctl.test", "clientConfig": { "url": "https://127.0.0.1:9/" }, "rules": [rule],
        "objectSelector": { "matchExpressions": [{ "key": "asked", "operator": "Exists" }] },
        "sideEffects": "None", "admissionReviewVersions": ["v1"], "failurePolicy": "Fail", "timeoutSeconds": 5,
    });
    let object = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": { "name": "asked" }, "webhooks": [webhook],
    });
    cluster.apply(&object.to_string());
    poll("the webhook to be asked", || {
        let trial = ["run", "trial", "--image=x", "--labels=asked=webhook", "--dry-run=server"];
        cluster.0.kubectl(&trial).is_err_and(|why| why.contains("failed calling webhook")).then_some(())
    });
}
