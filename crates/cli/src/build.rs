//! Building an unknown version: in a clean checkout of the revision that it names, or, where asked for, right here.

use crate::args;
use crate::command::Context;
use crate::fail::Failure;
use crate::output::err;
use crate::project::Wanted;
use deployctl_api::{Query, VersionKnown, paths};
use deployctl_core::ask::{Refused, RefusedKind, SavedPlan};
use deployctl_core::config::ArtifactSource;
use deployctl_core::release::Release;
use deployctl_driver_docker::BUILT;
use deployctl_spec::{Build, ResolvedApp};
use std::path::{Path, PathBuf};
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
            run(&argv(&build, app, &Origin::default()), &dir, app)?;
            built.here = true;
        } else {
            let checkout = Checkout::new(&dir, app)?;
            run(&argv(&build, app, &checkout.origin), &checkout.project, app)?;
            relocate(app, &dir, &checkout.project);
            built.checkouts.push(checkout);
        }
    }
    Ok(built)
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

/// Where what is built comes from; nothing is known of a tree that is no clean checkout.
#[derive(Default)]
struct Origin {
    revision: Option<String>,
    source: Option<String>,
}

/// Program and arguments of a build. An image is made for the engine that the containers run on, by its own program: so it
/// is made as `docker build` does it there, and says what it is made from.
fn argv(build: &Build, app: &ResolvedApp, origin: &Origin) -> Vec<String> {
    let image = match build {
        Build::Command(command) => return command.clone(),
        Build::Image(image) => image,
    };
    let mut argv: Vec<String> = ["docker", "build", "--tag", &image.tag].map(str::to_owned).into();
    let labels = [
        ("version", Some(app.version.as_str())),
        ("revision", origin.revision.as_deref()),
        ("source", origin.source.as_deref()),
    ];
    for (name, value) in labels.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        argv.extend(["--label".into(), format!("org.opencontainers.image.{name}={value}")]);
    }
    argv.extend(["--label".into(), format!("{BUILT}={}", app.app)]);
    argv.extend(image.dockerfile.iter().flat_map(|file| ["--file".to_owned(), file.clone()]));
    argv.extend(image.stage.iter().flat_map(|stage| ["--target".to_owned(), stage.clone()]));
    for (name, value) in &image.args {
        argv.extend(["--build-arg".into(), format!("{name}={value}")]);
    }
    argv.push(image.context.clone());
    argv
}

fn run(build: &[String], dir: &Path, app: &ResolvedApp) -> Result<(), Failure> {
    let Some((program, args)) = build.split_first() else { return Ok(()) };
    err(&format!("{}: building {}: {}", app.app, app.version, build.join(" ")));
    let mut command = Command::new(program);
    command.args(args).current_dir(dir).env("DEPLOYCTL_VERSION", app.version.as_str());
    // Whatever the build prints is progress, not a result.
    command.stdin(Stdio::null()).stdout(std::io::stderr());
    let status = command.status().map_err(|e| failed(app, &format!("`{program}` cannot be run: {e}")))?;
    if status.success() { Ok(()) } else { Err(failed(app, &format!("`{}` ended with {status}", build.join(" ")))) }
}

fn failed(app: &ResolvedApp, why: &str) -> Failure {
    let message = format!("{} {} could not be built: {why}", app.app, app.version);
    Refused::new(RefusedKind::Usage, "build-failed", message)
        .hint("nothing was changed; what it printed is above")
        .into()
}

/// A clean checkout of a revision, removed when it is dropped.
struct Checkout {
    repository: PathBuf,
    root: PathBuf,
    /// The project's directory in it.
    project: PathBuf,
    origin: Origin,
}

impl Checkout {
    fn new(dir: &Path, app: &ResolvedApp) -> Result<Self, Failure> {
        let repository = git(dir, &["rev-parse", "--show-toplevel"]).map_err(|_| {
            let message = format!(
                "{} {} is unknown, and {} is in no Git repository to build it from",
                app.app,
                app.version,
                dir.display()
            );
            Failure::from(
                Refused::new(RefusedKind::Usage, "no-revision", message)
                    .hint("--build-here builds the directory as it is"),
            )
        })?;
        let changes = git(dir, &["status", "--porcelain", "--untracked-files=no"]).map_err(|why| failed(app, &why))?;
        if !changes.is_empty() {
            let message = format!("{} {} is unknown, and the working tree has local changes", app.app, app.version);
            return Err(Refused::new(RefusedKind::Usage, "local-changes", message)
                .hint("commit them, or build the directory as it is with --build-here")
                .into());
        }
        let revision = git(dir, &["rev-parse", "--verify", "--quiet", &format!("{}^{{commit}}", app.version)]);
        let revision = revision.map_err(|_| {
            let message = format!(
                "{} {} is unknown, and no tag or commit of that name is in the repository",
                app.app, app.version
            );
            Failure::from(
                Refused::new(RefusedKind::Usage, "no-revision", message).hint("tag the commit with the version first"),
            )
        })?;
        let prefix = git(dir, &["rev-parse", "--show-prefix"]).map_err(|why| failed(app, &why))?;
        let root = std::env::temp_dir().join(format!("deployctl-build-{}-{}", std::process::id(), app.app));
        let root_text = root.to_string_lossy().into_owned();
        git(dir, &["worktree", "add", "--detach", "--force", &root_text, &revision])
            .map_err(|why| failed(app, &why))?;
        let project = root.join(prefix);
        let source = git(dir, &["config", "--get", "remote.origin.url"]).ok().map(|url| without_credentials(&url));
        let origin = Origin { revision: Some(revision), source };
        Ok(Self { repository: repository.into(), root, project, origin })
    }
}

/// An address without the name and password that may stand in it.
fn without_credentials(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            format!("{scheme}://{host}/{path}")
        }
        None => url.to_owned(),
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        let root = self.root.to_string_lossy().into_owned();
        let _ = git(&self.repository, &["worktree", "remove", "--force", &root]);
    }
}

/// The only place where Git is run; what it printed, or why not.
fn git(dir: &Path, args: &[&str]) -> Result<String, String> {
    let mut command = Command::new("git");
    command.arg("-C").arg(dir).args(args).stdin(Stdio::null()).env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
    let output = command.output().map_err(|e| format!("git cannot be run: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(format!("git {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

#[cfg(test)]
mod tests {
    use super::without_credentials;

    #[test]
    fn credentials_are_no_part_of_a_source() {
        assert_eq!(without_credentials("https://me:pw@h.example/a/b.git"), "https://h.example/a/b.git");
        assert_eq!(without_credentials("git@h.example:a/b.git"), "git@h.example:a/b.git");
    }
}
