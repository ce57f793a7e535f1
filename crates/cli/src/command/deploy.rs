//! `deploy`.

use super::Context;
use super::carry::Errand;
use crate::args;
use crate::fail::Failure;
use crate::project::Wanted;
use crate::pulls::Known;
use crate::{asking, build, follow, project};
use deployctl_api::paths;
use deployctl_core::ask::{Deploy, SavedPlan};

pub(crate) async fn deploy(context: &Context, args: &args::Deploy) -> Result<(), Failure> {
    let only = args.place.apps.app.as_ref();
    let spec = project::load(context.project(), &args.overlays.config, only, args.version.as_ref())?;
    let mut wanted = Wanted::new(spec, &args.place, args.version.as_ref())?;
    let plan = args.plan.as_deref().map(super::plan::read).transpose()?;
    let built = build::missing(context, &mut wanted, &args.build, plan.as_deref()).await?;
    wanted.pinned(Known::new()).await?;
    let planned = plan.as_deref().and_then(|text| SavedPlan::parse(text).ok()).map(|saved| saved.plan.id);
    let errand = Errand::of(context, &args.in_cluster, planned)?;
    let ask = wanted.ask(asking::by(args.waiting.reason.as_deref()), plan, built.here)?;
    let ask = Deploy { correct_drift: args.correct_drift, ..ask };
    if let Some(errand) = errand {
        return errand.deploy(context, ask, &args.waiting).await;
    }
    let answer = follow::until_free(context, &args.waiting, |mut client| {
        let ask = &ask;
        async move { client.post(paths::DEPLOY, ask).await }
    })
    .await?;
    drop(built);
    follow::answer(context, answer, &args.waiting).await
}
