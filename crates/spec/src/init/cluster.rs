//! Manifests, an overlay or a chart: the app is what they say.

use super::Listing;
use super::write::{comment, label, word};
use crate::manifests::values;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Where manifests usually lie.
pub(super) const FOLDERS: &[&str] = &["kubernetes", "k8s", "manifests", "deploy"];

/// Objects of a cluster that were found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Cluster {
    kind: Kind,
    /// The directory, with a place for the environment where each has one of its own.
    pub(super) path: String,
    /// The environments that have one, in the order of promotion.
    pub(super) environments: Vec<String>,
    /// A container of it, and its image without its tag.
    container: Option<(String, String)>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Manifests,
    Kustomize,
    Helm,
}

/// What is there: what says most of all comes first.
pub(super) fn look(listing: &Listing) -> Option<Cluster> {
    chart(listing).or_else(|| overlay(listing)).or_else(|| manifests(listing))
}

fn chart(listing: &Listing) -> Option<Cluster> {
    let is_chart = |path: &&String| path.rsplit('/').next() == Some("Chart.yaml") && path.split('/').count() <= 3;
    let path = listing.files.keys().find(is_chart)?;
    Some(Cluster { kind: Kind::Helm, path: folder(path), ..Cluster::default() })
}

fn overlay(listing: &Listing) -> Option<Cluster> {
    let is_overlay = |path: &&String| path.rsplit('/').next() == Some("kustomization.yaml");
    let all: Vec<String> = listing.files.keys().filter(is_overlay).map(|path| folder(path)).collect();
    let of = |path: &String| path.split_once("/overlays/").map(|(base, name)| (base.to_owned(), name.to_owned()));
    let container = images(listing).into_iter().next();
    let kind = Kind::Kustomize;
    let Some((base, _)) = all.iter().find_map(of) else {
        return Some(Cluster { kind, path: all.first()?.clone(), container, ..Cluster::default() });
    };
    let names = all.iter().filter_map(of).filter(|(its, _)| *its == base).map(|(_, name)| name);
    let environments = in_order(names);
    Some(Cluster { kind, path: format!("{base}/overlays/{{{{ environment }}}}"), environments, container })
}

fn manifests(listing: &Listing) -> Option<Cluster> {
    let base = FOLDERS.iter().find(|base| has_objects(listing, &format!("{base}/")))?;
    let direct = |path: &&String| path.strip_prefix(base).is_some_and(|rest| !rest[1..].contains('/'));
    let inside = || listing.files.keys().filter(|path| path.starts_with(&format!("{base}/")));
    let (path, environments) = match inside().any(|path| direct(&path)) {
        // One directory for all.
        true => ((*base).to_owned(), Vec::new()),
        false => {
            let names = inside().filter_map(|path| path[base.len() + 1..].split('/').next().map(str::to_owned));
            (format!("{base}/{{{{ environment }}}}"), in_order(names))
        }
    };
    Some(Cluster { kind: Kind::Manifests, path, environments, container: images(listing).into_iter().next() })
}

fn has_objects(listing: &Listing, base: &str) -> bool {
    let says = |text: &String| text.contains("kind:") && text.contains("apiVersion:");
    listing.files.iter().any(|(path, text)| path.starts_with(base) && says(text))
}

/// The directory of a file; a dot for the one that was looked at.
fn folder(path: &str) -> String {
    path.rsplit_once('/').map_or(".", |(folder, _)| folder).to_owned()
}

/// Containers of workloads and their images, without tags; those first whose image is nobody else's.
fn images(listing: &Listing) -> Vec<(String, String)> {
    let is_here = |path: &str| FOLDERS.iter().any(|base| path.starts_with(&format!("{base}/")));
    let texts = listing.files.iter().filter(|(path, _)| is_here(path)).map(|(_, text)| text);
    let mut all: Vec<(String, String)> = Vec::new();
    for object in texts.flat_map(|text| values(text)) {
        let containers = object["spec"]["template"]["spec"]["containers"].as_array().into_iter().flatten();
        let said = containers.filter_map(|one| Some((text(&one["name"])?, untagged(&text(&one["image"])?))));
        all.extend(said.filter(|one| !all.contains(one)).collect::<Vec<_>>());
    }
    // An image without a registry or an owner is a common one, such as a database.
    all.sort_by_key(|(_, image)| !image.contains('/') && *image != listing.name);
    all
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn untagged(image: &str) -> String {
    let image = image.split('@').next().unwrap_or_default();
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name.to_owned(),
        _ => image.to_owned(),
    }
}

/// Environments by their usual order of promotion, others before the last ones.
fn in_order(names: impl Iterator<Item = String>) -> Vec<String> {
    const FIRST: &[&str] = &["local", "dev", "development", "test", "testing", "qa"];
    const LAST: &[&str] = &["stage", "staging", "preprod", "prod", "production", "live"];
    let at = |name: &String| {
        let last = LAST.iter().position(|known| known == name).map(|at| FIRST.len() + 1 + at);
        last.or_else(|| FIRST.iter().position(|known| known == name)).unwrap_or(FIRST.len())
    };
    let unique: BTreeSet<String> = names.filter(|name| label(name) == *name).collect();
    let mut all: Vec<String> = unique.into_iter().collect();
    all.sort_by_key(at);
    all
}

/// The keys of the app `name`.
pub(super) fn write(out: &mut String, name: &str, cluster: &Cluster) {
    let _ = writeln!(out, "  {name}: # from {}", comment(&cluster.path));
    out.push_str("    target: kubernetes\n    context: default # check this: a context of your kubeconfig\n");
    let _ = writeln!(out, "    namespace: {name} # check this: it must be there");
    let path = quoted(&cluster.path);
    let _ = match cluster.kind {
        Kind::Manifests => writeln!(out, "    manifests: {path}"),
        Kind::Kustomize => writeln!(out, "    kustomize: {path}"),
        Kind::Helm => writeln!(
            out,
            "    helm:\n      chart: {path}\n      # values: [\"values-{{{{ environment }}}}.yaml\"]\n      \
             set: {{ image.tag: \"{{{{ version }}}}\" }} # check this: what the chart calls it",
        ),
    };
    let container = cluster.container.as_ref();
    let (of, image) = container.map_or((name, name), |(of, image)| (of.as_str(), image.as_str()));
    if cluster.kind != Kind::Helm {
        let check = if container.is_none() { " # check this: container and image" } else { "" };
        let image = quoted(&format!("{}:{{{{ version }}}}", comment(image)));
        let _ = writeln!(out, "    images: {{ {}: {image} }}{check}", word(of));
    }
    out.push_str(
        "    # adopt: true # takes over what kubectl or Helm made there; without it that is refused, and named\n",
    );
    out.push_str("    strategy: rolling # or recreate, blue-green, canary\n");
}

/// A text with templates of ours as YAML.
fn quoted(text: &str) -> String {
    if text.contains("{{") { Value::from(text).to_string() } else { word(text) }
}

/// Where history and releases are kept: where the app is, so that a pipeline needs no disk that lasts.
pub(super) fn write_state(out: &mut String, name: &str) {
    let _ = write!(
        out,
        "
# History and releases are kept there, and any machine goes on where another one ended; without it, on this machine alone.
state: kubernetes://default/{name} # check this: context and namespace, which must be there
"
    );
}
