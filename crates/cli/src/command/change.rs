//! Commands that change what runs, other than `deploy`.

use super::Context;
use super::carry::Errand;
use crate::args::{Change, Down, Maintenance, Output, Rollback, Steer, Switch};
use crate::asking::by;
use crate::fail::Failure;
use crate::follow;
use crate::output::{err, json};
use deployctl_api::{Switched, paths};
use deployctl_core::ask;
use deployctl_core::deployment::command::Command;
use deployctl_core::id::DeploymentId;
use serde_json::json;

pub(crate) async fn rollback(context: &Context, args: &Rollback) -> Result<(), Failure> {
    let ask = ask::Rollback {
        place: context.selection(&args.place)?,
        version: args.version.clone(),
        from: args.from.clone(),
        across_migration: args.across_migration,
        by: by(args.waiting.reason.as_deref()),
        id: None,
    };
    if let Some(errand) = Errand::of(context, &args.in_cluster, None)? {
        return errand.rollback(context, ask, &args.waiting).await;
    }
    let answer = follow::until_free(context, &args.waiting, |mut client| {
        let ask = &ask;
        async move { client.post(paths::ROLLBACK, ask).await }
    })
    .await?;
    let cancelled = matches!(&answer, ask::Answer::Deployment { changes, .. } if changes.iter().any(|c| c.ends_with("turned back")));
    match follow::answer(context, answer, &args.waiting).await {
        // The deployment that was under way is turned back, which is what was asked for.
        Err(Failure::Said(1)) if cancelled => Ok(()),
        done => done,
    }
}

pub(crate) async fn restart(context: &Context, args: &Change) -> Result<(), Failure> {
    simple(context, args, paths::RESTART, (false, false)).await
}

pub(crate) async fn down(context: &Context, args: &Down) -> Result<(), Failure> {
    simple(context, &args.change, paths::DOWN, (args.hand_back, args.delete_data)).await
}

async fn simple(
    context: &Context,
    args: &Change,
    path: &str,
    (hand_back, delete_data): (bool, bool),
) -> Result<(), Failure> {
    let (place, by) = (context.selection(&args.place)?, by(args.waiting.reason.as_deref()));
    let ask = ask::Simple { place, hand_back, delete_data, by };
    let answer = follow::until_free(context, &args.waiting, |mut client| {
        let ask = &ask;
        async move { client.post(path, ask).await }
    })
    .await?;
    follow::answer(context, answer, &args.waiting).await
}

pub(crate) async fn maintenance(context: &Context, args: &Maintenance) -> Result<(), Failure> {
    let on = args.switch == Switch::On;
    let ask = ask::Maintenance { place: context.selection(&args.place)?, on, by: by(None) };
    let switched: Switched = context.engine().await?.post(paths::MAINTENANCE, &ask).await?;
    if context.output() == Output::Json {
        json::print(&json!({ "maintenance": on, "changed": switched.apps }));
    }
    let word = if on { "on" } else { "off" };
    err(&if switched.apps.is_empty() {
        format!("the maintenance page is {word} already")
    } else {
        format!("the maintenance page is {word} for {}", switched.apps.join(", "))
    });
    Ok(())
}

pub(crate) async fn cancel(context: &Context, args: &Steer) -> Result<(), Failure> {
    steer(context, args, Command::Cancel, "is being turned back; follow it with `deployctl attach").await
}

pub(crate) async fn pause(context: &Context, args: &Steer) -> Result<(), Failure> {
    steer(context, args, Command::Pause, "stands still (its deadline goes on); `deployctl resume").await
}

pub(crate) async fn resume(context: &Context, args: &Steer) -> Result<(), Failure> {
    steer(context, args, Command::Resume, "goes on; follow it with `deployctl attach").await
}

async fn steer(context: &Context, args: &Steer, command: Command, what: &str) -> Result<(), Failure> {
    let ask = ask::Steer { command, by: by(args.reason.as_deref()) };
    let path = paths::with_id(paths::STEER, &args.id.id);
    let id: DeploymentId = context.engine().await?.post(&path, &ask).await?;
    if context.output() == Output::Json {
        json::print(&json!({ "id": id, "command": command }));
    }
    err(&format!("{id} {what} {id}`"));
    Ok(())
}
