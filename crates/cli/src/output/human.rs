//! What people read.

use super::table::table;
use super::time::{ago, rfc3339};
use super::{colour_out, one_line, shorten};
use deployctl_core::view::{History, Instance, Status};

/// `status`: a block per scope, worst first would hide the order; so in the order of names.
pub(crate) fn status(all: &[Status]) -> String {
    if all.is_empty() {
        return "nothing was deployed here yet; `deployctl deploy --env ENV --all --version VERSION` begins".into();
    }
    let blocks: Vec<String> = all.iter().map(block).collect();
    blocks.join("\n\n")
}

/// `status --drift`: what somebody changed by hand, by scope.
pub(crate) fn drift(all: &[Status]) -> String {
    let of = |status: &Status| {
        let version = status.version.as_ref().map_or("nothing".to_owned(), ToString::to_string);
        let mut lines = match (&status.drift[..], status.health.as_str()) {
            ([], "healthy") => vec![format!("{}: as {version} was deployed", place(status))],
            ([], health) => vec![format!("{}: {version} is {health}; nothing is known of changes", place(status))],
            _ => vec![format!("{}: changed since {version} was deployed", place(status))],
        };
        lines.extend(status.drift.iter().map(|line| format!("  {}", one_line(line))));
        lines.join("\n")
    };
    if all.is_empty() { status(all) } else { all.iter().map(of).collect::<Vec<_>>().join("\n") }
}

/// `health`: the same, with what the check of each instance said.
pub(crate) fn health(all: &[Status]) -> String {
    let detail = |i: &Instance| i.detail.as_ref().map(|detail| format!("  {}: {detail}", i.id));
    let with = |status: &Status| {
        let shown = status.detail.as_deref().unwrap_or_default();
        let details = status.instances.iter().filter_map(detail).filter(|line| !shown.contains(line.trim()));
        let mut lines = vec![block(status)];
        lines.extend(details);
        lines.join("\n")
    };
    if all.is_empty() { status(all) } else { all.iter().map(with).collect::<Vec<_>>().join("\n\n") }
}

fn paint(health: &str) -> String {
    if !colour_out() {
        return health.into();
    }
    let colour = match health {
        "healthy" => "32",
        "degraded" | "unknown" => "33",
        _ => "31",
    };
    format!("\x1b[{colour}m{health}\x1b[0m")
}

fn place(status: &Status) -> String {
    let region = if status.region.as_str() == "default" { String::new() } else { format!("/{}", status.region) };
    format!("{}{region} {}", status.environment, status.app)
}

fn block(status: &Status) -> String {
    let since = status.since.map_or(String::new(), |since| format!(", since {} ({})", rfc3339(since), ago(since)));
    let what = match &status.version {
        Some(version) => format!("{version} is {}", paint(&status.health)),
        None => "nothing is current".to_owned(),
    };
    let mut lines = vec![format!("{}: {what}{since}", place(status))];
    if let Some(detail) = &status.detail {
        lines.push(format!("  {detail}"));
    }
    if status.maintenance {
        lines.push("  the maintenance page is on".into());
    }
    if let Some(running) = &status.running {
        lines.push(format!("  changing now: deployctl attach {running}"));
    }
    lines.extend(status.urls.iter().map(|url| format!("  {url}")));
    let rows: Vec<Vec<String>> = status
        .instances
        .iter()
        .map(|i| {
            let pid = i.pid.map_or(String::new(), |pid| format!("pid {pid}"));
            let process = i.container.clone().unwrap_or(pid);
            let restarts = if i.restarts > 0 { format!("{} restarts", i.restarts) } else { String::new() };
            let address = i.address.clone().unwrap_or_default();
            vec![format!("  {}", i.id), i.version.clone(), i.state.clone(), address, process, restarts]
        })
        .collect();
    if !rows.is_empty() {
        let text = table(&["  INSTANCE", "VERSION", "STATE", "ADDRESS", "PROCESS", ""], &rows);
        lines.push(text);
    }
    lines.join("\n")
}

/// The 3 am screen: what runs, the last verdict, and the exact command to undo it.
pub(crate) fn overview(all: &[Status]) -> String {
    if all.is_empty() {
        return status(all);
    }
    let mut lines = Vec::new();
    for status in all {
        lines.push(block(status));
        if let Some(last) = &status.last {
            let reason = last.reason.as_deref().filter(|_| last.verdict != "succeeded");
            lines.push(format!(
                "  last: {} {} {} by {}, {}{}",
                last.action,
                last.version.as_ref().map_or(String::new(), ToString::to_string),
                last.verdict.replace('_', " "),
                last.actor,
                ago(last.ended_at.unwrap_or(last.started_at)),
                reason.map_or(String::new(), |reason| format!("\n  why:  {}", one_line(reason))),
            ));
        }
        let undo = match (&status.running, &status.previous, &status.last) {
            (Some(id), _, _) => Some(format!("deployctl cancel {id}")),
            (None, _, Some(last)) if last.restored == Some(true) && last.verdict != "succeeded" => None,
            (None, Some(previous), _) => Some(format!(
                "deployctl rollback --env {} --app {}   (back to {previous})",
                status.environment, status.app
            )),
            _ => None,
        };
        lines.extend(undo.map(|undo| format!("  undo: {undo}")));
        lines.push(String::new());
    }
    lines.join("\n").trim_end().to_owned()
}

/// `list`: a row per app, a column per environment.
pub(crate) fn list(all: &[Status]) -> String {
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|s| {
            let version = s.version.as_ref().map_or("-".to_owned(), ToString::to_string);
            vec![s.environment.to_string(), s.region.to_string(), s.app.to_string(), version, s.health.clone()]
        })
        .collect();
    table(&["ENVIRONMENT", "REGION", "APP", "VERSION", "HEALTH"], &rows)
}

/// `history`.
pub(crate) fn history(all: &[History]) -> String {
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|h| {
            let text = |version: &Option<deployctl_core::id::Version>| {
                version.as_ref().map_or("-".to_owned(), ToString::to_string)
            };
            let reason = h.reason.as_deref().filter(|_| h.verdict != "succeeded").or(h.note.as_deref());
            let reason = shorten(&one_line(reason.unwrap_or_default()), 100);
            vec![
                rfc3339(h.started_at),
                h.environment.to_string(),
                h.app.to_string(),
                h.action.to_string(),
                format!("{} -> {}", text(&h.previous), text(&h.version)),
                h.verdict.replace('_', " "),
                h.actor.clone(),
                h.id.to_string(),
                reason,
            ]
        })
        .collect();
    table(&["STARTED", "ENV", "APP", "WHAT", "VERSIONS", "VERDICT", "BY", "DEPLOYMENT", "WHY"], &rows)
}
