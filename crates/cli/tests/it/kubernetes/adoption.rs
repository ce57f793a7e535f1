//! What somebody deployed with their own tool: taken over, upgraded, turned back, handed back, and upgraded by that tool again.

use super::rendered::{HELM, OVERLAY, built, path, write_chart, write_overlay};
use super::{SPEC, WEB, cluster::Cluster, cluster::shared, image, settles, world};
use crate::it::world::{World, text};
use deployctl_live::kube;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

const SET: &str = "applyset.kubernetes.io/part-of";

fn deployment(cluster: &Cluster, namespace: &str) -> Value {
    cluster.get(&["deployment", "web", "-n", namespace, "--show-managed-fields"])
}

/// Who has fields of an object, the cluster's own controllers aside.
fn managers(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().expect("managed fields").iter();
    let whole = entries.filter(|entry| entry["subresource"].is_null());
    let mut names: Vec<String> = whole.map(|entry| text(&entry["manager"])).collect();
    names.retain(|name| name != "kube-controller-manager");
    names.sort();
    names.dedup();
    names
}

/// Nothing of deployctl's is on it any more.
#[track_caller]
fn is_theirs(object: &Value) {
    assert_eq!(object["metadata"]["labels"][SET], Value::Null, "{object:#}");
    assert!(!managers(object).contains(&"deployctl".to_owned()), "{:?}", managers(object));
}

/// Nor is anything in the namespace.
#[track_caller]
fn is_given_up(cluster: &Cluster, namespace: &str, object: &Value) {
    is_theirs(object);
    let maps = cluster.names(namespace, "configmap");
    assert!(!maps.iter().any(|name| name.starts_with("deployctl-")), "{maps:?}");
}

/// Keeps what a real tool left on an object, for the tests that need no cluster.
fn record(name: &str, object: &Value) {
    if std::env::var_os("BLESS").is_some() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kubernetes/tests/ownership");
        std::fs::create_dir_all(&folder).expect("a folder");
        let mut kept = object.clone();
        kept.as_object_mut().expect("an object").remove("status");
        std::fs::write(folder.join(format!("{name}.json")), format!("{kept:#}\n")).expect("a file");
    }
}

/// Adopts from now on.
fn adopting(world: &World, spec: &str, name: &str) {
    world.spec(&spec.replace("NAME", name).replace("    patience", "    adopt: true\n    patience"));
}

fn overlay_of(version: &str) -> String {
    format!(
        "resources: [../../base]\nconfigMapGenerator: [{{ name: conf, literals: [mode=plain] }}]\n\
         images: [{{ name: deployctl.test/web, newTag: {version} }}]\n"
    )
}

#[test]
fn kube_an_overlay_that_kubectl_applied_is_adopted_upgraded_turned_back_and_handed_back() {
    let Some(cluster) = shared() else { return };
    let Some(kustomize) = built("kustomize", kube::kustomize()) else { return };
    let name = "tookover";
    let mut world = world(&cluster, name);
    world.spec(&OVERLAY.replace("NAME", name));
    world.var("PATH", path(&[kustomize]));
    write_overlay(&world);
    let overlay = world.path("p/kubernetes/overlays/dev");
    let apply = || cluster.kubectl(&["apply", "-n", name, "-k", &overlay.to_string_lossy()]);
    world.write("p/kubernetes/overlays/dev/kustomization.yaml", &overlay_of("v1"));
    world.write("p/kubernetes/base/web.yaml", &WEB.replace("replicas: 2", "replicas: 2\n  minReadySeconds: 1"));
    apply();
    let before = deployment(&cluster, name);
    record("kubectl", &before);
    // Not without being asked.
    let why = world.run("deploy --env dev --all --version v1").code(4);
    assert!(why.err.contains("somebody else made it, with kubectl-client-side-apply"), "{}", why.err);
    assert!(why.last().contains("say `adopt: true`"), "{}", why.err);
    adopting(&world, OVERLAY, name);
    world.write("p/kubernetes/base/web.yaml", WEB);
    let plan = world.ok("plan --env dev --all --version v1").out;
    assert!(
        plan.contains("take over Deployment/web from kubectl") && plan.contains("take over Service/web from kubectl"),
        "{plan}"
    );
    assert!(plan.contains("take over Deployment/web from kubectl: spec.minReadySeconds: 1 -> nothing\n"), "{plan}");
    let planned = deployment(&cluster, name);
    assert_eq!((&planned["spec"], managers(&planned)), (&before["spec"], managers(&before)), "a plan changes nothing");

    // A first release that is bad leaves what was there as it was.
    world.run("deploy --env dev --all --version v404").code(1);
    let again = deployment(&cluster, name);
    assert_eq!(image(&cluster, name), "deployctl.test/web:v1");
    assert_eq!((&again["metadata"]["uid"], &again["spec"]), (&before["metadata"]["uid"], &before["spec"]));
    assert_eq!(managers(&again), managers(&before));
    is_theirs(&again);
    let maps = cluster.names(name, "configmap");
    assert!(!maps.iter().any(|name| name.contains("-before-")), "nothing is left to be put back: {maps:?}");

    world.ok("deploy --env dev --all --version v1");
    let taken = deployment(&cluster, name);
    assert_eq!(taken["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!((&taken["spec"]["minReadySeconds"], managers(&taken)), (&Value::Null, vec!["deployctl".to_owned()]));
    settles(&world, name, "v1 healthy 2");
    world.ok("deploy --env dev --all --version v2");
    world.run("deploy --env dev --all --version v404").code(1);
    assert_eq!(image(&cluster, name), "deployctl.test/web:v2");

    world.ok(&format!("down --env dev --app {name} --hand-back"));
    let back = deployment(&cluster, name);
    is_given_up(&cluster, name, &back);
    assert_eq!(
        (&back["metadata"]["uid"], image(&cluster, name).as_str()),
        (&before["metadata"]["uid"], "deployctl.test/web:v2")
    );
    assert_eq!(managers(&back), ["kubectl-client-side-apply"]);
    // And kubectl goes on, down to what disappears from its files.
    world.write("p/kubernetes/overlays/dev/kustomization.yaml", &overlay_of("v3"));
    world.write("p/kubernetes/base/web.yaml", &WEB.replace("  progressDeadlineSeconds: 15\n", ""));
    let said = apply();
    assert!(said.contains("deployment.apps/web configured") && !said.contains("Warning"), "{said}");
    let theirs = deployment(&cluster, name);
    assert_eq!(image(&cluster, name), "deployctl.test/web:v3");
    assert_eq!(
        theirs["spec"]["progressDeadlineSeconds"], 600,
        "what the file does not say any more is the default again"
    );
    assert_eq!(world.status("dev", name)["health"], "down");
}

#[test]
fn kube_what_was_applied_on_the_servers_side_is_adopted_and_others_are_named() {
    let Some(cluster) = shared() else { return };
    let name = "serverside";
    let world = world(&cluster, name);
    adopting(&world, SPEC, name);
    let theirs = world.path("theirs.yaml");
    world.write(
        "theirs.yaml",
        &WEB.replace("web:none", "web:v1").replace("replicas: 2", "replicas: 2\n  minReadySeconds: 1"),
    );
    cluster.kubectl(&["apply", "--server-side", "-n", name, "-f", &theirs.to_string_lossy()]);
    record("server-side", &deployment(&cluster, name));
    let scaled = r#"{"spec":{"replicas":3}}"#;
    cluster.kubectl(&["patch", "deployment", "web", "-n", name, "--field-manager=operator", "-p", scaled]);
    let why = world.run("deploy --env dev --all --version v1").code(4);
    assert!(
        why.err.contains("others hold fields that this release sets: `spec.replicas` by `operator`"),
        "{}",
        why.err
    );
    world.write("p/kubernetes/dev/web.yaml", &WEB.replace("  replicas: 2\n", ""));
    world.ok("deploy --env dev --all --version v2");
    let taken = deployment(&cluster, name);
    assert_eq!(managers(&taken), ["deployctl", "operator"]);
    assert_eq!((&taken["spec"]["replicas"], &taken["spec"]["minReadySeconds"]), (&3.into(), &Value::Null));
    world.ok(&format!("down --env dev --app {name} --hand-back"));
    let back = deployment(&cluster, name);
    is_given_up(&cluster, name, &back);
    assert_eq!(managers(&back), ["kubectl", "operator"]);
    world.write("theirs.yaml", &WEB.replace("web:none", "web:v3").replace("  replicas: 2\n", ""));
    cluster.kubectl(&["apply", "--server-side", "-n", name, "-f", &theirs.to_string_lossy()]);
    assert_eq!(image(&cluster, name), "deployctl.test/web:v3");
}

#[test]
fn kube_a_chart_that_helm_installed_is_adopted_upgraded_turned_back_and_handed_back() {
    let Some(cluster) = shared() else { return };
    let Some(programs) = built("helm", kube::helm()) else { return };
    // As Helm 4 does it, and as Helm 3 did.
    for (name, how) in [("helmnew", "--server-side=true"), ("helmold", "--server-side=false")] {
        a_chart_goes_there_and_back(&cluster, &programs, name, how);
    }
}

fn a_chart_goes_there_and_back(cluster: &Cluster, programs: &Path, name: &str, how: &str) {
    let mut world = world(cluster, name);
    world.var("PATH", path(&[PathBuf::from(programs)]));
    write_chart(&world);
    adopting(&world, HELM, name);
    let helm = |args: &[&str]| {
        let mut helm = Command::new(programs.join("helm"));
        helm.args(args).args(["--kube-context", "test", "-n", name]).current_dir(world.project());
        helm.env("KUBECONFIG", world.path("kubeconfig")).env("HOME", world.path("home"));
        let done = helm.output().expect("helm");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    helm(&["install", "shop", "chart", "-f", "values-dev.yaml", "--set", "tag=v1", "--set", "motd=hello", how]);
    let before = deployment(cluster, name);
    record(if how.ends_with("true") { "helm" } else { "helm-client-side" }, &before);
    let plan = world.ok("plan --env dev --all --version v1").out;
    assert!(plan.contains("take over Deployment/web from Helm"), "{plan}");
    assert!(
        plan.contains("take over ConfigMap/shop-config from Helm") && plan.contains("data.motd: (a value) -> nothing"),
        "{plan}"
    );
    assert!(plan.contains("take over Helm's release shop (revision 1): Helm's record of it stays"), "{plan}");
    world.ok("deploy --env dev --all --version v1");
    let config = cluster.get(&["configmap", "shop-config", "-n", name]);
    assert_eq!((&config["data"]["motd"], &config["data"]["mode"]), (&Value::Null, &"plain".into()));
    let taken = deployment(cluster, name);
    assert_eq!(
        (&taken["metadata"]["uid"], &taken["spec"]),
        (&before["metadata"]["uid"], &before["spec"]),
        "nothing restarts"
    );
    assert_eq!(taken["metadata"]["annotations"]["meta.helm.sh/release-name"], "shop");
    settles(&world, name, "v1 healthy 2");
    world.ok("deploy --env dev --all --version v2");
    world.run("deploy --env dev --all --version v404").code(1);
    assert_eq!(image(cluster, name), "deployctl.test/web:v2");

    world.ok(&format!("down --env dev --app {name} --hand-back"));
    let back = deployment(cluster, name);
    is_given_up(cluster, name, &back);
    assert_eq!(managers(&back), ["helm"]);
    assert_eq!(back["metadata"]["labels"]["app.kubernetes.io/managed-by"], "Helm");
    // What came while deployctl had it is Helm's as well.
    helm(&["upgrade", "shop", "chart", "-f", "values-dev.yaml", "--set", "tag=v3", "--set", "replicas=1", how]);
    let theirs = deployment(cluster, name);
    assert_eq!((image(cluster, name).as_str(), &theirs["spec"]["replicas"]), ("deployctl.test/web:v3", &1.into()));
    assert_eq!(theirs["metadata"]["uid"], before["metadata"]["uid"]);
}
