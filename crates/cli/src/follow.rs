//! Following a deployment until its verdict, through a lost engine and Ctrl-C.

use crate::args::{Output, Waiting};
use crate::command::{Context, Stage};
use crate::fail::Failure;
use crate::output::live::Progress;
use crate::output::{err, json, log, one_line, out};
use deployctl_api::client::LOST;
use deployctl_api::{Query, paths};
use deployctl_core::ask::{Answer, Refused};
use deployctl_core::deployment::Verdict;
use deployctl_core::id::DeploymentId;
use deployctl_core::view;
use deployctl_sys::crash;
use serde_json::json;
use std::time::{Duration, Instant};

/// A deployment's end, as a command's.
pub(crate) async fn answer(context: &Context, answer: Answer, waiting: &Waiting) -> Result<(), Failure> {
    match answer {
        Answer::Nothing { why } => {
            if context.output() == Output::Json {
                json::print(&json!({ "unchanged": true, "reason": why }));
            }
            err(&why);
            Ok(())
        }
        Answer::Deployment { id, changes } => {
            for change in changes.iter().filter(|_| !waiting.json_log) {
                err(change);
            }
            if waiting.detach {
                match context.output() {
                    Output::Json => json::print(&json!({ "id": id, "verdict": "running" })),
                    Output::Human => out(id.as_str()),
                }
                err(&format!("accepted; it goes on by itself: deployctl attach {id}"));
                return Ok(());
            }
            to_the_end(context, &id, waiting.json_log).await
        }
    }
}

/// Shows a deployment until it ends and says its verdict.
pub(crate) async fn to_the_end(context: &Context, id: &DeploymentId, json_log: bool) -> Result<(), Failure> {
    let mut progress = Progress::new(json_log);
    context.stands(Stage::Follows(id.clone()));
    let view = views(context, id, &mut progress).await;
    context.stands(Stage::Before);
    progress.finish();
    let view = view?;
    verdict(context, &view, json_log)
}

async fn views(context: &Context, id: &DeploymentId, progress: &mut Progress) -> Result<view::Deployment, Failure> {
    let path = paths::with_id(paths::WATCH, id.as_str());
    loop {
        // An engine that died is started again; the deployment goes on with it. One that handed over to another build
        // is not called back.
        let client = context.any_engine().await?;
        let mut lines = match client.lines(&path, &Query::default()).await {
            Ok(lines) => lines,
            Err(refused) if refused.code == LOST => continue,
            Err(refused) => return Err(refused.into()),
        };
        let mut last: Option<view::Deployment> = None;
        loop {
            let next = tokio::time::timeout(Duration::from_millis(200), lines.next::<view::Deployment>()).await;
            match (next, &last) {
                (Ok(Ok(Some(view))), _) => {
                    progress.show(&view);
                    if view.closed.is_some() {
                        return Ok(view);
                    }
                    last = Some(view);
                }
                (Ok(Ok(None) | Err(_)), _) => break,
                (Err(_), Some(view)) => progress.tick(view),
                (Err(_), None) => {}
            }
        }
    }
}

fn verdict(context: &Context, view: &view::Deployment, json_log: bool) -> Result<(), Failure> {
    let Some(closed) = &view.closed else { return Err(Failure::Said(5)) };
    let line = one_line(&verdict_line(view, closed));
    if json_log {
        log::line(view, "verdict", &line);
    } else if context.output() == Output::Json {
        json::print(&json::deployment(view));
    } else if closed.verdict == Verdict::Succeeded {
        view.legs.iter().flat_map(|leg| &leg.urls).for_each(|url| out(url));
    }
    err(&line);
    match closed.verdict {
        Verdict::Succeeded => Ok(()),
        _ => Err(Failure::Said(1)),
    }
}

/// The last line: complete in itself.
fn verdict_line(view: &view::Deployment, closed: &view::Closed) -> String {
    let took = closed.at.since(view.started_at).as_millis();
    let changes: Vec<String> = view
        .legs
        .iter()
        .map(|leg| {
            let version =
                |v: &Option<deployctl_core::id::Version>| v.as_ref().map_or("nothing".into(), ToString::to_string);
            format!("{} {} -> {}", leg.app, version(&leg.from), version(&leg.to))
        })
        .collect();
    let env = view.legs.first().map_or(String::new(), |leg| format!(" in {}", leg.environment));
    let what = format!("{} {}{env}", view.action, changes.join(", "));
    let back = if closed.restored { "what ran before runs again" } else { "what ran before is NOT back" };
    match closed.verdict {
        Verdict::Succeeded => format!("succeeded: {what} in {took} ms"),
        Verdict::RolledBack => format!("rolled back: {what}: {}; {back}", closed.reason),
        Verdict::Cancelled => format!("cancelled: {what}: {}; {back}", closed.reason),
        Verdict::Failed => format!("failed: {what}: {}; {back}; next: deployctl show {}", closed.reason, view.id),
    }
}

/// Asks until it is not refused because of another deployment, for as long as `--wait` says.
pub(crate) async fn until_free<F>(
    context: &Context,
    waiting: &Waiting,
    ask: impl Fn(deployctl_api::client::Client) -> F,
) -> Result<Answer, Failure>
where
    F: Future<Output = Result<Answer, Refused>>,
{
    let end = Instant::now() + waiting.wait.unwrap_or_default();
    let mut told = false;
    loop {
        let client = context.engine().await?;
        context.stands(Stage::Asked);
        crash::point("client.asks");
        let answer = ask(client).await;
        crash::point("client.answered");
        context.stands(Stage::Before);
        match answer {
            Err(refused) if is_blocked(&refused) && Instant::now() < end => {
                if !told {
                    err(&format!("{}; waiting for it", refused.message));
                    told = true;
                }
                let left = end.saturating_duration_since(Instant::now());
                match &refused.blocked_by {
                    Some(id) => {
                        let _ = tokio::time::timeout(left, views(context, id, &mut Progress::silent())).await;
                    }
                    None => tokio::time::sleep(left.min(Duration::from_millis(500))).await,
                }
            }
            other => return Ok(other?),
        }
    }
}

/// Whether it helps to wait for somebody else.
fn is_blocked(refused: &Refused) -> bool {
    refused.blocked_by.is_some() || refused.code == "state-held"
}
