//! An app that is a set of objects in a cluster.

mod jobs;
mod replace;
mod source;
mod strategy;

pub(super) use jobs::finish;
pub(crate) use source::source;

use super::{Context, Pull, Question, process};
use crate::code::Code;
use crate::diagnostic::Findings;
use crate::manifests::{ManifestSource, Read, words};
use crate::raw::{At, Secret, Settings, Text};
use crate::source::Place;
use crate::text::{shorten, suggest};
use deployctl_core::config::{KubernetesConfig, ManifestObject};
use deployctl_core::time::Span;
use deployctl_kubernetes::hooks::{self, Moment};
use deployctl_kubernetes::object::Name;
use deployctl_kubernetes::{images, manifest, secrets};
use serde_json::json;
use std::collections::BTreeMap;

/// Trouble that may heal by itself gets this long.
const PATIENCE: Span = Span::secs(60);

fn is_meant(settings: &Settings) -> bool {
    settings.target.as_ref().is_some_and(|target| target.value.0 == "kubernetes")
}

/// The objects, as far as the manifests were read already.
pub(super) fn target(
    question: &Question<'_>,
    settings: &Settings,
    cx: &mut Context<'_, '_>,
) -> Option<KubernetesConfig> {
    refuse(settings, cx);
    let from = source(question, &mut Findings::new(question.sources))?;
    let read = question.spec.manifests.iter().find(|read| read.manifests.from == from)?;
    let namespace = namespace(settings, cx)?;
    let objects = strategy::applied(objects(read, &namespace, cx), settings);
    let objects = with_secrets(with_images(objects, settings, cx), settings, cx);
    let jobs = jobs::like(&objects, settings, cx);
    Some(KubernetesConfig {
        context: settings.context.as_ref().map(|text| cx.plain(text)),
        namespace,
        patience: cx.span_above_zero(settings.patience.as_ref(), PATIENCE),
        adopt: settings.adopt.as_ref().is_some_and(|adopt| adopt.value),
        replace: replace::names(&objects, settings, cx),
        smoke_port: jobs.as_ref().and_then(|jobs| jobs::smoke_port(&objects, jobs, settings, cx)),
        jobs,
        objects,
    })
}

fn namespace(settings: &Settings, cx: &mut Context<'_, '_>) -> Option<String> {
    let Some(text) = &settings.namespace else {
        let help = "say it, `default` if that is meant: `namespace: shop`";
        cx.findings.error_help(cx.at, Code::MissingKey, "this app has no `namespace`", help);
        return None;
    };
    let name = cx.plain(text);
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 63 || !name.chars().all(plain) || name.starts_with('-') || name.ends_with('-') {
        let message = format!("`{}` is not the name of a namespace", shorten(&name));
        cx.findings.error_help(text.at, Code::BadName, message, "use a-z, 0-9 and -, at most 63");
    }
    Some(name)
}

fn objects(read: &Read, namespace: &str, cx: &mut Context<'_, '_>) -> Vec<ManifestObject> {
    let mut met: Vec<(Name, Place)> = Vec::new();
    let mut all = Vec::new();
    for (at, document) in &read.documents {
        let objects = match manifest::objects(document.clone(), namespace) {
            Ok(objects) => objects,
            Err(problem) => {
                // The line is not shown where it may be a part of a secret.
                let code = if problem.message.contains("not built yet") { Code::NotBuilt } else { Code::BadValue };
                cx.findings.error_help(*at, code, problem.message, problem.help);
                continue;
            }
        };
        for (name, object) in objects {
            match hooks::of(&object) {
                // What somebody asks for by hand is no part of a release.
                Ok(Some(hook)) if hook.moments == [Moment::Test] => continue,
                Ok(_) => {}
                Err(why) => {
                    let help = "hooks are those of Helm: https://helm.sh/docs/topics/charts_hooks";
                    cx.findings.error_help(*at, Code::BadValue, format!("{name}: {why}"), help);
                }
            }
            if let Some((_, first)) = met.iter().find(|(known, _)| known.is_same(&name)) {
                let first = words(cx.templates.sources(), *first);
                cx.findings.error(*at, Code::Contradiction, format!("{name} stands in {first} too"));
            }
            met.push((name, *at));
            all.push(ManifestObject { from: words(cx.templates.sources(), *at), object });
        }
    }
    if all.is_empty() && !cx.findings.failed() {
        let at = cx.at;
        let message = format!("there is no object in {}", read.manifests.from.words());
        let help = match read.manifests.from {
            ManifestSource::Directory(_) => "objects stand in files that end in `.yaml`, `.yml` or `.json`",
            ManifestSource::Kustomize(_) | ManifestSource::Helm(_) => "it was rendered, and nothing came out",
        };
        cx.findings.error_help(at, Code::Empty, message, help);
    }
    all
}

fn with_images(mut objects: Vec<ManifestObject>, settings: &Settings, cx: &mut Context<'_, '_>) -> Vec<ManifestObject> {
    let said: Vec<&(At<Text>, At<Text>)> = settings.images.iter().flat_map(|entries| &entries.0).collect();
    let images: BTreeMap<String, String> =
        said.iter().map(|(key, text)| (key.value.0.clone(), cx.plain(text))).collect();
    let unmet = images::put(objects.iter_mut().map(|object| &mut object.object), &images);
    let names = images::containers(objects.iter().map(|object| &object.object));
    for (key, _) in said.iter().filter(|(key, _)| unmet.contains(&key.value.0)) {
        let message = format!("no container in the manifests is called `{}`", shorten(&key.value.0));
        let help = suggest(&key.value.0, names.iter().map(String::as_str));
        cx.findings.error_help(key.at, Code::UnknownName, message, help);
    }
    if !moves(settings) && settings.version.is_none() {
        let at = cx.at;
        let message = "no image has the version in it: every version runs the same";
        let help = "name the containers that a version changes: `images: { web: \"shop:{{ version }}\" }`";
        cx.findings.warning(at, Code::Contradiction, message, help);
    }
    if settings.pin_tags.as_ref().is_none_or(|pin| pin.value) {
        warn_of_tags(&objects, &images, cx);
    }
    objects
}

/// Whether another version has other objects.
fn moves(settings: &Settings) -> bool {
    let images = settings.images.iter().flat_map(|entries| &entries.0).map(|(_, text)| text);
    let helm = settings.helm.as_ref().map(|helm| &helm.value);
    let set = helm.and_then(|helm| helm.set.as_ref()).into_iter().flat_map(|set| &set.0).map(|(_, text)| text);
    let version = helm.and_then(|helm| helm.version.as_ref());
    images.chain(set).chain(version).any(source::moves)
}

/// Images that may come to mean others, since nobody pins them.
fn warn_of_tags(objects: &[ManifestObject], images: &BTreeMap<String, String>, cx: &mut Context<'_, '_>) {
    let all = images::tags(objects.iter().map(|object| &object.object));
    let left: Vec<String> = all
        .into_iter()
        .filter(|(name, _)| !images.contains_key(name))
        .map(|(name, image)| format!("{name} ({image})"))
        .collect();
    if !left.is_empty() {
        let at = cx.at;
        let message = format!("tags of images are left as they are, and may come to mean others: {}", left.join(", "));
        let help = "name these containers under `images`, so that they are pinned to digests, or write digests in the manifests";
        cx.findings.warning(at, Code::Contradiction, message, help);
    }
}

/// The images that are pinned when a release is made; with `pin_tags: false` none.
pub(super) fn pulls(settings: &Settings, cx: &mut Context<'_, '_>) -> Vec<Pull> {
    if settings.pin_tags.as_ref().is_some_and(|pin| !pin.value) {
        return Vec::new();
    }
    let said = settings.images.iter().flat_map(|entries| &entries.0);
    let pull = |(key, text): &(At<Text>, At<Text>)| Pull {
        container: key.value.0.clone(),
        image: cx.plain(text),
        moves: text.value.0.contains("version"),
    };
    said.map(pull).collect()
}

/// The objects with the secrets that the specification gives by reference: keys of Secrets, which are made where no manifest has
/// them.
fn with_secrets(
    mut objects: Vec<ManifestObject>,
    settings: &Settings,
    cx: &mut Context<'_, '_>,
) -> Vec<ManifestObject> {
    for (key, text) in settings.secrets.iter().flat_map(|entries| &entries.0) {
        let to = process::reference(&Secret { secret: text.clone() }, cx);
        let Some((name, part)) = key.value.0.split_once('/').filter(|(name, part)| is_name(name) && is_key(part))
        else {
            let message = format!("`{}` is not a key of a Secret", shorten(&key.value.0));
            cx.findings.error_help(key.at, Code::BadName, message, "write `SECRET/KEY`, such as `shop-db/password`");
            continue;
        };
        let Some(to) = to else { continue };
        let is_it = |one: &&mut ManifestObject| {
            secrets::is_secret(&one.object) && one.object["metadata"]["name"].as_str() == Some(name)
        };
        if let Some(secret) = objects.iter_mut().find(is_it) {
            secrets::put(&mut secret.object, part, &to);
            continue;
        }
        let mut object = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name } });
        secrets::put(&mut object, part, &to);
        objects.push(ManifestObject { from: words(cx.templates.sources(), key.at), object });
    }
    cx.secrets = objects.iter().flat_map(|object| secrets::references(&object.object).into_values()).collect();
    objects
}

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    name.len() <= 253 && name.chars().all(plain) && edge(name.chars().next()) && edge(name.chars().last())
}

fn is_key(key: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    (1..=253).contains(&key.len()) && key != "." && !key.starts_with("..") && key.chars().all(plain)
}

/// The keys of an app that the manifests have.
fn refuse(settings: &Settings, cx: &mut Context<'_, '_>) {
    strategy::check(settings, cx);
    let first = |texts: &Option<Vec<At<Text>>>| texts.as_ref().map(|texts| texts.first().map_or(cx.at, |text| text.at));
    let here = |said: bool| said.then_some(cx.at);
    let there = "the manifests say it";
    let later = "it is not built yet for objects of a cluster";
    let said = [
        (settings.artifact.as_ref().map(|x| x.at), "artifact", "name the images of containers under `images`"),
        (settings.image.as_ref().map(|x| x.at), "image", "name the images of containers under `images`"),
        (here(settings.build.is_some()), "build", "build and push the images beforehand"),
        (settings.command.as_ref().map(|x| x.at), "command", there),
        (here(settings.env.is_some()), "env", there),
        (settings.port.as_ref().map(|x| x.at), "port", there),
        (first(&settings.volumes), "volumes", there),
        (first(&settings.networks), "networks", there),
        (settings.read_only.as_ref().map(|x| x.at), "read_only", there),
        (first(&settings.tmpfs), "tmpfs", there),
        (here(settings.capabilities.is_some()), "capabilities", there),
        (settings.file.as_ref().map(|x| x.at), "file", "name the directory under `manifests`"),
        (settings.project_name.as_ref().map(|x| x.at), "project_name", "it belongs to `target: compose`"),
        (first(&settings.profiles), "profiles", "it belongs to `target: compose`"),
        (here(settings.services.is_some()), "services", "it belongs to `target: compose`"),
        (settings.verify.as_ref().map(|x| x.key.at), "verify", later),
        (settings.instances.as_ref().map(|x| x.at), "instances", "the manifests say it: `replicas`"),
        (settings.route.as_ref().map(|x| x.at), "route", "traffic is the cluster's: Service and Ingress"),
        (settings.health.as_ref().map(|x| x.at), "health", "the manifests say it: `readinessProbe`"),
        (settings.drain.as_ref().map(|x| x.at), "drain", "the manifests say it: `terminationGracePeriodSeconds`"),
        (settings.user.as_ref().map(|x| x.at), "user", there),
        (here(settings.limits.is_some()), "limits", there),
        (here(settings.restart.is_some()), "restart", there),
        (settings.log_max.as_ref().map(|x| x.at), "log_max", "the cluster decides it"),
    ];
    for (at, key, help) in said {
        if let Some(at) = at {
            let message = format!("`{key}` does not go with `target: kubernetes`");
            cx.findings.error_help(at, Code::Contradiction, message, help);
        }
    }
}

/// The keys that only objects of a cluster have.
pub(super) fn not(settings: &Settings, cx: &mut Context<'_, '_>) {
    let said = [
        (settings.manifests.as_ref().map(|x| x.at), "manifests"),
        (settings.kustomize.as_ref().map(|x| x.at), "kustomize"),
        (settings.helm.as_ref().map(|x| x.at), "helm"),
        (settings.adopt.as_ref().map(|x| x.at), "adopt"),
        (settings.replace.as_ref().and_then(|all| Some(all.first()?.at)), "replace"),
        (settings.context.as_ref().map(|x| x.at), "context"),
        (settings.namespace.as_ref().map(|x| x.at), "namespace"),
        (settings.patience.as_ref().map(|x| x.at), "patience"),
        (settings.pin_tags.as_ref().map(|x| x.at), "pin_tags"),
        (settings.jobs_as.as_ref().map(|x| x.at), "jobs_as"),
    ];
    for (at, key) in said.into_iter().filter_map(|(at, key)| Some((at?, key))) {
        let message = format!("`{key}` belongs to `target: kubernetes`");
        cx.findings.error_help(at, Code::Contradiction, message, "add `target: kubernetes`, or take it out");
    }
}
