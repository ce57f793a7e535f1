//! What cannot be is said before anything is changed.

use super::{SPEC, WEB, cluster, world};

#[test]
fn kube_what_the_cluster_would_refuse_is_refused_before_anything_changes() {
    let Some(cluster) = cluster::shared() else { return };
    let world = world(&cluster, "bad");
    let write = |text: &str| world.write("p/kubernetes/dev/web.yaml", text);
    let deploy = "deploy --env dev --all --version v1";
    write(&WEB.replace("replicas: 2", "replicsa: 2"));
    let why = world.run(deploy).code(2);
    assert!(why.err.contains("Deployment/web (kubernetes/dev/web.yaml:10)"), "{}", why.err);
    assert!(why.err.contains("spec.replicsa"), "{}", why.err);
    write(&WEB.replace("kind: Deployment", "kind: Deploymint"));
    let why = world.run(deploy).code(2);
    assert!(why.err.contains("`test` knows no kind Deploymint in apps/v1"), "{}", why.err);
    write(&WEB.replace("name: web }\nspec:\n  replicas", "name: Web }\nspec:\n  replicas"));
    let why = world.run(deploy).code(2);
    assert!(why.err.contains("Deployment/Web") && why.err.contains("Invalid value"), "{}", why.err);
    assert_eq!(cluster.names("bad", "service"), Vec::<String>::new());
    assert_eq!(world.history("bad"), Vec::<String>::new());
}

#[test]
fn kube_wrong_places_are_told() {
    let Some(cluster) = cluster::shared() else { return };
    let mut world = world(&cluster, "places");
    let deploy = "deploy --env dev --all --version v1";
    let spec = SPEC.replace("NAME", "places");
    world.spec(&spec.replace("context: test", "context: tset"));
    let why = world.run(deploy).code(2);
    assert!(why.err.contains("there is no context `tset` in the kubeconfig; it has test"), "{}", why.err);
    world.spec(&spec.replace("namespace: places", "namespace: nowhere"));
    let why = world.run(deploy).code(2);
    assert!(why.err.contains("there is no namespace `nowhere` in `test`"), "{}", why.err);
    world.spec(&spec.replace("    context: test\n", ""));
    let why = world.run(deploy).code(2);
    assert!(why.err.contains("the app names no `context`, and deployctl does not run in a cluster"), "{}", why.err);
    world.spec(&spec);
    world.var("KUBECONFIG", world.path("kubeconfig"));
    world.ok("validate");
    assert_eq!(world.history("places"), Vec::<String>::new());
}

#[test]
fn kube_objects_of_others_are_not_touched() {
    let Some(cluster) = cluster::shared() else { return };
    let world = world(&cluster, "theirs");
    cluster.kubectl(&["create", "service", "clusterip", "web", "--tcp=80:80", "-n", "theirs"]);
    let why = world.run("deploy --env dev --all --version v1").code(4);
    assert!(why.err.contains("Service/web (kubernetes/dev/web.yaml:3) is in `theirs` already"), "{}", why.err);
    assert!(why.err.contains("kubectl-create"), "{}", why.err);
    assert_eq!(cluster.names("theirs", "deployment"), Vec::<String>::new());
}

#[test]
fn kube_fields_that_another_manager_holds_are_told_with_its_name() {
    let Some(cluster) = cluster::shared() else { return };
    let world = world(&cluster, "conflict");
    world.ok("deploy --env dev --all --version v1");
    let patch = r#"{"spec":{"replicas":3}}"#;
    let by = ["patch", "deployment", "web", "-n", "conflict", "--field-manager=operator", "-p", patch];
    cluster.kubectl(&by);
    let why = world.run("deploy --env dev --all --version v2").code(4);
    assert!(
        why.err.contains("others hold fields that this release sets: `spec.replicas` by `operator`"),
        "{}",
        why.err
    );
    assert_eq!(super::image(&cluster, "conflict"), "deployctl.test/web:v1");
    world.ok("down --env dev --app conflict");
}

#[test]
fn kube_who_may_not_is_told_what() {
    let Some(cluster) = cluster::shared() else { return };
    let mut world = world(&cluster, "denied");
    cluster.kubectl(&["create", "serviceaccount", "guest", "-n", "denied"]);
    let token = cluster.kubectl(&["create", "token", "guest", "-n", "denied"]);
    let mut config: serde_json::Value = serde_json::from_str(&cluster.kubeconfig()).expect("a kubeconfig");
    for user in config["users"].as_array_mut().expect("users") {
        user["user"] = serde_json::json!({ "token": token.trim() });
    }
    world.write("kubeconfig", &config.to_string());
    world.var("KUBECONFIG", world.path("kubeconfig"));
    let why = world.run("deploy --env dev --all --version v1").code(3);
    let all = "`test` does not allow in `denied`: create, get, update configmaps; create, get, list, patch deployments; \
               create, get, list, patch services";
    assert!(why.err.contains(all), "{}", why.err);
    // And with a token that is none.
    config["users"][0]["user"]["token"] = "expired".into();
    let mut other = super::world(&cluster, "expired");
    other.write("kubeconfig", &config.to_string());
    other.var("KUBECONFIG", other.path("kubeconfig"));
    let why = other.run("deploy --env dev --all --version v1").code(5);
    assert!(why.err.contains("`test` does not know these credentials (any more)"), "{}", why.err);
}
