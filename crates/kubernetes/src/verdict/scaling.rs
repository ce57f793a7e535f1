//! Autoscalers and disruption budgets.

use super::finding::Finding;
use super::read::Condition;
use super::workload::{status, unseen};
use serde_json::Value;

/// Right when it can read its metrics and scale its target. At zero replicas somebody has turned it off.
pub(super) fn judge_autoscaler(object: &Value) -> Finding {
    let of = |kind| Condition::of(object, kind);
    let Some(able) = of("AbleToScale") else { return Finding::waits("its controller has not looked at it yet") };
    if able.is_false() {
        return Finding::trouble(format!("it cannot scale: {}: {}", able.reason(), able.says()));
    }
    match of("ScalingActive") {
        None => Finding::waits("it has not read its metrics yet"),
        Some(active) if active.is_true() => Finding::ready(replicas(object)),
        Some(active) if active.reason() == "ScalingDisabled" => {
            Finding::ready("it is turned off: its target has no replicas")
        }
        Some(active) if matches!(active.reason(), "InvalidMetricSourceType" | "InvalidSelector") => {
            Finding::failed(format!("{}: {}", active.reason(), active.says()))
        }
        Some(active) => Finding::trouble(format!("it cannot read its metrics: {}: {}", active.reason(), active.says())),
    }
}

fn replicas(object: &Value) -> String {
    let limited = Condition::of(object, "ScalingLimited").filter(|c| c.is_true() && c.reason() == "TooManyReplicas");
    let wanted = status(object, "desiredReplicas");
    match limited {
        Some(_) => format!("it wants {wanted} replicas, the most that it may"),
        None => format!("it wants {wanted} replicas"),
    }
}

/// Right when as many pods are healthy as it asks for. That it lets nothing be evicted then is its business, and said.
pub(super) fn judge_budget(object: &Value) -> Finding {
    if let Some(unseen) = unseen(object) {
        return unseen;
    }
    if let Some(failed) = Condition::of(object, "DisruptionAllowed").filter(|c| c.reason() == "SyncFailed") {
        return Finding::trouble(format!("it cannot be worked out: {}", failed.says()));
    }
    let [healthy, wanted] = ["currentHealthy", "desiredHealthy"].map(|name| status(object, name));
    let (all, allowed) = (status(object, "expectedPods"), status(object, "disruptionsAllowed"));
    match () {
        () if all == 0 => Finding::ready("no pod is selected by it"),
        () if healthy < wanted => Finding::trouble(format!("{}, and it asks for {wanted}", healthy_pods(healthy))),
        () if allowed == 0 => Finding::ready(format!("{}, and none may be evicted", healthy_pods(healthy))),
        () => Finding::ready(format!("{}, {allowed} may be evicted", healthy_pods(healthy))),
    }
}

fn healthy_pods(count: i64) -> String {
    if count == 1 { "1 pod is healthy".into() } else { format!("{count} pods are healthy") }
}
