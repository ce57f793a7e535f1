//! Building an unknown version: in a clean checkout of the revision that it names, or, where asked for, right here.

mod checkout;
mod image;

use crate::args;
use crate::command::Context;
use crate::compose::Values;
use crate::fail::Failure;
use crate::output::err;
use crate::project::Wanted;
use crate::secrets::Reader;
use checkout::{Checkout, Origin};
use deployctl_api::{Query, VersionKnown, paths};
use deployctl_core::ask::{Refused, RefusedKind, SavedPlan};
use deployctl_core::config::ArtifactSource;
use deployctl_core::release::Release;
use deployctl_spec::{Build, ResolvedApp};
use std::path::Path;
use std::process::{Command, Stdio};

/// What was built, and the checkout that must stay until the artifact is taken in.
#[derive(Default)]
pub(crate) struct Built {
    /// Whether anything was built from a tree that is no clean checkout.
    pub(crate) here: bool,
    checkouts: Vec<Checkout>,
}

/// Builds what is neither known nor in the saved plan: that names what was built for it.
pub(crate) async fn missing(
    context: &Context,
    wanted: &mut Wanted,
    flags: &args::Build,
    plan: Option<&str>,
) -> Result<Built, Failure> {
    let planned = plan.and_then(|text| SavedPlan::parse(text).ok()).map_or_else(Vec::new, |plan| plan.releases);
    let mut built = Built::default();
    let project = wanted.spec.project.clone();
    let dir = wanted.spec.dir().to_path_buf();
    let mut secrets = Reader::new(&wanted.spec, Values::new());
    for app in &mut wanted.apps {
        let Some(build) = app.build.clone() else { continue };
        let query = Query {
            project: Some(project.clone()),
            environment: Some(app.environment.clone()),
            app: Some(app.app.clone()),
            version: Some(app.version.clone()),
            ..Query::default()
        };
        let known: VersionKnown = context.engine().await?.get(paths::VERSION, &query).await?;
        if known.sha256.is_some() || planned.iter().any(|release| is_of(app, release)) {
            // Its bytes are kept; a file that happens to lie there was not asked for.
            app.artifact = None;
            continue;
        }
        if flags.build_here {
            one(&build, app, &Origin::default(), &dir, &mut secrets)?;
            built.here = true;
        } else {
            let checkout = Checkout::new(&dir, app)?;
            one(&build, app, &checkout.origin, &checkout.project, &mut secrets)?;
            relocate(app, &dir, &checkout.project);
            built.checkouts.push(checkout);
        }
    }
    Ok(built)
}

fn one(build: &Build, app: &ResolvedApp, origin: &Origin, dir: &Path, secrets: &mut Reader<'_>) -> Result<(), Failure> {
    match build {
        Build::Command(command) => run(command, dir, app),
        Build::Image(build) => image::make(build, app, origin, dir, secrets),
    }
}

fn is_of(app: &ResolvedApp, planned: &Release) -> bool {
    planned.environment == app.environment
        && planned.region == app.region
        && planned.app == app.app
        && planned.version == app.version
        && planned.artifact.is_some()
}

/// The artifact of a checkout lies where it would lie in the project.
fn relocate(app: &mut ResolvedApp, dir: &Path, checkout: &Path) {
    let inside =
        Wanted::artifact_path(app).and_then(|path| path.strip_prefix(dir).ok()).map(|path| checkout.join(path));
    if let Some(path) = inside {
        app.artifact = Some(ArtifactSource::Path(path.to_string_lossy().into_owned()));
    }
}

fn run(command: &[String], dir: &Path, app: &ResolvedApp) -> Result<(), Failure> {
    let Some((program, args)) = command.split_first() else { return Ok(()) };
    begins(app, command);
    let mut command = Command::new(program);
    command.args(args).current_dir(dir).env("DEPLOYCTL_VERSION", app.version.as_str());
    // Whatever the build prints is progress, not a result.
    command.stdin(Stdio::null()).stdout(std::io::stderr());
    let status = command.status().map_err(|e| failed(app, &format!("`{program}` cannot be run: {e}")))?;
    let words = || std::iter::once(program).chain(args).cloned().collect::<Vec<_>>().join(" ");
    if status.success() { Ok(()) } else { Err(failed(app, &format!("`{}` ended with {status}", words()))) }
}

fn begins(app: &ResolvedApp, command: &[String]) {
    err(&format!("{}: building {}: {}", app.app, app.version, command.join(" ")));
}

fn message(app: &ResolvedApp, why: &str) -> String {
    format!("{} {} could not be built: {why}", app.app, app.version)
}

fn failed(app: &ResolvedApp, why: &str) -> Failure {
    Refused::new(RefusedKind::Usage, "build-failed", message(app, why))
        .hint("nothing was changed; what it printed is above")
        .into()
}
