//! The JSON that scripts rely on: more keys may come, none goes away.

use super::time::rfc3339;
use deployctl_core::time::Millis;
use deployctl_core::view;
use serde_json::{Value, json};

/// Prints a value, indented.
pub(crate) fn print(value: &Value) {
    super::out(&serde_json::to_string_pretty(value).unwrap_or_default());
}

fn time(at: Option<Millis>) -> Value {
    at.map_or(Value::Null, |at| rfc3339(at).into())
}

/// An entry of `status`.
pub(crate) fn status(status: &view::Status) -> Value {
    json!({
        "project": status.project, "app": status.app, "environment": status.environment, "region": status.region,
        "version": status.version, "health": status.health, "detail": status.detail,
        "deployment": status.deployment, "urls": status.urls,
        "instances": status.instances.iter().map(instance).collect::<Vec<_>>(),
        "drift": status.drift, "running": status.running, "maintenance": status.maintenance, "since": time(status.since),
        "previous": status.previous,
    })
}

fn instance(instance: &view::Instance) -> Value {
    json!({
        "id": instance.id, "version": instance.version, "state": instance.state, "detail": instance.detail,
        "address": instance.address, "pid": instance.pid, "started_at": rfc3339(instance.started_at),
        "restarts": instance.restarts, "container": instance.container, "drift": instance.drift,
    })
}

/// An entry of `history`.
pub(crate) fn history(entry: &view::History) -> Value {
    json!({
        "id": entry.id, "action": entry.action, "app": entry.app, "environment": entry.environment,
        "region": entry.region, "version": entry.version, "previous": entry.previous, "strategy": entry.strategy,
        "verdict": entry.verdict, "restored": entry.restored, "reason": entry.reason, "note": entry.note,
        "actor": entry.actor, "started_at": rfc3339(entry.started_at), "ended_at": time(entry.ended_at),
    })
}

/// A deployment: the object of its first leg as in `history`, with `urls`, and all of them under `legs`.
pub(crate) fn deployment(view: &view::Deployment) -> Value {
    let legs: Vec<Value> = view.legs.iter().map(|leg| leg_of(view, leg)).collect();
    let mut first = legs.first().cloned().unwrap_or_else(|| json!({ "id": view.id }));
    let urls: Vec<&String> = view.legs.iter().flat_map(|leg| &leg.urls).collect();
    first["urls"] = json!(urls);
    first["deadline"] = rfc3339(view.deadline).into();
    first["paused"] = view.paused.into();
    first["waiting"] = view.waiting.clone().into();
    first["legs"] = legs.into();
    first
}

fn leg_of(view: &view::Deployment, leg: &view::Leg) -> Value {
    let closed = view.closed.as_ref();
    let verdict = closed.map_or("running", |closed| closed.verdict.word());
    json!({
        "id": view.id, "action": view.action, "app": leg.app, "environment": leg.environment, "region": leg.region,
        "version": leg.to.as_ref().or(leg.from.as_ref()), "previous": leg.from, "strategy": leg.strategy,
        "verdict": verdict, "restored": closed.map(|closed| closed.restored),
        "reason": closed.map(|closed| closed.reason.clone()), "note": view.note, "actor": view.actor,
        "started_at": rfc3339(view.started_at), "ended_at": time(closed.map(|closed| closed.at)),
        "duration_ms": closed.map(|closed| closed.at.0.saturating_sub(view.started_at.0)),
        "reached": leg.reached, "waypoints": leg.waypoints, "towards": leg.towards, "shares": leg.shares,
        "instances": leg.instances.iter().map(instance).collect::<Vec<_>>(), "urls": leg.urls,
    })
}
