//! Hooks of charts, around real deployments.

use super::rendered::{HELM, built, path, write_chart};
use super::{cluster::Cluster, cluster::shared, image, world};
use crate::it::world::World;
use deployctl_live::kube;

/// A Job that runs at these moments, and ends with this.
fn job(name: &str, moments: &str, weight: i32, more: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: {name}\n  annotations:\n    helm.sh/hook: {moments}\n    \
         helm.sh/hook-weight: \"{weight}\"\n{more}spec:\n  backoffLimit: 0\n  template:\n    spec:\n      restartPolicy: Never\n      \
         containers:\n        - name: job\n          image: deployctl.test/web:v1\n          \
         command: [/pod, exit, {{{{ .Values.{name} | quote }}}}, \"{name} at {{{{ .Values.tag }}}}\"]\n"
    )
}

fn charted(cluster: &Cluster, name: &str, programs: std::path::PathBuf) -> World {
    let mut world = world(cluster, name);
    world.var("PATH", path(&[programs]));
    write_chart(&world);
    world.write("p/values-dev.yaml", "replicas: 1\nmigrate: \"0\"\nannounce: \"0\"\n");
    world.write("p/chart/templates/migrate.yaml", &job("migrate", "pre-install,pre-upgrade,pre-rollback", 1, ""));
    let gone = "    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded\n";
    world.write("p/chart/templates/announce.yaml", &job("announce", "post-install,post-upgrade", 0, gone));
    let first = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: before\n  annotations: { helm.sh/hook: pre-install, helm.sh/hook-weight: \"-1\" }\n";
    world.write("p/chart/templates/before.yaml", first);
    world.spec(&HELM.replace("NAME", name));
    world
}

/// What the hook printed that is there now.
fn printed(cluster: &Cluster, namespace: &str, job: &str) -> String {
    cluster.kubectl(&["logs", "-n", namespace, &format!("job/{job}")]).trim().to_owned()
}

#[test]
fn kube_hooks_of_a_chart_run_once_per_deployment_in_their_order() {
    let Some(cluster) = shared() else { return };
    let Some(programs) = built("helm", kube::helm()) else { return };
    let world = charted(&cluster, "hooked", programs);
    let plan = world.ok("plan --env dev --all --version v1").out;
    let place = |what: &str| plan.find(what).unwrap_or_else(|| panic!("no `{what}` in:\n{plan}"));
    assert!(
        place("run ConfigMap/before before")
            < place("run Job/migrate before its objects are applied (pre-install hook)")
    );
    assert!(place("run Job/announce after its objects are applied (post-install hook)") > 0);
    assert!(!plan.contains("create Job/"), "{plan}");
    world.ok("deploy --env dev --all --version v1");
    assert_eq!(printed(&cluster, "hooked", "migrate"), "migrate at v1");
    assert_eq!(cluster.names("hooked", "job"), ["migrate"], "the other one says that it goes when it succeeded");
    assert!(cluster.names("hooked", "configmap").contains(&"before".to_owned()));
    let first = cluster.get(&["job", "migrate", "-n", "hooked"])["metadata"]["uid"].clone();
    world.ok("deploy --env dev --all --version v1");
    assert_eq!(cluster.get(&["job", "migrate", "-n", "hooked"])["metadata"]["uid"], first, "nothing was deployed");
    world.ok("deploy --env dev --all --version v2");
    assert_eq!(printed(&cluster, "hooked", "migrate"), "migrate at v2");
    world.ok("rollback --env dev --app hooked");
    assert_eq!(printed(&cluster, "hooked", "migrate"), "migrate at v1", "before the way back");
    world.ok("down --env dev --app hooked");
    assert_eq!(cluster.names("hooked", "deployment"), Vec::<String>::new());
}

#[test]
fn kube_a_hook_that_fails_turns_the_deployment_back_before_anything_is_applied() {
    let Some(cluster) = shared() else { return };
    let Some(programs) = built("helm", kube::helm()) else { return };
    let world = charted(&cluster, "unhooked", programs);
    world.ok("deploy --env dev --all --version v1");
    world.write("p/values-dev.yaml", "replicas: 1\nmigrate: \"7\"\nannounce: \"0\"\n");
    let before = cluster.get(&["deployment", "web", "-n", "unhooked"])["metadata"]["generation"].clone();
    let why = world.run("deploy --env dev --all --version v2").code(1);
    assert!(why.last().contains("Job/migrate (rendered shop/templates/migrate.yaml:"), "{}", why.err);
    assert!(
        why.last().contains("a pre-upgrade hook, failed: ") && why.last().contains("it printed: migrate at v2"),
        "{}",
        why.err
    );
    assert_eq!(image(&cluster, "unhooked"), "deployctl.test/web:v1");
    assert_eq!(cluster.get(&["deployment", "web", "-n", "unhooked"])["metadata"]["generation"], before);
}

#[test]
fn kube_hooks_run_before_and_after_a_deletion() {
    let Some(cluster) = shared() else { return };
    let Some(programs) = built("helm", kube::helm()) else { return };
    let world = charted(&cluster, "leaving", programs);
    world.write("p/chart/templates/farewell.yaml", &job("farewell", "pre-delete", 0, ""));
    world.write("p/chart/templates/sweep.yaml", &job("sweep", "post-delete", 0, ""));
    let values = |farewell: u8| {
        format!("replicas: 1\nmigrate: \"0\"\nannounce: \"0\"\nfarewell: \"{farewell}\"\nsweep: \"0\"\n")
    };
    world.write("p/values-dev.yaml", &values(7));
    world.ok("deploy --env dev --all --version v1");
    let there = cluster.get(&["deployment", "web", "-n", "leaving"])["metadata"]["uid"].clone();
    let why = world.run("down --env dev --app leaving").code(1);
    let words = "a pre-delete hook, failed: ";
    assert!(why.last().contains(words) && why.last().contains("it printed: farewell at v1"), "{}", why.err);
    assert_eq!(cluster.get(&["deployment", "web", "-n", "leaving"])["metadata"]["uid"], there, "nothing was deleted");
    world.write("p/values-dev.yaml", &values(0));
    world.ok("deploy --env dev --all --version v2");
    assert_eq!(cluster.names("leaving", "job"), ["farewell", "migrate"], "neither ran for a deployment");
    world.ok("down --env dev --app leaving");
    assert_eq!(cluster.names("leaving", "deployment"), Vec::<String>::new());
    for hook in ["farewell", "sweep"] {
        assert_eq!(printed(&cluster, "leaving", hook), format!("{hook} at v2"));
    }
}
