//! `show` and `attach`.

use super::Context;
use crate::args::{Follow, Id, Output};
use crate::fail::Failure;
use crate::follow;
use crate::output::time::rfc3339;
use crate::output::{json, out};
use deployctl_api::{Query, paths};
use deployctl_core::journal::Entry;
use deployctl_core::view;
use serde_json::{Value, json};

pub(crate) async fn show(context: &Context, id: &Id) -> Result<(), Failure> {
    let mut client = context.engine().await?;
    let view: view::Deployment = client.get(&paths::with_id(paths::DEPLOYMENT, &id.id), &Query::default()).await?;
    let entries: Vec<Entry> = client.get(&paths::with_id(paths::ENTRIES, &id.id), &Query::default()).await?;
    match context.output() {
        Output::Json => {
            let mut value = json::deployment(&view);
            value["events"] = entries.iter().map(event_json).collect();
            json::print(&value);
        }
        Output::Human => out(&words(&view, &entries)),
    }
    Ok(())
}

fn event(entry: &Entry) -> Value {
    serde_json::from_str(&entry.event).unwrap_or_default()
}

fn event_json(entry: &Entry) -> Value {
    json!({ "seq": entry.seq, "at": rfc3339(entry.at), "actor": entry.actor, "event": event(entry), "hash": entry.hash })
}

fn words(view: &view::Deployment, entries: &[Entry]) -> String {
    let mut lines = vec![format!("{} {} by {} at {}", view.action, view.id, view.actor, rfc3339(view.started_at))];
    lines.extend(view.note.as_ref().map(|note| format!("  reason: {note}")));
    for leg in &view.legs {
        let version =
            |v: &Option<deployctl_core::id::Version>| v.as_ref().map_or("nothing".to_owned(), ToString::to_string);
        lines.push(format!(
            "  {} in {}: {} -> {}, {}",
            leg.app,
            leg.environment,
            version(&leg.from),
            version(&leg.to),
            leg.strategy
        ));
    }
    match &view.closed {
        Some(closed) => {
            let restored = if closed.restored { ", what ran before runs again" } else { "" };
            lines.push(format!("  {}{restored}: {}", closed.verdict.word(), closed.reason));
        }
        None => lines.push(format!("  running: {}", view.waiting.as_deref().unwrap_or("on its way"))),
    }
    for entry in entries {
        let mut event = event(entry);
        let what = event["type"].as_str().unwrap_or("?").to_owned();
        if let Some(fields) = event.as_object_mut() {
            fields.remove("type");
            fields.remove("plan");
            fields.remove("paths");
        }
        lines.push(format!("  {}  {what} {}", rfc3339(entry.at), event));
    }
    lines.join("\n")
}

pub(crate) async fn attach(context: &Context, args: &Follow) -> Result<(), Failure> {
    let path = paths::with_id(paths::DEPLOYMENT, &args.id.id);
    let view: view::Deployment = context.engine().await?.get(&path, &Query::default()).await?;
    follow::to_the_end(context, &view.id, args.json_log).await
}
