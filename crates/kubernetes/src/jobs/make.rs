//! A Job that runs a command as a container of a workload would.

use super::is_workload;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// On everything that belongs to a job: the job.
pub const OF: &str = "deployctl.io/job";
/// Whoever is told to end gets this long.
const GRACE_SECONDS: u64 = 5;
/// What of a container only makes sense where it serves.
const SERVING: &[&str] = &["ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "args", "command"];

/// What is to be made.
#[derive(Clone, Debug)]
pub struct Make<'a> {
    /// What the Job is called.
    pub name: &'a str,
    /// The set that it belongs to, and which it is no part of.
    pub set: &'a str,
    /// The workload that it is like.
    pub workload: &'a str,
    /// The container of it.
    pub container: &'a str,
    /// Program and arguments.
    pub command: &'a [String],
    /// How long it may take.
    pub seconds: u64,
}

/// A Job, and what goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The Job, suspended.
    pub job: Value,
    /// The ConfigMaps of the release that it reads, as copies of its own: those of the release before are still in use.
    pub config: Vec<Value>,
    /// Names of objects that must be there: Secrets, accounts, claims.
    pub needs: BTreeSet<(&'static str, String)>,
}

/// The Job; none if there is no such workload, or no such container in it.
pub fn made(objects: &[Value], make: &Make<'_>) -> Option<Made> {
    let workload = objects.iter().find(|object| is_workload(object) && object["metadata"]["name"] == make.workload)?;
    let mut spec = workload["spec"]["template"]["spec"].clone();
    only(&mut spec, make)?;
    let mut config = Vec::new();
    let maps = objects.iter().filter(|object| object["kind"] == "ConfigMap" && object["apiVersion"] == "v1");
    for map in maps {
        let name = map["metadata"]["name"].as_str().unwrap_or_default();
        let own = format!("{}-{}", make.name, config.len());
        if renamed(&mut spec, name, &own) {
            let mut copy = map.clone();
            copy["metadata"] = json!({ "name": own, "labels": labels(make) });
            config.push(copy);
        }
    }
    spec["restartPolicy"] = Value::from("Never");
    spec["terminationGracePeriodSeconds"] = Value::from(GRACE_SECONDS);
    // By the node's clock, and the pod stays to be read.
    spec["activeDeadlineSeconds"] = Value::from(make.seconds.max(1));
    let needs = needs(&spec);
    let template = json!({ "metadata": { "labels": labels(make) }, "spec": spec });
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": { "name": make.name, "labels": labels(make) },
        "spec": { "backoffLimit": 0, "completions": 1, "parallelism": 1, "suspend": true, "template": template },
    });
    Some(Made { job, config, needs })
}

/// None of the workload's own: no Service must take the pod for one of its own.
fn labels(make: &Make<'_>) -> Value {
    json!({ "app.kubernetes.io/managed-by": "deployctl", OF: make.name, "deployctl.io/jobs-of": make.set })
}

/// The pod has this container alone, with what runs beside it from its start to its end.
fn only(spec: &mut Value, make: &Make<'_>) -> Option<()> {
    let containers = spec["containers"].as_array()?;
    let mut container = containers.iter().find(|container| container["name"] == make.container)?.clone();
    let fields = container.as_object_mut()?;
    SERVING.iter().for_each(|key| drop(fields.remove(*key)));
    fields.insert("command".into(), json!(make.command));
    let mut env = fields.remove("env").and_then(|env| env.as_array().cloned()).unwrap_or_default();
    env.retain(|entry| entry["name"] != "DEPLOYCTL_JOB_ID");
    env.push(json!({ "name": "DEPLOYCTL_JOB_ID", "value": make.name }));
    fields.insert("env".into(), Value::Array(env));
    let beside = spec["initContainers"].as_array().into_iter().flatten();
    let mut beside: Vec<Value> = beside.filter(|container| container["restartPolicy"] == "Always").cloned().collect();
    // Claims that a set makes for each of its pods are not there.
    let volumes = spec["volumes"].as_array().into_iter().flatten();
    let volumes: Vec<Value> = volumes.map(|volume| volume["name"].clone()).collect();
    for container in beside.iter_mut().chain([&mut container]) {
        if let Some(mounts) = container.get_mut("volumeMounts").and_then(Value::as_array_mut) {
            mounts.retain(|mount| volumes.contains(&mount["name"]));
        }
    }
    let fields = spec.as_object_mut()?;
    fields.insert("containers".into(), json!([container]));
    if beside.is_empty() {
        fields.remove("initContainers");
    } else {
        fields.insert("initContainers".into(), Value::Array(beside));
    }
    Some(())
}

/// Puts another name wherever a ConfigMap is meant; whether it was.
pub(crate) fn renamed(value: &mut Value, name: &str, own: &str) -> bool {
    let mut met = false;
    match value {
        Value::Object(fields) => {
            for key in ["configMap", "configMapRef", "configMapKeyRef"] {
                if let Some(to) = fields.get_mut(key).filter(|to| to["name"] == name) {
                    to["name"] = Value::from(own);
                    met = true;
                }
            }
            fields.values_mut().for_each(|value| met |= renamed(value, name, own));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| met |= renamed(item, name, own)),
        _ => {}
    }
    met
}

/// What a pod needs of other kinds, by name.
fn needs(spec: &Value) -> BTreeSet<(&'static str, String)> {
    let mut found = BTreeSet::new();
    for account in [&spec["serviceAccountName"], &spec["serviceAccount"]] {
        found.extend(account.as_str().map(|name| ("ServiceAccount", name.to_owned())));
    }
    below(spec, &mut found);
    found
}

fn below(value: &Value, found: &mut BTreeSet<(&'static str, String)>) {
    let name = |of: &Map<String, Value>, key: &str, name: &str| of.get(key)?[name].as_str().map(str::to_owned);
    match value {
        Value::Object(fields) => {
            found
                .extend(name(fields, "persistentVolumeClaim", "claimName").map(|name| ("PersistentVolumeClaim", name)));
            for (key, inner) in
                [("secret", "secretName"), ("secret", "name"), ("secretRef", "name"), ("secretKeyRef", "name")]
            {
                found.extend(name(fields, key, inner).map(|name| ("Secret", name)));
            }
            let pulls = fields.get("imagePullSecrets").and_then(Value::as_array).into_iter().flatten();
            found.extend(pulls.filter_map(|pull| Some(("Secret", pull["name"].as_str()?.to_owned()))));
            fields.values().for_each(|value| below(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| below(item, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects() -> Vec<Value> {
        let pod = json!({
            "serviceAccountName": "runner", "imagePullSecrets": [{ "name": "pull-1" }], "terminationGracePeriodSeconds": 300,
            "initContainers": [{ "name": "wait" }, { "name": "tunnel", "restartPolicy": "Always" }],
            "containers": [
                {
                    "name": "web", "image": "shop@sha256:ab", "args": ["serve"], "ports": [{ "containerPort": 80 }],
                    "readinessProbe": {}, "lifecycle": {},
                    "env": [{ "name": "A", "valueFrom": { "secretKeyRef": { "name": "db-1", "key": "k" } } }],
                    "envFrom": [{ "configMapRef": { "name": "settings" } }],
                    "volumeMounts": [{ "name": "own", "mountPath": "/o" }, { "name": "made", "mountPath": "/m" }],
                },
                { "name": "proxy", "image": "envoy" },
            ],
            "volumes": [{ "name": "own", "persistentVolumeClaim": { "claimName": "data" } }],
        });
        let template = json!({ "metadata": { "labels": { "app": "web" } }, "spec": pod });
        vec![
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "settings" }, "data": { "a": "b" } }),
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "other" } }),
            json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" }, "spec": { "template": template } }),
        ]
    }

    fn make<'a>(command: &'a [String], container: &'a str) -> Make<'a> {
        Make { name: "job-1", set: "set", workload: "web", container, command, seconds: 30 }
    }

    #[test]
    fn a_job_is_like_its_container_and_no_part_of_the_workload() {
        let command = ["/migrate".to_owned(), "up".to_owned()];
        let Made { job, config, needs } = made(&objects(), &make(&command, "web")).unwrap();
        let template = &job["spec"]["template"];
        let env = json!([
            { "name": "A", "valueFrom": { "secretKeyRef": { "name": "db-1", "key": "k" } } },
            { "name": "DEPLOYCTL_JOB_ID", "value": "job-1" },
        ]);
        let container = json!({
            "name": "web", "image": "shop@sha256:ab", "command": ["/migrate", "up"], "env": env,
            "envFrom": [{ "configMapRef": { "name": "job-1-0" } }], "volumeMounts": [{ "name": "own", "mountPath": "/o" }],
        });
        assert_eq!(template["spec"]["containers"], json!([container]));
        assert_eq!(template["spec"]["initContainers"], json!([{ "name": "tunnel", "restartPolicy": "Always" }]));
        assert_eq!(template["metadata"]["labels"].get("app"), None, "no Service takes it for one of its own");
        let said = |key: &str| template["spec"][key].clone();
        assert_eq!(
            [said("restartPolicy"), said("activeDeadlineSeconds"), said("terminationGracePeriodSeconds")],
            [json!("Never"), json!(30), json!(5)]
        );
        assert_eq!((&job["spec"]["backoffLimit"], &job["spec"]["suspend"]), (&json!(0), &json!(true)));
        assert_eq!(config.len(), 1);
        assert_eq!((&config[0]["metadata"]["name"], &config[0]["data"]), (&json!("job-1-0"), &json!({ "a": "b" })));
        let wanted =
            [("PersistentVolumeClaim", "data"), ("Secret", "db-1"), ("Secret", "pull-1"), ("ServiceAccount", "runner")];
        assert_eq!(needs.iter().map(|(kind, name)| (*kind, name.as_str())).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn what_there_is_not_a_job_cannot_be_like() {
        assert_eq!(made(&objects(), &make(&[], "wbe")), None);
        assert_eq!(made(&[], &make(&[], "web")), None);
        let all = super::super::workloads(objects().iter());
        assert_eq!(all, [("web".to_owned(), vec!["web".to_owned(), "proxy".to_owned()])]);
    }
}
