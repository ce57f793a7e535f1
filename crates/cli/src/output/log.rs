//! `--json-log`: one JSON object a line, with Elastic Common Schema field names.

use super::time::{now, rfc3339};
use deployctl_core::view;
use serde_json::json;

/// A line about a deployment.
pub(crate) fn line(view: &view::Deployment, action: &str, message: &str) {
    let leg = view.leg.and_then(|leg| view.legs.get(leg)).or(view.legs.first());
    let outcome = view.closed.as_ref().map(|closed| {
        if closed.verdict == deployctl_core::deployment::Verdict::Succeeded { "success" } else { "failure" }
    });
    let level = if outcome == Some("failure") || view.back.is_some() { "warn" } else { "info" };
    let line = json!({
        "@timestamp": rfc3339(now()), "ecs.version": "8.11.0", "log.level": level, "message": message,
        "event.action": action, "event.outcome": outcome, "event.kind": "event", "user.name": view.actor,
        "service.name": leg.map(|leg| leg.app.to_string()),
        "service.environment": leg.map(|leg| leg.environment.to_string()),
        "service.version": leg.and_then(|leg| leg.to.as_ref().map(ToString::to_string)),
        "labels": { "deployment": view.id.to_string() },
    });
    super::out(&line.to_string());
}
