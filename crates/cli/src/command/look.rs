//! Commands that only look.

use super::Context;
use crate::args::{History, Logs, OneApp, Output, Place, Status};
use crate::fail::Failure;
use crate::output::{err, human, json, out};
use deployctl_api::{Query, paths};
use deployctl_core::ask::{Refused, RefusedKind};
use deployctl_core::instance::LogLine;
use deployctl_core::view;
use serde_json::{Value, json};

/// People see so many past deployments unless told otherwise; scripts get what the engine gives.
const HISTORY_LINES: usize = 30;

async fn statuses(context: &Context, query: &Query) -> Result<Vec<view::Status>, Failure> {
    Ok(context.engine().await?.get(paths::STATUS, query).await?)
}

pub(crate) async fn overview(context: &Context) -> Result<(), Failure> {
    let query = Query { project: crate::project::name(context.project())?, ..Query::default() };
    let all = statuses(context, &query).await?;
    print(context, &all, json::status, || human::overview(&all));
    Ok(())
}

pub(crate) async fn status(context: &Context, args: &Status) -> Result<(), Failure> {
    let all = statuses(context, &context.query(&args.place)?).await?;
    if !args.drift {
        print(context, &all, json::status, || human::status(&all));
        return Ok(());
    }
    print(context, &all, json::status, || human::drift(&all));
    let count: usize = all.iter().map(|status| status.drift.len()).sum();
    if count == 0 {
        return Ok(());
    }
    err(&format!("{count} {} by hand", if count == 1 { "thing was changed" } else { "things were changed" }));
    Err(Failure::Said(1))
}

pub(crate) async fn list(context: &Context, place: &Place) -> Result<(), Failure> {
    let all = statuses(context, &context.query(place)?).await?;
    let entry = |s: &view::Status| json!({ "app": s.app, "environment": s.environment, "region": s.region, "version": s.version, "health": s.health });
    print(context, &all, entry, || human::list(&all));
    Ok(())
}

pub(crate) async fn history(context: &Context, args: &History) -> Result<(), Failure> {
    let limit = args.limit.or((context.output() == Output::Human).then_some(HISTORY_LINES));
    let query = Query { limit, ..context.query(&args.place)? };
    let all: Vec<view::History> = context.engine().await?.get(paths::HISTORY, &query).await?;
    print(context, &all, json::history, || human::history(&all));
    Ok(())
}

fn print<T>(context: &Context, all: &[T], entry: impl Fn(&T) -> Value, human: impl Fn() -> String) {
    match context.output() {
        Output::Json => json::print(&all.iter().map(entry).collect()),
        Output::Human => out(&human()),
    }
}

pub(crate) async fn health(context: &Context, place: &OneApp) -> Result<(), Failure> {
    let place = Place { env: Some(place.env.clone()), app: Some(place.app.clone()), region: place.region.clone() };
    let all: Vec<view::Status> = context.engine().await?.get(paths::HEALTH, &context.query(&place)?).await?;
    print(context, &all, json::status, || human::health(&all));
    match all.iter().find(|status| status.health != "healthy") {
        None if !all.is_empty() => Ok(()),
        None => {
            let (app, env) = (place.app.as_ref().map_or("", |app| app.as_str()), place.env.as_ref());
            let message = format!("`{app}` was never deployed to `{}`", env.map_or("", |env| env.as_str()));
            Err(Refused::new(RefusedKind::Denied, "never-deployed", message)
                .hint("`deployctl list` shows what runs where")
                .into())
        }
        Some(bad) => {
            err(&format!("{} in {} is {}", bad.app, bad.environment, bad.health));
            Err(Failure::Said(1))
        }
    }
}

pub(crate) async fn logs(context: &Context, args: &Logs) -> Result<(), Failure> {
    let query = Query { tail: Some(args.tail), follow: Some(args.follow), ..context.query(&args.place)? };
    let mut lines = context.engine().await?.lines(paths::LOGS, &query).await?;
    while let Some(line) = lines.next::<LogLine>().await? {
        match context.output() {
            Output::Json => out(&json!({ "instance": line.instance, "line": line.line }).to_string()),
            Output::Human => out(&format!("{} | {}", line.instance, line.line)),
        }
    }
    Ok(())
}
