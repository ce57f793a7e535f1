//! Where the artifact comes from and what makes it.

use super::{Build, Context};
use crate::code::Code;
use crate::raw::{Artifact, At, Either, Settings, Text};
use deployctl_core::config::ArtifactSource;
use deployctl_core::id::Sha256Hex;

pub(super) fn artifact(settings: &Settings, cx: &mut Context<'_, '_>) -> (Option<ArtifactSource>, Option<Sha256Hex>) {
    let Some(artifact) = &settings.artifact else { return (None, None) };
    match &artifact.value {
        Either::Short(text) => (Some(short(&At { at: artifact.at, value: text.clone() }, cx)), None),
        Either::Full(full) => (source(artifact, full, cx), full.sha256.as_ref().and_then(|sha256| digest(sha256, cx))),
    }
}

fn short(text: &At<Text>, cx: &mut Context<'_, '_>) -> ArtifactSource {
    if text.value.0.contains("://") { url(text, cx) } else { ArtifactSource::Path(cx.path(text)) }
}

fn url(text: &At<Text>, cx: &mut Context<'_, '_>) -> ArtifactSource {
    let url = cx.plain(text);
    let (scheme, rest) = url.split_once("://").unwrap_or(("", &url));
    match scheme {
        "http" | "https" if !rest.is_empty() && !rest.starts_with('/') && !url.contains(char::is_whitespace) => {}
        "oci" | "s3" | "gs" | "git" | "ssh" | "docker" | "ftp" | "sftp" => {
            let message = format!("artifacts from `{scheme}://` are not built yet");
            cx.findings.error_help(text.at, Code::NotBuilt, message, "use a path, `http://` or `https://`");
        }
        _ => {
            let message = format!("`{}` is not an HTTP address", crate::text::shorten(&url));
            cx.findings.error_help(text.at, Code::BadValue, message, "write `https://HOST/PATH`");
        }
    }
    if rest.split('/').next().is_some_and(|host| host.contains('@')) {
        let message = "this address has credentials in it";
        cx.findings.error_help(text.at, Code::Secret, message, "fetch it to a path before, without them");
    }
    ArtifactSource::Url(url)
}

fn source(artifact: &At<Either<Text, Artifact>>, full: &Artifact, cx: &mut Context<'_, '_>) -> Option<ArtifactSource> {
    match (&full.path, &full.url) {
        (Some(path), None) => Some(ArtifactSource::Path(cx.path(path))),
        (None, Some(text)) => Some(url(text, cx)),
        (Some(_), Some(url)) => {
            cx.findings.error(url.at, Code::Contradiction, "an artifact has either `path` or `url`, not both");
            None
        }
        (None, None) => {
            cx.findings.error(artifact.at, Code::MissingKey, "an artifact needs `path` or `url`");
            None
        }
    }
}

fn digest(text: &At<Text>, cx: &mut Context<'_, '_>) -> Option<Sha256Hex> {
    match Sha256Hex::new(cx.plain(text)) {
        Ok(digest) => Some(digest),
        Err(why) => {
            cx.findings.error(text.at, Code::BadValue, why.to_string());
            None
        }
    }
}

/// The command that makes an artifact or an image.
pub(super) fn command(build: &At<Vec<At<Text>>>, cx: &mut Context<'_, '_>) -> Build {
    if build.value.first().is_none_or(|program| program.value.0.trim().is_empty()) {
        let at = build.value.first().map_or(build.at, |program| program.at);
        cx.findings.error(at, Code::BadValue, "`build` has no program");
    }
    Build::Command(build.value.iter().map(|text| cx.plain(text)).collect())
}

pub(super) fn build(settings: &Settings, cx: &mut Context<'_, '_>) -> Option<Build> {
    let build = settings.build.as_ref()?;
    let Either::Short(list) = &build.value else {
        let help = "say program and arguments: `build: [./build]`; for a container add `target: docker`";
        cx.findings.error_help(build.at, Code::Contradiction, "this `build` makes an image", help);
        return None;
    };
    let list = At { at: list.first().map_or(build.at, |program| program.at), value: list.clone() };
    let command = command(&list, cx);
    match &settings.artifact {
        Some(At { value: Either::Short(text), .. }) if !text.0.contains("://") => {}
        Some(At { value: Either::Full(full), .. }) if full.path.is_some() => {}
        _ => {
            let at = list.at;
            let message = "`build` makes an artifact, but `artifact` names no path";
            cx.findings.error_help(at, Code::Contradiction, message, "say under `artifact` what the build leaves");
        }
    }
    Some(command)
}
