//! The pods of a StatefulSet while they are replaced in their places: whose they are, and what is to be done for them.

use super::SIDE;
use crate::pods::{self, Pod};
use serde_json::Value;

const HASH: &str = "controller-revision-hash";

/// How far the pods of a StatefulSet are what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn<'a> {
    /// So many above its partition are to become others, or to come.
    pub left: u64,
    /// Those of them that are not ready. The cluster waits until they are, even where they never will be, before it replaces any.
    pub stuck: Vec<&'a Value>,
}

/// What is to be done until the pods of a StatefulSet are of its template, as far as its partition lets them. None if its controller has
/// not seen yet what it is.
pub fn turn<'a>(set: &Value, pods: &'a [Value]) -> Option<Turn<'a>> {
    let update = seen(set).then(|| set["status"]["updateRevision"].as_str()).flatten()?;
    let count = |field: &Value, usual: u64| field.as_u64().unwrap_or(usual);
    let spec = &set["spec"];
    let (first, all) = (count(&spec["ordinals"]["start"], 0), count(&spec["replicas"], 1));
    let above = first + count(&spec["updateStrategy"]["rollingUpdate"]["partition"], 0)..first + all;
    let owner = set["metadata"]["uid"].as_str().unwrap_or_default();
    let is_above = |pod: &&&Value| ordinal(pod).is_some_and(|ordinal| above.contains(&ordinal));
    let own: Vec<&Value> = pods.iter().filter(|pod| pods::belongs(pod, &[owner], &[])).collect();
    let (right, wrong): (Vec<&Value>, Vec<&Value>) =
        own.iter().filter(is_above).filter(|pod| !is_ending(pod)).partition(|pod| hash(pod) == Some(update));
    let left = (above.end.saturating_sub(above.start)).saturating_sub(right.len() as u64);
    if spec["updateStrategy"]["type"] == "OnDelete" {
        // Whose pods are replaced is for whoever deletes them.
        return Some(Turn { left: 0, stuck: Vec::new() });
    }
    let is_stuck = |pod: &&Value| !matches!(pods::of(pod), Pod::Ready | Pod::Ended);
    Some(Turn { left, stuck: wrong.into_iter().filter(is_stuck).collect() })
}

/// Whether a pod of a StatefulSet is of the release beside, which `mark` tells from every other; the other ones are of the one that has
/// the names.
pub fn is_beside(set: &Value, pod: &Value, mark: &str) -> bool {
    let status = &set["status"];
    match seen(set) {
        true => (hash(pod) == status["updateRevision"].as_str()) == has_template_of(set, mark),
        // Until its controller has seen it, what is not of before is of the release beside.
        false => hash(pod) != status["currentRevision"].as_str(),
    }
}

/// Whether the template of a StatefulSet is that of the release beside.
pub fn has_template_of(set: &Value, mark: &str) -> bool {
    set["metadata"]["annotations"][SIDE] == mark
}

fn seen(set: &Value) -> bool {
    set["status"]["observedGeneration"].as_u64() >= set["metadata"]["generation"].as_u64()
}

fn hash(pod: &Value) -> Option<&str> {
    pod["metadata"]["labels"][HASH].as_str()
}

fn is_ending(pod: &Value) -> bool {
    !pod["metadata"]["deletionTimestamp"].is_null()
}

fn ordinal(pod: &Value) -> Option<u64> {
    pod["metadata"]["name"].as_str()?.rsplit_once('-')?.1.parse().ok()
}
