//! Pods made anew without another release.

use super::{WEB, cluster, settles, world};
use std::collections::BTreeSet;

#[test]
fn kube_restart_makes_pods_anew() {
    let Some(cluster) = cluster::shared() else { return };
    let world = world(&cluster, "again");
    let pods = || -> BTreeSet<String> { cluster.names("again", "pod").into_iter().collect() };
    world.ok("deploy --env dev --all --version v1");
    settles(&world, "again", "v1 healthy 2");
    let first = pods();
    world.ok("restart --env dev --app again");
    settles(&world, "again", "v1 healthy 2");
    let second = pods();
    assert!(first.is_disjoint(&second) && second.len() == 2, "{first:?} {second:?}");
    assert_eq!(world.history("again"), ["v1 succeeded", "v1 succeeded"]);

    // Once: neither the same release, nor another one of the same pods, nor the way back makes them anew.
    let same = world.ok("deploy --env dev --all --version v1").err;
    assert!(same.contains("current and healthy already"), "{same}");
    world.write("p/kubernetes/dev/web.yaml", &format!("# A word more.\n{WEB}"));
    let plan = world.ok("plan --env dev --all --version v1").out;
    assert!(!plan.contains("change ") && !plan.contains("create "), "{plan}");
    world.ok("deploy --env dev --all --version v1");
    settles(&world, "again", "v1 healthy 2");
    assert_eq!(pods(), second);
    world.ok("rollback --env dev --app again");
    settles(&world, "again", "v1 healthy 2");
    assert_eq!(pods(), second);
    assert_eq!(world.run("status --env dev --app again --drift").code(0).out.trim(), "dev again: as v1 was deployed");
    world.ok("down --env dev --app again");

    // Where there is nothing to make anew, it is said.
    world.write("p/kubernetes/dev/web.yaml", super::CONFIG);
    world.write(
        "p/deployctl.yaml",
        &super::SPEC
            .replace("NAME", "again")
            .replace("    images: { web: \"deployctl.test/web:{{ version }}\" }\n", ""),
    );
    world.ok("deploy --env dev --all --version v1");
    let why = world.run("restart --env dev --app again").code(2);
    assert!(why.err.contains("it has no Deployment, StatefulSet or DaemonSet"), "{}", why.err);
    world.ok("down --env dev --app again");
}
