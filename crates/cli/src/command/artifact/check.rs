//! `artifact check`: where the artifact is found, what is tried, and what is said of it.

use super::{Context, report};
use crate::args::{Check, Output, TargetName};
use crate::fail::Failure;
use crate::output::{err, json, out};
use crate::registry;
use deployctl_core::ask::{Refused, RefusedKind};
use deployctl_core::fault::Fault;
use deployctl_driver_docker::{Attempt, Endpoint, LocalImage, LocalImages};
use deployctl_oci::{Platform, Reference};
use deployctl_readiness::inspect::{self, Limits};
use deployctl_readiness::{Kind, Subject, Target, Trial, judge, sarif};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// No image of the engine that is larger is written down to be looked at.
const SAVED_BYTES_MAX: u64 = 16 << 30;

/// A name that ends so is meant to be a file, never an image to be looked for in a registry.
const PACKAGES: [&str; 6] = [".whl", ".zip", ".tar", ".tar.gz", ".tgz", ".pyz"];

pub(super) async fn check(context: &Context, args: Check) -> Result<(), Failure> {
    let platform = args.platform.clone().unwrap_or_else(Platform::here);
    let subject = find(context, &args, &platform).await?;
    let targets: Vec<Target> = args.targets.iter().map(|target| of(*target)).collect();
    let shown = if targets.is_empty() { Target::ALL } else { targets.as_slice() };
    let report = judge(subject, &platform, shown);
    if context.sarif() {
        json::print(&sarif::log(&report, env!("CARGO_PKG_VERSION")));
    } else if context.output() == Output::Json {
        json::print(&report::json(&report, &platform));
    } else {
        out(&report::words(&report, &platform));
    }
    err(&report::verdict(&report));
    let asked = !targets.is_empty();
    let fails = report.verdicts.iter().any(|verdict| !verdict.can_run);
    if asked && fails { Err(Failure::Said(1)) } else { Ok(()) }
}

fn of(name: TargetName) -> Target {
    match name {
        TargetName::Process => Target::Process,
        TargetName::Docker => Target::Docker,
        TargetName::Kubernetes => Target::Kubernetes,
    }
}

/// The artifact: a file or folder of this name, else an image, which the engine has or a registry.
async fn find(context: &Context, args: &Check, platform: &Platform) -> Result<Subject, Failure> {
    let path = PathBuf::from(&args.what);
    if path.exists() {
        if args.tried {
            return Err(Failure::usage("bad-usage", format!("--try starts images; {} is a file", args.what)));
        }
        let platform = platform.clone();
        return blocking(move || inspect::path(&path, &platform, &Limits::default()).map_err(unreadable)).await;
    }
    if args.what.starts_with(['/', '.']) || PACKAGES.iter().any(|end| args.what.ends_with(end)) {
        return Err(Failure::usage("bad-usage", format!("there is no file or folder {}", args.what)));
    }
    let reference: Reference = args.what.parse()?;
    // A deployment takes it from there, too.
    let wanted = args.tried || !has_registry(&args.what);
    let local = if wanted { local(&args.what, args.tried).await? } else { None };
    let Some((engine, image)) = local else {
        if args.tried {
            let message = format!("the Docker Engine has no image {}, so it cannot be tried", args.what);
            let hint = "nothing was changed; `docker pull` it first";
            return Err(Refused::new(RefusedKind::Usage, "image-missing", message).hint(hint).into());
        }
        let platform = platform.clone();
        let limits = Limits::default();
        return registry::with(move |registry| inspect::in_registry(registry, &reference, &platform, &limits)).await;
    };
    let mut subject = saved(context, &engine, &image, &args.what, platform).await?;
    if let (true, Kind::Image(described)) = (args.tried, &mut subject.kind) {
        let within = Duration::from_secs(args.within);
        let attempt = engine.attempt(&image, within).await.map_err(away)?;
        described.trial = Some(match attempt {
            Attempt::NotStarted(why) => Trial::NotStarted(why),
            Attempt::Exited(code) => Trial::Exited(code),
            Attempt::Ended(after) => Trial::Ended(u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
            Attempt::WentOn => Trial::WentOn(args.within),
        });
    }
    Ok(subject)
}

/// The image in the engine. An engine that is away matters only to who needs it, or said which one is meant.
async fn local(name: &str, needed: bool) -> Result<Option<(LocalImages, LocalImage)>, Failure> {
    let endpoint = Endpoint::of(|name| std::env::var(name).ok());
    let needed = needed || endpoint.is_named();
    let look = async {
        let engine = LocalImages::new(&endpoint)?;
        Ok(engine.find(name).await?.map(|image| (engine, image)))
    };
    match look.await {
        Ok(found) => Ok(found),
        Err(fault) if needed => Err(away(fault)),
        Err(_) => Ok(None),
    }
}

fn away(fault: Fault) -> Failure {
    Refused::from(fault).into()
}

/// An image of the engine, by way of a file that nobody else can read and that is gone afterwards.
async fn saved(
    context: &Context,
    engine: &LocalImages,
    image: &LocalImage,
    name: &str,
    platform: &Platform,
) -> Result<Subject, Failure> {
    crate::state::prepare(context.state())?;
    let folder = Scratch::new(context.state())?;
    let path = folder.0.join("image.tar");
    let file = std::fs::File::create(&path).map_err(|e| unwritable(&path, &e))?;
    engine.save(&image.id, file, SAVED_BYTES_MAX).await.map_err(away)?;
    let (name, in_registry, platform) = (name.to_owned(), image.in_registry, platform.clone());
    blocking(move || {
        let _folder = folder;
        inspect::image_of_engine(&path, &name, in_registry, &platform, &Limits::default()).map_err(unreadable)
    })
    .await
}

/// A folder for this process alone, removed with what is in it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(state: &Path) -> Result<Self, Failure> {
        for entry in std::fs::read_dir(state).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let pid = name.strip_prefix("check-").and_then(|pid| pid.parse::<u32>().ok());
            // What an interrupted one left.
            if pid.is_some_and(|pid| deployctl_sys::process::stat(pid).is_none()) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        let path = state.join(format!("check-{}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|e| unwritable(&path, &e))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::usage("unwritable", format!("{} cannot be written: {error}", path.display()))
}

fn unreadable(error: inspect::NotRead) -> Failure {
    Failure::usage("bad-usage", error.to_string())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| Err(Refused::new(RefusedKind::Internal, "internal", e.to_string()).into()))
}

/// Whether a name says which registry has it.
fn has_registry(name: &str) -> bool {
    name.split_once('/').is_some_and(|(first, _)| first.contains(['.', ':']) || first == "localhost")
}
