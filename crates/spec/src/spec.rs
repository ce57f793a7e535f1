//! A specification that was read and checked.

use crate::composed::Read;
use crate::diagnostic::{Diagnostics, Findings};
use crate::names;
use crate::node::Node;
use crate::raw::{Document, Environment as RawEnvironment, Settings};
use crate::resolve::{Question, ResolvedApp};
use crate::source::{Place, Source, Sources};
use crate::{decode, rules, yaml};
use deployctl_core::id::{AppName, EnvName, ProjectName, RegionName, Version};
use deployctl_core::instance::SecretValues;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A specification: all of it was read, and every app was resolved once for every environment and region.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The project's name.
    pub project: ProjectName,
    /// Where the state is, if not on this machine: `kubernetes://CONTEXT/NAMESPACE`.
    pub state: Option<String>,
    /// How deployctl runs as a Job in the cluster.
    pub in_cluster: InCluster,
    /// The environments, in order of promotion.
    pub environments: Vec<Environment>,
    /// What is probably not as wanted.
    pub warnings: Diagnostics,
    pub(crate) dir: PathBuf,
    pub(crate) sources: Sources,
    pub(crate) apps: Vec<AppName>,
    pub(crate) trees: BTreeMap<AppName, Tree>,
    pub(crate) vars: BTreeMap<String, String>,
    /// The version that it was asked for, if that is known.
    pub(crate) version: Option<Version>,
    /// The manifests of the apps that run in a cluster.
    pub(crate) manifests: Vec<crate::manifests::Read>,
    /// The values of the Secrets in them, which are nowhere else.
    pub(crate) values: SecretValues,
    /// What Compose made of the files of the apps that are Compose projects.
    pub(crate) composed: Vec<Read>,
    /// How many of the sources are the specification itself; the others are manifests and Compose files.
    pub(crate) own_sources: usize,
}

/// How deployctl runs as a Job in the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InCluster {
    /// The image that the cluster pulls.
    pub image: Option<String>,
    /// The service account by whose right it acts.
    pub service_account: Option<String>,
}

/// Where apps run.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Its name.
    pub name: EnvName,
    /// The environment in which an artifact must have succeeded before.
    pub after: Option<EnvName>,
    /// How many people must approve; what cannot ask them must refuse deployments to here.
    pub approvals: u32,
    /// Its regions, at least one; `default` where it names none.
    pub regions: Vec<RegionName>,
    /// Where the proxy listens; empty: a free loopback port, chosen once and kept.
    pub listen: Vec<Listen>,
    pub(crate) vars: BTreeMap<String, String>,
    pub(crate) defaults: Option<Node>,
}

/// An address of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listen {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it speaks TLS.
    pub tls: bool,
}

/// What an app says, as trees, before it is laid together for an environment.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    /// Where its name stands.
    pub(crate) at: Place,
    pub(crate) base: Node,
    pub(crate) overrides: BTreeMap<EnvName, Node>,
}

impl Spec {
    /// Reads and checks `sources`, each laid over the one before: maps merge, all else is replaced, `null` takes back.
    ///
    /// Relative paths are relative to `dir`, which should be absolute. Pure: reads nothing.
    pub fn parse(dir: &Path, sources: Vec<Source>) -> Result<Self, Diagnostics> {
        let sources = Sources(sources);
        let mut findings = Findings::new(&sources);
        let spec = read(dir, &sources, &mut findings);
        let Some(mut spec) = spec.filter(|_| !findings.failed()) else { return Err(findings.finish()) };
        rules::check(&spec, &mut findings);
        if findings.failed() {
            return Err(findings.finish());
        }
        spec.warnings = findings.finish();
        spec.sources = sources;
        Ok(spec)
    }

    /// The same, for this version: what is rendered, is rendered for it.
    pub fn for_version(self, version: Option<Version>) -> Self {
        Self { version, ..self }
    }

    /// The texts that it was read from, to be kept with a release and read again by [`Spec::parse`].
    pub fn sources(&self) -> &[Source] {
        &self.sources.0[..self.own_sources]
    }

    /// The apps, in the order of the file.
    pub fn apps(&self) -> &[AppName] {
        &self.apps
    }

    /// The project's directory, against which relative paths were resolved.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The environment `name`; an error with the nearest name if there is none.
    pub fn environment(&self, name: &str) -> Result<&Environment, Diagnostics> {
        let found = self.environments.iter().find(|environment| environment.name.as_str() == name);
        found.ok_or_else(|| {
            names::unknown("environment", name, self.environments.iter().map(|known| known.name.as_str()))
        })
    }

    /// The app `name`; an error with the nearest name if there is none.
    pub fn app(&self, name: &str) -> Result<&AppName, Diagnostics> {
        let found = self.apps.iter().find(|app| app.as_str() == name);
        found.ok_or_else(|| names::unknown("app", name, self.apps.iter().map(AppName::as_str)))
    }

    /// The configuration of `app` in `region` of `environment`, at `version`: one, or those of the services of its Compose
    /// file, each after what it depends on.
    ///
    /// An app that pins a version has that one, whatever `version` is; without either it is an error. A Compose file must
    /// have been handed in by [`Spec::with_composed`].
    pub fn resolve(
        &self,
        environment: &EnvName,
        app: &AppName,
        region: &RegionName,
        version: Option<&Version>,
    ) -> Result<Vec<ResolvedApp>, Diagnostics> {
        let environment = self.environment(environment.as_str())?;
        let app = self.app(app.as_str())?;
        if !environment.regions.contains(region) {
            let what = format!("region of `{}`", environment.name);
            return Err(names::unknown(&what, region.as_str(), environment.regions.iter().map(RegionName::as_str)));
        }
        let mut findings = Findings::new(&self.sources);
        let question =
            Question { spec: self, sources: &self.sources, environment, app, region, version: version.cloned() };
        let answers = crate::resolve::resolve(&question, &mut findings);
        if findings.failed() {
            return Err(findings.finish());
        }
        Ok(answers.into_iter().map(|answer| answer.app).collect())
    }

    /// The apps so that each comes after those that it depends on in `environment`, else in the order of the file.
    pub fn order(&self, environment: &EnvName) -> Vec<AppName> {
        let mut findings = Findings::new(&self.sources);
        let Ok(environment) = self.environment(environment.as_str()) else { return Vec::new() };
        let needs = |app: &AppName| -> Vec<AppName> {
            let settings = self.settings(environment, app, &mut findings);
            let names = settings.and_then(|settings| settings.depends_on).unwrap_or_default();
            names.iter().filter_map(|name| AppName::new(name.value.0.as_str()).ok()).collect()
        };
        let edges: BTreeMap<&AppName, Vec<AppName>> =
            self.apps.iter().zip(self.apps.iter().map(needs).collect::<Vec<_>>()).collect();
        let mut rest: Vec<&AppName> = self.apps.iter().collect();
        let mut order: Vec<AppName> = Vec::new();
        while let Some(next) = rest.iter().position(|app| edges[app].iter().all(|need| order.contains(need))) {
            order.push(rest.remove(next).clone());
        }
        order
    }

    /// What `app` says in `environment`: the environment's defaults, the app, and its overrides, laid together.
    pub(crate) fn settings(
        &self,
        environment: &Environment,
        app: &AppName,
        findings: &mut Findings<'_>,
    ) -> Option<Settings> {
        decode::decode(&self.settings_node(environment, app)?, findings)
    }

    /// The same, as it is written.
    pub(crate) fn settings_node(&self, environment: &Environment, app: &AppName) -> Option<Node> {
        let tree = self.trees.get(app)?;
        let mut node = tree.base.clone();
        if let Some(defaults) = &environment.defaults {
            node = crate::merge::lay_over(defaults.clone(), node);
        }
        if let Some(over) = tree.overrides.get(&environment.name) {
            node = crate::merge::lay_over(node, over.clone());
        }
        node.at = tree.at;
        Some(node)
    }
}

/// Everything up to what depends on an environment.
fn read(dir: &Path, sources: &Sources, findings: &mut Findings<'_>) -> Option<Spec> {
    let mut whole: Option<Node> = None;
    for (index, source) in sources.0.iter().enumerate() {
        let node = yaml::parse(u32::try_from(index).unwrap_or(u32::MAX), source, findings)?;
        whole = Some(match whole {
            Some(base) => crate::merge::lay_over(base, node),
            None => node,
        });
    }
    let mut whole = whole?;
    let overrides = names::take_overrides(&mut whole, findings);
    let document: Option<Document> = decode::decode(&whole, findings);
    for (_, _, node) in &overrides {
        let _: Option<Settings> = decode::decode(node, findings);
    }
    let document = document?;
    let project = names::name(&document.project, findings);
    let state = names::state(&document, findings);
    let in_cluster = names::in_cluster(&document, findings);
    let environments = names::environments(&document, &whole, findings);
    let trees = names::apps(&document, &whole, overrides, &environments, findings);
    let vars = names::vars(document.vars.as_ref(), findings);
    if findings.failed() {
        return None;
    }
    let apps = document.apps.0.iter().filter_map(|(name, _)| AppName::new(name.value.0.as_str()).ok()).collect();
    Some(Spec {
        project: project?,
        state,
        in_cluster,
        environments,
        warnings: Diagnostics::default(),
        dir: dir.to_path_buf(),
        sources: sources.clone(),
        apps,
        trees,
        vars,
        version: None,
        manifests: Vec::new(),
        values: SecretValues::default(),
        composed: Vec::new(),
        own_sources: sources.0.len(),
    })
}

/// What an environment says of itself, apart from what others say.
pub(crate) fn environment(
    name: EnvName,
    raw: &RawEnvironment,
    defaults: Option<Node>,
    findings: &mut Findings<'_>,
) -> Environment {
    let regions = names::regions(raw, findings);
    let listen = names::listen(raw, findings);
    let after = raw.after.as_ref().and_then(|after| names::name(after, findings));
    let approvals = raw.approvals.as_ref().map_or(0, |approvals| approvals.value);
    Environment { name, after, approvals, regions, listen, vars: names::vars(raw.vars.as_ref(), findings), defaults }
}
