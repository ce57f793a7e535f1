//! Migrations, hooks and smoke tests as Jobs of a real cluster.

use super::cluster::{Cluster, shared};
use super::{SPEC, WEB, image, settles, world};
use crate::it::world::{World, kill, poll};
use rustix::process::Signal;

/// A world whose app has these keys besides.
fn with(cluster: &Cluster, name: &str, keys: &str) -> World {
    let world = world(cluster, name);
    world.spec(&format!("{}    {}\n", SPEC.replace("NAME", name), keys.trim().replace('\n', "\n    ")));
    world
}

/// The Jobs of a namespace.
fn jobs(cluster: &Cluster, namespace: &str) -> Vec<String> {
    cluster.names(namespace, "job")
}

#[test]
fn kube_a_migration_that_fails_turns_back_with_what_it_printed() {
    let Some(cluster) = shared() else { return };
    let world = with(&cluster, "migrates", "migrate: { run: [/pod, exit, \"0\", fine] }");
    // What the first release brings is not there before its migration: a Secret and an account.
    let account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: { name: runner }\n";
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: { name: db }\nstringData: { password: hush-hush-hush }\n";
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: words }\ndata: { WORDS: from-the-map }\n";
    for (name, text) in [("account", account), ("secret", secret), ("map", map)] {
        world.write(&format!("p/kubernetes/dev/{name}.yaml"), text);
    }
    let from = "envFrom: [{ secretRef: { name: db } }, { configMapRef: { name: words } }]\n          env:";
    let web =
        WEB.replace("env:", from).replace("      containers:", "      serviceAccountName: runner\n      containers:");
    world.write("p/kubernetes/dev/web.yaml", &web);
    world.ok("deploy --env dev --all --version v1");
    settles(&world, "migrates", "v1 healthy 2");
    assert_eq!(jobs(&cluster, "migrates"), Vec::<String>::new(), "what is recorded is taken away");
    let shown = world.ok(&format!("show {}", world.newest())).out;
    assert!(shown.contains("the migration ended well\n    | fine\n"), "what it printed is kept: {shown}");

    let words = "migrate: { run: [/pod, exit, \"3\", \"$(WORDS)\", \"$(password)\", no such table] }";
    world.spec(&format!("{}    {words}\n", SPEC.replace("NAME", "migrates")));
    let why = world.run("deploy --env dev --all --version v2").code(1);
    let last = why.last();
    assert!(last.contains("the migration failed: exit 3; its last lines: from-the-map"), "{}", why.err);
    assert!(last.contains("no such table") && !why.err.contains("hush-hush-hush"), "{}", why.err);
    assert_eq!(image(&cluster, "migrates"), "deployctl.test/web:v1");
    assert_eq!(world.history("migrates"), ["v2 rolled_back restored", "v1 succeeded"]);
    poll("the Job to go", || jobs(&cluster, "migrates").is_empty().then_some(()));

    // Neither may it take too long.
    let slow = "migrate: { run: [/pod], timeout: 3s }";
    world.spec(&format!("{}    {slow}\n", SPEC.replace("NAME", "migrates")));
    let why = world.run("deploy --env dev --all --version v3").code(1);
    assert!(why.last().contains("the migration failed: killed after 3 s"), "{}", why.err);
    world.ok("down --env dev --app migrates");
}

#[test]
fn kube_a_first_migration_that_fails_leaves_nothing() {
    let Some(cluster) = shared() else { return };
    let world = with(&cluster, "begins", "migrate: { run: [/pod, exit, \"1\", broken] }");
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: { name: db }\nstringData: { password: hush-hush-hush }\n";
    world.write("p/kubernetes/dev/secret.yaml", secret);
    world.write(
        "p/kubernetes/dev/web.yaml",
        &WEB.replace("env:", "envFrom: [{ secretRef: { name: db } }]\n          env:"),
    );
    let why = world.run("deploy --env dev --all --version v1").code(1);
    assert!(why.last().contains("the migration failed: exit 1; its last lines: broken"), "{}", why.err);
    assert_eq!(cluster.names("begins", "deployment"), Vec::<String>::new());
    poll("its Secret to go", || cluster.names("begins", "secret").is_empty().then_some(()));
}

#[test]
fn kube_a_migration_runs_once_though_the_engine_is_killed() {
    let Some(cluster) = shared() else { return };
    let world = with(&cluster, "once", "migrate: { run: [/pod, serve, \"9\"], timeout: 8s }");
    world.ok("deploy --env dev --all --version v1 --detach");
    let running = || cluster.names("once", "pod");
    let first = poll("the Job to run", || running().first().cloned());
    kill(world.role("engine")[0], Signal::KILL);
    assert_ne!(world.ended(), "succeeded");
    assert!(first.starts_with("job-"), "{first}");
    let id = world.newest();
    let shown = world.ok(&format!("show {id}")).out;
    assert!(shown.contains("the migration failed: killed after 8 s"), "{shown}");
    // The events remember every pod that there was.
    let events = cluster.get(&["events", "-n", "once"]);
    let made = events["items"].as_array().expect("events").iter().filter(|event| event["reason"] == "SuccessfulCreate");
    assert_eq!(made.count(), 1, "{events}");
}

#[test]
fn kube_hooks_and_smoke_tests_run_as_the_new_release() {
    let Some(cluster) = shared() else { return };
    let keys =
        "hooks: { before: [[/pod, exit, \"0\"]], after: [[/pod, exit, \"0\"]] }\nsmoke: [{ run: [/pod, exit, \"0\"] }]";
    let world = with(&cluster, "smoked", keys);
    world.ok("deploy --env dev --all --version v1");
    world.spec(&format!("{}    smoke: [{{ run: [/pod, exit, \"4\", not, good] }}]\n", SPEC.replace("NAME", "smoked")));
    let why = world.run("deploy --env dev --all --version v2").code(1);
    assert!(why.last().contains("smoke test #1 failed: exit 4; its last lines: not good"), "{}", why.err);
    assert_eq!(image(&cluster, "smoked"), "deployctl.test/web:v1");
    settles(&world, "smoked", "v1 healthy 2");
    world.ok("down --env dev --app smoked");
}

#[test]
fn kube_a_smoke_test_by_a_request_asks_a_pod_of_the_new_release() {
    let Some(cluster) = shared() else { return };
    let smoke = "smoke: [{ http: /version, expect: { body: \"{{ version }}\" } }]";
    let world = with(&cluster, "requests", smoke);
    let says = |version: &str, port: &str| {
        let web = WEB.replace("env: [", &format!("env: [{{ name: VERSION, value: {version} }}, "));
        world.write("p/kubernetes/dev/web.yaml", &web.replace("targetPort: 8080", &format!("targetPort: {port}")));
    };
    says("v1", "8080");
    world.ok("deploy --env dev --all --version v1");
    settles(&world, "requests", "v1 healthy 2");

    // What has the names answers as before: it is the pods beside it that are asked, before they have traffic.
    for (version, strategy) in [("v2", "blue-green"), ("v3", "rolling")] {
        world.spec(&format!("{}    {smoke}\n    strategy: {strategy}\n", SPEC.replace("NAME", "requests")));
        says(version, "8080");
        world.ok(&format!("deploy --env dev --all --version {version}"));
        settles(&world, "requests", &format!("{version} healthy 2"));
    }
    for (port, words) in [
        ("8080", "smoke test #1 failed: GET /version: the body is `v3`, `v1` was expected"),
        ("8099", "smoke test #1 failed: GET /version: error trying to reach service: dial tcp "),
    ] {
        says("v3", port);
        let why = world.run("deploy --env dev --all --version v1").code(1);
        assert!(why.last().contains(words), "{}", why.err);
        assert!(why.last().ends_with("; what ran before runs again"), "{}", why.err);
        assert_eq!(image(&cluster, "requests"), "deployctl.test/web:v3");
    }
    says("v3", "8080");
    world.spec(&format!(
        "{}    {smoke}\n    strategy: {{ canary: {{ steps: [50%] }} }}\n",
        SPEC.replace("NAME", "requests")
    ));
    let why = world.run("plan --env dev --all --version v1").code(2);
    assert!(
        why.err.contains("v1 has a smoke test by `http`, and no pod of web to ask before it has traffic"),
        "{}",
        why.err
    );
    says("v3", "other");
    let why = world.run("plan --env dev --all --version v1").code(2);
    assert!(why.err.contains("on which port the pods of `web` answer is nowhere said"), "{}", why.err);
    world.ok("down --env dev --app requests");
}
