//! The app's own namespace among its manifests, and what `down` leaves.

use super::{Cluster, SPEC, WEB, cluster, settles};
use crate::it::world::{World, finish, poll, text};

const SPACE: &str = "apiVersion: v1\nkind: Namespace\nmetadata: { name: NAME, labels: { team: shop } }\n";

/// A world whose app's namespace nobody has made.
fn bare(cluster: &Cluster, name: &str) -> World {
    let mut world = World::new(&SPEC.replace("NAME", name));
    world.write("p/kubernetes/dev/web.yaml", WEB);
    world.write("kubeconfig", &cluster.kubeconfig());
    world.var("KUBECONFIG", world.path("kubeconfig"));
    world
}

fn spaces(cluster: &Cluster) -> Vec<String> {
    let all = cluster.kubectl(&["get", "namespaces", "-o", "name"]);
    all.lines().filter_map(|line| line.trim().strip_prefix("namespace/")).map(str::to_owned).collect()
}

#[test]
fn kube_a_namespace_of_the_manifests_is_made_first() {
    let Some(cluster) = cluster::shared() else { return };
    let world = bare(&cluster, "own");
    let why = world.run("plan --env dev --all --version v1").code(2);
    assert!(why.err.contains("there is no namespace `own`"), "{}", why.err);
    world.write("p/kubernetes/dev/space.yaml", &SPACE.replace("NAME", "another"));
    let why = world.run("plan --env dev --all --version v1").code(2);
    assert!(why.err.contains("Namespace/another is another namespace than the app's, which is `own`"), "{}", why.err);

    world.write("p/kubernetes/dev/space.yaml", &SPACE.replace("NAME", "own"));
    let plan = world.ok("plan --env dev --all --version v1 --out plan").out;
    assert!(plan.contains("create Namespace/own\n"), "{plan}");
    assert!(plan.contains("create Deployment/web (not checked: its namespace comes with it)"), "{plan}");
    assert!(!spaces(&cluster).contains(&"own".to_owned()), "a plan changes nothing");
    world.ok("deploy --env dev --all --version v1 --plan plan");
    settles(&world, "own", "v1 healthy 2");
    assert_eq!(text(&cluster.get(&["namespace", "own"])["metadata"]["labels"]["team"]), "shop");
    let plan = world.ok("plan --env dev --all --version v2").out;
    assert!(!plan.contains("Namespace/own") && plan.contains("change Deployment/web"), "{plan}");
    world.ok("deploy --env dev --all --version v2");

    // It stays, whatever the release says of it or does not.
    std::fs::remove_file(world.path("p/kubernetes/dev/space.yaml")).expect("the file");
    let plan = world.ok("plan --env dev --all --version v3").out;
    assert!(plan.contains("keep Namespace/own"), "{plan}");
    world.ok("deploy --env dev --all --version v3");
    let down = world.ok("down --env dev --app own");
    assert!(down.err.contains("own: keep Namespace/own: only --delete-data deletes it"), "{}", down.err);
    assert_eq!(cluster.names("own", "deployment"), Vec::<String>::new());
    assert!(spaces(&cluster).contains(&"own".to_owned()));
}

#[test]
fn kube_a_namespace_that_was_there_is_given_labels_and_never_deleted() {
    let Some(cluster) = cluster::shared() else { return };
    let world = bare(&cluster, "older");
    cluster.kubectl(&["create", "namespace", "older"]);
    cluster.kubectl(&["label", "namespace", "older", "cost=7"]);
    world.write("p/kubernetes/dev/space.yaml", &SPACE.replace("NAME", "older"));
    let plan = world.ok("plan --env dev --all --version v1").out;
    assert!(plan.contains("change Namespace/older: metadata.labels.team: nothing -> shop"), "{plan}");
    world.ok("deploy --env dev --all --version v1");
    let labels = cluster.get(&["namespace", "older"])["metadata"]["labels"].clone();
    assert_eq!((text(&labels["team"]), text(&labels["cost"])), ("shop".to_owned(), "7".to_owned()));
    let down = world.ok("down --env dev --app older --delete-data");
    assert!(down.err.contains("keep Namespace/older: it was there before the app"), "{}", down.err);
    assert!(spaces(&cluster).contains(&"older".to_owned()));
}

#[test]
fn kube_down_deletes_data_only_when_told() {
    let Some(cluster) = cluster::shared() else { return };
    let world = bare(&cluster, "goes");
    let claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: { name: data }\nspec:\n  storageClassName: \"\"\n  \
                 accessModes: [ReadWriteOnce]\n  volumeName: goes-data\n  resources: { requests: { storage: 1Mi } }\n";
    let volume = "apiVersion: v1\nkind: PersistentVolume\nmetadata: { name: goes-data }\nspec:\n  storageClassName: \"\"\n  \
                  accessModes: [ReadWriteOnce]\n  capacity: { storage: 1Mi }\n  hostPath: { path: /tmp }\n";
    world.write("p/kubernetes/dev/space.yaml", &SPACE.replace("NAME", "goes"));
    world.write("p/kubernetes/dev/data.yaml", &format!("{volume}---\n{claim}"));
    world.ok("deploy --env dev --all --version v1");
    settles(&world, "goes", "v1 healthy 2");
    for flags in ["deploy --env dev --all --version v2", "rollback --env dev --app goes"] {
        world.run(&format!("{flags} --delete-data")).code(2);
    }
    world.run("down --env dev --app goes --delete-data --hand-back").code(2);

    // Not told, it stays, and is named.
    let down = world.ok("down --env dev --app goes");
    for name in ["PersistentVolumeClaim/data", "PersistentVolume/goes-data", "Namespace/goes"] {
        assert!(down.err.contains(&format!("goes: keep {name}: only --delete-data deletes it")), "{}", down.err);
    }
    assert_eq!(cluster.names("goes", "pvc"), ["data"]);
    assert_eq!(cluster.names("goes", "deployment"), Vec::<String>::new());

    // Told later, it goes; what others have stays, and so does what that is in.
    cluster.kubectl(&["create", "configmap", "theirs", "-n", "goes"]);
    let down = world.ok("down --env dev --app goes --delete-data");
    assert!(down.err.contains("goes: delete PersistentVolumeClaim/data with its data, for good"), "{}", down.err);
    assert!(down.err.contains("goes: delete PersistentVolume/goes-data with its data, for good"), "{}", down.err);
    assert!(down.err.contains("goes: keep Namespace/goes: ConfigMap/theirs is in it"), "{}", down.err);
    assert_eq!(cluster.names("goes", "pvc"), Vec::<String>::new());
    assert!(!cluster.kubectl(&["get", "pv", "-o", "name"]).contains("goes-data"));
    assert_eq!(text(&cluster.get(&["configmap", "theirs", "-n", "goes"])["metadata"]["name"]), "theirs");

    // All of it in one go, the namespace with what is known of the app last. Other names: the cluster may still bind to what was.
    let called = |name: &str| {
        let text = format!("{volume}---\n{claim}").replace("goes-data", &format!("goes-{name}"));
        text.replace("name: data", &format!("name: {name}"))
    };
    world.write("p/kubernetes/dev/data.yaml", &called("again"));
    world.ok("deploy --env dev --all --version v2");
    settles(&world, "goes", "v2 healthy 2");
    cluster.kubectl(&["delete", "configmap", "theirs", "-n", "goes"]);
    let down = world.ok("down --env dev --app goes --delete-data");
    assert!(down.err.contains("goes: delete Namespace/goes with all that is in it, for good"), "{}", down.err);
    assert!(!spaces(&cluster).contains(&"goes".to_owned()));
    let again = world.ok("down --env dev --app goes --delete-data");
    assert!(again.err.contains("there is no data to delete"), "{}", again.err);
    world.write("p/kubernetes/dev/data.yaml", &called("anew"));
    world.ok("deploy --env dev --all --version v1");
    settles(&world, "goes", "v1 healthy 2");

    // It has ended when the namespace has, which is after what is known of the app.
    let finalizers = |all: &str| {
        let patch = format!("{{\"metadata\":{{\"finalizers\":[{all}]}}}}");
        cluster.kubectl(&["patch", "namespace", "goes", "--type=merge", "-p", &patch]);
    };
    finalizers("\"example.com/held\"");
    let down = world.spawn("down --env dev --app goes --delete-data");
    poll("what is in it to go", || {
        let is_told = !cluster.get(&["namespace", "goes"])["metadata"]["deletionTimestamp"].is_null();
        (is_told && cluster.names("goes", "configmap").is_empty()).then_some(())
    });
    let id = world.running();
    poll("it to be waited for", || {
        text(&world.json(&format!("show {id}"))["waiting"]).contains("Namespace/goes is to end").then_some(())
    });
    finalizers("");
    finish(down).code(0);
    assert!(!spaces(&cluster).contains(&"goes".to_owned()));
}

/// A StatefulSet whose pods have claims of a template each, on volumes that are there.
fn with_claims(cluster: &Cluster, name: &str, template: &str, replicas: usize) -> String {
    for number in 0..replicas {
        cluster.apply(&format!(
            "apiVersion: v1\nkind: PersistentVolume\nmetadata: {{ name: sets-{template}-{number} }}\nspec:\n  storageClassName: \"\"\n  \
             accessModes: [ReadWriteOnce]\n  capacity: {{ storage: 1Mi }}\n  hostPath: {{ path: /tmp }}\n  claimRef: {{ namespace: sets, \
             name: {template}-{name}-{number} }}\n"
        ));
    }
    let keep = if template == "kept" { "annotations: { helm.sh/resource-policy: keep }" } else { "labels: { a: b }" };
    let (_, set) = WEB.split_once("---\n").expect("two objects");
    let set = set.replace("kind: Deployment", "kind: StatefulSet").replace("  progressDeadlineSeconds: 15\n", "");
    set.replace("metadata: { name: web }", &format!("metadata: {{ name: {name} }}"))
        .replace("app: web", &format!("app: {name}"))
        .replace("replicas: 2", &format!("replicas: {replicas}\n  podManagementPolicy: Parallel"))
        + &format!(
            "  volumeClaimTemplates:\n    - metadata: {{ name: {template}, {keep} }}\n      spec:\n        storageClassName: \"\"\n        \
             accessModes: [ReadWriteOnce]\n        resources: {{ requests: {{ storage: 1Mi }} }}\n"
        )
}

#[test]
fn kube_claims_that_stateful_sets_made_are_the_apps_and_go_only_when_told() {
    let Some(cluster) = cluster::shared() else { return };
    let world = bare(&cluster, "sets");
    world.write("p/kubernetes/dev/space.yaml", &SPACE.replace("NAME", "sets"));
    world.write("p/kubernetes/dev/db.yaml", &with_claims(&cluster, "db", "data", 2));
    world.ok("deploy --env dev --all --version v1");
    settles(&world, "sets", "v1 healthy 4");

    // A release has it no more: they stay, and the plan says so.
    world.write("p/kubernetes/dev/db.yaml", &with_claims(&cluster, "log", "kept", 1));
    let plan = world.ok("plan --env dev --all --version v2").out;
    for name in ["data-db-0", "data-db-1"] {
        let words =
            format!("keep PersistentVolumeClaim/{name}, which StatefulSet/db made: no deployment ever deletes it\n");
        assert!(plan.contains(&words), "{plan}");
    }
    world.ok("deploy --env dev --all --version v2");
    settles(&world, "sets", "v2 healthy 3");
    assert_eq!(cluster.names("sets", "pvc"), ["data-db-0", "data-db-1", "kept-log-0"]);
    let down = world.ok("down --env dev --app sets");
    for name in ["data-db-0", "data-db-1"] {
        let words = format!("sets: keep PersistentVolumeClaim/{name}: only --delete-data deletes it");
        assert!(down.err.contains(&words), "{}", down.err);
    }

    // Told, those go, and none that somebody else made of the same name, nor any that outlives the app.
    let outlives = "sets: keep PersistentVolumeClaim/kept-log-0: its chart says that it outlives its release";
    assert!(down.err.contains(outlives), "{}", down.err);
    cluster.kubectl(&["delete", "pvc", "data-db-1", "-n", "sets"]);
    cluster.apply(
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: { name: data-db-1, namespace: sets, labels: { app: db } }\nspec:\n  \
         accessModes: [ReadWriteOnce]\n  storageClassName: \"\"\n  resources: { requests: { storage: 1Mi } }\n",
    );
    let down = world.ok("down --env dev --app sets --delete-data");
    assert!(down.err.contains("sets: delete PersistentVolumeClaim/data-db-0 with its data, for good"), "{}", down.err);
    assert!(down.err.contains(outlives) && !down.err.contains("PersistentVolumeClaim/data-db-1 with"), "{}", down.err);
    let theirs = "sets: keep Namespace/sets: PersistentVolumeClaim/data-db-1 is in it, which is not the app's";
    assert!(down.err.contains(theirs), "{}", down.err);
    assert_eq!(cluster.names("sets", "pvc"), ["data-db-1", "kept-log-0"]);

    // The namespace is the last of it.
    cluster.kubectl(&["delete", "pvc", "data-db-1", "-n", "sets"]);
    let down = world.ok("down --env dev --app sets --delete-data");
    assert!(down.err.contains("there is no data to delete"), "{}", down.err);
    assert_eq!(cluster.names("sets", "pvc"), ["kept-log-0"]);
    cluster.kubectl(&["delete", "pvc", "kept-log-0", "-n", "sets"]);
    let down = world.ok("down --env dev --app sets --delete-data");
    assert!(down.err.contains("sets: delete Namespace/sets with all that is in it, for good"), "{}", down.err);
    assert!(!spaces(&cluster).contains(&"sets".to_owned()));
}
