//! One app in one region of one environment at one version: from what it says to what is run.

mod artifact;
mod checks;
pub(crate) mod compose;
mod docker;
pub(crate) mod kubernetes;
mod process;
mod route;
mod strategy;

use crate::code::Code;
use crate::diagnostic::Findings;
use crate::names;
use crate::raw::{At, Settings, SizeText, SpanText, Text};
use crate::source::{Place, Sources};
use crate::spec::{Environment, Spec};
use crate::template::{Late, Templates};
use crate::text::{shorten, suggest};
use deployctl_core::config::{AppConfig, ArtifactSource, Check, LateText, SecretRef, Smoke, TargetConfig};
use deployctl_core::id::{AppName, EnvName, RegionName, Sha256Hex, Version};
use deployctl_core::time::Span;
use process::Kind;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// An app, resolved: everything that makes a release but the bytes of the artifact and of the secrets.
#[derive(Clone, Debug)]
pub struct ResolvedApp {
    /// The app.
    pub app: AppName,
    /// Where.
    pub environment: EnvName,
    /// Where in the environment.
    pub region: RegionName,
    /// At which version: the pinned one, if it pins one.
    pub version: Version,
    /// The version that the app pins.
    pub pinned: Option<Version>,
    /// How it is run.
    pub config: AppConfig,
    /// Where the artifact comes from; none: the command is on the machine already.
    pub artifact: Option<ArtifactSource>,
    /// Whether what its version is known as goes before what the artifact's source has now: the source's name moves.
    pub known_first: bool,
    /// What the artifact's bytes must be.
    pub artifact_sha256: Option<Sha256Hex>,
    /// Images of containers in a cluster whose tags become digests when a release is made.
    pub pulls: Vec<Pull>,
    /// With which key the image must be signed: an absolute path, or the key in PEM.
    pub verify: Option<String>,
    /// What makes the artifact.
    pub build: Option<Build>,
    /// The secrets that it needs, each once.
    pub secrets: Vec<SecretRef>,
    /// How many people must approve a deployment to here.
    pub approvals: u32,
    /// The environment in which the artifact must have succeeded before.
    pub after: Option<EnvName>,
}

/// An image that a cluster pulls by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// The container, by its name in the manifests.
    pub container: String,
    /// The image, as the specification says it.
    pub image: String,
    /// Whether it is another one with each version.
    pub moves: bool,
}

/// What makes an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Build {
    /// Program and arguments.
    Command(Vec<String>),
    /// A build of an image.
    Image(ImageBuild),
}

/// A build of an image. Paths are relative to the project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageBuild {
    /// The reference that the image gets.
    pub tag: String,
    /// The folder that is given to the build.
    pub context: String,
    /// The file with the instructions, if not the usual one.
    pub dockerfile: Option<String>,
    /// The stage to stop at.
    pub stage: Option<String>,
    /// Arguments of the build.
    pub args: BTreeMap<String, String>,
    /// Secrets that its steps may read, by name.
    pub secrets: BTreeMap<String, SecretRef>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
}

/// What is to be resolved.
pub(crate) struct Question<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) sources: &'a Sources,
    pub(crate) environment: &'a Environment,
    pub(crate) app: &'a AppName,
    pub(crate) region: &'a RegionName,
    pub(crate) version: Option<Version>,
}

/// An app, resolved, with the places of what other apps have to do with.
pub(crate) struct Answer {
    pub(crate) app: ResolvedApp,
    pub(crate) depends_on: Vec<(AppName, Place)>,
    pub(crate) addresses: Vec<(AppName, Place)>,
    pub(crate) route_at: Place,
}

/// What the parts of the conversion share.
pub(crate) struct Context<'a, 'f> {
    templates: Templates<'a>,
    findings: &'f mut Findings<'a>,
    dir: &'a Path,
    environment: &'a Environment,
    secrets: BTreeSet<SecretRef>,
    /// A volume that only one instance may write to; the first place.
    volume: Option<Place>,
    /// Where the app's name stands, for what is missing.
    at: Place,
}

/// The answers for the apps that the app stands for: itself, or the services of its Compose file, where that was read. They
/// count only if `findings` has no error.
pub(crate) fn resolve<'a>(question: &Question<'a>, findings: &mut Findings<'a>) -> Vec<Answer> {
    let Some(settings) = question.spec.settings(question.environment, question.app, findings) else {
        return Vec::new();
    };
    match compose::is_meant(&settings) {
        true => compose::expand(question, &settings, findings),
        false => one(question, &settings, findings).into_iter().collect(),
    }
}

/// What the conversion of an app works with, at a version.
fn context<'a, 'f>(
    question: &Question<'a>,
    settings: &Settings,
    version: &Version,
    at: Place,
    findings: &'f mut Findings<'a>,
) -> Context<'a, 'f> {
    let spec = question.spec;
    let mut vars = spec.vars.clone();
    vars.extend(question.environment.vars.clone());
    vars.extend(names::vars(settings.vars.as_ref(), findings));
    let names = [
        ("version", version.as_str()),
        ("environment", question.environment.name.as_str()),
        ("region", question.region.as_str()),
        ("app", question.app.as_str()),
        ("project", spec.project.as_str()),
    ];
    let templates = Templates::new(question.sources, &spec.apps, &names, &vars);
    let secrets = BTreeSet::new();
    let environment = question.environment;
    Context { templates, findings, dir: &spec.dir, environment, secrets, volume: None, at }
}

fn one<'a>(question: &Question<'a>, settings: &Settings, findings: &mut Findings<'a>) -> Option<Answer> {
    let at = question.spec.trees.get(question.app)?.at;
    let (version, pinned) = version(question, settings, at, findings)?;
    let environment = question.environment;
    let depends_on = depends_on(question, settings, findings);
    let mut cx = context(question, settings, &version, at, findings);
    let kind = process::kind(settings, &mut cx)?;
    let verify = if kind == Kind::Docker { docker::verify(settings, &mut cx) } else { None };
    let (artifact, artifact_sha256, build, config) = match kind {
        Kind::Process => {
            let (artifact, sha256) = artifact::artifact(settings, &mut cx);
            let build = artifact::build(settings, &mut cx);
            let target = TargetConfig::Process(process::target(settings, &mut cx)?);
            (artifact, sha256, build, config(target, settings, &depends_on, &mut cx)?)
        }
        Kind::Docker => {
            let (target, image) = docker::target(settings, &mut cx)?;
            let build = docker::build(settings, &image, &mut cx);
            let config = config(TargetConfig::Docker(target), settings, &depends_on, &mut cx)?;
            (Some(image), None, build, config)
        }
        Kind::Compose => return None,
        Kind::Kubernetes => {
            let target = TargetConfig::Kubernetes(kubernetes::target(question, settings, &mut cx)?);
            (None, None, None, config(target, settings, &depends_on, &mut cx)?)
        }
    };
    let route_at = settings.route.as_ref().map_or(at, |route| route.at);
    let app = ResolvedApp {
        app: question.app.clone(),
        environment: environment.name.clone(),
        region: question.region.clone(),
        version,
        pinned,
        config,
        artifact,
        known_first: false,
        artifact_sha256,
        pulls: if kind == Kind::Kubernetes { kubernetes::pulls(settings, &mut cx) } else { Vec::new() },
        verify,
        build,
        secrets: cx.secrets.into_iter().collect(),
        approvals: environment.approvals,
        after: environment.after.clone(),
    };
    Some(Answer { app, depends_on, addresses: cx.templates.addresses, route_at })
}

fn version(
    question: &Question<'_>,
    settings: &Settings,
    at: Place,
    findings: &mut Findings<'_>,
) -> Option<(Version, Option<Version>)> {
    if let Some(pin) = &settings.version {
        return match Version::new(pin.value.0.as_str()) {
            Ok(version) => Some((version.clone(), Some(version))),
            Err(why) => {
                let help = "pin what names one artifact for good, such as `v1.2.0`";
                findings.error_help(pin.at, Code::Version, why.to_string(), help);
                None
            }
        };
    }
    let Some(version) = &question.version else {
        let message = format!("`{}` needs a version", question.app);
        findings.error_help(at, Code::Version, message, "say `--version V`, or pin one with `version:`");
        return None;
    };
    Some((version.clone(), None))
}

fn depends_on<'a>(question: &Question<'a>, settings: &Settings, findings: &mut Findings<'a>) -> Vec<(AppName, Place)> {
    let mut found: Vec<(AppName, Place)> = Vec::new();
    for text in settings.depends_on.iter().flatten() {
        let name = &text.value.0;
        match question.spec.apps.iter().find(|app| app.as_str() == name) {
            Some(app) => {
                for app in compose::stands_for(question, app) {
                    if found.iter().any(|(known, _)| *known == app) {
                        findings.error(text.at, Code::Contradiction, format!("`{app}` is named twice"));
                    } else {
                        found.push((app, text.at));
                    }
                }
            }
            None => {
                let others = question.spec.apps.iter().filter(|app| *app != question.app).map(AppName::as_str);
                let help = suggest(name, others);
                let message = format!("there is no app `{}` to depend on", shorten(name));
                findings.error_help(text.at, Code::UnknownName, message, help);
            }
        }
    }
    found
}

fn config(
    target: TargetConfig,
    settings: &Settings,
    depends_on: &[(AppName, Place)],
    cx: &mut Context<'_, '_>,
) -> Option<AppConfig> {
    let route = settings.route.as_ref().map(|route| route::route(route, cx));
    let health = checks::health(settings, cx);
    let target = match target {
        TargetConfig::Process(process) => {
            TargetConfig::Process(process::finish(process, route.is_some(), settings, cx))
        }
        other @ (TargetConfig::Docker(_) | TargetConfig::Kubernetes(_)) => other,
    };
    let instances = strategy::instances(settings, cx);
    // The traffic of a cluster is the cluster's: there is always a way to it.
    let routed = route.is_some() || matches!(target, TargetConfig::Kubernetes(_));
    let strategy = strategy::strategy(settings, routed, cx);
    // What an image says of its health goes before the usual question.
    let asked = health.is_some() || matches!(target, TargetConfig::Process(_));
    let health = if asked { checks::with_default(health, target.has_port(), cx) } else { None };
    let drain = cx.span(settings.drain.as_ref(), Span::secs(30));
    let bake = strategy::bake(settings, cx);
    let config = AppConfig {
        target,
        instances,
        strategy,
        depends_on: depends_on.iter().map(|(app, _)| app.clone()).collect(),
        route,
        health,
        smoke: checks::smoke(settings, cx),
        migrate: checks::migrate(settings, cx),
        hooks: checks::hooks(settings, cx),
        drain,
        deadline: cx.span_above_zero(settings.deadline.as_ref(), Span::secs(600)),
        bake,
    };
    if let TargetConfig::Docker(docker) = &config.target {
        docker::finish(docker, settings, &jobs(&config), cx);
    }
    if let TargetConfig::Kubernetes(_) = &config.target {
        kubernetes::finish(&jobs(&config), cx);
    }
    Some(config)
}

/// The texts of everything that runs besides the instances.
fn jobs(config: &AppConfig) -> Vec<&LateText> {
    let smoke = config.smoke.iter().filter_map(|smoke| match smoke {
        Smoke::Command(command) => Some(command),
        Smoke::Http { .. } => None,
    });
    let migrate = config.migrate.iter().flat_map(|migrate| [Some(&migrate.run), migrate.undo.as_ref()]).flatten();
    let commands = config.hooks.before.iter().chain(&config.hooks.after).chain(migrate).chain(smoke);
    let health = config.health.iter().flat_map(|health| match &health.check {
        Check::Command(command) => command.as_slice(),
        Check::Http(_) | Check::Tcp => &[],
    });
    commands.flat_map(|command| &command.run).chain(health).collect()
}

impl Context<'_, '_> {
    /// What only one instance may use at a time, and how an app is called that does.
    fn alone(&self) -> Option<(&'static str, &'static str)> {
        let data = self.templates.data.map(|_| ("data folder", "an app that uses `data`"));
        data.or(self.volume.map(|_| ("volume", "an app that writes to a volume of its own")))
    }

    fn plain(&mut self, text: &At<Text>) -> String {
        self.templates.plain(text, self.findings)
    }

    fn late(&mut self, text: &At<Text>, late: Late) -> LateText {
        self.templates.late(text, late, self.findings)
    }

    /// Program and arguments; at least a program.
    fn command(&mut self, command: &At<Vec<At<Text>>>, late: Late) -> Vec<LateText> {
        if command.value.first().is_none_or(|program| program.value.0.trim().is_empty()) {
            let message = "this command has no program";
            self.findings.error_help(command.at, Code::BadValue, message, "write `[program, argument, ...]`");
        }
        command.value.iter().map(|text| self.late(text, late)).collect()
    }

    fn span(&mut self, text: Option<&At<SpanText>>, default: Span) -> Span {
        let Some(text) = text else { return default };
        match crate::value::span(&text.value.0) {
            Ok(span) => span,
            Err(why) => {
                self.findings.error(text.at, Code::BadValue, why);
                default
            }
        }
    }

    fn span_above_zero(&mut self, text: Option<&At<SpanText>>, default: Span) -> Span {
        let span = self.span(text, default);
        if let (Some(text), true) = (text, span == Span::ms(0)) {
            self.findings.error(text.at, Code::BadValue, "this cannot be zero");
        }
        span
    }

    fn size(&mut self, text: Option<&At<SizeText>>) -> Option<u64> {
        let text = text?;
        match crate::value::size(&text.value.0) {
            Ok(0) => {
                self.findings.error(text.at, Code::BadValue, "this cannot be zero");
                None
            }
            Ok(size) => Some(size),
            Err(why) => {
                self.findings.error(text.at, Code::BadValue, why);
                None
            }
        }
    }

    /// A path, absolute, relative ones from the project's directory.
    fn path(&mut self, text: &At<Text>) -> String {
        let path = self.plain(text);
        if path.is_empty() {
            self.findings.error(text.at, Code::BadValue, "this path is empty");
        }
        self.dir.join(path.strip_prefix("./").unwrap_or(&path)).to_string_lossy().into_owned()
    }
}
