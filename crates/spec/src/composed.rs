//! Compose files: what must be asked of Docker Compose, and what it answered.

use crate::code::Code;
use crate::diagnostic::{Diagnostics, Findings};
use crate::node::{Kind, Node};
use crate::resolve::{Question, compose};
use crate::source::{Place, Source, Sources};
use crate::spec::{Environment, Spec};
use crate::text::shorten_to;
use deployctl_compose::Document;
use deployctl_core::id::{AppName, RegionName};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What Docker Compose is asked for an app: its configuration of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComposeAsk {
    /// For which app.
    pub app: AppName,
    /// The file, absolute; none: the one that Compose finds in the project's directory.
    pub file: Option<String>,
    /// The values of variables, before those of the caller's environment. The version is not known here: a marker stands
    /// for it.
    pub env: BTreeMap<String, String>,
    /// The profiles whose services are wanted too.
    pub profiles: Vec<String>,
    /// The project's name, if not Compose's own choice.
    pub project_name: Option<String>,
}

/// What Docker Compose answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Composed {
    /// The question.
    pub ask: ComposeAsk,
    /// The file, as the person names it, for places in it.
    pub source: Source,
    /// The configuration, without secrets.
    pub document: Value,
}

/// An answer of Compose, with the file's own tree for places.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) composed: Composed,
    pub(crate) document: Document,
    index: u32,
    pub(crate) tree: Option<Node>,
}

impl Spec {
    /// What must be asked of Docker Compose before anything can be resolved, or, with `only`, before this app can be and
    /// what it depends on. Each question once.
    pub fn compose_asks(&self, only: Option<&AppName>) -> Result<Vec<ComposeAsk>, Diagnostics> {
        let mut findings = Findings::new(&self.sources);
        let mut asks: Vec<ComposeAsk> = Vec::new();
        let needed = only.map(|only| self.needed(only));
        let is_needed = |app: &AppName| needed.as_ref().is_none_or(|needed| needed.contains(app));
        for (environment, region, app) in self.places().filter(|(_, _, app)| is_needed(app)) {
            let question = Question { spec: self, sources: &self.sources, environment, app, region, version: None };
            let ask = compose::ask(&question, &mut findings);
            asks.extend(ask.filter(|ask| !asks.contains(ask)));
        }
        if findings.failed() { Err(findings.finish()) } else { Ok(asks) }
    }

    /// The specification with what Compose answered: checked again, as a whole.
    pub fn with_composed(mut self, composed: Vec<Composed>) -> Result<Self, Diagnostics> {
        for composed in composed {
            let index = u32::try_from(self.sources.0.len()).unwrap_or(u32::MAX);
            self.sources.0.push(composed.source.clone());
            let tree = tree(index, &composed.source);
            let document = Document::restored(composed.document.clone());
            self.composed.push(Read { composed, document, index, tree });
        }
        let sources = self.sources.clone();
        let mut findings = Findings::new(&sources);
        crate::rules::check(&self, &mut findings);
        let failed = findings.failed();
        let found = findings.finish();
        if failed {
            return Err(found);
        }
        self.warnings = found;
        Ok(self)
    }

    /// What Compose answered, to be kept with a release.
    pub fn composed(&self) -> Vec<Composed> {
        self.composed.iter().map(|read| read.composed.clone()).collect()
    }

    /// An app, or the one that it is a service of, with all that it depends on anywhere.
    pub(crate) fn needed(&self, only: &AppName) -> BTreeSet<AppName> {
        let mut needed = BTreeSet::new();
        let mut open: Vec<AppName> = AppName::new(only.group().unwrap_or(only.as_str())).into_iter().collect();
        while let Some(app) = open.pop() {
            for environment in &self.environments {
                let settings = self.settings(environment, &app, &mut Findings::new(&self.sources));
                let names = settings.and_then(|settings| settings.depends_on).unwrap_or_default();
                let names = names.iter().filter_map(|name| AppName::new(name.value.0.as_str()).ok());
                open.extend(names.filter(|name| !needed.contains(name) && *name != app));
            }
            needed.insert(app);
        }
        needed
    }

    pub(crate) fn places(&self) -> impl Iterator<Item = (&Environment, &RegionName, &AppName)> {
        let all = self.environments.iter().flat_map(|env| env.regions.iter().map(move |region| (env, region)));
        all.flat_map(|(env, region)| self.apps.iter().map(move |app| (env, region, app)))
    }
}

impl Read {
    /// Where `path` is in the file, or as much of it as is there; the top of the file if it came from elsewhere.
    pub(crate) fn place(&self, path: &[&str]) -> Place {
        let top = Place { source: self.index, line: 1, column: 1, width: 1 };
        self.tree.as_ref().map_or(top, |tree| deepest(tree, path, top))
    }

    /// What the file says at `path`, if it stands there.
    pub(crate) fn node(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self.tree.as_ref()?, |node, key| node.get(key))
    }
}

fn deepest(tree: &Node, path: &[&str], top: Place) -> Place {
    let (mut node, mut at) = (tree, top);
    for key in path {
        let next = match &node.kind {
            Kind::Map(entries) => {
                entries.iter().find(|(known, _)| known.name == *key).map(|(key, node)| (key.at, node))
            }
            Kind::List(items) => key.parse().ok().and_then(|index: usize| items.get(index)).map(|node| (node.at, node)),
            _ => None,
        };
        let Some((place, below)) = next else { break };
        (node, at) = (below, place);
    }
    at
}

/// The file as a tree; none if it is more than we read, which Compose may do all the same.
fn tree(index: u32, source: &Source) -> Option<Node> {
    let sources = Sources(vec![source.clone()]);
    crate::yaml::parse(index, source, &mut Findings::new(&sources))
}

/// Why Docker Compose refused a file, from what it printed, with the place if that can be told.
pub fn compose_trouble(source: &Source, printed: &str) -> Diagnostics {
    let sources = Sources(vec![source.clone()]);
    let mut findings = Findings::new(&sources);
    let said: Vec<&str> =
        printed.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("time=")).collect();
    let said = said.join(" ");
    let tree = crate::yaml::parse(0, source, &mut findings);
    if findings.failed() {
        return findings.finish();
    }
    let top = Place { source: 0, line: 1, column: 1, width: 1 };
    let at = line_of(&said).map(|line| Place { line, ..top });
    let at = at.or_else(|| tree.map(|tree| mentioned(&tree, &said, top))).unwrap_or(top);
    let message = format!("Docker Compose cannot use `{}`: {}", source.name, shorten_to(&said, 400));
    let code = if said.contains("additional propert") { Code::UnknownKey } else { Code::BadValue };
    findings.error_help(at, code, message, "`docker compose config` says the same; mend the file");
    findings.finish()
}

/// The line in `... at L4.C3: ...` or `line 4: ...`.
fn line_of(said: &str) -> Option<u32> {
    let rest = ["at L", "line "].iter().find_map(|mark| said.split_once(mark).map(|(_, rest)| rest))?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The place of the longest path of keys that is named, such as `services.web`, and of the key that is quoted after it.
fn mentioned(tree: &Node, said: &str, top: Place) -> Place {
    let words = said.split([' ', ':', ',', '"']).map(|word| word.trim_matches(['\'', '.']));
    let path =
        words.filter(|word| word.contains('.') && tree.get(word.split('.').next().unwrap_or_default()).is_some());
    let Some(path) = path.max_by_key(|word| word.len()) else { return top };
    let mut keys: Vec<&str> = path.split('.').collect();
    keys.extend(said.split('\'').nth(1));
    deepest(tree, &keys, top)
}

/// That variables have no value which the file uses without saying what holds then.
pub fn compose_unset(source: &Source, names: &[String]) -> Diagnostics {
    let sources = Sources(vec![source.clone()]);
    let mut findings = Findings::new(&sources);
    for name in names {
        let uses = [format!("${{{name}"), format!("${name}")];
        let found = source.text.lines().enumerate().find_map(|(line, text)| {
            let column = uses.iter().find_map(|usage| text.find(usage.as_str()))?;
            Some((line, text[..column].chars().count()))
        });
        let (line, column) = found.unwrap_or((0, 0));
        let number = |n: usize| u32::try_from(n + 1).unwrap_or(u32::MAX);
        let at = Place { source: 0, line: number(line), column: number(column), width: 1 };
        let message = format!("the variable `{name}` has no value; Compose would put in nothing");
        let help = format!(
            "set it in the environment, in `.env`, or under `env` of the app; or write `${{{name}:-}}` if nothing is meant"
        );
        findings.error_help(at, Code::UnknownVariable, message, help);
    }
    findings.finish()
}

/// What Docker Compose printed, as a document; `None` if it is not what Compose prints.
pub fn printed_document(printed: &str) -> Option<Document> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: 64, max_nodes: 500_000, max_anchors: 1000 },
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(printed, options).ok().map(Document::new)
}
