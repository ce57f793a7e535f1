//! `deploy`.

use super::Context;
use crate::args::Deploy;
use crate::fail::Failure;
use crate::project::Wanted;
use crate::{asking, build, follow, project};
use deployctl_api::paths;

pub(crate) async fn deploy(context: &Context, args: &Deploy) -> Result<(), Failure> {
    let only = args.place.apps.app.as_ref();
    let spec = project::load(context.project(), &args.overlays.config, only, args.version.as_ref())?;
    let mut wanted = Wanted::new(spec, &args.place, args.version.as_ref())?;
    let plan = args.plan.as_deref().map(super::plan::read).transpose()?;
    let built = build::missing(context, &mut wanted, &args.build, plan.as_deref()).await?;
    let ask = wanted.ask(asking::by(args.waiting.reason.as_deref()), plan, built.here)?;
    let answer = follow::until_free(context, &args.waiting, |mut client| {
        let ask = &ask;
        async move { client.post(paths::DEPLOY, ask).await }
    })
    .await?;
    drop(built);
    follow::answer(context, answer, &args.waiting).await
}
