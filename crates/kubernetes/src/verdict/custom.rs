//! Custom resources, by the conventions of the API.

use super::finding::Finding;
use super::read::{self, Condition};
use serde_json::Value;

/// Conditions that mean the whole is right, by the API conventions ("Ready" for what is long-lived, "Succeeded" for what ends)
/// and by what projects have made of them.
const RIGHT: &[&str] =
    &["Ready", "Available", "Healthy", "Succeeded", "Complete", "Completed", "Established", "Programmed"];

/// Right when a condition says so; failed when `Stalled` or `Failed` is true; otherwise on its way.
///
/// `Reconciling` and `Stalled` are those of kstatus. A status about an earlier generation, of the whole or of one condition,
/// says nothing about this one. Without conditions that mean anything here, nothing is known.
pub(super) fn judge(object: &Value) -> Finding {
    let conditions = read::list(object, "/status/conditions");
    let of = |kind| Condition::among(conditions, kind);
    let is = |kind| of(kind).filter(|c| c.is_true());
    let generation = read::count(object, "/metadata/generation");
    let is_old = |one: Condition<'_>| one.generation().is_some_and(|seen| seen < generation);
    if let Some(stuck) = is("Stalled").or_else(|| is("Failed")).filter(|one| !is_old(*one)) {
        return Finding::failed(words(stuck));
    }
    if let Some(busy) = is("Reconciling") {
        return Finding::waits(words(busy));
    }
    let known: Vec<Condition<'_>> = RIGHT.iter().filter_map(|kind| of(kind)).collect();
    let Some(first) = known.first() else { return nothing_known(object, conditions) };
    if let Some(old) = known.iter().find(|one| is_old(**one)) {
        return Finding::waits(format!("{} is not known of generation {generation} yet", old.kind()));
    }
    match known.iter().find(|one| !one.is_true()) {
        None => Finding::ready(words(*first)),
        Some(not) if not.is_false() => Finding::trouble(words(*not)),
        Some(not) => Finding::waits(words(*not)),
    }
}

fn nothing_known(object: &Value, conditions: &[Value]) -> Finding {
    let kinds: Vec<&str> = conditions.iter().map(|one| read::text(one, "/type")).collect();
    let phase = ["/status/phase", "/status/state"].into_iter().map(|field| read::text(object, field));
    let phase = phase.into_iter().find(|phase| !phase.is_empty());
    Finding::unknown(match (object.get("status"), kinds.is_empty(), phase) {
        (_, false, _) => format!("none of its conditions is known to mean that it is ready: {}", kinds.join(", ")),
        (_, _, Some(phase)) => format!("it has no conditions; it says {phase}"),
        (Some(_), ..) => "its status has no conditions".into(),
        (None, ..) => "it has no status".into(),
    })
}

/// `Ready is False: Reason: message`.
fn words(one: Condition<'_>) -> String {
    let mut words = format!("{} is {}", one.kind(), one.status());
    for part in [one.reason(), one.message()].into_iter().filter(|part| !part.is_empty()) {
        words.push_str(&format!(": {part}"));
    }
    words
}
