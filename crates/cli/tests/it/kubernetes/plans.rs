//! Plans in files, and a cluster that moves on meanwhile.

use super::{cluster, image, settles, world};

#[test]
fn kube_a_saved_plan_is_refused_when_the_cluster_moved() {
    let Some(cluster) = cluster::shared() else { return };
    let world = world(&cluster, "saved-plan");
    world.ok("deploy --env dev --all --version v1");
    settles(&world, "saved-plan", "v1 healthy 2");
    let plan = |version: &str| world.ok(&format!("plan --env dev --all --version {version} --out plan")).out;
    let asked = |version: &str| world.run(&format!("deploy --env dev --all --version {version} --plan plan"));
    assert!(plan("v2").contains("change Deployment/web"));

    // Somebody sets what the release sets.
    cluster.kubectl(&["scale", "deployment", "web", "--replicas=3", "-n", "saved-plan"]);
    let why = asked("v2").code(4);
    assert!(
        why.err.contains("[plan-stale]: the plan is stale: saved-plan in dev cannot be deployed like this"),
        "{}",
        why.err
    );
    assert!(why.err.contains("Deployment/web") && why.err.contains("`spec.replicas` by `kubectl`"), "{}", why.err);
    assert_eq!(image(&cluster, "saved-plan"), "deployctl.test/web:v1");
    assert_eq!(world.history("saved-plan"), ["v1 succeeded"], "nothing was begun");

    // It is as it was, and what is none of the release's does not count.
    cluster.kubectl(&["scale", "deployment", "web", "--replicas=2", "-n", "saved-plan"]);
    cluster.kubectl(&["annotate", "deployment", "web", "note=ours", "-n", "saved-plan"]);
    settles(&world, "saved-plan", "v1 healthy 2");
    asked("v2").code(0);
    settles(&world, "saved-plan", "v2 healthy 2");

    // What is gone would be made, and the plan does not say so.
    let said = plan("v3");
    assert!(!said.contains("Service/web"), "{said}");
    cluster.kubectl(&["delete", "service", "web", "-n", "saved-plan"]);
    let why = asked("v3").code(4);
    let words = "[plan-stale]: the plan is stale: somebody changed what saved-plan in dev finds: of Service/web it would do \
                 otherwise now: create Service/web";
    assert!(why.err.contains(words), "{}", why.err);
    assert_eq!(cluster.names("saved-plan", "service"), Vec::<String>::new(), "nothing was changed");
    assert_eq!(world.history("saved-plan"), ["v2 succeeded", "v1 succeeded"]);
    world.ok("down --env dev --app saved-plan");
}
