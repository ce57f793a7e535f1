//! Secrets of releases in a real cluster: each is an object that never changes, and values stand nowhere else.

use super::cluster::{Cluster, shared};
use super::{SPEC, WEB, settles, world};
use crate::it::world::{World, poll, text};
use serde_json::Value;

const VALUES: [&str; 4] =
    ["first-hush-in-a-manifest", "second-hush-in-a-manifest", "third-hush-in-a-manifest", "token-of-env"];

/// The manifest's Secret, with a value in plain and one encoded.
fn secret(value: &str) -> String {
    let encoded = base64(value);
    format!(
        "# before: {value}\napiVersion: v1\nkind: Secret\nmetadata: {{ name: db }}\nstringData: {{ password: {value} }}\ndata: \
         {{ again: {encoded} }}\n"
    )
}

fn base64(value: &str) -> String {
    let output = std::process::Command::new("sh").args(["-c", "printf %s \"$0\" | base64 -w0", value]).output();
    String::from_utf8(output.expect("base64").stdout).expect("text")
}

/// A world whose pods want the Secret, one key of which the specification gives by reference.
fn with_secret(cluster: &Cluster, name: &str) -> World {
    let mut world = world(cluster, name);
    let from = |key: &str| format!("{{ name: {key}, valueFrom: {{ secretKeyRef: {{ name: db, key: {key} }} }} }}");
    let env = format!("env: [{{ name: UNREADY, value: \"\" }}, {}, {}]", from("password"), from("token"));
    let web = WEB.replace("env: [{ name: UNREADY, value: \"\" }]", &env);
    let mounts = "volumeMounts: [{ name: keys, mountPath: /keys }]";
    let volumes = "      volumes: [{ name: keys, projected: { sources: [{ secret: { name: db } }] } }]\n";
    let web =
        web.replace("          readinessProbe", &format!("          {mounts}\n          readinessProbe")) + volumes;
    world.write("p/kubernetes/dev/web.yaml", &web);
    world.write("p/kubernetes/dev/db.yaml", &secret(VALUES[0]));
    world.spec(&format!("{}    secrets: {{ db/token: \"env:TOKEN\" }}\n", SPEC.replace("NAME", name)));
    world.var("TOKEN", VALUES[3]);
    world
}

fn secrets(cluster: &Cluster, namespace: &str) -> Vec<String> {
    cluster.names(namespace, "secret")
}

/// The Secret that pods get now, by both ways to it.
fn used(cluster: &Cluster, namespace: &str) -> String {
    let spec = &cluster.get(&["deployment", "web", "-n", namespace])["spec"]["template"]["spec"];
    let name = text(&spec["volumes"][0]["projected"]["sources"][0]["secret"]["name"]);
    let from = |index: usize| text(&spec["containers"][0]["env"][index]["valueFrom"]["secretKeyRef"]["name"]);
    assert_eq!([from(1), from(2)], [name.clone(), name.clone()]);
    name
}

/// No value stands in a text, in any form.
#[track_caller]
fn hides(what: &str, text: &str) {
    for value in VALUES {
        for form in [value.to_owned(), base64(value), value.bytes().map(|byte| format!("{byte:02x}")).collect()] {
            assert!(!text.contains(&form), "`{form}` stands in {what}: {text}");
        }
    }
}

#[test]
fn kube_a_secret_is_an_object_for_its_values_and_a_rollback_uses_the_earlier_one() {
    let Some(cluster) = shared() else { return };
    let world = with_secret(&cluster, "hush");
    let mut shown = vec![world.ok("plan --env dev --all --version v1").out];
    assert!(shown[0].contains("create Secret/db-"), "{}", shown[0]);
    assert_eq!(secrets(&cluster, "hush"), Vec::<String>::new(), "a plan changes nothing");
    world.ok("deploy --env dev --all --version v1");
    let first = secrets(&cluster, "hush");
    assert_eq!(first, [used(&cluster, "hush")]);
    let object = cluster.get(&["secret", &first[0], "-n", "hush"]);
    assert_eq!(
        (&object["immutable"], object["data"]["password"].as_str()),
        (&Value::Bool(true), Some(&*base64(VALUES[0])))
    );
    assert_eq!(text(&object["data"]["token"]), base64(VALUES[3]));
    assert!(world.ok("deploy --env dev --all --version v1").err.contains("current and healthy already"));

    world.write("p/kubernetes/dev/db.yaml", &secret(VALUES[1]));
    let plan = format!("plan --env dev --all --version v2 --out {}", world.path("plan").display());
    shown.push(world.ok(&plan).out);
    assert!(shown[1].contains(&format!("keep Secret/{} while a release needs it", first[0])), "{}", shown[1]);
    shown.push(world.ok("plan --env dev --all --version v2 --output json").out);
    shown.push(world.ok("deploy --env dev --all --version v2").err);
    let second = used(&cluster, "hush");
    assert_ne!(second, first[0]);
    assert_eq!(secrets(&cluster, "hush").len(), 2, "the earlier one is kept");
    world.ok("rollback --env dev --app hush");
    assert_eq!(used(&cluster, "hush"), first[0]);
    settles(&world, "hush", "v1 healthy 2");

    let id = world.newest();
    for args in [format!("show {id} --output json"), format!("show {id}")] {
        shown.push(world.ok(&args).out);
    }
    for args in [
        "audit --output json --limit 10000",
        "diff v1 v2 --env dev --app hush",
        "status --output json",
        "logs --env dev --app hush",
    ] {
        shown.push(world.ok(args).out);
    }
    shown.push(world.read("plan"));
    shown.push(world.processes().into_iter().map(|(_, args)| args + "\n").collect());
    shown.iter().for_each(|text| hides("what is shown", text));
    for (path, bytes) in world.state_files() {
        hides(&path.display().to_string(), &String::from_utf8_lossy(&bytes));
    }
    for map in cluster.names("hush", "configmap") {
        hides("the record", &cluster.get(&["configmap", &map, "-n", "hush"]).to_string());
    }
    world.ok("down --env dev --app hush");
    assert_eq!(secrets(&cluster, "hush"), Vec::<String>::new());
}

#[test]
fn kube_a_secret_that_no_release_needs_goes_and_one_that_was_deleted_is_made_again_or_missed() {
    let Some(cluster) = shared() else { return };
    let world = with_secret(&cluster, "hushed");
    world.ok("deploy --env dev --all --version v1");
    let first = used(&cluster, "hushed");
    // A release that fails leaves none behind.
    world.write("p/kubernetes/dev/db.yaml", &secret(VALUES[1]));
    let why = world.run("deploy --env dev --all --version v404").code(1);
    hides("the reason", &why.err);
    assert_eq!(used(&cluster, "hushed"), first);
    poll("its Secret to go", || (secrets(&cluster, "hushed") == [first.clone()]).then_some(()));
    settles(&world, "hushed", "v1 healthy 2");

    world.ok("deploy --env dev --all --version v2");
    cluster.kubectl(&["delete", "secret", &first, "-n", "hushed"]);
    // From what is kept, sealed.
    let sealed = std::fs::read_dir(world.state().join("sealed")).expect("a folder");
    let sealed: Vec<_> = sealed.map(|entry| entry.expect("a file").path()).collect();
    let back: Vec<_> = sealed.iter().map(|path| (path.clone(), std::fs::read(path).expect("bytes"))).collect();
    sealed.iter().for_each(|path| std::fs::remove_file(path).expect("a file"));
    let why = world.run("rollback --env dev --app hushed").code(3);
    assert!(
        why.last().contains(&format!("hushed cannot go back to v1: Secret/{first} was deleted from `hushed`")),
        "{}",
        why.err
    );
    back.iter().for_each(|(path, bytes)| std::fs::write(path, bytes).expect("a file"));
    for (path, _) in &back {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    }
    world.ok("rollback --env dev --app hushed");
    assert_eq!(used(&cluster, "hushed"), first);
    assert!(secrets(&cluster, "hushed").contains(&first));
    world.ok("down --env dev --app hushed");
}

#[test]
fn kube_what_a_server_says_of_a_secret_does_not_repeat_it() {
    let Some(cluster) = shared() else { return };
    let world = with_secret(&cluster, "echoed");
    // The type wants other keys, and is told so with the object at hand.
    world.write(
        "p/kubernetes/dev/db.yaml",
        &secret(VALUES[0]).replace("metadata:", "type: kubernetes.io/tls\nmetadata:"),
    );
    let why = world.run("deploy --env dev --all --version v1").code(2);
    assert!(why.err.contains("Secret/db-") && why.err.contains("tls.crt"), "{}", why.err);
    hides("the reason", &why.err);
    // And of one that is not even YAML no line is shown.
    world.write("p/kubernetes/dev/db.yaml", &format!("{}  - [", secret(VALUES[0])));
    let why = world.run("deploy --env dev --all --version v1").code(2);
    assert!(why.err.contains("this is not YAML") && why.err.contains("db.yaml"), "{}", why.err);
    hides("the reason", &why.err);
}
