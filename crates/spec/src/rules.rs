//! What holds between apps, in every environment.

use crate::code::Code;
use crate::diagnostic::Findings;
use crate::resolve::{self, Answer, Question};
use crate::source::Place;
use crate::spec::{Environment, Spec};
use deployctl_core::config::{Strategy, TargetConfig};
use deployctl_core::id::{AppName, Version};
use std::collections::{BTreeMap, BTreeSet};

/// Stands for the version that is not known yet.
pub(crate) const ANY_VERSION: &str = "0";

/// Resolves everything for every environment and region; what is wrong goes to `findings`.
pub(crate) fn check<'a>(spec: &'a Spec, findings: &mut Findings<'a>) {
    let version = spec.version.clone().or_else(|| Version::new(ANY_VERSION).ok());
    for environment in &spec.environments {
        let mut everywhere: Vec<Answer> = Vec::new();
        for region in &environment.regions {
            let mut here: Vec<Answer> = Vec::new();
            for app in &spec.apps {
                let sources = &spec.sources;
                let question = Question { spec, sources, environment, app, region, version: version.clone() };
                here.append(&mut resolve::resolve(&question, findings));
            }
            cycles(&here, findings);
            addresses(&here, findings);
            everywhere.append(&mut here);
        }
        routes(environment, &everywhere, findings);
        certificates(environment, &everywhere, findings);
    }
}

fn cycles(apps: &[Answer], findings: &mut Findings<'_>) {
    let edges: BTreeMap<&AppName, &[(AppName, Place)]> =
        apps.iter().map(|answer| (&answer.app.app, answer.depends_on.as_slice())).collect();
    for start in apps.iter().map(|answer| &answer.app.app) {
        let mut path: Vec<&AppName> = vec![start];
        if let Some(at) = leads_back(start, start, &edges, &mut path) {
            // Each circle is told once, by its first app in the order of names.
            if path.iter().min() == Some(&start) {
                let names: Vec<&str> = path.iter().map(|app| app.as_str()).collect();
                let message = match names.len() {
                    1 => format!("`{start}` depends on itself"),
                    _ => format!("these apps wait for each other: {} -> {start}", names.join(" -> ")),
                };
                findings.error_help(at, Code::Cycle, message, "one of them must come up without the others");
            }
        }
    }
}

/// The place of the edge that leaves `from` on a way to `goal`; `path` is that way.
fn leads_back<'a>(
    from: &'a AppName,
    goal: &AppName,
    edges: &BTreeMap<&'a AppName, &'a [(AppName, Place)]>,
    path: &mut Vec<&'a AppName>,
) -> Option<Place> {
    let mut seen: Vec<&AppName> = vec![from];
    let mut ways: Vec<(Place, Vec<&'a AppName>)> = vec![(Place::default(), vec![from])];
    while let Some((first, way)) = ways.pop() {
        let last = way.last().copied()?;
        for (next, at) in edges.get(last).copied().unwrap_or_default() {
            let first = if way.len() == 1 { *at } else { first };
            if next == goal {
                *path = way;
                return Some(first);
            }
            if !seen.contains(&next) {
                seen.push(next);
                let mut longer = way.clone();
                longer.push(next);
                ways.push((first, longer));
            }
        }
    }
    None
}

fn addresses(apps: &[Answer], findings: &mut Findings<'_>) {
    for answer in apps {
        for (name, at) in &answer.addresses {
            if *name == answer.app.app {
                let message = "an app cannot use its own address";
                findings.error_help(*at, Code::Address, message, "its port is `{{ port }}`");
                continue;
            }
            if !answer.depends_on.iter().any(|(needed, _)| needed == name) {
                let message = format!("`{}` uses the address of `{name}` without waiting for it", answer.app.app);
                let help = format!("add `{name}` to its `depends_on`");
                findings.error_help(*at, Code::Address, message, help);
            }
            let Some(other) = apps.iter().find(|other| other.app.app == *name) else { continue };
            let config = &other.app.config;
            let docker = matches!(config.target, TargetConfig::Docker(_));
            let message = if !config.target.has_port() {
                format!("`{name}` has no address: it has no port")
            } else if docker && config.route.is_none() {
                format!("`{name}` has no address that stays: every new container has another one")
            } else if config.route.is_none() && (config.strategy != Strategy::Recreate || config.instances > 1) {
                format!("`{name}` has no address that stays: every new instance has another port")
            } else {
                continue;
            };
            let help = match docker {
                true => "give it a `port` and a `route`",
                false => {
                    "give it a `route`, or, for a single instance, `strategy: recreate`, and let it use `{{ port }}`"
                }
            };
            findings.error_help(*at, Code::Address, message, help);
        }
    }
}

fn routes(environment: &Environment, apps: &[Answer], findings: &mut Findings<'_>) {
    let mut told: BTreeSet<(&AppName, &AppName)> = BTreeSet::new();
    for (at, later) in apps.iter().enumerate() {
        for earlier in &apps[..at] {
            // Without a common address the instances of each region are reached by one of their own.
            if earlier.app.region != later.app.region && environment.listen.is_empty() {
                continue;
            }
            let Some(what) = both_take(earlier, later) else { continue };
            if told.insert((&earlier.app.app, &later.app.app)) {
                route_conflict(environment, earlier, later, &what, findings);
            }
        }
    }
    for answer in apps {
        let hosts = taken(answer);
        if let Some(twice) = hosts.iter().enumerate().find_map(|(at, host)| hosts[..at].contains(host).then_some(host))
        {
            let message = format!("`{}` names `{twice}` twice", answer.app.app);
            findings.error_help(answer.route_at, Code::RouteConflict, message, "name each host once");
        }
    }
}

/// The hosts from which an app takes requests.
fn taken(answer: &Answer) -> Vec<&str> {
    let Some(route) = &answer.app.config.route else { return Vec::new() };
    let any = if route.hosts.is_empty() { &["any host"][..] } else { &[] };
    any.iter().copied().chain(route.hosts.iter().chain(&route.redirect_hosts).map(String::as_str)).collect()
}

/// A host and path that two apps take both.
fn both_take(a: &Answer, b: &Answer) -> Option<String> {
    let path = &a.app.config.route.as_ref()?.path;
    let same = b.app.config.route.as_ref()?.path == *path;
    let theirs = taken(b);
    let host = taken(a).into_iter().find(|host| same && theirs.contains(host))?;
    Some(if host == "any host" { format!("`{path}` of any host") } else { format!("`{host}{path}`") })
}

fn route_conflict(
    environment: &Environment,
    earlier: &Answer,
    later: &Answer,
    what: &str,
    findings: &mut Findings<'_>,
) {
    let (a, b) = (&earlier.app, &later.app);
    let (message, help) = if a.app == b.app {
        let who = format!("`{}` takes {what} in both regions `{}` and `{}`", a.app, a.region, b.region);
        (who, "use the region in the host: `\"{{ region }}.shop.example.com\"`")
    } else {
        (format!("`{}` and `{}` both take {what}", a.app, b.app), "give one of them another `host` or `path`")
    };
    let message = format!("{message}, in `{}`", environment.name);
    findings.error_help(later.route_at, Code::RouteConflict, message, help);
}

/// An address with TLS needs a certificate from somewhere.
fn certificates(environment: &Environment, apps: &[Answer], findings: &mut Findings<'_>) {
    let tls = environment.listen.iter().any(|listen| listen.tls);
    let routed: Vec<&Answer> = apps.iter().filter(|answer| answer.app.config.route.is_some()).collect();
    let certificate = |answer: &&Answer| answer.app.config.route.as_ref().is_some_and(|route| route.tls.is_some());
    if let (true, Some(first)) = (tls && !routed.iter().any(certificate), routed.first()) {
        let message = format!("`{}` listens with TLS, but no route has a certificate", environment.name);
        let help = "add `tls: { certificate: FILE, key: FILE }` to a route";
        findings.error_help(first.route_at, Code::Contradiction, message, help);
    }
}
