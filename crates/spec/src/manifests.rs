//! Manifests of Kubernetes: where they come from, and texts of one or several documents each.

use crate::code::Code;
use crate::diagnostic::{Diagnostics, Findings};
use crate::resolve::{Question, kubernetes};
use crate::source::{Place, Source, Sources};
use crate::spec::Spec;
use crate::text::{shorten, shorten_to};
use deployctl_core::id::{AppName, Sha256Hex};
use deployctl_core::instance::SecretValues;
use deployctl_kubernetes::secrets;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::Path;
use std::sync::Arc;

/// Where manifests come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ManifestSource {
    /// The files of a directory, absolute.
    Directory(String),
    /// What Kustomize makes of the overlay in a directory, absolute.
    Kustomize(String),
    /// What Helm makes of a chart.
    Helm(Chart),
}

/// What Helm is asked to render.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chart {
    /// An absolute path, `oci://...`, or a name in the repository.
    pub chart: String,
    /// The address of the repository.
    pub repository: Option<String>,
    /// The chart's version.
    pub version: Option<String>,
    /// Files with values, absolute.
    pub values: Vec<String>,
    /// Values over those of the files.
    pub set: Map<String, Value>,
    /// The name of the release.
    pub release: String,
    /// The namespace of the release.
    pub namespace: String,
    /// Which Kubernetes it is rendered for.
    pub kube_version: Option<String>,
    /// Which APIs there are besides.
    pub api_versions: Vec<String>,
}

impl ManifestSource {
    /// What a person calls it.
    pub fn words(&self) -> String {
        match self {
            Self::Directory(path) => format!("`{}`", shorten(path)),
            Self::Kustomize(path) => format!("the overlay `{}`", shorten(path)),
            Self::Helm(chart) => format!("the chart `{}`", shorten(&chart.chart)),
        }
    }
}

impl ManifestSource {
    /// What tells its Secrets from those of other sources, on every machine.
    fn place(&self, dir: &Path) -> String {
        let relative = |path: &str| {
            let path = Path::new(path);
            path.strip_prefix(dir).unwrap_or(path).display().to_string()
        };
        match self {
            Self::Directory(path) => relative(path),
            Self::Kustomize(path) => format!("kustomize {}", relative(path)),
            // Of one name there may be one in each environment, with other values.
            Self::Helm(chart) => {
                let values = chart.values.iter().map(|path| relative(path)).collect();
                let chart = Chart { chart: relative(&chart.chart), values, ..chart.clone() };
                let all = serde_json::to_vec(&chart).unwrap_or_default();
                format!("helm {}/{} {}", chart.namespace, chart.release, Sha256Hex::of(&all).short())
            }
        }
    }
}

/// Manifests, as texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifests {
    /// Where they come from.
    #[serde(flatten)]
    pub from: ManifestSource,
    /// The files, as the person names them; or what was rendered.
    pub files: Vec<Source>,
}

/// Manifests as they were read.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) manifests: Manifests,
    /// Where each document begins, and what it says; nothing if they are wrong.
    pub(crate) documents: Vec<(Place, Value)>,
}

impl Spec {
    /// Where the manifests come from that are needed before anything can be resolved, or, with `only`, before this app can
    /// be and what it depends on. Each once.
    pub fn manifest_sources(&self, only: Option<&AppName>) -> Result<Vec<ManifestSource>, Diagnostics> {
        let mut findings = Findings::new(&self.sources);
        let mut all: Vec<ManifestSource> = Vec::new();
        let needed = only.map(|only| self.needed(only));
        let is_needed = |app: &AppName| needed.as_ref().is_none_or(|needed| needed.contains(app));
        for (environment, region, app) in self.places().filter(|(_, _, app)| is_needed(app)) {
            let version = self.version.clone();
            let question = Question { spec: self, sources: &self.sources, environment, app, region, version };
            let source = kubernetes::source(&question, &mut findings);
            all.extend(source.filter(|source| !all.contains(source)));
        }
        if findings.failed() { Err(findings.finish()) } else { Ok(all) }
    }

    /// The specification with these manifests as well: checked again, as a whole.
    pub fn with_manifests(mut self, manifests: Vec<Manifests>) -> Result<Self, Diagnostics> {
        if manifests.is_empty() {
            return Ok(self);
        }
        let first = self.sources.0.len();
        self.sources.0.extend(manifests.iter().flat_map(|manifests| &manifests.files).map(shown));
        let sources = self.sources.clone();
        let mut findings = Findings::new(&sources);
        let mut index = first;
        for mut manifests in manifests {
            let mut documents = Vec::new();
            let place = manifests.from.place(&self.dir);
            for file in &mut manifests.files {
                let secrets = Secrets { place: &place, values: &mut self.values };
                documents.append(&mut read(u32::try_from(index).unwrap_or(u32::MAX), file, secrets, &mut findings));
                index += 1;
            }
            self.manifests.push(Read { manifests, documents });
        }
        if !findings.failed() {
            crate::rules::check(&self, &mut findings);
        }
        let failed = findings.failed();
        let found = findings.finish();
        if failed {
            return Err(found);
        }
        self.warnings = found;
        Ok(self)
    }

    /// The values of the Secrets in the manifests that were read.
    pub fn secret_values(&self) -> &SecretValues {
        &self.values
    }

    /// The manifests as they were read, without values of Secrets, to be kept with a release.
    pub fn manifests(&self) -> Vec<Manifests> {
        self.manifests.iter().map(|read| read.manifests.clone()).collect()
    }
}

/// A file as it may be shown: of one with a secret in it no line is.
fn shown(file: &Source) -> Source {
    let text = if has_secret(file) { "...\n".repeat(file.text.lines().count()) } else { file.text.clone() };
    Source { name: file.name.clone(), text }
}

fn has_secret(file: &Source) -> bool {
    file.text.contains("Secret")
}

/// Where values of Secrets go that stand in files of a place.
struct Secrets<'a> {
    place: &'a str,
    values: &'a mut SecretValues,
}

/// The documents of a file, which then has references in place of values of Secrets; what is wrong goes to `findings`.
fn read(index: u32, source: &mut Source, secrets: Secrets<'_>, findings: &mut Findings<'_>) -> Vec<(Place, Value)> {
    let top = Place { source: index, line: 1, column: 1, width: 1 };
    let file = source.name.rsplit('/').next().unwrap_or_default();
    let other = match file {
        "kustomization.yaml" | "kustomization.yml" | "Kustomization" => {
            Some(("this is a Kustomize overlay", "name its directory under `kustomize` instead of `manifests`"))
        }
        "Chart.yaml" => {
            Some(("this is a Helm chart", "name its directory under `helm` instead of `manifests`: `chart: DIRECTORY`"))
        }
        _ => None,
    };
    if let Some((what, help)) = other {
        findings.error_help(top, Code::Contradiction, what, help);
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut lines: Vec<String> = source.text.lines().map(str::to_owned).collect();
    let documents = documents(&source.text);
    let ends: Vec<usize> = documents.iter().skip(1).map(|(before, _)| *before).chain([lines.len()]).collect();
    for ((before, text), end) in documents.into_iter().zip(ends) {
        let Some(skipped) = text.lines().position(|line| !matches!(line.trim().chars().next(), None | Some('#')))
        else {
            continue;
        };
        let at = Place { line: u32::try_from(before + skipped + 1).unwrap_or(u32::MAX), ..top };
        // Lines are counted from the beginning of the file.
        let padded = format!("{}{text}", "\n".repeat(before));
        match document(&padded) {
            Ok(mut value) => {
                let said = value.clone();
                match secrets::take(&mut value, secrets.place) {
                    Ok(taken) => {
                        let taken = taken.into_iter().map(|(reference, value)| (reference, Arc::from(value)));
                        secrets.values.0.extend(taken);
                    }
                    Err(problem) => {
                        findings.error_help(at, Code::BadValue, problem.message, problem.help);
                        continue;
                    }
                }
                if value != said {
                    replace(&mut lines[before..end], skipped, &value);
                }
                found.push((at, value));
            }
            Err((line, why)) => {
                let at = line.map_or(at, |line| Place { line, ..top });
                let help = "a manifest is plain YAML or JSON: templates and `!tags` mean nothing in it";
                let why = if has_secret(source) { String::new() } else { format!(": {why}") };
                findings.error_help(at, Code::Syntax, format!("this is not YAML{why}"), help);
            }
        }
    }
    source.text = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    found
}

/// The lines of a document say `value` and nothing else, in the line where it began. JSON is YAML.
fn replace(lines: &mut [String], begins: usize, value: &Value) {
    for (number, line) in lines.iter_mut().enumerate() {
        let mark = if line.starts_with("---") && number == 0 { "--- " } else { "" };
        *line = if number == begins { format!("{mark}{value}") } else { mark.trim_end().to_owned() };
    }
}

fn document(text: &str) -> Result<Value, (Option<u32>, String)> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: 128, max_nodes: 500_000, max_anchors: 1000 },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 100_000, max_replay_stack_depth: 16 },
        // As the tools of Kubernetes read it, by YAML 1.1: `defaultMode: 0644` is octal.
        legacy_octal_numbers: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().and_then(|at| u32::try_from(at.line()).ok()).filter(|line| *line > 0);
        let message = error.without_snippet().to_string();
        let message = message.split(" at line ").next().unwrap_or_default().trim_end_matches([':', ',', ' ']);
        (line, shorten_to(message, 200).to_string())
    })
}

/// What the documents of a text say, as far as they can be read.
pub(crate) fn values(text: &str) -> Vec<Value> {
    documents(text).iter().filter_map(|(_, text)| document(text).ok()).collect()
}

/// The documents of a text, each with how many lines stand before it.
fn documents(text: &str) -> Vec<(usize, String)> {
    let mut all: Vec<(usize, String)> = vec![(0, String::new())];
    for (number, line) in text.lines().enumerate() {
        let begins = line.strip_prefix("---").filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r']));
        if let Some(rest) = begins {
            all.push((number, format!("   {rest}\n")));
        } else if let Some((_, document)) = all.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    all
}

/// Where a file is in which `place` is, for people.
pub(crate) fn words(sources: &Sources, place: Place) -> String {
    format!("{}:{}", sources.name(place), place.line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_know_how_many_lines_stand_before_them() {
        let text = "a: 1\n---\nb: 2\n--- # two\nc: |\n  ---\n";
        let all = documents(text);
        let said: Vec<(usize, &str)> = all.iter().map(|(before, text)| (*before, text.as_str())).collect();
        assert_eq!(said, [(0, "a: 1\n"), (1, "   \nb: 2\n"), (3, "    # two\nc: |\n  ---\n")]);
    }

    #[test]
    fn values_are_read_as_the_tools_of_kubernetes_read_them() {
        let read = document("mode: 0644\nport: 80\nname: \"0644\"\non: true\nratio: 0.5\n").unwrap();
        let wanted = serde_json::json!({ "mode": 420, "port": 80, "name": "0644", "on": true, "ratio": 0.5 });
        assert_eq!(read, wanted);
        assert_eq!(
            document("a: &x { b: 1 }\nc: { <<: *x, d: 2 }\n").unwrap()["c"],
            serde_json::json!({ "b": 1, "d": 2 })
        );
    }

    #[test]
    fn trouble_has_a_line() {
        let (line, why) = document("\n\n\na: [1\nb: 2\n").unwrap_err();
        assert!(line.is_some_and(|line| line >= 4), "{line:?} {why}");
        let (line, why) = document("a: 1\na: 2\n").unwrap_err();
        assert_eq!((line, why.contains("duplicate")), (Some(2), true), "{why}");
    }
}
