//! Pods, and the pods of a workload.

use super::finding::Finding;
use super::read::{self, Condition};
use super::set::Set;
use super::{Trouble, cause, container};
use serde_json::Value;

/// Right when its condition `Ready` is true, or when it ended well.
///
/// `Failed` is final for a pod, whoever makes another in its place. Before it is ready, the worst of its containers is its reason;
/// where no container says anything, the condition `PodScheduled` and the events about volumes and the sandbox do.
pub(super) fn judge(set: &Set<'_>, pod: &Value) -> Finding {
    match read::text(pod, "/status/phase") {
        "Succeeded" => return Finding::ready("it has completed"),
        "Failed" => return Finding::failed(why_ended(pod)),
        "Unknown" => return Finding::unknown(said(pod).unwrap_or("its node does not answer")),
        _ => {}
    }
    if Condition::of(pod, "Ready").is_some_and(Condition::is_true) {
        return Finding::ready("it is ready");
    }
    if let Some(scheduled) = Condition::of(pod, "PodScheduled").filter(|c| c.is_false()) {
        return match scheduled.reason() {
            "SchedulingGated" => Finding::waits("a scheduling gate holds it back"),
            _ => Finding::trouble(format!("cannot be scheduled: {}", scheduled.says())),
        };
    }
    let found = Finding::worst(statuses(pod).filter_map(|status| container::trouble(set, pod, status)));
    found.or_else(|| around(set, pod)).unwrap_or_else(|| on_its_way(set, pod))
}

/// Why no container has come so far as to say something.
fn around(set: &Set<'_>, pod: &Value) -> Option<Finding> {
    let statuses = read::list(pod, "/status/containerStatuses");
    let begun = !statuses.is_empty() && statuses.iter().any(|status| status.pointer("/state/waiting").is_none());
    if begun {
        return None;
    }
    if let Some(said) = set.complaint(pod, &["FailedMount"], &["SuccessfulMountVolume", "Pulled", "Started"]) {
        return Some(cause::of_config(set, pod, said));
    }
    let bad = ["FailedAttachVolume", "FailedCreatePodSandBox", "FailedScheduling", "NetworkNotReady"];
    set.complaint(pod, &bad, &["Scheduled", "Pulled", "Started", "SuccessfulAttachVolume"]).map(Finding::trouble)
}

fn on_its_way(set: &Set<'_>, pod: &Value) -> Finding {
    let statuses = read::list(pod, "/status/containerStatuses");
    let running = |status: &&Value| status.pointer("/state/running").is_some() && !read::is(status, "/ready");
    if let Some(status) = statuses.iter().find(running) {
        let name = read::text(status, "/name");
        // It has begun as soon as its startup probe succeeded, or at once without one.
        let begun = status.pointer("/started").is_none_or(|started| *started != Value::Bool(false));
        return match set.complaint(pod, &["Unhealthy"], &[]) {
            Some(said) => {
                let trouble = if begun { Trouble::Unready } else { Trouble::Slow };
                Finding::slow(trouble, format!("container {name} is not ready: {said}"))
            }
            None => Finding::slow(Trouble::Slow, format!("container {name} runs and is not ready")),
        };
    }
    let ready = Condition::of(pod, "Ready");
    if let Some(gate) = ready.filter(|c| c.reason() == "ReadinessGatesNotReady") {
        return Finding::trouble(gate.says());
    }
    match read::text(pod, "/spec/nodeName") {
        "" => Finding::waits("waits for a node"),
        _ => Finding::waits("its containers are being started"),
    }
}

fn why_ended(pod: &Value) -> String {
    let reason = read::text(pod, "/status/reason");
    match (said(pod), statuses(pod).find(|status| ended_badly(status))) {
        (Some(message), _) if !reason.is_empty() => format!("{reason}: {message}"),
        (Some(message), _) => message.to_owned(),
        (None, Some(status)) => {
            let name = read::text(status, "/name");
            format!("container {name} ended with exit code {}", read::count(status, "/state/terminated/exitCode"))
        }
        (None, None) if reason.is_empty() => "it has failed".into(),
        (None, None) => reason.into(),
    }
}

fn said(pod: &Value) -> Option<&str> {
    Some(read::text(pod, "/status/message")).filter(|message| !message.is_empty())
}

/// Whether it counts for a workload: pods that end, and those that ended and are replaced, say nothing about the next.
fn counts(pod: &&Value) -> bool {
    let is_never = read::text(pod, "/spec/restartPolicy") == "Never";
    let is_lost = is_never && statuses(pod).any(ended_badly);
    let is_over = matches!(read::text(pod, "/status/phase"), "Failed" | "Succeeded");
    pod.pointer("/metadata/deletionTimestamp").is_none() && !is_over && !is_lost
}

fn ended_badly(status: &Value) -> bool {
    status.pointer("/state/terminated/exitCode").is_some_and(|code| code != 0)
}

/// The containers of a pod, in the order in which they are started.
fn statuses(pod: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["/status/initContainerStatuses", "/status/containerStatuses"];
    lists.into_iter().flat_map(|field| read::list(pod, field))
}

/// What the pods of a workload have to say about why it is not right: the first of the worst.
pub(super) fn worst<'a>(set: &Set<'_>, pods: impl IntoIterator<Item = &'a Value>) -> Option<Finding> {
    let judged = pods.into_iter().filter(counts).map(|pod| judge(set, pod).after(&format!("pod {}", read::name(pod))));
    Finding::worst(judged).filter(Finding::is_trouble)
}

/// How a workload stands: `progress` says how far it is, and the worst of its pods why it is not further.
pub(super) fn explain<'a>(set: &Set<'_>, progress: &str, pods: impl IntoIterator<Item = &'a Value>) -> Finding {
    match worst(set, pods) {
        Some(worst) => Finding { reason: format!("{progress}; {}", worst.reason), ..worst },
        None => Finding::waits(progress),
    }
}
