//! Gateway API: GatewayClass, Gateway, and the routes.

use super::finding::Finding;
use super::read::{self, Condition};
use serde_json::Value;

/// Reasons that only a change of the object itself takes away (GEP-1364 and the constants of the API's Go types).
const NEVER: &[&str] = &[
    "Invalid",
    "InvalidParameters",
    "InvalidRouteKinds",
    "UnsupportedAddress",
    "UnsupportedProtocol",
    "UnsupportedValue",
    "UnsupportedVersion",
    "IncompatibleFilters",
    "InvalidKind",
];

/// Right when its controller accepts it.
pub(super) fn judge_class(object: &Value) -> Finding {
    let conditions = read::list(object, "/status/conditions");
    wants(object, conditions, &["Accepted"]).unwrap_or_else(|| Finding::ready("it is accepted"))
}

/// Right when it is accepted and programmed, and so is each listener: then traffic can come.
pub(super) fn judge(object: &Value) -> Finding {
    let own = wants(object, read::list(object, "/status/conditions"), &["Accepted", "Programmed"]);
    let listeners = read::list(object, "/status/listeners").iter().filter_map(|listener| {
        let conditions = read::list(listener, "/conditions");
        let conflict = Condition::among(conditions, "Conflicted").filter(|c| c.is_true());
        let found = match conflict {
            Some(conflict) => Some(Finding::failed(words(conflict))),
            None => wants(object, conditions, &["Accepted", "ResolvedRefs", "Programmed"]),
        };
        found.map(|found| found.after(&format!("listener {}", read::text(listener, "/name"))))
    });
    // A listener knows more than the gateway that complains about it.
    let found = Finding::worst(listeners.chain(own));
    found.unwrap_or_else(|| Finding::ready("it is programmed"))
}

/// Right when each of its parents has accepted it with all that it refers to.
pub(super) fn judge_route(object: &Value) -> Finding {
    let wanted = read::list(object, "/spec/parentRefs");
    let answers = read::list(object, "/status/parents");
    let found = wanted.iter().filter_map(|parent| {
        let name = read::text(parent, "/name");
        let of_it = answers.iter().filter(|answer| is_same(&answer["parentRef"], parent));
        let conditions: Vec<&[Value]> = of_it.map(|answer| read::list(answer, "/conditions")).collect();
        let found = match conditions.is_empty() {
            true => Some(Finding::waits("no controller has answered")),
            false => Finding::worst(
                conditions
                    .into_iter()
                    .filter_map(|conditions| wants(object, conditions, &["Accepted", "ResolvedRefs"])),
            ),
        };
        found.map(|found| found.after(&format!("parent {name}")))
    });
    Finding::worst(found).unwrap_or_else(|| match wanted.len() {
        0 => Finding::unknown("it has no parent"),
        1 => Finding::ready("its parent has accepted it"),
        count => Finding::ready(format!("its {count} parents have accepted it")),
    })
}

/// Whether two references to a parent are the same, with what is left out.
fn is_same(one: &Value, other: &Value) -> bool {
    let same = |field: &str| one.get(field).filter(|v| !v.is_null()) == other.get(field).filter(|v| !v.is_null());
    same("name") && same("sectionName") && same("port")
}

/// The worst of the conditions that are to be true and are not. One that speaks of an earlier generation says nothing.
fn wants(object: &Value, conditions: &[Value], kinds: &[&str]) -> Option<Finding> {
    let generation = read::count(object, "/metadata/generation");
    let judged = kinds.iter().filter_map(|kind| match Condition::among(conditions, kind) {
        None => Some(Finding::waits(format!("{kind} is not known yet"))),
        Some(one) if one.generation().is_some_and(|seen| seen < generation) => {
            Some(Finding::waits(format!("{kind} is not known of generation {generation} yet")))
        }
        Some(one) if one.is_true() => None,
        Some(one) if one.is_false() && NEVER.contains(&one.reason()) => Some(Finding::failed(words(one))),
        Some(one) if one.reason() == "Pending" => Some(Finding::waits(words(one))),
        Some(one) => Some(Finding::trouble(words(one))),
    });
    Finding::worst(judged)
}

fn words(condition: Condition<'_>) -> String {
    match condition.reason() {
        "" => condition.says().to_owned(),
        reason if reason == condition.says() => reason.to_owned(),
        reason => format!("{reason}: {}", condition.says()),
    }
}
