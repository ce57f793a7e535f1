//! The server as objects of a cluster: its images, what a version consists of, and what of it a namespace has.

use super::containers::{REPOSITORY, VERSIONS, files};
use crate::kube::Cluster;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

/// Pods of the server in each version.
const PODS: usize = 2;
/// What every namespace has.
const OF_ALL: [&str; 2] = ["ConfigMap/kube-root-ca.crt", "ServiceAccount/default"];
/// How the names of a state in the cluster begin.
const STATE: &str = "deployctl-state-";
const KINDS: &str = "deployment,statefulset,service,configmap,secret,job,serviceaccount,pod";

/// What a version consists of, beside a Deployment, its Service, and settings that no other version has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    /// A Secret whose value is another one in each version.
    pub(crate) has_secret: bool,
    /// A second Deployment with an account of its own, which the versions `v2` and `bad` do not have.
    pub(crate) loses: bool,
    /// A state in the same namespace.
    pub(crate) keeps_state: bool,
    /// A StatefulSet instead of the Deployment.
    pub(crate) is_set: bool,
    /// Its namespace, which nobody made before.
    pub(crate) has_namespace: bool,
}

/// A cluster with all images of the server.
pub(crate) fn cluster(app: &Path, scratch: &Path) -> Result<Cluster, String> {
    let cluster = Cluster::start()?;
    for version in VERSIONS {
        let files = files(app, scratch, version, "exit")?;
        cluster.image(&image(version), &files, &["/app"])?;
    }
    Ok(cluster)
}

pub(crate) fn image(version: &str) -> String {
    format!("deployctl.test/{REPOSITORY}:{version}")
}

impl Shape {
    fn workload(self) -> &'static str {
        if self.is_set { "StatefulSet" } else { "Deployment" }
    }

    fn has_worker(self, version: &str) -> bool {
        self.loses && !["v2", "bad"].contains(&version)
    }

    /// The manifests of a version; `here` is the folder that its jobs write to, `namespace` where it is.
    pub(crate) fn manifests(self, version: &str, here: &str, namespace: &str) -> String {
        let mut env = format!("{{ name: DEPLOYCTL_VERSION, value: {version} }}");
        if self.has_secret {
            env += ", { name: PASSWORD, valueFrom: { secretKeyRef: { name: db, key: password } } }";
        }
        let mut text = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{ name: web }}\n\
             spec: {{ selector: {{ app: web }}, ports: [{{ port: 80, targetPort: 8080 }}] }}\n---\n\
             apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: of-{version} }}\ndata: {{ SETTING: of-{version} }}\n---\n{}",
            deployment("web", PODS, &env, version, here)
        );
        if self.is_set {
            text = as_set(&text);
        }
        if self.has_namespace {
            let _ = write!(text, "---\napiVersion: v1\nkind: Namespace\nmetadata: {{ name: {namespace} }}\n");
        }
        if self.has_secret {
            let _ = write!(
                text,
                "---\napiVersion: v1\nkind: Secret\nmetadata: {{ name: db }}\nstringData: {{ password: {version} }}\n"
            );
        }
        if self.has_worker(version) {
            let worker = deployment("worker", 1, &env, version, here)
                .replace("serviceAccountName: default", "serviceAccountName: worker");
            let _ =
                write!(text, "---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {{ name: worker }}\n---\n{worker}");
        }
        text
    }

    /// What has to be there while a version is current, or none; `kept` are the versions that one may go back to.
    fn wanted(self, current: Option<&str>, kept: &BTreeSet<String>) -> BTreeSet<String> {
        let Some(version) = current else { return BTreeSet::new() };
        let mut wanted =
            vec![format!("{}/web", self.workload()), "Service/web".into(), format!("ConfigMap/of-{version}")];
        if self.has_worker(version) {
            wanted.extend(["Deployment/worker".into(), "ServiceAccount/worker".into()]);
        }
        if self.has_secret {
            wanted.extend(kept.iter().map(|version| format!("Secret/db of {version}")));
        }
        wanted.into_iter().collect()
    }

    /// How many pods there have to be.
    fn pods(self, version: &str) -> usize {
        PODS + usize::from(self.has_worker(version))
    }
}

fn deployment(name: &str, pods: usize, env: &str, version: &str, here: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: {name} }}\nspec:\n  replicas: {pods}\n  \
         strategy: {{ rollingUpdate: {{ maxSurge: {pods}, maxUnavailable: 0 }} }}\n  \
         progressDeadlineSeconds: 30\n  selector: {{ matchLabels: {{ app: {name} }} }}\n  template:\n    \
         metadata: {{ labels: {{ app: {name} }} }}\n    spec:\n      serviceAccountName: default\n      \
         automountServiceAccountToken: false\n      terminationGracePeriodSeconds: 2\n      \
         volumes: [{{ name: here, hostPath: {{ path: {here:?} }} }}]\n      containers:\n        - name: web\n          \
         image: {}\n          command: [/app, --host, 0.0.0.0, --port, \"8080\", --patience, \"5000\"]\n          env: [{env}]\n          \
         envFrom: [{{ configMapRef: {{ name: of-{version} }} }}]\n          \
         volumeMounts: [{{ name: here, mountPath: /here }}]\n          \
         readinessProbe: {{ httpGet: {{ path: /healthz, port: 8080 }}, periodSeconds: 1 }}\n",
        image("none")
    )
}

/// The Deployment among manifests as a StatefulSet whose pods need not wait for each other, until one is replaced.
fn as_set(text: &str) -> String {
    let lines =
        text.lines().filter(|line| !["strategy:", "progressDeadline"].iter().any(|key| line.trim().starts_with(key)));
    let text = lines.fold(String::new(), |text, line| text + line + "\n");
    text.replace("kind: Deployment", "kind: StatefulSet")
        .replace("  replicas:", "  serviceName: web\n  podManagementPolicy: Parallel\n  replicas:")
}

/// All objects of a namespace.
pub(crate) fn all(cluster: &Cluster, namespace: &str) -> Result<Vec<Value>, String> {
    let mut all = cluster.get(&[KINDS, "-n", namespace])?;
    Ok(all["items"].as_array_mut().map(std::mem::take).unwrap_or_default())
}

/// Whether a namespace has what it is to have, and nothing else.
pub(crate) fn check(
    items: &[Value],
    shape: Shape,
    current: Option<&str>,
    kept: &BTreeSet<String>,
) -> Result<(), String> {
    let (pods, objects): (Vec<&Value>, Vec<&Value>) = items.iter().partition(|object| object["kind"] == "Pod");
    let mut found: BTreeSet<String> = objects.into_iter().map(called).collect();
    found.retain(|name| !OF_ALL.contains(&name.as_str()));
    let is_state = |name: &String| name.split_once('/').is_some_and(|(_, name)| name.starts_with(STATE));
    found.retain(|name| !(shape.keeps_state && is_state(name)));
    let records: Vec<String> = found.extract_if(.., |name| name.starts_with("ConfigMap/deployctl-api-")).collect();
    let wanted = shape.wanted(current, kept);
    if records.len() > 1 || (records.is_empty() && current.is_some()) || found != wanted {
        return Err(format!(
            "{current:?} is current: {wanted:?} and its record are to be there, and {found:?}, {records:?} are"
        ));
    }
    check_pods(&pods, current.map(|version| (version, shape.pods(version))))
}

/// The pods that do not end already are those of the version.
fn check_pods(pods: &[&Value], wanted: Option<(&str, usize)>) -> Result<(), String> {
    let lives = |pod: &&&Value| pod["metadata"]["deletionTimestamp"].is_null();
    let said: Vec<(&str, &str)> = pods
        .iter()
        .filter(lives)
        .map(|pod| {
            let image = &pod["spec"]["containers"][0]["image"];
            (pod["metadata"]["name"].as_str().unwrap_or_default(), image.as_str().unwrap_or_default())
        })
        .collect();
    let (version, count) = wanted.map_or(("none", 0), |wanted| wanted);
    match said.len() == count && said.iter().all(|(_, of)| *of == image(version)) {
        true => Ok(()),
        false => Err(format!("{count} pods of {version} are to be there, and {said:?} are")),
    }
}

/// What an object is called; a Secret by its value, since its name is made of a key that every state has for itself.
fn called(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let (kind, name) = (text(&object["kind"]), text(&object["metadata"]["name"]));
    let value = object["data"]["password"].as_str().and_then(|value| STANDARD.decode(value).ok());
    match value.filter(|_| kind == "Secret" && name.starts_with("db-")) {
        Some(value) => format!("Secret/db of {}", String::from_utf8_lossy(&value)),
        None => format!("{kind}/{name}"),
    }
}

/// Where the Service is.
pub(crate) fn address(all: &[Value]) -> Result<String, String> {
    let service = all.iter().find(|object| object["kind"] == "Service" && object["metadata"]["name"] == "web");
    let address = service.and_then(|service| service["spec"]["clusterIP"].as_str());
    address.map(|address| format!("{address}:80")).ok_or_else(|| "there is no Service".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(kind: &str, name: &str) -> Value {
        json!({ "kind": kind, "metadata": { "name": name } })
    }

    fn pod(version: &str) -> Value {
        json!({ "kind": "Pod", "metadata": { "name": "web-1" }, "spec": { "containers": [{ "image": image(version) }] } })
    }

    #[test]
    fn a_namespace_has_what_the_version_has_and_nothing_else() {
        let shape = Shape { has_secret: true, ..Shape::default() };
        let kept = BTreeSet::from(["v1".to_owned(), "v2".to_owned()]);
        let secret = |version: &str| {
            let value = STANDARD.encode(version);
            json!({ "kind": "Secret", "metadata": { "name": "db-0123456789" }, "data": { "password": value } })
        };
        let mut all = vec![
            object("ConfigMap", "kube-root-ca.crt"),
            object("ServiceAccount", "default"),
            object("ConfigMap", "deployctl-api-12345678"),
            object("ConfigMap", "of-v2"),
            object("Deployment", "web"),
            object("Service", "web"),
            secret("v1"),
            secret("v2"),
            pod("v2"),
            pod("v2"),
        ];
        let mut ends = pod("v1");
        ends["metadata"]["deletionTimestamp"] = json!("2026-11-22T06:00:00Z");
        all.push(ends);
        assert_eq!(check(&all, shape, Some("v2"), &kept), Ok(()));
        for more in [secret("bad"), object("Job", "job-1"), object("ConfigMap", "of-v1"), pod("v1")] {
            let all = [&all[..], &[more]].concat();
            let why = check(&all, shape, Some("v2"), &kept).unwrap_err();
            assert!(why.contains("are to be there, and "), "{why}");
        }
        for lacks in 2..all.len() - 1 {
            let mut all = all.clone();
            all.remove(lacks);
            assert!(check(&all, shape, Some("v2"), &kept).is_err(), "without {lacks}");
        }
        assert_eq!(check(&all[..3], shape, None, &BTreeSet::new()), Ok(()), "only the record stays");
        assert!(check(&all, shape, None, &BTreeSet::new()).is_err());
    }
}
