//! What single pods say: how they are, and what keeps them that may pass by itself.

use serde_json::Value;

/// Reasons for which a container waits that are trouble, not a start.
const TROUBLE: &[&str] = &[
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImageInspectError",
    "ImagePullBackOff",
    "InvalidImageName",
    "PostStartHookError",
    "RunContainerError",
];

/// How a pod is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pod {
    /// All its containers are ready.
    Ready,
    /// It starts, and waits for this.
    Starting(String),
    /// It is in trouble that may heal.
    Troubled(String),
    /// It is told to end.
    Ending,
    /// It ran to its end, as jobs do.
    Ended,
}

/// How a pod is, by what it says.
pub fn of(pod: &Value) -> Pod {
    if !pod["metadata"]["deletionTimestamp"].is_null() {
        return Pod::Ending;
    }
    let status = &pod["status"];
    match status["phase"].as_str() {
        Some("Succeeded") => return Pod::Ended,
        Some("Failed") => {
            let said = [&status["reason"], &status["message"]].into_iter().find_map(Value::as_str);
            return Pod::Troubled(said.map_or("it failed".into(), |said| format!("it failed: {said}")));
        }
        _ => {}
    }
    let lists = ["initContainerStatuses", "containerStatuses"];
    let containers = lists.iter().flat_map(|list| status[*list].as_array().into_iter().flatten());
    if let Some(trouble) = containers.clone().find_map(troubled) {
        return Pod::Troubled(trouble);
    }
    if is(status, "Ready") == Some(true) {
        return Pod::Ready;
    }
    if is(status, "PodScheduled") == Some(false) {
        let why = condition(status, "PodScheduled").and_then(|c| c["message"].as_str()).unwrap_or("no node takes it");
        return Pod::Troubled(format!("it is not scheduled: {why}"));
    }
    let waits = containers.filter(|container| container["ready"] != Value::Bool(true)).find_map(|container| {
        let name = container["name"].as_str()?;
        Some(match container["state"]["waiting"]["reason"].as_str() {
            Some(reason) => format!("container {name} waits: {reason}"),
            None => format!("container {name} is not ready"),
        })
    });
    Pod::Starting(waits.unwrap_or_else(|| "it is being started".into()))
}

fn troubled(container: &Value) -> Option<String> {
    let name = container["name"].as_str().unwrap_or("?");
    let waiting = &container["state"]["waiting"];
    let reason = waiting["reason"].as_str().filter(|reason| TROUBLE.contains(reason))?;
    let last = &container["lastState"]["terminated"];
    let ended = last["exitCode"].as_i64().map(|code| format!("it ended with exit code {code}"));
    let said = waiting["message"].as_str().map(str::to_owned);
    let more = if reason == "CrashLoopBackOff" { ended.or(said) } else { said };
    Some(match more {
        Some(more) => format!("container {name}: {reason}: {more}"),
        None => format!("container {name}: {reason}"),
    })
}

fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    status["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

fn is(status: &Value, kind: &str) -> Option<bool> {
    condition(status, kind).map(|condition| condition["status"] == "True")
}

/// Whether `pod` belongs to one of `owners` (by uid), itself or by one of `between`, such as a replica set.
pub fn belongs(pod: &Value, owners: &[&str], between: &[Value]) -> bool {
    let uids = |object: &Value| -> Vec<String> {
        let references = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
        references.filter_map(|reference| reference["uid"].as_str().map(str::to_owned)).collect()
    };
    let own = pod["metadata"]["uid"].as_str().is_some_and(|uid| owners.contains(&uid));
    let mine = uids(pod);
    own || mine.iter().any(|uid| owners.contains(&uid.as_str()))
        || between.iter().any(|middle| {
            let is_owner = middle["metadata"]["uid"].as_str().is_some_and(|uid| mine.iter().any(|known| known == uid));
            is_owner && uids(middle).iter().any(|uid| owners.contains(&uid.as_str()))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn waiting(reason: &str, message: &str) -> Value {
        let state = json!({ "waiting": { "reason": reason, "message": message } });
        let last = json!({ "terminated": { "exitCode": 3 } });
        json!({ "status": { "containerStatuses": [{ "name": "web", "ready": false, "state": state, "lastState": last }] } })
    }

    #[test]
    fn a_pod_is_told_by_its_containers() {
        let conditions = |kind: &str, status: &str| json!([{ "type": kind, "status": status, "message": "0/1 nodes" }]);
        let cases = [
            (json!({ "status": { "conditions": conditions("Ready", "True") } }), Pod::Ready),
            (json!({}), Pod::Starting("it is being started".into())),
            (waiting("ContainerCreating", ""), Pod::Starting("container web waits: ContainerCreating".into())),
            (
                waiting("ImagePullBackOff", "no such image"),
                Pod::Troubled("container web: ImagePullBackOff: no such image".into()),
            ),
            (
                waiting("CrashLoopBackOff", "back-off 10s"),
                Pod::Troubled("container web: CrashLoopBackOff: it ended with exit code 3".into()),
            ),
            (
                json!({ "status": { "conditions": conditions("PodScheduled", "False") } }),
                Pod::Troubled("it is not scheduled: 0/1 nodes".into()),
            ),
            (json!({ "status": { "phase": "Succeeded" } }), Pod::Ended),
            (
                json!({ "status": { "phase": "Failed", "reason": "Evicted" } }),
                Pod::Troubled("it failed: Evicted".into()),
            ),
            (json!({ "metadata": { "deletionTimestamp": "x" } }), Pod::Ending),
            (
                json!({ "status": { "containerStatuses": [{ "name": "web", "ready": false, "state": { "running": {} } }] } }),
                Pod::Starting("container web is not ready".into()),
            ),
        ];
        for (pod, wanted) in cases {
            assert_eq!(of(&pod), wanted, "{pod}");
        }
    }

    #[test]
    fn a_pod_belongs_to_what_made_what_made_it() {
        let owned = |uid: &str, by: &str| json!({ "metadata": { "uid": uid, "ownerReferences": [{ "uid": by }] } });
        let (pod, set) = (owned("pod", "set"), owned("set", "deployment"));
        assert!(belongs(&pod, &["deployment"], std::slice::from_ref(&set)));
        assert!(belongs(&pod, &["set"], &[]));
        assert!(belongs(&pod, &["pod"], &[]));
        assert!(!belongs(&pod, &["other"], &[set]));
    }
}
