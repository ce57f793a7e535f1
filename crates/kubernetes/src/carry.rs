//! deployctl itself as a Job of the cluster: what was asked for is done there, and outlives whoever asked.

use crate::pods::{self, Pod};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The one container.
const CONTAINER: &str = "deployctl";
/// Where it finds what was asked for, below this folder.
const FOLDER: &str = "/request";
const KEY: &str = "request";
/// By which such Jobs are found.
const LABEL: &str = "deployctl.io/carries";
/// A Job whose pod never began goes after a day, and one that has ended after an hour.
const SECONDS_MAX: u64 = 86_400;
const SECONDS_KEPT: u64 = 3_600;
/// A pod that was killed is replaced so often. Moved by the cluster, it is replaced in any case.
const TRIES: u64 = 6;
/// No request is larger: what a Secret takes, with room for its own words.
pub const REQUEST_BYTES_MAX: usize = 1_000_000;

/// A Job that carries out what was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Carry<'a> {
    /// The name of the Job, and of the Secret that says what was asked for.
    pub name: &'a str,
    /// An image with deployctl as its entry point.
    pub image: &'a str,
    /// The service account by whose right it acts.
    pub account: &'a str,
    /// Where the state is, as whoever asks calls it.
    pub state: &'a str,
    /// What whoever asks calls the cluster that it runs in.
    pub context: Option<&'a str>,
    /// Who asks.
    pub actor: &'a str,
}

impl Carry<'_> {
    fn labels(&self) -> Value {
        json!({ LABEL: "yes", "app.kubernetes.io/managed-by": "deployctl" })
    }

    /// The Job. It fits the strictest of the cluster's own standards for pods.
    pub fn job(&self) -> Value {
        let mut env = vec![
            json!({ "name": "DEPLOYCTL_STATE", "value": self.state }),
            json!({ "name": "DEPLOYCTL_ACTOR", "value": self.actor }),
        ];
        env.extend(self.context.map(|context| json!({ "name": "DEPLOYCTL_CONTEXT_HERE", "value": context })));
        let container = json!({
            "name": CONTAINER, "image": self.image, "env": env,
            "args": ["kubernetes", "carry", format!("{FOLDER}/{KEY}")],
            // The last thing that it says, where whoever asked can see it without its log.
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "securityContext": {
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] },
            },
            "volumeMounts": [
                { "name": "request", "mountPath": FOLDER, "readOnly": true },
                { "name": "scratch", "mountPath": "/tmp" },
            ],
            "resources": { "requests": { "cpu": "50m", "memory": "64Mi" }, "limits": { "memory": "256Mi" } },
        });
        json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": { "name": self.name, "labels": self.labels() },
            "spec": {
                "backoffLimit": TRIES, "activeDeadlineSeconds": SECONDS_MAX, "ttlSecondsAfterFinished": SECONDS_KEPT,
                "podFailurePolicy": { "rules": [
                    // Failed, wrong, refused, in conflict: another try does not change it.
                    { "action": "FailJob", "onExitCodes": { "containerName": CONTAINER, "operator": "In", "values": [1, 2, 3, 4] } },
                    { "action": "Ignore", "onPodConditions": [{ "type": "DisruptionTarget", "status": "True" }] },
                ] },
                "template": {
                    "metadata": { "labels": self.labels() },
                    "spec": {
                        "serviceAccountName": self.account, "restartPolicy": "Never", "terminationGracePeriodSeconds": 5,
                        "securityContext": {
                            "runAsNonRoot": true, "runAsUser": 65_532, "runAsGroup": 65_532, "fsGroup": 65_532,
                            "seccompProfile": { "type": "RuntimeDefault" },
                        },
                        "containers": [container],
                        "volumes": [
                            { "name": "request", "secret": { "secretName": self.name, "defaultMode": 0o440 } },
                            { "name": "scratch", "emptyDir": {} },
                        ],
                    },
                },
            },
        })
    }

    /// What was asked for, which goes with the Job of this uid.
    pub fn request(&self, uid: &str, bytes: &[u8]) -> Value {
        let owner = json!({ "apiVersion": "batch/v1", "kind": "Job", "name": self.name, "uid": uid });
        json!({
            "apiVersion": "v1", "kind": "Secret", "immutable": true,
            "metadata": { "name": self.name, "labels": self.labels(), "ownerReferences": [owner] },
            "data": { KEY: STANDARD.encode(bytes) },
        })
    }
}

/// How such a Job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stands {
    /// Its pod has not begun; why, where there is a reason.
    Waits(Option<String>),
    /// Its pod runs.
    Runs,
    /// Its pod ended, and another one is to come; what it said last.
    Again(String),
    /// It has ended: the exit code, if it was known, and what it said last.
    Ended(Option<i64>, String),
}

/// How such a Job stands, by what it, its pods and events about it say.
pub fn stands(job: &Value, pods: &[Value], events: &[Value]) -> Stands {
    let is = |kind: &str| condition(job, kind).is_some();
    let mut pods: Vec<&Value> = pods.iter().collect();
    pods.sort_by_key(|pod| pod["metadata"]["creationTimestamp"].as_str().unwrap_or_default());
    let ended = pods.iter().rev().find_map(|pod| ended(pod));
    if is("Complete") {
        return Stands::Ended(Some(0), String::new());
    }
    if let Some(failed) = condition(job, "Failed") {
        let why = || failed["message"].as_str().unwrap_or("it failed").to_owned();
        return match ended {
            Some((exit, said)) if !said.is_empty() => Stands::Ended(exit, said),
            Some((exit, _)) => Stands::Ended(exit, why()),
            None => Stands::Ended(None, why()),
        };
    }
    let alive = pods.iter().rev().find(|pod| !matches!(pods::of(pod), Pod::Ended | Pod::Ending) && !has_failed(pod));
    match (alive, ended) {
        (Some(pod), _) if status(pod)["state"]["running"].is_object() => Stands::Runs,
        (Some(pod), _) => match pods::of(pod) {
            Pod::Troubled(why) => Stands::Waits(Some(why)),
            _ => Stands::Waits(None),
        },
        (None, Some((_, said))) if pods.iter().any(|pod| has_failed(pod)) => Stands::Again(said),
        (None, Some(_)) => Stands::Runs,
        (None, None) => {
            let about = events.iter().filter(|event| event["type"] == "Warning");
            Stands::Waits(about.filter_map(|event| event["message"].as_str()).next_back().map(str::to_owned))
        }
    }
}

fn condition<'a>(job: &'a Value, kind: &str) -> Option<&'a Value> {
    let mut all = job["status"]["conditions"].as_array().into_iter().flatten();
    all.find(|condition| condition["type"] == kind && condition["status"] == "True")
}

fn status(pod: &Value) -> &Value {
    let mut all = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    all.find(|status| status["name"] == CONTAINER).unwrap_or(&Value::Null)
}

fn has_failed(pod: &Value) -> bool {
    pod["status"]["phase"] == "Failed"
}

/// With which code it ended, and the last line of what it said.
fn ended(pod: &Value) -> Option<(Option<i64>, String)> {
    let terminated = &status(pod)["state"]["terminated"];
    if !terminated.is_object() {
        let words = || pod["status"]["message"].as_str().or(pod["status"]["reason"].as_str()).unwrap_or_default();
        return has_failed(pod).then(|| (None, words().to_owned()));
    }
    let said = terminated["message"].as_str().unwrap_or_default();
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    let exit = terminated["exitCode"].as_i64();
    let killed = || match terminated["reason"].as_str() {
        Some("OOMKilled") => "its pod was killed: out of memory".to_owned(),
        Some("Error") | None => format!("its pod ended with exit code {}", exit.unwrap_or_default()),
        Some(reason) => format!("its pod ended: {reason}"),
    };
    Some((exit, last.map_or_else(killed, str::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(at: &str, phase: &str, state: Value) -> Value {
        json!({
            "metadata": { "creationTimestamp": at },
            "status": { "phase": phase, "containerStatuses": [{ "name": "deployctl", "state": state }] },
        })
    }

    fn ended(at: &str, code: i64, said: &str) -> Value {
        let state = json!({ "terminated": { "exitCode": code, "reason": "Error", "message": said } });
        pod(at, if code == 0 { "Succeeded" } else { "Failed" }, state)
    }

    fn job(kind: &str) -> Value {
        json!({ "status": { "conditions": [{ "type": kind, "status": "True", "message": "no more tries" }] } })
    }

    #[test]
    fn how_a_job_stands_is_told_by_its_newest_pod() {
        let open = json!({});
        let waiting = json!({ "waiting": { "reason": "ImagePullBackOff", "message": "no such image" } });
        let created =
            json!({ "type": "Warning", "reason": "FailedCreate", "message": "error looking up service account" });
        let killed = json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } });
        let evicted = json!({ "status": { "phase": "Failed", "reason": "Evicted" } });
        let refused = "error[target-denied]: no\nerror[lease-held]: somebody is at it\n\n";
        let running = || pod("2", "Running", json!({ "running": {} }));
        let waits = |why: &str| Stands::Waits(Some(why.into()));
        let cases = [
            (&open, vec![], vec![], Stands::Waits(None)),
            (&open, vec![], vec![created], waits("error looking up service account")),
            (&open, vec![pod("1", "Pending", json!({}))], vec![], Stands::Waits(None)),
            (
                &open,
                vec![pod("1", "Pending", waiting)],
                vec![],
                waits("container deployctl: ImagePullBackOff: no such image"),
            ),
            (&open, vec![running()], vec![], Stands::Runs),
            (&open, vec![running(), ended("1", 5, "away")], vec![], Stands::Runs),
            (&open, vec![ended("1", 5, "away"), ended("0", 5, "before")], vec![], Stands::Again("away".into())),
            (&open, vec![ended("1", 0, "")], vec![], Stands::Runs),
            (
                &open,
                vec![pod("1", "Failed", killed)],
                vec![],
                Stands::Again("its pod was killed: out of memory".into()),
            ),
            (&job("Complete"), vec![ended("1", 0, "")], vec![], Stands::Ended(Some(0), String::new())),
            (
                &job("Failed"),
                vec![ended("1", 4, refused)],
                vec![],
                Stands::Ended(Some(4), "error[lease-held]: somebody is at it".into()),
            ),
            (&job("Failed"), vec![], vec![], Stands::Ended(None, "no more tries".into())),
            (&job("Failed"), vec![evicted], vec![], Stands::Ended(None, "Evicted".into())),
        ];
        for (job, pods, events, wanted) in cases {
            assert_eq!(stands(job, &pods, &events), wanted, "{job} {pods:?}");
        }
    }

    #[test]
    fn the_job_runs_as_nobody_and_its_request_goes_with_it() {
        let carry = Carry {
            name: "deployctl-1",
            image: "deployctl:1",
            account: "deployctl",
            state: "kubernetes://prod/shop",
            context: Some("prod"),
            actor: "alice@build-7",
        };
        let job = carry.job();
        let pod = &job["spec"]["template"]["spec"];
        assert_eq!(
            (&pod["securityContext"]["runAsNonRoot"], &pod["serviceAccountName"]),
            (&json!(true), &json!("deployctl"))
        );
        let env = json!([
            { "name": "DEPLOYCTL_STATE", "value": "kubernetes://prod/shop" },
            { "name": "DEPLOYCTL_ACTOR", "value": "alice@build-7" },
            { "name": "DEPLOYCTL_CONTEXT_HERE", "value": "prod" },
        ]);
        assert_eq!(pod["containers"][0]["env"], env);
        assert_eq!(pod["volumes"][0]["secret"]["secretName"], "deployctl-1");
        let request = carry.request("u-1", b"x");
        assert_eq!(request["metadata"]["ownerReferences"][0]["uid"], "u-1");
        assert_eq!((&request["data"]["request"], &request["immutable"]), (&json!("eA=="), &json!(true)));
        let at_home = Carry { context: None, ..carry }.job();
        assert_eq!(at_home["spec"]["template"]["spec"]["containers"][0]["env"].as_array().map(Vec::len), Some(2));
    }
}
