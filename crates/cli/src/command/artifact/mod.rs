//! `artifact`: images and other artifacts, without an engine and without a project.

mod images;

use super::Context;
use crate::args::Artifact;
use crate::fail::Failure;

pub(crate) async fn artifact(context: &Context, what: Artifact) -> Result<(), Failure> {
    match what {
        Artifact::Check(_) => Err(Failure::usage("not-built", "x")),
        Artifact::Resolve(args) => images::resolve(context, args).await,
        Artifact::Copy(args) => images::copy(context, &args).await,
        Artifact::Promote(args) => images::promote(context, &args).await,
        Artifact::Referrers(args) => images::referrers(context, args).await,
        Artifact::Verify(args) => images::verify(context, args).await,
    }
}
