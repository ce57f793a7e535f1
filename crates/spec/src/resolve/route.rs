//! Which requests an app takes.

use super::Context;
use crate::code::Code;
use crate::raw::{At, Route as RawRoute, Text};
use crate::text::shorten;
use deployctl_core::config::{Listen, Route, TlsFiles};
use deployctl_core::time::Span;
use std::collections::BTreeMap;

pub(super) fn route(raw: &At<RawRoute>, cx: &mut Context<'_, '_>) -> Route {
    let route = &raw.value;
    let tls = route
        .tls
        .as_ref()
        .map(|tls| TlsFiles { certificate: cx.path(&tls.value.certificate), key: cx.path(&tls.value.key) });
    let https_only = route.https_only.as_ref().is_some_and(|only| only.value);
    transport(route, https_only, cx);
    let hosts = hosts(route, cx);
    let redirect_hosts: Vec<String> =
        route.redirect_hosts.iter().flat_map(|hosts| &hosts.value).map(|text| host(text, cx)).collect();
    if let Some(text) = route.redirect_hosts.as_ref().filter(|_| !redirect_hosts.is_empty()) {
        match hosts.first() {
            None => cx.findings.error(text.at, Code::Contradiction, "`redirect_hosts` needs a `host` to redirect to"),
            Some(first) if first.starts_with("*.") => {
                cx.findings.error(text.at, Code::Contradiction, "requests cannot be redirected to a wildcard host");
            }
            Some(_) => {}
        }
    }
    let listen = cx.environment.listen.iter();
    Route {
        listen: listen.map(|listen| Listen { address: listen.address.to_string(), tls: listen.tls }).collect(),
        published: Vec::new(),
        hosts,
        redirect_hosts,
        path: route.path.as_ref().map_or_else(|| "/".into(), |text| path(text, cx)),
        strip: route.strip.unwrap_or(false),
        https_only,
        tls,
        body_bytes_max: cx.size(route.body_max.as_ref()),
        timeout: cx.span_above_zero(route.timeout.as_ref(), Span::secs(60)),
        hold: cx.span(route.hold.as_ref(), Span::secs(30)),
        h2: route.h2.unwrap_or(false),
        error_pages: error_pages(route, cx),
        access_log: route.access_log.unwrap_or(false),
    }
}

fn transport(route: &RawRoute, https_only: bool, cx: &mut Context<'_, '_>) {
    let listens = cx.environment.listen.iter().any(|listen| listen.tls);
    let name = &cx.environment.name;
    if let Some(only) = route.https_only.as_ref().filter(|_| https_only) {
        if route.tls.is_none() {
            cx.findings.error(only.at, Code::Contradiction, "`https_only` needs `tls`: a certificate and its key");
        } else if !listens {
            let message = format!("`https_only`, but `{name}` listens nowhere with TLS");
            let help = "add `https://IP:PORT` to its `listen`, or override the route under `in`";
            cx.findings.error_help(only.at, Code::Contradiction, message, help);
        }
    } else if let Some(tls) = route.tls.as_ref().filter(|_| !listens) {
        let message = format!("this certificate is not used in `{name}`, which listens nowhere with TLS");
        cx.findings.warning(tls.at, Code::Contradiction, message, "add `https://IP:PORT` to its `listen`");
    }
}

fn hosts(route: &RawRoute, cx: &mut Context<'_, '_>) -> Vec<String> {
    match (&route.host, &route.hosts) {
        (None, None) => Vec::new(),
        (Some(text), None) => vec![host(text, cx)],
        (None, Some(hosts)) => {
            if hosts.value.is_empty() {
                cx.findings.error(hosts.at, Code::BadValue, "`hosts` is empty; leave it out to take any host");
            }
            hosts.value.iter().map(|text| host(text, cx)).collect()
        }
        (Some(_), Some(hosts)) => {
            cx.findings.error(hosts.at, Code::Contradiction, "a route has either `host` or `hosts`, not both");
            Vec::new()
        }
    }
}

/// A host name in lower case.
fn host(text: &At<Text>, cx: &mut Context<'_, '_>) -> String {
    let host = cx.plain(text).to_ascii_lowercase();
    let label = |label: &str| {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    let labels = host.strip_prefix("*.").unwrap_or(&host);
    let message = if host.contains("://") || host.contains('/') {
        Some("the host has no scheme and no path; a path goes under `path`".into())
    } else if host.contains(':') {
        Some("the host has no port; where the proxy listens is said by `listen` of the environment".into())
    } else if host.is_empty() || host.len() > 253 || !labels.split('.').all(label) {
        Some(format!("`{}` is not a host name", shorten(&host)))
    } else {
        None
    };
    if let Some(message) = message {
        let help = "write it like `shop.example.com` or `*.example.com`";
        cx.findings.error_help(text.at, Code::BadValue, message, help);
    }
    host
}

/// A path prefix without a slash at its end, but for `/` itself.
fn path(text: &At<Text>, cx: &mut Context<'_, '_>) -> String {
    let path = cx.plain(text);
    if let Some(why) = bad_path(&path, false) {
        cx.findings.error(text.at, Code::BadValue, why);
    }
    match path.trim_end_matches('/') {
        "" => "/".into(),
        trimmed => trimmed.into(),
    }
}

/// Why `path` is not the path of a request.
pub(super) fn bad_path(path: &str, query: bool) -> Option<String> {
    let shown = shorten(path);
    if !path.starts_with('/') {
        return Some(format!("`{shown}` is not a path: it does not begin with `/`"));
    }
    if path.len() > 1024 {
        return Some("this path is longer than 1024 bytes".into());
    }
    if path.bytes().any(|b| b <= b' ' || b >= 0x7f || b"\"<>\\^`{|}#".contains(&b)) {
        return Some(format!("`{shown}` has a character that cannot stand in a path; write it as `%XX`"));
    }
    if !query && path.contains('?') {
        return Some(format!("`{shown}` has a query; only a path can be matched"));
    }
    let plain = path.split('?').next().unwrap_or(path);
    if plain.contains("//") || plain.split('/').any(|segment| segment == "." || segment == "..") {
        return Some(format!("`{shown}` is not a plain path: it has `//`, `.` or `..` in it"));
    }
    None
}

fn error_pages(route: &RawRoute, cx: &mut Context<'_, '_>) -> BTreeMap<u16, String> {
    let mut pages = BTreeMap::new();
    for (status, file) in route.error_pages.iter().flat_map(|entries| &entries.0) {
        match status.value.0.parse::<u16>() {
            Ok(number @ 400..=599) => {
                pages.insert(number, cx.path(file));
            }
            _ => {
                let message = format!("`{}` is not the status of an error", shorten(&status.value.0));
                cx.findings.error_help(status.at, Code::BadValue, message, "use 400 to 599, such as `503: down.html`");
            }
        }
    }
    pages
}
