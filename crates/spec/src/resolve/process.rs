//! How a process is run.

use super::Context;
use crate::code::Code;
use crate::raw::{At, Either, Restart as RawRestart, Secret, Settings, Text};
use crate::template::Late;
use crate::text::{shorten, suggest};
use deployctl_core::config::{EnvValue, LatePart, LateText, Limits, ProcessConfig, Restart};
use std::collections::BTreeMap;

pub(super) const LOG_MAX: u64 = 16 << 20;
/// What the specification will be able to say.
const TARGETS_LATER: &[&str] = &[
    "podman",
    "ssh",
    "kubernetes",
    "kustomize",
    "helm",
    "argocd",
    "terraform",
    "ansible",
    "ecs",
    "lambda",
    "cloudrun",
];
const SECRET_WORDS: &[&str] = &["PASSWORD", "PASSWD", "TOKEN", "SECRET", "API_KEY", "PRIVATE_KEY", "CREDENTIAL"];
const SECRETS_LATER: &[&str] = &["vault", "aws-sm", "aws-ssm", "gcp-sm", "azure-kv", "op", "sops", "k8s"];

/// What runs an app.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Process,
    Docker,
    Compose,
}

/// What runs it; none if nothing can.
pub(super) fn kind(settings: &Settings, cx: &mut Context<'_, '_>) -> Option<Kind> {
    let Some(target) = &settings.target else { return Some(Kind::Process) };
    match target.value.0.as_str() {
        "process" => Some(Kind::Process),
        "docker" => Some(Kind::Docker),
        "compose" => Some(Kind::Compose),
        name if TARGETS_LATER.contains(&name) => {
            let help = "today `process`, `docker` and `compose` are; until then, leave this app out";
            cx.findings.error_help(target.at, Code::NotBuilt, format!("the target `{name}` is not built yet"), help);
            None
        }
        name => {
            let known = ["process", "docker", "compose"].into_iter().chain(TARGETS_LATER.iter().copied());
            let message = format!("there is no target `{}`", shorten(name));
            cx.findings.error_help(target.at, Code::BadValue, message, suggest(name, known));
            None
        }
    }
}

/// The process, as far as its own keys say; none if it cannot be one.
pub(super) fn target(settings: &Settings, cx: &mut Context<'_, '_>) -> Option<ProcessConfig> {
    refuse(settings, cx);
    let Some(command) = &settings.command else {
        let help = "say what runs: `command: [./program, --port, \"{{ port }}\"]`";
        cx.findings.error_help(cx.at, Code::MissingKey, "this app has no `command`", help);
        return None;
    };
    Some(ProcessConfig {
        command: cx.command(command, Late::Instance),
        env: env(settings, cx),
        port: false,
        user: user(settings, cx),
        limits: limits(settings, cx),
        restart: restart(settings.restart.as_ref(), cx),
        log_bytes_max: cx.size(settings.log_max.as_ref()).unwrap_or(LOG_MAX),
    })
}

/// The keys that a container has and a process has not.
fn refuse(settings: &Settings, cx: &mut Context<'_, '_>) {
    let first = |texts: &Option<Vec<At<Text>>>| texts.as_ref().map(|texts| texts.first().map_or(cx.at, |text| text.at));
    let secrets = settings.secrets.as_ref().map(|entries| entries.0.first().map_or(cx.at, |(key, _)| key.at));
    let said = [
        (settings.image.as_ref().map(|x| x.at), "image"),
        (settings.port.as_ref().map(|x| x.at), "port"),
        (secrets, "secrets"),
        (first(&settings.volumes), "volumes"),
        (first(&settings.networks), "networks"),
        (settings.verify.as_ref().map(|verify| verify.key.at), "verify"),
        (settings.read_only.as_ref().map(|x| x.at), "read_only"),
        (first(&settings.tmpfs), "tmpfs"),
        (settings.capabilities.as_ref().map(|_| cx.at), "capabilities"),
    ];
    not_compose(settings, cx);
    for (at, key) in said.into_iter().filter_map(|(at, key)| Some((at?, key))) {
        let help = match key {
            "port" => "a process is given a port of its own: `{{ port }}`",
            "secrets" => "give it under `env`: `KEY: { secret: \"env:KEY\" }`",
            _ => "add `target: docker`, or take it out",
        };
        cx.findings.error_help(at, Code::Contradiction, format!("`{key}` belongs to a container"), help);
    }
}

/// The keys that only the services of a Compose file have.
pub(super) fn not_compose(settings: &Settings, cx: &mut Context<'_, '_>) {
    let first = |texts: &Option<Vec<At<Text>>>| texts.as_ref().map(|texts| texts.first().map_or(cx.at, |text| text.at));
    let said = [
        (settings.file.as_ref().map(|x| x.at), "file"),
        (settings.project_name.as_ref().map(|x| x.at), "project_name"),
        (first(&settings.profiles), "profiles"),
        (settings.images.as_ref().map(|x| x.0.first().map_or(cx.at, |(key, _)| key.at)), "images"),
        (settings.services.as_ref().map(|x| x.0.first().map_or(cx.at, |(key, _)| key.at)), "services"),
    ];
    for (at, key) in said.into_iter().filter_map(|(at, key)| Some((at?, key))) {
        let message = format!("`{key}` belongs to `target: compose`");
        cx.findings.error_help(at, Code::Contradiction, message, "add `target: compose`, or take it out");
    }
}

/// The process once all texts were rendered, so that it is known whether it needs a port.
pub(super) fn finish(
    process: ProcessConfig,
    routed: bool,
    settings: &Settings,
    cx: &mut Context<'_, '_>,
) -> ProcessConfig {
    if let (Some(route), false) = (&settings.route, cx.templates.port) {
        let help = "give it to the program: `command: [./program, --port, \"{{ port }}\"]` or under `env`";
        let message = "this app has a route, but nothing tells it its port";
        cx.findings.warning(route.at, Code::Contradiction, message, help);
    }
    ProcessConfig { port: routed || cx.templates.port, ..process }
}

fn env(settings: &Settings, cx: &mut Context<'_, '_>) -> BTreeMap<String, EnvValue> {
    let mut env = BTreeMap::new();
    for (key, value) in settings.env.iter().flat_map(|entries| &entries.0) {
        variable(key, cx);
        let value = match &value.value {
            Either::Short(text) => {
                let text = cx.late(&At { at: value.at, value: text.clone() }, Late::Instance);
                warn_of_literal(key, &text, Stands::Process, cx);
                EnvValue::Text(text)
            }
            Either::Full(secret) => match reference(secret, cx) {
                Some(reference) => EnvValue::Secret(reference),
                None => continue,
            },
        };
        env.insert(key.value.0.clone(), value);
    }
    env
}

/// Checks the name of a variable.
pub(super) fn variable(key: &At<Text>, cx: &mut Context<'_, '_>) {
    let name = &key.value.0;
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(word) {
        let message = format!("`{}` is not the name of an environment variable", shorten(name));
        cx.findings.error_help(key.at, Code::BadName, message, "use letters, digits and _");
    }
    if name.starts_with("DEPLOYCTL_") {
        let message = format!("`{}` is set by deployctl itself", shorten(name));
        cx.findings.error_help(key.at, Code::BadName, message, "use a name that does not begin with `DEPLOYCTL_`");
    }
}

/// Where a value stands that may be a secret.
#[derive(Clone, Copy)]
pub(super) enum Stands {
    /// The environment of a process.
    Process,
    /// The environment of a container.
    Container,
    /// The arguments of a build.
    Build,
}

pub(super) fn warn_of_literal(key: &At<Text>, text: &LateText, place: Stands, cx: &mut Context<'_, '_>) {
    let name = key.value.0.to_ascii_uppercase();
    let literal = text.0.iter().all(|part| matches!(part, LatePart::Text(text) if !text.is_empty()));
    let points = ["_FILE", "_PATH", "_URL", "_DIR"].iter().any(|end| name.ends_with(end));
    if literal && !points && SECRET_WORDS.iter().any(|word| name.contains(word)) {
        let message = format!("`{}` looks like a secret, and its value stands in this file", key.value.0);
        let name = &key.value.0;
        let help = match place {
            Stands::Process => format!("refer to it: `{name}: {{ secret: \"env:{name}\" }}`"),
            Stands::Container => {
                format!("refer to it: `secrets: {{ {name}: \"env:{name}\" }}`, a file under /run/secrets")
            }
            Stands::Build => format!(
                "whoever has the image can read it; say `secrets: {{ {name}: \"env:{name}\" }}` under `build`, and read it in a \
                 step: `RUN --mount=type=secret,id={name}`"
            ),
        };
        cx.findings.warning(key.at, Code::SecretLiteral, message, help);
    }
}

/// A checked reference to a secret of the release.
pub(super) fn reference(secret: &Secret, cx: &mut Context<'_, '_>) -> Option<deployctl_core::config::SecretRef> {
    let reference = checked(secret, cx)?;
    cx.secrets.insert(reference.clone());
    Some(reference)
}

/// A checked reference to a secret.
pub(super) fn checked(secret: &Secret, cx: &mut Context<'_, '_>) -> Option<deployctl_core::config::SecretRef> {
    let at = secret.secret.at;
    let text = cx.plain(&secret.secret);
    let accepted = "write `env:NAME`, `file:PATH` or `stdin:`";
    let (scheme, rest) = text.split_once(':').unwrap_or(("", &text));
    let reference = match scheme {
        "env" if !rest.is_empty() && rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') => text.clone(),
        // As it is written: in another folder the same project is the same release.
        "file" if !rest.is_empty() => text.clone(),
        "stdin" if rest.is_empty() => text.clone(),
        later if SECRETS_LATER.contains(&later) => {
            let message = format!("secrets from `{later}:` are not built yet");
            cx.findings.error_help(at, Code::NotBuilt, message, accepted);
            return None;
        }
        "env" | "file" | "stdin" => {
            let message = format!("after `{scheme}:` something else must stand");
            cx.findings.error_help(at, Code::Secret, message, accepted);
            return None;
        }
        _ => {
            // The text is not shown: it may be the secret itself. The line is, as the person wrote it there.
            let message = "this is not a reference to a secret";
            cx.findings.error_help(at, Code::Secret, message, accepted);
            return None;
        }
    };
    Some(deployctl_core::config::SecretRef(reference))
}

fn user(settings: &Settings, cx: &mut Context<'_, '_>) -> Option<String> {
    let text = settings.user.as_ref()?;
    let user = cx.plain(text);
    let word = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if user.is_empty() || user.starts_with('-') || user.len() > 64 || !user.chars().all(word) {
        cx.findings.error(text.at, Code::BadName, format!("`{}` is not the name of a user", shorten(&user)));
    }
    Some(user)
}

pub(super) fn limits(settings: &Settings, cx: &mut Context<'_, '_>) -> Limits {
    let Some(raw) = &settings.limits else { return Limits::default() };
    let cpu_millis = raw.cpu.as_ref().and_then(|cores| match crate::value::cores(&cores.value.0) {
        Ok(millis) => Some(millis),
        Err(why) => {
            cx.findings.error(cores.at, Code::BadValue, why);
            None
        }
    });
    if let Some(files) = raw.files.as_ref().filter(|files| files.value < 16) {
        cx.findings.error(files.at, Code::BadValue, "no program runs with fewer than 16 open files");
    }
    let memory_bytes = cx.size(raw.memory.as_ref());
    Limits { cpu_millis, memory_bytes, files: raw.files.as_ref().map(|files| files.value) }
}

fn restart(raw: Option<&RawRestart>, cx: &mut Context<'_, '_>) -> Restart {
    let default = Restart::default();
    let Some(raw) = raw else { return default };
    let pause = cx.span_above_zero(raw.pause.as_ref(), default.pause);
    let pause_max = cx.span_above_zero(raw.pause_max.as_ref(), default.pause_max.max(pause));
    if let Some(text) = raw.pause_max.as_ref().filter(|_| pause_max < pause) {
        cx.findings.error(text.at, Code::Contradiction, "the longest pause is shorter than the first");
    }
    Restart { pause, pause_max, reset_after: cx.span_above_zero(raw.reset_after.as_ref(), default.reset_after) }
}
