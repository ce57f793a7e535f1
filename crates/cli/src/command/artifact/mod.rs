//! `artifact`: images and other artifacts, without an engine and without a project.

mod check;
mod images;
mod report;

use super::Context;
use crate::args::Artifact;
use crate::fail::Failure;

pub(crate) async fn artifact(context: &Context, what: Artifact) -> Result<(), Failure> {
    match what {
        Artifact::Check(args) => check::check(context, args).await,
        Artifact::Resolve(args) => images::resolve(context, args).await,
        Artifact::Copy(args) => images::copy(context, &args).await,
        Artifact::Promote(args) => images::promote(context, &args).await,
        Artifact::Referrers(args) => images::referrers(context, args).await,
        Artifact::Verify(args) => images::verify(context, args).await,
    }
}
