//! Which service takes a request: by host, then by the longest path prefix at a segment's border. Pure.

use std::collections::HashMap;

/// A path prefix and the number of the service behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    /// Without a trailing slash; empty takes every path.
    prefix: String,
    service: usize,
}

/// The rules of one environment.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostMap {
    exact: HashMap<String, Vec<Rule>>,
    /// By what follows `*.`.
    wildcard: HashMap<String, Vec<Rule>>,
    any: Vec<Rule>,
    /// Hosts that are redirected, and where to.
    canonical: HashMap<String, (String, usize)>,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Matched<'a> {
    /// It goes to this service.
    Service(usize),
    /// It is sent to the same path on this host; the rule is of this service.
    Canonical(&'a str, usize),
    /// Nobody takes it.
    Nobody,
}

impl HostMap {
    /// Adds the rules of service number `service`; with no hosts it takes any.
    pub(crate) fn add(&mut self, service: usize, hosts: &[String], redirect: &[String], path: &str) {
        let rule = Rule { prefix: path.trim_end_matches('/').to_owned(), service };
        for host in hosts {
            let host = host.to_ascii_lowercase();
            let rules = match host.strip_prefix("*.") {
                Some(suffix) => self.wildcard.entry(suffix.to_owned()).or_default(),
                None => self.exact.entry(host).or_default(),
            };
            insert(rules, rule.clone());
        }
        if hosts.is_empty() {
            insert(&mut self.any, rule);
        }
        if let Some(first) = hosts.first() {
            for host in redirect {
                self.canonical.insert(host.to_ascii_lowercase(), (first.clone(), service));
            }
        }
    }

    /// Who takes a request for `host` (lower case, without port) and `path`: the exact host first, then the wildcard,
    /// then what takes any host.
    pub(crate) fn find(&self, host: &str, path: &str) -> Matched<'_> {
        let host = host.strip_suffix('.').unwrap_or(host);
        if let Some((to, service)) = self.canonical.get(host) {
            return Matched::Canonical(to, *service);
        }
        let exact = self.exact.get(host).and_then(|rules| longest(rules, path));
        let wildcard = || {
            let (_, suffix) = host.split_once('.')?;
            longest(self.wildcard.get(suffix)?, path)
        };
        exact.or_else(wildcard).or_else(|| longest(&self.any, path)).map_or(Matched::Nobody, Matched::Service)
    }
}

/// Longest prefix first; of two that are alike the first stays in front.
fn insert(rules: &mut Vec<Rule>, rule: Rule) {
    let at = rules.iter().position(|other| other.prefix.len() < rule.prefix.len()).unwrap_or(rules.len());
    rules.insert(at, rule);
}

fn longest(rules: &[Rule], path: &str) -> Option<usize> {
    rules.iter().find(|rule| below(&rule.prefix, path)).map(|rule| rule.service)
}

fn below(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| prefix.is_empty() || rest.is_empty() || rest.starts_with(['/', '?']))
}

/// The target of a request with `prefix` taken off its path.
pub(crate) fn strip<'a>(prefix: &str, target: &'a str) -> std::borrow::Cow<'a, str> {
    let prefix = prefix.trim_end_matches('/');
    match target.strip_prefix(prefix) {
        Some(rest) if rest.starts_with('/') => rest.into(),
        Some(rest) if rest.is_empty() || rest.starts_with('?') => format!("/{rest}").into(),
        _ => target.into(),
    }
}

/// `host` without its port.
pub(crate) fn without_port(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.find(']').map_or(host, |end| &host[..end + 2]),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> HostMap {
        let mut map = HostMap::default();
        let text = |hosts: &[&str]| hosts.iter().map(ToString::to_string).collect::<Vec<_>>();
        map.add(0, &text(&["Shop.example"]), &text(&["www.shop.example"]), "/");
        map.add(1, &text(&["shop.example"]), &[], "/api/");
        map.add(2, &text(&["shop.example"]), &[], "/api/v2");
        map.add(3, &text(&["*.shop.example"]), &[], "/");
        map.add(4, &[], &[], "/");
        map.add(5, &text(&["only.example"]), &[], "/part");
        map
    }

    #[test]
    fn hosts_and_paths() {
        for (host, path, wanted) in [
            ("shop.example", "/", Matched::Service(0)),
            ("shop.example.", "/", Matched::Service(0)),
            ("shop.example", "/apix", Matched::Service(0)),
            ("shop.example", "/api", Matched::Service(1)),
            ("shop.example", "/api?a=/b", Matched::Service(1)),
            ("shop.example", "/api/v2/x", Matched::Service(2)),
            ("shop.example", "/api/v20", Matched::Service(1)),
            ("a.shop.example", "/", Matched::Service(3)),
            ("a.b.shop.example", "/", Matched::Service(4)),
            ("www.shop.example", "/x", Matched::Canonical("Shop.example", 0)),
            ("127.0.0.1", "/", Matched::Service(4)),
            ("only.example", "/part/1", Matched::Service(5)),
            ("only.example", "/", Matched::Service(4)),
        ] {
            assert_eq!(map().find(host, path), wanted, "{host}{path}");
        }
        assert_eq!(HostMap::default().find("a", "/"), Matched::Nobody);
    }

    #[test]
    fn prefixes_come_off_at_a_border() {
        for (prefix, target, wanted) in [
            ("/api", "/api/x?y", "/x?y"),
            ("/api/", "/api", "/"),
            ("/api", "/api?x=1", "/?x=1"),
            ("/api", "/apix", "/apix"),
            ("/", "/x", "/x"),
        ] {
            assert_eq!(strip(prefix, target), wanted, "{prefix} {target}");
        }
    }

    #[test]
    fn ports_come_off() {
        for (host, wanted) in [("a:80", "a"), ("a", "a"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("", "")] {
            assert_eq!(without_port(host), wanted);
        }
    }
}
