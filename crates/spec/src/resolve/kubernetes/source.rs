//! Where the manifests of an app come from.

use super::super::{Context, Question, context};
use super::is_meant;
use crate::code::Code;
use crate::diagnostic::Findings;
use crate::manifests::{Chart, ManifestSource};
use crate::raw::{At, Entries, Helm, Settings, Text};
use deployctl_compose::MARKER;
use deployctl_core::id::Version;
use serde_json::{Map, Value};

/// Where they come from; none if the app runs elsewhere, if that is wrong, or if it cannot be known without a version.
pub(crate) fn source<'a>(question: &Question<'a>, findings: &mut Findings<'a>) -> Option<ManifestSource> {
    let settings = question.spec.settings(question.environment, question.app, findings)?;
    let at = question.spec.trees.get(question.app)?.at;
    if !is_meant(&settings) {
        return None;
    }
    let pinned = settings.version.as_ref().and_then(|pin| Version::new(pin.value.0.as_str()).ok());
    let known = pinned.or_else(|| question.version.clone());
    let marker = Version::new(MARKER).ok()?;
    let version = match &settings.helm {
        Some(_) => known.clone().or_else(|| Version::new(crate::rules::ANY_VERSION).ok())?,
        None => marker,
    };
    let mut cx = context(question, &settings, &version, at, findings);
    let said = [
        settings.manifests.as_ref().map(|x| (x.at, "manifests")),
        settings.kustomize.as_ref().map(|x| (x.at, "kustomize")),
        settings.helm.as_ref().map(|x| (x.at, "helm")),
    ];
    let said: Vec<_> = said.into_iter().flatten().collect();
    if let [(_, first), (second, other), ..] = said[..] {
        let message = format!("both `{first}` and `{other}` say where the objects come from");
        cx.findings.error_help(second, Code::Contradiction, message, "keep one of them; two sources are two apps");
        return None;
    }
    match (&settings.manifests, &settings.kustomize, &settings.helm) {
        (Some(text), _, _) => directory(text, &mut cx).map(ManifestSource::Directory),
        (_, Some(text), _) => directory(text, &mut cx).map(ManifestSource::Kustomize),
        (_, _, Some(helm)) if known.is_none() && helm.value.version.as_ref().is_some_and(moves) => None,
        (_, _, Some(helm)) => chart(helm, question, &settings, &mut cx).map(ManifestSource::Helm),
        _ => {
            let help = "say where its objects come from: `manifests: \"kubernetes/{{ environment }}\"`, `kustomize: DIRECTORY` or \
                        `helm: { chart: DIRECTORY }`";
            cx.findings.error_help(cx.at, Code::MissingKey, "this app has no `manifests`", help);
            None
        }
    }
}

/// Whether the version is part of a text.
pub(super) fn moves(text: &At<Text>) -> bool {
    text.value.0.contains("{{") && text.value.0.contains("version")
}

/// A directory, in a context where a marker stands for the version.
fn directory(text: &At<Text>, cx: &mut Context<'_, '_>) -> Option<String> {
    let path = cx.path(text);
    if path.contains(MARKER) {
        let help = "the same files are read for every version; its images go under `images`";
        cx.findings.error_help(text.at, Code::BadValue, "the version cannot be part of the directory", help);
        return None;
    }
    Some(path)
}

fn chart(helm: &At<Helm>, question: &Question<'_>, settings: &Settings, cx: &mut Context<'_, '_>) -> Option<Chart> {
    let helm = &helm.value;
    let repository = helm.repository.as_ref().map(|text| cx.plain(text));
    let name = cx.plain(&helm.chart);
    let registry = name.starts_with("oci://");
    if let (Some(text), true) = (&helm.repository, registry) {
        let help = "take `repository` out: the address is the chart's own";
        cx.findings.error_help(text.at, Code::Contradiction, "a chart of a registry has no repository", help);
    }
    if name.starts_with('-') || name.is_empty() || name.contains(char::is_whitespace) {
        let help = "name a directory, an `oci://` address, or a chart of `repository`";
        cx.findings.error_help(helm.chart.at, Code::BadValue, "this is not a chart", help);
        return None;
    }
    let local = repository.is_none() && !registry;
    if let (Some(text), true) = (&helm.version, local) {
        let help = "take it out; or say in which `repository` the chart is";
        cx.findings.error_help(text.at, Code::Contradiction, "a chart of the project has its own version", help);
    }
    Some(Chart {
        chart: if local { cx.path(&helm.chart) } else { name },
        repository,
        version: helm.version.as_ref().map(|text| cx.plain(text)),
        values: helm.values.iter().flatten().map(|text| cx.path(text)).collect(),
        set: helm.set.as_ref().map_or_else(Map::new, |set| values(set, cx)),
        release: release(helm, question, cx),
        namespace: super::namespace(settings, cx)?,
        kube_version: helm.kube_version.as_ref().map(|text| cx.plain(text)),
        api_versions: helm.api_versions.iter().flatten().map(|text| cx.plain(text)).collect(),
    })
}

fn release(helm: &Helm, question: &Question<'_>, cx: &mut Context<'_, '_>) -> String {
    let Some(text) = &helm.release else { return question.app.as_str().to_owned() };
    let name = cx.plain(text);
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    if name.is_empty() || name.len() > 53 || !name.chars().all(plain) || name.starts_with(['-', '.']) {
        let help = "use a-z, 0-9, - and ., at most 53";
        cx.findings.error_help(text.at, Code::BadName, "this is not the name of a Helm release", help);
    }
    name
}

/// The values of `set` as Helm takes them: a tree.
fn values(set: &Entries<At<Text>>, cx: &mut Context<'_, '_>) -> Map<String, Value> {
    let mut tree = Map::new();
    for (key, text) in &set.0 {
        let words = cx.plain(text);
        let value = if text.value.0.contains("{{") { Value::from(words) } else { scalar(words) };
        let path: Vec<&str> = key.value.0.split('.').collect();
        let bad = path.iter().any(|part| part.is_empty() || part.contains(['[', ']', '\\', ',']));
        if bad || !put(&mut tree, &path, value) {
            let help = "write `key.below.it`; lists and keys with dots go into a file under `values`";
            cx.findings.error_help(key.at, Code::BadValue, "this does not name one value", help);
        }
    }
    tree
}

/// Whether the value could be put there.
fn put(tree: &mut Map<String, Value>, path: &[&str], value: Value) -> bool {
    match path {
        [] => false,
        [last] => tree.insert((*last).to_owned(), value).is_none(),
        [first, rest @ ..] => {
            let below = tree.entry((*first).to_owned()).or_insert_with(|| Value::Object(Map::new()));
            below.as_object_mut().is_some_and(|below| put(below, rest, value))
        }
    }
}

/// As YAML would read it: whole numbers, `true`, `false` and `null` are what they look like, all else is a text.
fn scalar(text: String) -> Value {
    match text.as_str() {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "null" => Value::Null,
        number => match number.parse::<i64>() {
            Ok(whole) if whole.to_string() == number => Value::from(whole),
            _ => Value::from(text),
        },
    }
}
