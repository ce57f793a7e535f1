//! What a deployment to a cluster takes, beside others that do the same.

mod many;
mod one;
mod reasons;
mod rivals;

use super::{Options, Section};
use crate::kube::{self, Cluster};
use crate::stage::Stage;

const ENV: &str = "bench";
/// The image of all pods, but for its tag.
const IMAGE: &str = "deployctl.test/bench";
const VERSIONS: [&str; 2] = ["v1", "v2"];

/// What can be asked for by itself.
pub(super) const PARTS: [&str; 3] = ["one", "reasons", "many"];

pub(super) fn measure(options: &Options, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Section>, String> {
    if let Some(lacking) = kube::lacking() {
        eprintln!("clusters are left out: {lacking} is not here");
        return Ok(Vec::new());
    }
    let cluster = Cluster::start()?;
    let pod = cluster.programs().pod();
    for version in VERSIONS {
        cluster.image(&format!("{IMAGE}:{version}"), &[(pod.clone(), "/pod")], &["/pod"])?;
    }
    let parts = [one::measure, reasons::measure, many::measure];
    let asked = PARTS.iter().zip(parts).filter(|(name, _)| wanted(name));
    asked.map(|(_, measure)| measure(options, &cluster)).collect()
}

/// An app in a namespace of its own, with these manifests.
fn stage(options: &Options, cluster: &Cluster, namespace: &str, manifests: &str) -> Result<Stage, String> {
    let mut stage = Stage::set(&options.binary, &options.example)?;
    stage.set_var("KUBECONFIG", cluster.kubeconfig().display().to_string());
    stage.write("deployctl.yaml", &specification(namespace))?;
    stage.write("kubernetes/all.yaml", manifests)?;
    cluster.kubectl(&["create", "namespace", namespace])?;
    Ok(stage)
}

fn specification(namespace: &str) -> String {
    format!(
        "project: bench\nenvironments: {{ {ENV}: {{}} }}\napps:\n  app:\n    target: kubernetes\n    context: deployctl\n    \
         namespace: {namespace}\n    manifests: kubernetes\n    images: {{ web: \"{IMAGE}:{{{{ version }}}}\" }}\n    \
         pin_tags: false\n    patience: 60s\n    deadline: 10m\n"
    )
}

/// How long a deployment took, in seconds.
fn deploy(stage: &Stage, version: &str) -> Result<f64, String> {
    let done = stage.must(&["deploy", "--env", ENV, "--app", "app", "--version", version])?;
    Ok(done.took.as_secs_f64())
}

/// A Deployment of so many pods that answer on port 8080, without its image's version.
fn deployment(name: &str, replicas: u32, version: &str) -> String {
    format!(
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: {name}, labels: {{ bench: deployment }} }}\nspec:\n  \
         replicas: {replicas}\n  selector: {{ matchLabels: {{ app: {name} }} }}\n  template:\n    metadata: {{ labels: {{ app: \
         {name} }} }}\n    spec:\n      terminationGracePeriodSeconds: 1\n      containers:\n        - name: web\n          \
         image: {IMAGE}:{version}\n          command: [/pod, serve, \"8080\"]\n          readinessProbe: {{ httpGet: {{ path: \
         /healthz, port: 8080 }}, periodSeconds: 1 }}\n"
    )
}
