//! `show` and `attach`.

use super::Context;
use crate::args::{Follow, Id, Output};
use crate::fail::Failure;
use crate::follow;
use crate::output::time::rfc3339;
use crate::output::{json, one_line, out};
use deployctl_api::{Query, paths};
use deployctl_core::desired::JobKind;
use deployctl_core::journal::Entry;
use deployctl_core::time::Millis;
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
    lines.extend(view.note.as_ref().map(|note| format!("  reason: {}", one_line(note))));
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
    lines.extend(taken_back(entries));
    match &view.closed {
        Some(closed) => {
            let restored = if closed.restored { ", what ran before runs again" } else { "" };
            lines.push(format!(
                "  {}{restored}: {}",
                closed.verdict.word().replace('_', " "),
                one_line(&closed.reason)
            ));
        }
        None => lines.push(format!("  running: {}", view.waiting.as_deref().unwrap_or("on its way"))),
    }
    for entry in entries {
        let by = if entry.actor == "deployctl" { String::new() } else { format!(" by {}", entry.actor) };
        let event = event(entry);
        lines.push(format!("  {}  {}{by}", rfc3339(entry.at), one_line(&happened(view, &event))));
        lines.extend(printed(&event));
    }
    lines.join("\n")
}

/// What the plan said that it takes back of what others changed.
fn taken_back(entries: &[Entry]) -> Vec<String> {
    let opened = entries.iter().map(event).find(|event| event["type"] == "opened").unwrap_or_default();
    let legs = opened["plan"]["legs"].as_array().into_iter().flatten();
    let changes =
        legs.filter(|leg| leg["corrects"] == true).flat_map(|leg| leg["changes"].as_array().into_iter().flatten());
    let lines = changes.filter_map(Value::as_str).filter(|line| line.starts_with("correct "));
    lines.map(|line| format!("    {}", one_line(line))).collect()
}

/// An event of a deployment, for people.
fn happened(view: &view::Deployment, event: &Value) -> String {
    let text = |key: &str| event[key].as_str().unwrap_or_default();
    let time = |key: &str| event[key].as_u64().map_or(String::new(), |at| rfc3339(Millis(at)));
    let leg = event["leg"].as_u64().and_then(|leg| view.legs.get(usize::try_from(leg).ok()?));
    let app = leg.map_or(String::new(), |leg| match leg.region.as_str() {
        "default" => format!("{}: ", leg.app),
        region => format!("{}/{region}: ", leg.app),
    });
    let job: Option<JobKind> = serde_json::from_value(event["gate"]["what"].clone()).ok();
    let job = job.map_or("job".to_owned(), |job| format!("the {job}"));
    match text("type") {
        "opened" => format!("accepted, to be done by {}", time("deadline")),
        "leg_started" => format!("{app}begins"),
        "job_started" => format!("{app}{job} starts as {}", text("job")),
        "job_ended" => match event["failure"].as_str() {
            Some(why) => format!("{app}{job} failed: {why}"),
            None => format!("{app}{job} ended well"),
        },
        "hold_started" => format!("{app}held until {}", time("until")),
        "reached" => format!("{app}waypoint {} reached", event["waypoint"].as_u64().unwrap_or(0) + 1),
        "turned_back" => format!("turned back, to be done by {}: {}", time("deadline"), text("reason")),
        "closed" => format!("{}: {}", text("verdict").replace('_', " "), text("reason")),
        other => other.to_owned(),
    }
}

/// What a job printed last.
fn printed(event: &Value) -> Vec<String> {
    let lines = event["printed"].as_array().into_iter().flatten().filter_map(Value::as_str);
    lines.map(|line| format!("    | {}", one_line(line))).collect()
}

pub(crate) async fn attach(context: &Context, args: &Follow) -> Result<(), Failure> {
    let path = paths::with_id(paths::DEPLOYMENT, &args.id.id);
    let view: view::Deployment = context.engine().await?.get(&path, &Query::default()).await?;
    follow::to_the_end(context, &view.id, args.json_log).await
}
