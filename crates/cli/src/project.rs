//! The project at hand: its specification, and what is asked of the engine because of it.

use crate::args::Where;
use crate::compose::{self, Values};
use crate::fail::Failure;
use crate::render;
use crate::secrets::Reader;
use crate::{pulls, signed};
use deployctl_core::ask::{By, Deploy, DeployLeg};
use deployctl_core::config::ArtifactSource;
use deployctl_core::id::{AppName, EnvName, ProjectName, RegionName, Scope, Version};
use deployctl_spec::{Environment, FILE_NAMES, InCluster, ResolvedApp, Source, Spec, find_project};
use std::path::{Path, PathBuf};

/// The project's directory.
pub(crate) fn dir(given: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(given) = given {
        return Ok(given.to_path_buf());
    }
    let here =
        std::env::current_dir().map_err(|e| Failure::usage("no-project", format!("no current directory: {e}")))?;
    find_project(&here).ok_or_else(|| {
        let message = format!(
            "no deployctl.yaml in {} or above it; `deployctl init` writes one, --project names another directory",
            here.display()
        );
        Failure::usage("no-project", message)
    })
}

/// The specification, with what its Compose files say and the secrets of these, and with what is rendered for a version: of
/// all, or of those that `only` needs.
pub(crate) fn load(
    given: Option<&Path>,
    overlays: &[PathBuf],
    only: Option<&AppName>,
    version: Option<&Version>,
) -> Result<(Spec, Values), Failure> {
    let spec = Spec::load(&dir(given)?, overlays)?.for_version(version.cloned());
    compose::read(render::read(spec, only)?, only)
}

/// The project's name, if there is a project; of a broken specification what it says as its name. Looking and going back
/// must work at 3 am, whatever the file has come to.
pub(crate) fn name(given: Option<&Path>) -> Result<Option<ProjectName>, Failure> {
    let Ok(dir) = dir(given) else { return Ok(None) };
    match Spec::load(&dir, &[]) {
        Ok(spec) => Ok(Some(spec.project.clone())),
        Err(why) if given.is_some() && find_project(&dir).is_none_or(|found| !same(&found, &dir)) => Err(why.into()),
        Err(_) => Ok(said_name(&dir)),
    }
}

/// Where the project says that its state is, if there is a project and it says so; of a broken specification what it says.
pub(crate) fn state(given: Option<&Path>) -> Option<String> {
    let dir = dir(given).ok()?;
    match Spec::load(&dir, &[]) {
        Ok(spec) => spec.state,
        Err(_) => said(&dir, "state:"),
    }
}

/// How deployctl runs as a Job in the cluster, if there is a project and it says so. A broken specification says nothing.
pub(crate) fn in_cluster(given: Option<&Path>) -> InCluster {
    let spec = dir(given).ok().and_then(|dir| Spec::load(&dir, &[]).ok());
    spec.map(|spec| spec.in_cluster).unwrap_or_default()
}

fn same(a: &Path, b: &Path) -> bool {
    std::path::absolute(b).is_ok_and(|b| *a == *b)
}

/// What stands after `project:` at the beginning of a line.
fn said_name(dir: &Path) -> Option<ProjectName> {
    ProjectName::new(said(dir, "project:")?).ok()
}

/// What stands after a key at the beginning of a line.
fn said(dir: &Path, key: &str) -> Option<String> {
    let text = FILE_NAMES.iter().find_map(|name| std::fs::read(dir.join(name)).ok())?;
    let text = String::from_utf8_lossy(&text);
    let said = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(said.split(" #").next().unwrap_or_default().trim().trim_matches(['"', '\'']).to_owned())
}

/// What a deployment asks for, before artifacts are built.
pub(crate) struct Wanted {
    pub(crate) spec: Spec,
    pub(crate) apps: Vec<ResolvedApp>,
    values: Values,
}

impl Wanted {
    /// Resolves the selected apps of an environment, in the order of their dependencies, region by region.
    pub(crate) fn new(
        (spec, values): (Spec, Values),
        place: &Where,
        version: Option<&Version>,
    ) -> Result<Self, Failure> {
        let environment = spec.environment(place.env.as_str())?.clone();
        let only = place.apps.app.as_ref();
        if let Some(app) = only {
            spec.app(app.group().unwrap_or(app.as_str()))?;
        }
        let regions = regions(&environment, place.region.as_ref())?;
        let mut apps: Vec<ResolvedApp> = Vec::new();
        for region in &regions {
            for app in spec.order(&environment.name) {
                if only.is_none_or(|only| *only == app || only.group() == Some(app.as_str())) {
                    let mut here = spec.resolve(&environment.name, &app, region, version)?;
                    here.retain(|app| only.is_none_or(|only| app.app.is_meant_by(only)));
                    apps.append(&mut here);
                }
            }
        }
        if let (Some(only), true) = (only, apps.is_empty()) {
            let message = format!("there is no app `{only}`: its Compose file has no such service");
            return Err(Failure::usage("spec-unknown-name", message));
        }
        if let (Some(only), Some(version)) = (only, version)
            && let Some(pinned) = apps.iter().find(|app| app.app == *only && app.version != *version)
        {
            let message =
                format!("{} pins version {}, so it cannot be brought to {version}", pinned.app, pinned.version);
            return Err(Failure::usage("version-pinned", message));
        }
        Ok(Self { spec, apps, values })
    }

    /// Gives images that a cluster pulls the digests that they have now, or that are known.
    pub(crate) async fn pinned(&mut self, known: pulls::Known) -> Result<(), Failure> {
        pulls::pin(&mut self.apps, known).await
    }

    /// The question to the engine. Reads the secrets.
    pub(crate) fn ask(&self, by: By, plan: Option<String>, built_here: bool) -> Result<Deploy, Failure> {
        let mut secrets = Reader::new(&self.spec, self.values.clone());
        let mut legs = Vec::new();
        for app in &self.apps {
            let mut values = std::collections::BTreeMap::new();
            for reference in &app.secrets {
                values.insert(reference.clone(), secrets.read(reference)?);
            }
            legs.push(DeployLeg {
                scope: scope(&self.spec.project, &app.environment, &app.region, &app.app),
                version: app.version.clone(),
                config: app.config.clone(),
                artifact: signed::source(app)?,
                sha256: app.artifact_sha256.clone(),
                known_first: app.known_first,
                built_here: built_here && app.build.is_some(),
                secrets: values,
            });
        }
        Ok(Deploy {
            legs,
            after: self.apps.iter().find_map(|app| app.after.clone()),
            approvals: self.apps.iter().map(|app| app.approvals).max().unwrap_or(0),
            spec: Some(stored(&self.spec)),
            by,
            plan,
            id: None,
            correct_drift: false,
        })
    }

    /// The artifact's file, where it is one here.
    pub(crate) fn artifact_path(app: &ResolvedApp) -> Option<&Path> {
        match &app.artifact {
            Some(ArtifactSource::Path(path)) => Some(Path::new(path)),
            _ => None,
        }
    }
}

pub(crate) fn scope(project: &ProjectName, environment: &EnvName, region: &RegionName, app: &AppName) -> Scope {
    Scope { project: project.clone(), environment: environment.clone(), region: region.clone(), app: app.clone() }
}

fn regions(environment: &Environment, only: Option<&RegionName>) -> Result<Vec<RegionName>, Failure> {
    let all = environment.regions.clone();
    match only {
        None => Ok(all),
        Some(only) if all.contains(only) => Ok(vec![only.clone()]),
        Some(only) => {
            let known: Vec<_> = all.iter().map(RegionName::as_str).collect();
            let message = format!("{} has no region `{only}`; it has {}", environment.name, known.join(", "));
            Err(Failure::usage("unknown-region", message))
        }
    }
}

/// The specification as it is stored with a release, for `promote`.
fn stored(spec: &Spec) -> String {
    let mut stored = serde_json::json!({ "dir": spec.dir(), "sources": spec.sources() });
    let (composed, manifests) = (spec.composed(), spec.manifests());
    if !composed.is_empty() {
        stored["composed"] = serde_json::json!(composed);
    }
    if !manifests.is_empty() {
        stored["manifests"] = serde_json::json!(manifests);
    }
    stored.to_string()
}

/// A stored specification, read again.
pub(crate) fn restored(text: &str) -> Result<Spec, Failure> {
    let bad = || Failure::usage("spec-lost", "the stored specification cannot be read; deploy instead of promoting");
    let mut value: serde_json::Value = serde_json::from_str(text).map_err(|_| bad())?;
    let sources: Vec<Source> = serde_json::from_value(value["sources"].take()).map_err(|_| bad())?;
    let dir = value["dir"].as_str().ok_or_else(bad)?;
    let spec = Spec::parse(Path::new(dir), sources)?;
    let spec = match value["manifests"].take() {
        serde_json::Value::Null => spec,
        manifests => spec.with_manifests(serde_json::from_value(manifests).map_err(|_| bad())?)?,
    };
    match value["composed"].take() {
        serde_json::Value::Null => Ok(spec),
        composed => Ok(spec.with_composed(serde_json::from_value(composed).map_err(|_| bad())?)?),
    }
}
