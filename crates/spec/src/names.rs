//! Names: of the project, environments, regions, apps and variables, and what refers to them.

use crate::code::Code;
use crate::diagnostic::{Diagnostics, Findings};
use crate::node::{Key, Kind, Node};
use crate::raw::{At, Document, Entries, Environment as RawEnvironment, Text};
use crate::spec::{Environment, InCluster, Listen, Tree};
use crate::text::{shorten, suggest};
use deployctl_core::id::{AppName, BadName, EnvName, RegionName};
use std::collections::BTreeMap;

/// The value as a name that checks itself.
pub(crate) fn name<T: std::str::FromStr<Err = BadName>>(text: &At<Text>, findings: &mut Findings<'_>) -> Option<T> {
    match text.value.0.parse() {
        Ok(name) => Some(name),
        Err(why) => {
            findings.error(text.at, Code::BadName, why.to_string());
            None
        }
    }
}

/// Where the state is.
pub(crate) fn state(document: &Document, findings: &mut Findings<'_>) -> Option<String> {
    let state = document.state.as_ref()?;
    let text = state.value.0.as_str();
    let namespace = text.strip_prefix("kubernetes://").and_then(|rest| rest.rsplit_once('/')).map(|(_, last)| last);
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if namespace.is_some_and(|name| !name.is_empty() && name.len() <= 63 && name.chars().all(fits)) {
        return Some(text.to_owned());
    }
    let help = "a directory is named by --state or DEPLOYCTL_STATE, since it is another one on each machine";
    let message = format!("`state` must be kubernetes://CONTEXT/NAMESPACE, not `{}`", shorten(text));
    findings.error_help(state.at, Code::BadValue, message, help);
    None
}

/// How deployctl runs as a Job in the cluster.
pub(crate) fn in_cluster(document: &Document, findings: &mut Findings<'_>) -> InCluster {
    let Some(raw) = &document.in_cluster else { return InCluster::default() };
    let one_word = |text: &str| !text.is_empty() && !text.contains(char::is_whitespace);
    let image = raw.image.as_ref().and_then(|image| {
        let text = image.value.0.as_str();
        if one_word(text) {
            return Some(text.to_owned());
        }
        findings.error(image.at, Code::BadValue, format!("`image` must name an image, not `{}`", shorten(text)));
        None
    });
    let service_account = raw.service_account.as_ref().and_then(|account| {
        let text = account.value.0.as_str();
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        if !text.is_empty() && text.len() <= 253 && text.chars().all(fits) {
            return Some(text.to_owned());
        }
        let message = format!("`service_account` must be the name of one in the namespace, not `{}`", shorten(text));
        findings.error(account.at, Code::BadValue, message);
        None
    });
    InCluster { image, service_account }
}

/// The error for a name that was asked for and does not exist.
pub(crate) fn unknown<'a>(what: &str, name: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> Diagnostics {
    let help = suggest(name, known);
    Diagnostics::one(Code::UnknownName, format!("there is no {what} `{}`", shorten(name)), Some(help))
}

/// What an app says for a single environment: the app's name, the environment's key, and what is different.
pub(crate) type Override = (String, Key, Node);

/// Takes the `in` of each app out of the tree.
pub(crate) fn take_overrides(whole: &mut Node, findings: &mut Findings<'_>) -> Vec<Override> {
    let mut found = Vec::new();
    let Kind::Map(top) = &mut whole.kind else { return found };
    let Some((_, apps)) = top.iter_mut().find(|(key, _)| key.name == "apps") else { return found };
    let Kind::Map(apps) = &mut apps.kind else { return found };
    for (app, settings) in apps {
        let Some((_, overrides)) = settings.take("in") else { continue };
        match overrides.kind {
            Kind::Map(entries) => found.extend(entries.into_iter().map(|(key, node)| (app.name.clone(), key, node))),
            Kind::Null => {}
            _ => {
                let message = format!("`in` must be a map, not {}", overrides.describe());
                let help = "write the name of an environment, and under it what is different there";
                findings.error_help(overrides.at, Code::WrongType, message, help);
            }
        }
    }
    found
}

/// The environments in order of promotion.
pub(crate) fn environments(document: &Document, whole: &Node, findings: &mut Findings<'_>) -> Vec<Environment> {
    let mut found: Vec<Environment> = Vec::new();
    let none = RawEnvironment::default();
    for (key, raw) in &document.environments.0 {
        let Some(name) = name::<EnvName>(key, findings) else { continue };
        let node = whole.get("environments").and_then(|all| all.get(name.as_str()));
        let said = raw.as_ref().is_some_and(|raw| raw.defaults.is_some());
        let defaults = node.filter(|_| said).and_then(|node| node.get("defaults")).cloned();
        found.push(crate::spec::environment(name, raw.as_ref().unwrap_or(&none), defaults, findings));
    }
    if document.environments.0.is_empty() {
        let at = whole.get("environments").map_or(whole.at, |node| node.at);
        findings.error_help(at, Code::MissingKey, "there is no environment", "write `environments: { dev: {} }`");
    }
    for (_, raw) in &document.environments.0 {
        let Some(after) = raw.as_ref().and_then(|raw| raw.after.as_ref()) else { continue };
        if !found.iter().any(|environment| environment.name.as_str() == after.value.0) {
            let help = suggest(&after.value.0, found.iter().map(|environment| environment.name.as_str()));
            let message = format!("there is no environment `{}`", shorten(&after.value.0));
            findings.error_help(after.at, Code::UnknownName, message, help);
        }
    }
    promotion_order(document, found, findings)
}

fn promotion_order(document: &Document, mut rest: Vec<Environment>, findings: &mut Findings<'_>) -> Vec<Environment> {
    let mut order: Vec<Environment> = Vec::new();
    let known: Vec<EnvName> = rest.iter().map(|environment| environment.name.clone()).collect();
    let ready = |environment: &Environment, order: &[Environment]| match &environment.after {
        Some(after) if known.contains(after) => order.iter().any(|before| before.name == *after),
        _ => true,
    };
    while let Some(next) = rest.iter().position(|environment| ready(environment, &order)) {
        order.push(rest.remove(next));
    }
    if let Some(stuck) = rest.first() {
        let names: Vec<&str> = rest.iter().map(|environment| environment.name.as_str()).collect();
        let raw = document.environments.0.iter().find(|(key, _)| key.value.0 == stuck.name.as_str());
        let after = raw.and_then(|(_, raw)| raw.as_ref()?.after.as_ref());
        let message = format!("these environments come after each other in a circle: {}", names.join(", "));
        let at = after.map_or_else(Default::default, |after| after.at);
        findings.error_help(at, Code::Cycle, message, "one of them must come first, without `after`");
    }
    order.extend(rest);
    order
}

/// The regions of an environment.
pub(crate) fn regions(raw: &RawEnvironment, findings: &mut Findings<'_>) -> Vec<RegionName> {
    let mut regions: Vec<RegionName> = Vec::new();
    for text in raw.regions.iter().flatten() {
        let Some(region) = name::<RegionName>(text, findings) else { continue };
        if regions.contains(&region) {
            findings.error(text.at, Code::Contradiction, format!("the region `{region}` is named twice"));
        }
        regions.push(region);
    }
    if regions.is_empty() {
        regions.push(RegionName::default_region());
    }
    regions
}

/// The addresses of the proxy.
pub(crate) fn listen(raw: &RawEnvironment, findings: &mut Findings<'_>) -> Vec<Listen> {
    let mut all: Vec<Listen> = Vec::new();
    let help = "write `127.0.0.1:8080`, `0.0.0.0:80`, `[::1]:8080` or `https://0.0.0.0:443`";
    for text in raw.listen.iter().flat_map(|listen| &listen.0) {
        let (tls, address) = match text.value.0.split_once("://") {
            Some(("https", address)) => (true, address),
            Some(("http", address)) => (false, address),
            _ => (false, text.value.0.as_str()),
        };
        match address.parse::<std::net::SocketAddr>() {
            Ok(address) if address.port() == 0 => {
                let help = "leave `listen` out: a free port is chosen once and kept";
                findings.error_help(text.at, Code::BadValue, "port 0 is no port to listen on", help);
            }
            Ok(address) if all.iter().any(|known| known.address == address) => {
                findings.error(text.at, Code::Contradiction, format!("the address `{address}` is named twice"));
            }
            Ok(address) => all.push(Listen { address, tls }),
            Err(_) => {
                let message = format!("`{}` is not an IP address with a port", shorten(&text.value.0));
                findings.error_help(text.at, Code::BadValue, message, help);
            }
        }
    }
    all
}

/// The apps as trees.
pub(crate) fn apps(
    document: &Document,
    whole: &Node,
    overrides: Vec<Override>,
    environments: &[Environment],
    findings: &mut Findings<'_>,
) -> BTreeMap<AppName, Tree> {
    let mut trees = BTreeMap::new();
    for (key, _) in &document.apps.0 {
        let Some(name) = name::<AppName>(key, findings) else { continue };
        if name.group().is_some() {
            let message = format!("app name `{name}` may only have a-z, 0-9 and -");
            findings.error(key.at, Code::BadName, message);
            continue;
        }
        let Some(base) = whole.get("apps").and_then(|apps| apps.get(name.as_str())) else { continue };
        trees.insert(name, Tree { at: key.at, base: base.clone(), overrides: BTreeMap::new() });
    }
    if document.apps.0.is_empty() {
        let at = whole.get("apps").map_or(whole.at, |node| node.at);
        findings.error_help(at, Code::MissingKey, "there is no app", "`deployctl init` writes a start");
    }
    for (app, key, node) in overrides {
        let Some(environment) = environments.iter().find(|known| known.name.as_str() == key.name) else {
            let help = suggest(&key.name, environments.iter().map(|known| known.name.as_str()));
            let message = format!("there is no environment `{}`", shorten(&key.name));
            findings.error_help(key.at, Code::UnknownName, message, help);
            continue;
        };
        let tree = trees.iter_mut().find(|(name, _)| name.as_str() == app);
        if let Some((_, tree)) = tree.filter(|_| node.kind != Kind::Null) {
            tree.overrides.insert(environment.name.clone(), node);
        }
    }
    trees
}

/// Values for templates.
pub(crate) fn vars(raw: Option<&Entries<At<Text>>>, findings: &mut Findings<'_>) -> BTreeMap<String, String> {
    let mut vars = BTreeMap::new();
    for (key, value) in raw.iter().flat_map(|entries| &entries.0) {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !key.value.0.starts_with(|c: char| c.is_ascii_alphabetic()) || !key.value.0.chars().all(word) {
            let message = format!("`{}` cannot be used as `vars.NAME`", shorten(&key.value.0));
            findings.error_help(key.at, Code::BadName, message, "begin with a letter; use letters, digits and _");
        }
        vars.insert(key.value.0.clone(), value.value.0.clone());
    }
    vars
}
