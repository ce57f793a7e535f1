//! `promote`: what is current in one environment, deployed to another, with the specification that it came with.

use super::Context;
use crate::args::{Promote, Where};
use crate::compose::Values;
use crate::fail::Failure;
use crate::project::Wanted;
use crate::{asking, follow, project, pulls, signed};
use deployctl_api::{Found, Query, paths};
use deployctl_core::ask::{Deploy, Refused, RefusedKind};
use deployctl_core::id::AppName;
use deployctl_core::view;

pub(crate) async fn promote(context: &Context, args: &Promote) -> Result<(), Failure> {
    let mut client = context.engine().await?;
    let here = Query {
        project: project::name(context.project())?,
        environment: Some(args.from.clone()),
        app: args.apps.app.clone(),
        ..Query::default()
    };
    let current: Vec<view::Status> = client.get(paths::STATUS, &here).await?;
    let mut apps: Vec<AppName> = Vec::new();
    for status in current.iter().filter(|status| status.version.is_some()) {
        if !apps.contains(&status.app) {
            apps.push(status.app.clone());
        }
    }
    let mut all: Option<(Deploy, Vec<AppName>)> = None;
    for app in apps {
        let query = Query { app: Some(app.clone()), name: Some(args.from.to_string()), ..here.clone() };
        let found: Found = client.get(paths::RELEASE, &query).await?;
        let spec = project::restored(found.spec.as_deref().unwrap_or_default())?;
        let spec = spec.for_version(Some(found.release.version.clone()));
        let order = spec.order(&args.to);
        let place = Where {
            env: args.to.clone(),
            apps: crate::args::Apps { app: Some(app.clone()), all: false },
            region: None,
        };
        let mut wanted = Wanted::new((spec, Values::new()), &place, Some(&found.release.version))?;
        wanted.pinned(pulls::known(&found.release.config)).await?;
        let mut ask = wanted.ask(asking::by(args.waiting.reason.as_deref()), None, false)?;
        for leg in &mut ask.legs {
            // The artifact is taken from what is kept, whatever lies where it once came from.
            leg.artifact = leg.artifact.take().and_then(|source| signed::again(source, &leg.config, &found.release));
            leg.built_here = found.release.artifact.is_none() && found.release.built_here;
        }
        match &mut all {
            None => all = Some((ask, order)),
            Some((first, _)) => first.legs.extend(ask.legs),
        }
    }
    let Some((mut ask, order)) = all else {
        let what = args.apps.app.as_ref().map_or("nothing".to_owned(), |app| format!("`{app}` is not"));
        let what = if args.apps.app.is_some() { what } else { format!("{what} is") };
        let message = format!("{what} current in {}, so there is nothing to promote", args.from);
        return Err(Refused::new(RefusedKind::Denied, "nothing-current", message).hint("nothing was changed").into());
    };
    let place = |app: &AppName| order.iter().position(|other| other == app);
    ask.legs.sort_by_key(|leg| (leg.scope.region.clone(), place(&leg.scope.app)));
    let answer = follow::until_free(context, &args.waiting, |mut client| {
        let ask = &ask;
        async move { client.post(paths::DEPLOY, ask).await }
    })
    .await?;
    follow::answer(context, answer, &args.waiting).await
}
