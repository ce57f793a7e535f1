//! What Deployments, StatefulSets, DaemonSets and ReplicaSets have in common.

use super::finding::Finding;
use super::set::Set;
use super::{cause, read};
use serde_json::Value;

/// A controller that has not seen the latest specification says nothing about it (API conventions, `observedGeneration`).
pub(super) fn unseen(object: &Value) -> Option<Finding> {
    let generation = read::count(object, "/metadata/generation");
    let seen = read::count(object, "/status/observedGeneration");
    (seen < generation).then(|| Finding::waits(format!("its controller has not seen generation {generation} yet")))
}

/// Why a controller cannot make pods, if it says so: its event, unless it could make one later.
pub(super) fn refused(set: &Set<'_>, object: &Value) -> Option<Finding> {
    let said = set.complaint(object, &["FailedCreate"], &["SuccessfulCreate"])?;
    Some(cause::of_admission(set, read::namespace(object), said).after("pods cannot be made"))
}

/// How many pods are asked for.
pub(super) fn wanted(object: &Value) -> i64 {
    read::number(object, "/spec/replicas").unwrap_or(1)
}

/// A number of the status.
pub(super) fn status(object: &Value, name: &str) -> i64 {
    read::count(object, &format!("/status/{name}"))
}

/// `2 of 3 pods are available`.
pub(super) fn available(available: i64, wanted: i64) -> String {
    match wanted {
        0 => "it is scaled to zero".into(),
        1 => format!("{available} of 1 pod is available"),
        _ => format!("{available} of {wanted} pods are available"),
    }
}

/// `2 of 3 pods are of the current version`.
pub(super) fn current(current: i64, wanted: i64) -> String {
    match wanted {
        1 => format!("{current} of 1 pod is of the current version"),
        _ => format!("{current} of {wanted} pods are of the current version"),
    }
}

/// `2 pods too many are still there`.
pub(super) fn left(count: i64, which: &str) -> String {
    match count {
        1 => format!("1 pod {which} is still there"),
        _ => format!("{count} pods {which} are still there"),
    }
}
