//! How a container is run.

use super::{Build, Context, ImageBuild, artifact, process};
use crate::code::Code;
use crate::raw::{At, Either, Secret, Settings, Text};
use crate::source::Place;
use crate::template::Late;
use crate::text::shorten;
use deployctl_core::config::{ArtifactSource, DockerConfig, LatePart, LateText, SecretRef, Volume};
use std::collections::BTreeMap;

/// The container, as far as its own keys say, and its image; none if it cannot be one.
pub(super) fn target(settings: &Settings, cx: &mut Context<'_, '_>) -> Option<(DockerConfig, ArtifactSource)> {
    refuse(settings, cx);
    let Some(text) = &settings.image else {
        let help = "say which: `image: \"shop:{{ version }}\"`";
        cx.findings.error_help(cx.at, Code::MissingKey, "this app has no `image`", help);
        return None;
    };
    let reference = cx.plain(text);
    let repository = repository(text.at, &reference, cx)?;
    let config = DockerConfig {
        image: repository,
        command: settings.command.as_ref().map(|command| cx.command(command, Late::Instance)),
        env: env(settings, cx),
        secrets: secrets(settings, cx),
        port: port(settings, cx),
        user: user(settings, cx),
        limits: process::limits(settings, cx),
        volumes: volumes(settings, cx),
        networks: networks(settings, cx),
        read_only: settings.read_only.as_ref().is_some_and(|said| said.value),
        tmpfs: settings.tmpfs.iter().flatten().map(|text| inside(text, cx)).collect(),
        capabilities_add: capabilities(settings.capabilities.as_ref().and_then(|said| said.add.as_deref()), cx),
        capabilities_drop: capabilities(settings.capabilities.as_ref().and_then(|said| said.drop.as_deref()), cx),
        log_bytes_max: cx.size(settings.log_max.as_ref()).unwrap_or(process::LOG_MAX),
        compose: None,
    };
    Some((config, ArtifactSource::Image(reference)))
}

/// With which key the image must be signed: a path, or the key in PEM.
pub(super) fn verify(settings: &Settings, cx: &mut Context<'_, '_>) -> Option<String> {
    let key = &settings.verify.as_ref()?.key;
    if settings.build.is_some() {
        let help = "push and sign it first, and take `build` out where it must be signed";
        cx.findings.error_help(key.at, Code::Contradiction, "nobody signs an image that is built here", help);
    }
    let text = cx.plain(key);
    Some(if text.contains("-----BEGIN") { text } else { cx.path(key) })
}

/// What makes the image.
pub(super) fn build(settings: &Settings, image: &ArtifactSource, cx: &mut Context<'_, '_>) -> Option<Build> {
    let build = settings.build.as_ref()?;
    let ArtifactSource::Image(tag) = image else { return None };
    if tag.contains('@') {
        let help = "a digest names an image that is there; name it by its tag, or take `build` out";
        cx.findings.error_help(build.at, Code::Contradiction, "what a digest names cannot be built", help);
    }
    let full = match &build.value {
        Either::Short(command) => return Some(artifact::command(&At { at: build.at, value: command.clone() }, cx)),
        Either::Full(full) => full,
    };
    let context = full.context.as_ref().map_or_else(|| ".".into(), |text| below(text, cx));
    let dockerfile = full.dockerfile.as_ref().map(|text| below(text, cx));
    let stage = full.stage.as_ref().map(|text| cx.plain(text));
    let mut args = BTreeMap::new();
    for (key, text) in full.args.iter().flat_map(|entries| &entries.0) {
        process::variable(key, cx);
        let value = cx.plain(text);
        process::warn_of_literal(key, &LateText::plain(&value), process::Stands::Build, cx);
        args.insert(key.value.0.clone(), value);
    }
    let mut secrets = BTreeMap::new();
    for (key, text) in full.secrets.iter().flat_map(|entries| &entries.0) {
        let reference = file_name(key, cx).then(|| process::checked(&Secret { secret: text.clone() }, cx)).flatten();
        secrets.extend(reference.map(|reference| (key.value.0.clone(), reference)));
    }
    let labels = BTreeMap::new();
    Some(Build::Image(ImageBuild { tag: tag.clone(), context, dockerfile, stage, args, secrets, labels }))
}

/// A path in the project, which is there in every checkout.
fn below(text: &At<Text>, cx: &mut Context<'_, '_>) -> String {
    let path = cx.plain(text);
    if path.is_empty() || path.starts_with(['/', '-']) || path.split('/').any(|part| part == "..") {
        let message = format!("`{}` is no path below the project", shorten(&path));
        cx.findings.error_help(text.at, Code::BadValue, message, "a build sees a checkout of the project alone");
    }
    path
}

/// Refuses what cannot be meant once all texts were rendered.
pub(super) fn finish(config: &DockerConfig, settings: &Settings, jobs: &[&LateText], cx: &mut Context<'_, '_>) {
    if let (Some(route), None, None) = (&settings.route, config.port, &settings.port) {
        let help = "say which port the program listens on in its container: `port: 8080`";
        cx.findings.error_help(route.at, Code::MissingKey, "this app has a route, but no `port`", help);
    }
    if cx.templates.port && config.port.is_none() {
        let message = "`{{ port }}` is used, but this app has no `port`";
        cx.findings.error_help(cx.at, Code::MissingKey, message, "say which: `port: 8080`");
    }
    for (_, at) in cx.templates.addresses.clone() {
        let message = "the address of another app in a container is not built yet";
        let help = "containers reach each other by their networks; other apps' addresses are on 127.0.0.1";
        cx.findings.error_help(at, Code::NotBuilt, message, help);
    }
    let command = config.command.iter().flatten();
    let uses = |part: &LatePart| {
        command.clone().chain(config.env.values()).chain(jobs.iter().copied()).any(|text| text.0.contains(part))
    };
    let data = cx.templates.data.unwrap_or(cx.at);
    for (name, part, place) in [("data", LatePart::Data, data), ("folder", LatePart::Folder, cx.at)] {
        if uses(&part) {
            let message = format!("a container has no `{{{{ {name} }}}}`");
            let help =
                if name == "data" { "keep data in a volume: `volumes: [\"data:/data\"]`" } else { "use `tmpfs`" };
            cx.findings.error_help(place, Code::Contradiction, message, help);
        }
    }
}

/// The keys that a process has and a container has not.
fn refuse(settings: &Settings, cx: &mut Context<'_, '_>) {
    let restart = settings.restart.as_ref().map(|restart| {
        let spans = [&restart.pause, &restart.pause_max, &restart.reset_after];
        spans.into_iter().flatten().next().map_or(cx.at, |span| span.at)
    });
    let said = [
        (settings.artifact.as_ref().map(|x| x.at), "artifact", "what a container runs is its `image`"),
        (restart, "restart", "the engine starts containers again by itself, with pauses of its own"),
    ];
    process::not_compose(settings, cx);
    for (at, key, help) in said {
        if let Some(at) = at {
            cx.findings.error_help(at, Code::Contradiction, format!("`{key}` does not go with `target: docker`"), help);
        }
    }
}

/// The reference without its tag or digest, of which there must be one.
fn repository(at: Place, reference: &str, cx: &mut Context<'_, '_>) -> Option<String> {
    let (name, digest) = match reference.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (reference, None),
    };
    let path = name.rfind('/').map_or(0, |slash| slash + 1);
    let (repository, tag) = match name[path..].split_once(':') {
        Some((last, tag)) => (&name[..path + last.len()], Some(tag)),
        None => (name, None),
    };
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/:".contains(c);
    let word = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let bad_tag = tag.is_some_and(|tag| tag.is_empty() || tag.len() > 128 || !tag.chars().all(word));
    let hex =
        |digest: &str| digest.len() == 64 && digest.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
    let bad_digest = digest.is_some_and(|digest| !digest.strip_prefix("sha256:").is_some_and(hex));
    let segments = repository.split('/').any(|part| part.is_empty() || part.starts_with(['.', '-', '_', ':']));
    if segments || !repository.chars().all(plain) || bad_tag || bad_digest {
        let message = format!("`{}` does not name an image", shorten(reference));
        let help = "write `HOST/NAME:TAG`, `NAME:TAG` or `NAME@sha256:DIGEST`; names are in lower case";
        cx.findings.error_help(at, Code::BadValue, message, help);
        return None;
    }
    match (tag, digest) {
        (None, None) => {
            let message = format!("`{}` names no version of the image", shorten(reference));
            let help = format!("write `image: \"{repository}:{{{{ version }}}}\"`");
            cx.findings.error_help(at, Code::Version, message, help);
            None
        }
        (Some("latest"), None) => {
            let message = "`latest` is a moving name; a version names one image for good";
            let help = format!("write `image: \"{repository}:{{{{ version }}}}\"`");
            cx.findings.error_help(at, Code::Version, message, help);
            None
        }
        _ => Some(repository.to_owned()),
    }
}

fn env(settings: &Settings, cx: &mut Context<'_, '_>) -> BTreeMap<String, LateText> {
    let mut env = BTreeMap::new();
    for (key, value) in settings.env.iter().flat_map(|entries| &entries.0) {
        process::variable(key, cx);
        match &value.value {
            Either::Short(text) => {
                let text = cx.late(&At { at: value.at, value: text.clone() }, Late::Instance);
                process::warn_of_literal(key, &text, process::Stands::Container, cx);
                env.insert(key.value.0.clone(), text);
            }
            Either::Full(_) => {
                let message = "a secret in the environment of a container is shown by `docker inspect`";
                let help =
                    "put it under `secrets: { NAME: \"env:NAME\" }`; the program reads it from /run/secrets/NAME";
                cx.findings.error_help(value.at, Code::Secret, message, help);
            }
        }
    }
    env
}

fn secrets(settings: &Settings, cx: &mut Context<'_, '_>) -> BTreeMap<String, SecretRef> {
    let mut secrets = BTreeMap::new();
    for (key, text) in settings.secrets.iter().flat_map(|entries| &entries.0) {
        file_name(key, cx);
        if let Some(reference) = process::reference(&Secret { secret: text.clone() }, cx) {
            secrets.insert(key.value.0.clone(), reference);
        }
    }
    secrets
}

/// Whether a file with a secret can be called so.
fn file_name(key: &At<Text>, cx: &mut Context<'_, '_>) -> bool {
    let name = &key.value.0;
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let is_one = !name.is_empty() && name.len() <= 128 && !name.starts_with('.') && name.chars().all(plain);
    if !is_one {
        let message = format!("`{}` is not the name of a file for a secret", shorten(name));
        cx.findings.error_help(key.at, Code::BadName, message, "use letters, digits, `.`, `_` and `-`");
    }
    is_one
}

fn port(settings: &Settings, cx: &mut Context<'_, '_>) -> Option<u16> {
    let said = settings.port.as_ref()?;
    match u16::try_from(said.value) {
        Ok(port) if port > 0 => Some(port),
        _ => {
            cx.findings.error(said.at, Code::BadValue, format!("`{}` is not a port; 1 to 65535", said.value));
            None
        }
    }
}

fn user(settings: &Settings, cx: &mut Context<'_, '_>) -> Option<String> {
    let text = settings.user.as_ref()?;
    let user = cx.plain(text);
    let word = |part: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        !part.is_empty() && !part.starts_with('-') && part.len() <= 64 && part.chars().all(plain)
    };
    let parts: Vec<&str> = user.split(':').collect();
    if parts.len() > 2 || !parts.iter().all(|part| word(part)) {
        let message = format!("`{}` is not a user of a container", shorten(&user));
        cx.findings.error_help(text.at, Code::BadName, message, "write `NAME`, `UID` or `UID:GID`");
    }
    Some(user)
}

/// `SOURCE:PATH`, with `:ro` for reading only.
fn volumes(settings: &Settings, cx: &mut Context<'_, '_>) -> Vec<Volume> {
    let mut volumes: Vec<Volume> = Vec::new();
    for text in settings.volumes.iter().flatten() {
        let said = cx.plain(text);
        let parts: Vec<&str> = said.split(':').collect();
        let (source, path, read_only) = match parts[..] {
            [source, path] => (source, path, false),
            [source, path, "ro"] => (source, path, true),
            _ => ("", "", false),
        };
        let name = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        let is_path = source.starts_with('/') || source.starts_with("./");
        let is_name = source.starts_with(|c: char| c.is_ascii_alphanumeric()) && source.chars().all(name);
        if !(is_path || is_name) || !path.starts_with('/') || path == "/" {
            let message = format!("`{}` is not a volume", shorten(&said));
            cx.findings.error_help(
                text.at,
                Code::BadValue,
                message,
                "write `NAME:/path` or `/host/path:/path`, with `:ro` for reading only",
            );
            continue;
        }
        if volumes.iter().any(|volume| volume.path == path) {
            cx.findings.error(text.at, Code::Contradiction, format!("two volumes are mounted at `{path}`"));
        }
        if !is_path && !read_only {
            cx.volume.get_or_insert(text.at);
        }
        let source = match source.strip_prefix("./") {
            Some(below) => cx.dir.join(below).to_string_lossy().into_owned(),
            None => source.to_owned(),
        };
        volumes.push(Volume { source, path: path.to_owned(), read_only });
    }
    volumes
}

fn networks(settings: &Settings, cx: &mut Context<'_, '_>) -> Vec<String> {
    let mut networks = Vec::new();
    for text in settings.networks.iter().flatten() {
        let name = cx.plain(text);
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if name == "host" || name == "none" {
            let message = format!("the network `{name}` is not built yet");
            cx.findings.error_help(
                text.at,
                Code::NotBuilt,
                message,
                "name networks that give each container an address of its own",
            );
        } else if name.is_empty() || !name.chars().all(plain) {
            cx.findings.error(text.at, Code::BadName, format!("`{}` is not the name of a network", shorten(&name)));
        }
        networks.push(name);
    }
    networks
}

/// An absolute path inside the container.
fn inside(text: &At<Text>, cx: &mut Context<'_, '_>) -> String {
    let path = cx.plain(text);
    if !path.starts_with('/') || path == "/" || path.contains(':') {
        cx.findings.error(text.at, Code::BadValue, format!("`{}` is not a folder in a container", shorten(&path)));
    }
    path
}

fn capabilities(said: Option<&[At<Text>]>, cx: &mut Context<'_, '_>) -> Vec<String> {
    let mut all = Vec::new();
    for text in said.into_iter().flatten() {
        let name = cx.plain(text).to_ascii_uppercase();
        let name = name.strip_prefix("CAP_").unwrap_or(&name).to_owned();
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_uppercase() || c == '_') {
            let message = format!("`{}` is not the name of a capability", shorten(&text.value.0));
            cx.findings.error_help(text.at, Code::BadName, message, "such as `NET_BIND_SERVICE`");
        }
        all.push(name);
    }
    all
}
