//! An app that is a Compose project: each of its services becomes an app of its own, `APP.SERVICE`.

mod ports;
mod settings;

use super::{Answer, Build, Context, ImageBuild, Question, ResolvedApp, context, kubernetes, version};
use crate::code::Code;
use crate::composed::{ComposeAsk, Read};
use crate::diagnostic::Findings;
use crate::raw::{At, Either, Settings, Text};
use crate::source::Place;
use crate::text::{shorten, suggest};
use deployctl_compose::{MARKER, Problem, Service};
use deployctl_core::config::{AppConfig, ArtifactSource, Command, ComposeService, Migrate, Strategy, TargetConfig};
use deployctl_core::id::{AppName, Version};
use deployctl_core::time::Span;
use std::collections::BTreeMap;
use std::path::Path;

/// Compose's own default for how long a container may take to end.
const GRACE: Span = Span::secs(10);
/// The variable that is the version, if the app names none.
const VERSION: &str = "VERSION";

pub(super) fn is_meant(settings: &Settings) -> bool {
    settings.target.as_ref().is_some_and(|target| target.value.0 == "compose")
}

/// What Compose must be asked; none if the app is no Compose project, or wrong.
pub(crate) fn ask<'a>(question: &Question<'a>, findings: &mut Findings<'a>) -> Option<ComposeAsk> {
    let settings = question.spec.settings(question.environment, question.app, findings)?;
    if is_meant(&settings) { marked(question, &settings, findings).map(|(ask, _)| ask) } else { None }
}

/// The question to Compose, and the images that the specification names, with the marker where the version will be.
fn marked<'a>(
    question: &Question<'a>,
    settings: &Settings,
    findings: &mut Findings<'a>,
) -> Option<(ComposeAsk, BTreeMap<String, String>)> {
    let at = question.spec.trees.get(question.app)?.at;
    let marker = Version::new(MARKER).ok()?;
    let mut cx = context(question, settings, &marker, at, findings);
    refuse(settings, &mut cx);
    let mut env: BTreeMap<String, String> = BTreeMap::new();
    for (key, value) in settings.env.iter().flat_map(|entries| &entries.0) {
        match &value.value {
            Either::Short(text) => {
                let text = cx.plain(&At { at: value.at, value: text.clone() });
                env.insert(key.value.0.clone(), text);
            }
            Either::Full(_) => {
                let message = "Compose takes the values of its variables from the environment that deployctl runs in";
                let help = "set the variable there, and take it out here";
                cx.findings.error_help(value.at, Code::Secret, message, help);
            }
        }
    }
    if settings.env.is_none() {
        env.insert(VERSION.into(), MARKER.into());
    }
    let images = settings.images.iter().flat_map(|entries| &entries.0);
    let images = images.map(|(key, text)| (key.value.0.clone(), cx.plain(text))).collect();
    let ask = ComposeAsk {
        app: question.app.clone(),
        file: settings.file.as_ref().map(|text| cx.path(text)),
        env,
        profiles: settings.profiles.iter().flatten().map(|text| cx.plain(text)).collect(),
        project_name: settings.project_name.as_ref().map(|text| cx.plain(text)),
    };
    Some((ask, images))
}

/// The keys of an app that its services have.
fn refuse(settings: &Settings, cx: &mut Context<'_, '_>) {
    kubernetes::not(settings, cx);
    let first = |texts: &Option<Vec<At<Text>>>| texts.as_ref().map(|texts| texts.first().map_or(cx.at, |text| text.at));
    let here = |said: bool| said.then_some(cx.at);
    let in_file = "the Compose file says it";
    let below = "say it for a service: `services: { web: { ... } }`";
    let said = [
        (settings.artifact.as_ref().map(|x| x.at), "artifact", in_file),
        (settings.image.as_ref().map(|x| x.at), "image", "name the images of services under `images`"),
        (here(settings.build.is_some()), "build", in_file),
        (settings.command.as_ref().map(|x| x.at), "command", in_file),
        (here(settings.secrets.is_some()), "secrets", in_file),
        (settings.port.as_ref().map(|x| x.at), "port", below),
        (first(&settings.volumes), "volumes", in_file),
        (first(&settings.networks), "networks", in_file),
        (settings.read_only.as_ref().map(|x| x.at), "read_only", in_file),
        (first(&settings.tmpfs), "tmpfs", in_file),
        (here(settings.capabilities.is_some()), "capabilities", in_file),
        (settings.instances.as_ref().map(|x| x.at), "instances", below),
        (settings.route.as_ref().map(|x| x.at), "route", below),
        (settings.health.as_ref().map(|x| x.at), "health", below),
        (settings.migrate.as_ref().map(|x| x.at), "migrate", below),
        (here(settings.smoke.is_some()), "smoke", below),
        (here(settings.hooks.is_some()), "hooks", below),
        (settings.strategy.as_ref().map(|x| x.at), "strategy", below),
        (settings.drain.as_ref().map(|x| x.at), "drain", "the Compose file says it: `stop_grace_period`"),
        (settings.user.as_ref().map(|x| x.at), "user", in_file),
        (here(settings.limits.is_some()), "limits", in_file),
        (here(settings.restart.is_some()), "restart", in_file),
        (settings.log_max.as_ref().map(|x| x.at), "log_max", "the Compose file says it: `logging`"),
    ];
    for (at, key, help) in said {
        if let Some(at) = at {
            let message = format!("`{key}` does not go with `target: compose`");
            cx.findings.error_help(at, Code::Contradiction, message, help);
        }
    }
}

/// The apps that `app` stands for: the services of its Compose file if it is one that was read, else itself.
pub(super) fn stands_for(question: &Question<'_>, app: &AppName) -> Vec<AppName> {
    let spec = question.spec;
    let sources = question.sources;
    let question = Question { app, version: None, ..*question };
    let ask = ask(&question, &mut Findings::new(sources));
    let read = ask.and_then(|ask| spec.composed.iter().find(|read| read.composed.ask == ask));
    let Some(read) = read else { return vec![app.clone()] };
    read.document.service_names().into_iter().filter_map(|service| named(app, service)).collect()
}

/// What the app of a service is called.
fn named(app: &AppName, service: &str) -> Option<AppName> {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let label: String = service.chars().map(plain).collect();
    AppName::new(format!("{app}.{}", label.trim_matches('-'))).ok()
}

/// The services, each after what it depends on.
pub(super) fn expand<'a>(question: &Question<'a>, settings: &Settings, findings: &mut Findings<'a>) -> Vec<Answer> {
    let Some((ask, images)) = marked(question, settings, findings) else { return Vec::new() };
    let Some(read) = question.spec.composed.iter().find(|read| read.composed.ask == ask) else { return Vec::new() };
    let Some(at) = question.spec.trees.get(question.app).map(|tree| tree.at) else { return Vec::new() };
    let Some((version, pinned)) = version(question, settings, at, findings) else { return Vec::new() };
    let unknown = |key: &At<Text>, findings: &mut Findings<'a>| {
        let names = read.document.service_names();
        if !names.contains(&key.value.0.as_str()) {
            let message = format!("there is no service `{}` in the Compose file", shorten(&key.value.0));
            findings.error_help(key.at, Code::UnknownName, message, suggest(&key.value.0, names));
        }
    };
    settings.images.iter().flat_map(|entries| &entries.0).for_each(|(key, _)| unknown(key, findings));
    settings.services.iter().flat_map(|entries| &entries.0).for_each(|(key, _)| unknown(key, findings));
    let services = match read.document.services(version.as_str(), &images) {
        Ok(services) => services,
        Err(problems) => {
            problems.iter().for_each(|problem| report(problem, read, findings));
            return Vec::new();
        }
    };
    let outer = super::depends_on(question, settings, findings);
    let project = Project { question, settings, read, version, pinned, outer };
    let mut answers: Vec<Answer> = services.iter().filter_map(|service| project.answer(service, findings)).collect();
    twice(&answers, &services, read, findings);
    in_order(&mut answers);
    answers
}

fn report(problem: &Problem, read: &Read, findings: &mut Findings<'_>) {
    let path: Vec<&str> = problem.path.iter().map(String::as_str).collect();
    let code = if problem.not_built { Code::NotBuilt } else { Code::BadValue };
    findings.error_help(read.place(&path), code, problem.message.clone(), problem.help.clone());
}

/// Two services whose names become one.
fn twice(answers: &[Answer], services: &[Service], read: &Read, findings: &mut Findings<'_>) {
    for (index, (answer, service)) in answers.iter().zip(services).enumerate() {
        if answers[..index].iter().any(|other| other.app.app == answer.app.app) {
            let message = format!("another service is called `{}` too, but for its spelling", answer.app.app);
            findings.error(read.place(&["services", &service.name]), Code::BadName, message);
        }
    }
}

/// Each after what it depends on, else by name.
fn in_order(answers: &mut Vec<Answer>) {
    let mut rest = std::mem::take(answers);
    let waits = |answer: &Answer, rest: &[Answer]| {
        answer.depends_on.iter().any(|(need, _)| rest.iter().any(|other| other.app.app == *need))
    };
    while let Some(next) = rest.iter().position(|answer| !waits(answer, &rest)) {
        answers.push(rest.remove(next));
    }
    answers.append(&mut rest);
}

/// What its services have in common.
struct Project<'q, 'a> {
    question: &'q Question<'a>,
    settings: &'q Settings,
    read: &'q Read,
    version: Version,
    pinned: Option<Version>,
    /// What the whole app depends on.
    outer: Vec<(AppName, Place)>,
}

impl<'a> Project<'_, 'a> {
    fn answer(&self, service: &Service, findings: &mut Findings<'a>) -> Option<Answer> {
        let at = self.read.place(&["services", &service.name]);
        let Some(app) = named(self.question.app, &service.name) else {
            let message = format!("the service `{}` cannot be called so as an app", shorten(&service.name));
            findings.error_help(
                at,
                Code::BadName,
                message,
                "use letters and digits, at most some 40 with the app's name",
            );
            return None;
        };
        let said = settings::of_service(self.question, self.read, service, findings)?;
        let (version, pinned) = match service.fixed_version().and_then(|text| Version::new(text).ok()) {
            Some(fixed) => (fixed.clone(), Some(fixed)),
            None => (self.version.clone(), self.pinned.clone()),
        };
        let known_first = !service.changes && !service.one_off;
        let mut cx = context(self.question, self.settings, &version, at, findings);
        if said.stateful.as_ref().map_or(service.keeps_data(), |said| said.value) {
            cx.volume = Some(said.stateful.as_ref().map_or(at, |said| said.at));
        }
        let depends_on: Vec<(AppName, Place)> = self.depends_on(service, at);
        let one_off = said.job.as_ref().map_or(service.one_off, |said| said.value);
        let config = match one_off {
            true => job(service, &said, &depends_on, &mut cx)?,
            false => ports::running(service, &said, self.settings, &depends_on, &mut cx)?,
        };
        if let TargetConfig::Docker(docker) = &config.target {
            cx.secrets.extend(docker.secrets.values().cloned());
            let kept = |compose: &ComposeService| {
                compose.env_secrets.values().chain(compose.files.values()).cloned().collect::<Vec<_>>()
            };
            cx.secrets.extend(docker.compose.iter().flat_map(|compose| kept(compose)));
        }
        let verify = if service.changes { self.verify(service, &mut cx) } else { None };
        let environment = self.question.environment;
        let route_at = said.route.as_ref().map_or(at, |route| route.at);
        let app = ResolvedApp {
            app,
            environment: environment.name.clone(),
            region: self.question.region.clone(),
            version,
            pinned,
            config,
            artifact: Some(ArtifactSource::Image(service.image.reference.clone())),
            known_first,
            artifact_sha256: None,
            pulls: Vec::new(),
            verify,
            build: service.build.as_ref().map(|build| image_build(build, &service.image.reference, cx.dir)),
            secrets: cx.secrets.into_iter().collect(),
            approvals: environment.approvals,
            after: environment.after.clone(),
        };
        Some(Answer { app, depends_on, addresses: cx.templates.addresses, route_at })
    }

    /// Whose signature the images must have that the version names.
    fn verify(&self, service: &Service, cx: &mut Context<'_, '_>) -> Option<String> {
        let said = self.settings.verify.as_ref()?;
        if service.build.is_some() {
            let message = format!("nobody signs an image that is built here, as that of `{}` is", service.name);
            cx.findings.error_help(
                said.key.at,
                Code::Contradiction,
                message,
                "take `verify` out, or push and sign the image",
            );
        }
        super::docker::verify(self.settings, cx)
    }

    fn depends_on(&self, service: &Service, at: Place) -> Vec<(AppName, Place)> {
        let names = self.read.document.service_names();
        // What is in no profile of these is not there to be waited for.
        let there = service.depends_on.iter().filter(|on| names.contains(&on.service.as_str()));
        let inner = there.filter_map(|on| Some((named(self.question.app, &on.service)?, at)));
        inner.chain(self.outer.iter().cloned()).collect()
    }
}

/// A service that runs to its end: no instances, but a change that goes with its release.
fn job(
    service: &Service,
    said: &crate::raw::Service,
    depends_on: &[(AppName, Place)],
    cx: &mut Context<'_, '_>,
) -> Option<AppConfig> {
    if !service.ports.is_empty() {
        let message = format!("`{}` runs to its end, so nothing can be published by it", service.name);
        cx.findings.error_help(cx.at, Code::Contradiction, message, "take its `ports` out, or say `job: false`");
    }
    let own = Settings { deadline: said.deadline.clone(), ..Settings::default() };
    let config = super::config(TargetConfig::Docker(service.docker.clone()), &own, depends_on, cx)?;
    let timeout = cx.span_above_zero(said.timeout.as_ref(), Span::secs(300));
    let repeatable = said.repeatable.as_ref().is_some_and(|said| said.value);
    let irreversible = said.irreversible.as_ref().is_some_and(|said| said.value);
    if let (Some(undo), true) = (&said.undo, irreversible) {
        cx.findings.error(undo.at, Code::Contradiction, "a job with `undo` is not irreversible");
    }
    let command = |run| Command { run, timeout, repeatable };
    let undo = said.undo.as_ref().map(|undo| cx.command(undo, crate::template::Late::Job));
    // Without a command it runs what the image says.
    let run = service.docker.command.clone().unwrap_or_default();
    let migrate = Migrate { run: command(run), undo: undo.map(command), irreversible };
    Some(AppConfig { instances: 0, strategy: Strategy::Recreate, migrate: Some(migrate), health: None, ..config })
}

fn image_build(build: &deployctl_compose::Build, tag: &str, dir: &Path) -> Build {
    let (context, dockerfile) = build.paths(dir);
    Build::Image(ImageBuild {
        tag: tag.to_owned(),
        context,
        dockerfile,
        stage: build.target.clone(),
        args: build.args.clone(),
        secrets: BTreeMap::new(),
        labels: build.labels.clone(),
    })
}

/// How long a service may take to end.
fn grace(service: &Service) -> Span {
    service.grace.map_or(GRACE, Span)
}
