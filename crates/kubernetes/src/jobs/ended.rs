//! How a Job is.

use crate::pods::{self, Pod};
use serde_json::Value;

/// How a Job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    /// Its command has not begun, and will not before it is told to.
    Suspended,
    /// It runs, or is about to.
    Running,
    /// Its command has not begun, for a reason that may pass.
    Troubled(String),
    /// It exited 0.
    Succeeded,
    /// It ended otherwise; why. None: its time was up.
    Failed(Option<String>),
}

/// How a Job is, by what it and its pods say; `container` is the one that counts.
pub fn run(job: &Value, pods: &[Value], container: &str) -> Run {
    let is = |kind: &str| {
        let conditions = job["status"]["conditions"].as_array().into_iter().flatten();
        conditions.filter(|c| c["type"] == kind).any(|c| c["status"] == "True")
    };
    if is("Complete") || is("SuccessCriteriaMet") {
        return Run::Succeeded;
    }
    if is("Failed") {
        return Run::Failed(pods.iter().find_map(|pod| failed(pod, container)).unwrap_or_else(|| Some(said(job))));
    }
    if job["spec"]["suspend"] == true {
        return Run::Suspended;
    }
    let troubled = pods.iter().filter(|pod| !has_begun(pod, container)).find_map(|pod| match pods::of(pod) {
        Pod::Troubled(why) => Some(why),
        _ => None,
    });
    troubled.map_or(Run::Running, Run::Troubled)
}

fn said(job: &Value) -> String {
    let conditions = job["status"]["conditions"].as_array().into_iter().flatten();
    let mut failed = conditions.filter(|c| c["type"] == "Failed").filter_map(|c| c["message"].as_str());
    failed.next().map_or("it failed".into(), |message| format!("it failed: {message}"))
}

fn status<'a>(pod: &'a Value, container: &str) -> &'a Value {
    let mut all = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    all.find(|status| status["name"] == container).unwrap_or(&Value::Null)
}

fn has_begun(pod: &Value, container: &str) -> bool {
    let state = &status(pod, container)["state"];
    !state["running"].is_null() || !state["terminated"].is_null()
}

/// Why a pod failed; none inside if its time was up.
fn failed(pod: &Value, container: &str) -> Option<Option<String>> {
    if pod["status"]["phase"] != "Failed" {
        return None;
    }
    let reason = pod["status"]["reason"].as_str();
    if reason == Some("DeadlineExceeded") {
        return Some(None);
    }
    let ended = &status(pod, container)["state"]["terminated"];
    let why = match (ended["reason"].as_str(), ended["exitCode"].as_i64()) {
        (Some("OOMKilled"), _) => "it was killed: out of memory".to_owned(),
        (Some(why @ ("StartError" | "ContainerCannotRun")), _) => {
            format!("it cannot be run: {}", ended["message"].as_str().unwrap_or(why))
        }
        (_, Some(137)) => "exit 137 (killed)".to_owned(),
        (_, Some(code)) if code != 0 => format!("exit {code}"),
        _ => {
            let message = pod["status"]["message"].as_str();
            let words: Vec<&str> = reason.into_iter().chain(message).collect();
            if words.is_empty() { "its pod failed".to_owned() } else { format!("its pod failed: {}", words.join(": ")) }
        }
    };
    Some(Some(why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn job(condition: &str) -> Value {
        json!({ "spec": {}, "status": { "conditions": [{ "type": condition, "status": "True", "message": "backoff limit" }] } })
    }

    fn pod(phase: &str, state: Value, reason: Option<&str>) -> Value {
        let statuses = json!([{ "name": "tunnel", "state": { "running": {} } }, { "name": "web", "state": state }]);
        json!({ "status": { "phase": phase, "reason": reason, "containerStatuses": statuses } })
    }

    fn ended(code: i64, reason: &str) -> Value {
        json!({ "terminated": { "exitCode": code, "reason": reason, "message": "no such file" } })
    }

    #[test]
    fn how_a_job_is_is_told_by_its_conditions_and_its_pod() {
        let failed = |why: &str| Run::Failed(Some(why.into()));
        let waiting = json!({ "waiting": { "reason": "ImagePullBackOff", "message": "no such image" } });
        let cases = [
            (json!({ "spec": { "suspend": true } }), vec![], Run::Suspended),
            (json!({ "spec": { "suspend": false } }), vec![], Run::Running),
            (job("Complete"), vec![], Run::Succeeded),
            (job("SuccessCriteriaMet"), vec![], Run::Succeeded),
            (job("FailureTarget"), vec![pod("Running", json!({ "running": {} }), None)], Run::Running),
            (job("Failed"), vec![pod("Failed", ended(3, "Error"), None)], failed("exit 3")),
            (job("Failed"), vec![pod("Failed", ended(137, "OOMKilled"), None)], failed("it was killed: out of memory")),
            (
                job("Failed"),
                vec![pod("Failed", ended(128, "StartError"), None)],
                failed("it cannot be run: no such file"),
            ),
            (job("Failed"), vec![pod("Failed", ended(137, "Error"), Some("DeadlineExceeded"))], Run::Failed(None)),
            (job("Failed"), vec![pod("Failed", json!({}), Some("Evicted"))], failed("its pod failed: Evicted")),
            (job("Failed"), vec![], failed("it failed: backoff limit")),
            (
                json!({}),
                vec![pod("Pending", waiting, None)],
                Run::Troubled("container web: ImagePullBackOff: no such image".into()),
            ),
            (json!({}), vec![pod("Running", json!({ "running": {} }), None)], Run::Running),
        ];
        for (job, pods, wanted) in cases {
            assert_eq!(run(&job, &pods, "web"), wanted, "{job} {pods:?}");
        }
    }
}
