//! What somebody changed is reported, and taken back when that is asked for.

use super::cluster::shared;
use super::{SPEC, WEB, image, settles, world};
use crate::it::world::text;

/// Fields of the release that others change afterwards: replicas, a variable, a label.
fn manifests() -> String {
    WEB.replace(
        "env: [{ name: UNREADY, value: \"\" }]",
        "env: [{ name: UNREADY, value: \"\" }, { name: MODE, value: a }]",
    )
    .replace(
        "metadata: { name: web }\nspec:\n  selector",
        "metadata: { name: web, labels: { tier: front } }\nspec:\n  selector",
    )
}

#[test]
fn kube_drift_is_corrected_when_told_and_not_otherwise() {
    let Some(cluster) = shared() else { return };
    let world = world(&cluster, "corrects");
    world.write("p/kubernetes/dev/web.yaml", &manifests());
    world.ok("deploy --env dev --all --version v1");
    settles(&world, "corrects", "v1 healthy 2");
    let kubectl = |args: &str| {
        let args: Vec<&str> = args.split(' ').chain(["-n", "corrects"]).collect();
        cluster.kubectl(&args);
    };
    // A label that is gone is nobody's, so nothing is in the way of another deployment; neither is it one.
    kubectl("label service web tier-");
    let left = world.ok("deploy --env dev --all --version v1").err;
    let note = "1 thing of corrects was changed by hand: `deployctl status --drift` lists it, and `--correct-drift` takes it back";
    assert!(left.contains("nothing was changed; ") && left.contains(note), "{left}");
    let plan = world.ok("plan --env dev --all --version v1");
    assert!(plan.out.is_empty() && plan.err.contains(note), "{plan:?}");

    // Others scale, set a variable, and have fields of which the release says nothing.
    kubectl("scale deployment web --replicas=3");
    kubectl("set env deployment/web MODE=b MORE=theirs");
    kubectl("label deployment web team=ours");
    kubectl("annotate service web note=theirs");
    settles(&world, "corrects", "v1 healthy 3");
    let why = world.run("deploy --env dev --all --version v1").code(4);
    assert!(why.err.contains("`spec.replicas` by `kubectl` (scale)"), "{}", why.err);
    assert!(why.err.contains("`--correct-drift` takes them back"), "{}", why.err);

    // The plan lists each field and whose change it was, and changes nothing.
    let plan = world.ok("plan --env dev --all --version v1 --correct-drift").out;
    for line in [
        "  correct Service/web: metadata.labels.tier: nothing -> front, over the change by somebody\n",
        "  correct Deployment/web: spec.replicas: 3 -> 2, over the change by kubectl (scale)",
        "  correct Deployment/web: spec.template.spec.containers[web].env[MODE].value: (a value) -> (a value), over the change by kubectl-set at ",
    ] {
        assert!(plan.contains(line), "{line}: {plan}");
    }
    assert!(!plan.contains("  change "), "{plan}");
    assert!(!plan.contains("theirs") && !plan.contains("MORE") && !plan.contains("team"), "{plan}");
    assert_eq!(cluster.get(&["deployment", "web", "-n", "corrects"])["spec"]["replicas"], 3);

    let ran = world.ok("deploy --env dev --all --version v1 --correct-drift --reason tidy");
    assert!(ran.err.contains("corrects: v1 -> v1, what others changed is taken back"), "{}", ran.err);
    settles(&world, "corrects", "v1 healthy 2");
    assert_eq!(world.ok("status --env dev --app corrects --drift").out.trim(), "dev corrects: as v1 was deployed");
    let deployment = cluster.get(&["deployment", "web", "-n", "corrects"]);
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let env = |name: &str| {
        let all = container["env"].as_array().expect("variables").iter();
        all.filter(|one| one["name"] == name).map(|one| text(&one["value"])).collect::<Vec<_>>()
    };
    assert_eq!((env("MODE"), env("MORE")), (vec!["a".to_owned()], vec!["theirs".to_owned()]), "{container}");
    assert_eq!(deployment["metadata"]["labels"]["team"], "ours");
    let service = cluster.get(&["service", "web", "-n", "corrects"]);
    assert_eq!(
        (&service["metadata"]["labels"]["tier"], &service["metadata"]["annotations"]["note"]),
        (&"front".into(), &"theirs".into())
    );

    // It is a deployment as any other: in the history, with who asked for it.
    assert_eq!(world.history("corrects"), ["v1 succeeded", "v1 succeeded"]);
    let shown = world.ok(&format!("show {}", world.newest())).out;
    assert!(shown.contains(" by tester@") && shown.contains("reason: tidy"), "{shown}");
    assert!(
        shown.contains("    correct Deployment/web: spec.replicas: 3 -> 2, over the change by kubectl (scale)"),
        "{shown}"
    );
    let again = world.ok("deploy --env dev --all --version v1 --correct-drift").err;
    assert!(
        again.contains("current and healthy already; nothing was changed") && !again.contains("by hand"),
        "{again}"
    );
    world.ok("down --env dev --app corrects");
}

#[test]
fn kube_another_version_takes_back_what_it_says_if_it_is_told_to() {
    let Some(cluster) = shared() else { return };
    let world = world(&cluster, "retakes");
    world.write("p/kubernetes/dev/web.yaml", &manifests());
    world.ok("deploy --env dev --all --version v1");
    settles(&world, "retakes", "v1 healthy 2");
    let kubectl = |args: &str| {
        let args: Vec<&str> = args.split(' ').chain(["-n", "retakes"]).collect();
        cluster.kubectl(&args);
    };
    kubectl("scale deployment web --replicas=3");
    settles(&world, "retakes", "v1 healthy 3");
    world.run("deploy --env dev --all --version v2").code(4);
    let plan = world.ok("plan --env dev --all --version v2 --correct-drift --out kept").out;
    assert!(
        plan.contains("correct Deployment/web: spec.replicas: 3 -> 2, over the change by kubectl (scale)"),
        "{plan}"
    );
    assert!(plan.contains("change Deployment/web: spec.template.spec.containers[web].image: "), "{plan}");
    world.ok("deploy --env dev --all --version v2 --plan kept");
    settles(&world, "retakes", "v2 healthy 2");
    assert_eq!(image(&cluster, "retakes"), "deployctl.test/web:v2");
    // What cannot come up is turned back, and that takes back what others changed as well.
    kubectl("scale deployment web --replicas=3");
    settles(&world, "retakes", "v2 healthy 3");
    let why = world.run("deploy --env dev --all --version v404 --correct-drift").code(1);
    assert!(why.last().ends_with("; what ran before runs again"), "{}", why.err);
    settles(&world, "retakes", "v2 healthy 2");
    world.ok("down --env dev --app retakes");
}

#[test]
fn kube_drift_is_corrected_also_where_releases_are_beside_each_other() {
    let Some(cluster) = shared() else { return };
    let world = world(&cluster, "besides");
    world.write("p/kubernetes/dev/web.yaml", &manifests());
    world.ok("deploy --env dev --all --version v1");
    settles(&world, "besides", "v1 healthy 2");
    let current = || {
        let all = cluster.get(&["deployment", "-n", "besides"])["items"].as_array().expect("items").clone();
        let mode = |one: &serde_json::Value| {
            let env = one["spec"]["template"]["spec"]["containers"][0]["env"].as_array().expect("variables").clone();
            env.iter().find(|one| one["name"] == "MODE").map(|one| text(&one["value"]))
        };
        let told =
            |one: &serde_json::Value| (text(&one["metadata"]["name"]), mode(one), one["spec"]["replicas"].clone());
        all.iter().map(told).collect::<Vec<_>>()
    };
    let as_said = vec![("web".to_owned(), Some("a".to_owned()), serde_json::json!(2))];
    for (strategy, version) in [
        ("blue-green", "v1"),
        ("{ canary: { steps: [50%], hold: 1s } }", "v1"),
        ("blue-green", "v2"),
        ("{ canary: { steps: [50%], hold: 1s } }", "v3"),
    ] {
        world.spec(&format!("{}    strategy: {strategy}\n", SPEC.replace("NAME", "besides")));
        let was = image(&cluster, "besides").trim_start_matches("deployctl.test/web:").to_owned();
        cluster.kubectl(&["scale", "deployment", "web", "--replicas=3", "-n", "besides"]);
        cluster.kubectl(&["set", "env", "deployment/web", "MODE=b", "-n", "besides"]);
        settles(&world, "besides", &format!("{was} healthy 3"));
        let plan = world.ok(&format!("plan --env dev --all --version {version} --correct-drift")).out;
        assert!(plan.contains("correct Deployment/web: spec.replicas: 3 -> 2, over the change by kubectl"), "{plan}");
        world.ok(&format!("deploy --env dev --all --version {version} --correct-drift"));
        settles(&world, "besides", &format!("{version} healthy 2"));
        assert_eq!(current(), as_said, "{strategy} {version}");
        let drift = world.ok("status --env dev --app besides --drift").out;
        assert_eq!(drift.trim(), format!("dev besides: as {version} was deployed"));
    }
    world.ok("down --env dev --app besides");
}
