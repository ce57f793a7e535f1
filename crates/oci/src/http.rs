//! Requests to registries: where they may go, how long they may take, what the answer means.

use crate::body;
use crate::patience::Patience;
use crate::reference::{Reference, is_loopback};
use crate::trouble::{Trouble, TroubleKind};
use crate::trust::Trust;
use http::header::{AUTHORIZATION, HeaderMap, LOCATION, RETRY_AFTER};
use http::{Method, StatusCode};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use ureq::config::ConfigBuilder;
use ureq::tls::TlsConfig;
use ureq::typestate::AgentScope;
use ureq::{Agent, AsSendBody, Body};

const REDIRECTS_MAX: usize = 5;
const ERROR_BYTES_MAX: u64 = 64 << 10;

/// Makes requests.
#[derive(Debug)]
pub(crate) struct Http {
    near: Agent,
    far: Agent,
    patience: Patience,
    trust: Trust,
    /// Agents for registries with certificates of their own.
    own: Mutex<HashMap<String, Agent>>,
}

fn config(patience: &Patience) -> ConfigBuilder<AgentScope> {
    Agent::config_builder()
        .timeout_resolve(Some(patience.answer_max))
        .timeout_connect(Some(patience.answer_max))
        .timeout_recv_response(Some(patience.answer_max))
        .timeout_per_read(Some(patience.stall_max))
        .timeout_per_write(Some(patience.stall_max))
        .timeout_send_body(Some(patience.body_max))
        .timeout_recv_body(Some(patience.body_max))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent("deployctl")
}

/// An answer whose body was not read yet.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) url: String,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl Http {
    pub(crate) fn new(patience: Patience, trust: Trust) -> Self {
        // What stays on this machine goes through no proxy; what leaves it goes by TLS alone.
        Self {
            near: config(&patience).proxy(None).build().new_agent(),
            far: config(&patience).https_only(true).build().new_agent(),
            patience,
            trust,
            own: Mutex::default(),
        }
    }

    /// Where a registry answers: by HTTPS; without TLS only on this machine, and only if no certificate is known for it.
    pub(crate) fn base(&self, of: &Reference) -> String {
        let host = of.host();
        let scheme = if is_loopback(host) && !self.trust.knows(host) { "http" } else { "https" };
        format!("{scheme}://{host}")
    }

    /// What asks the registry at `place`.
    fn agent(&self, place: &str) -> Result<Agent, Trouble> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = own.get(place) {
            return Ok(agent.clone());
        }
        let Some(roots) = self.trust.roots(place)? else {
            return Ok(if is_loopback(place) { &self.near } else { &self.far }.clone());
        };
        let tls = TlsConfig::builder().root_certs(roots).build();
        let config = config(&self.patience).https_only(true).tls_config(tls);
        let config = if is_loopback(place) { config.proxy(None) } else { config };
        let agent = config.build().new_agent();
        own.insert(place.to_owned(), agent.clone());
        Ok(agent)
    }

    /// Makes one request, and follows no redirect.
    pub(crate) fn send(
        &self,
        method: &Method,
        url: &str,
        headers: &HeaderMap,
        body: impl AsSendBody,
    ) -> Result<Answer, Trouble> {
        let place = place(url)?;
        let mut request = http::Request::builder().method(method).uri(url);
        if let Some(all) = request.headers_mut() {
            all.extend(headers.clone());
        }
        let request = request.body(body).map_err(|_| wrong(url, "is no address"))?;
        let agent = self.agent(place)?;
        // Taking in what was sent may take as long as sending it.
        let answers = if method == Method::PUT { self.patience.body_max } else { self.patience.answer_max };
        let request = agent.configure_request(request).timeout_recv_response(Some(answers)).build();
        let answer = agent.run(request).map_err(|error| unreachable(place, error))?;
        let (parts, body) = answer.into_parts();
        Ok(Answer { url: url.to_owned(), status: parts.status, headers: parts.headers, body })
    }

    /// Makes a request without a body, and follows redirects; credentials stay with the first host.
    pub(crate) fn fetch(&self, method: &Method, url: &str, headers: &HeaderMap) -> Result<Answer, Trouble> {
        let mut headers = headers.clone();
        let mut answer = self.send(method, url, &headers, ())?;
        for _ in 0..REDIRECTS_MAX {
            if !answer.status.is_redirection() {
                return Ok(answer);
            }
            let to = answer.header(LOCATION.as_str()).unwrap_or_default();
            let next = join(&answer.url, to)?;
            if place(&next)? != place(&answer.url)? {
                headers.remove(AUTHORIZATION);
            }
            answer = self.send(method, &next, &headers, ())?;
        }
        Err(wrong(url, "leads from one address to another without end"))
    }
}

/// Host and port of an address that may be asked: HTTPS, or HTTP on this machine.
pub(crate) fn place(url: &str) -> Result<&str, Trouble> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let fits = !host.is_empty() && !host.contains('@');
    match scheme {
        "https" if fits => Ok(host),
        "http" if fits && is_loopback(host) => Ok(host),
        "http" if fits => Err(wrong(url, "is not protected by TLS, and is not on this machine")),
        _ => Err(wrong(url, "is no address")),
    }
}

/// Where `location`, said at `url`, leads.
pub(crate) fn join(url: &str, location: &str) -> Result<String, Trouble> {
    let joined = match location {
        absolute if absolute.contains("://") => absolute.to_owned(),
        path if path.starts_with('/') && !path.starts_with("//") => {
            let scheme = url.split("://").next().unwrap_or_default();
            format!("{scheme}://{}{path}", place(url)?)
        }
        other => return Err(wrong(url, &format!("leads to `{}`, which is no address", other.escape_debug()))),
    };
    place(&joined)?;
    Ok(joined)
}

/// An address may hold a token or a password, which nobody should read in an error.
fn shown(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    match rest.split_once('@') {
        Some((_, rest)) => format!("{scheme}://...@{rest}"),
        None => url.to_owned(),
    }
}

fn wrong(url: &str, why: &str) -> Trouble {
    Trouble::new(TroubleKind::Wrong, format!("{} {why}", shown(url)))
}

fn unreachable(place: &str, error: ureq::Error) -> Trouble {
    let why = match error {
        // Trouble with what is sent, not with where it goes.
        ureq::Error::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<Trouble>()) => {
            return body::from_io(place, error);
        }
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
            "it cannot be connected to in time".into()
        }
        ureq::Error::Timeout(_) => "it does not answer in time".into(),
        ureq::Error::HostNotFound => "there is no host of this name".into(),
        ureq::Error::Protocol(error) => format!("its answer is not HTTP: {error}"),
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    };
    Trouble::new(TroubleKind::Unreachable, format!("the registry {place} cannot be reached: {why}"))
        .hint("check its name and the network; nothing was changed")
}

/// What an answer means that is none of those hoped for; `what` is what was asked, such as `the manifest of x`.
pub(crate) fn judge(what: &str, answer: Answer) -> Trouble {
    let place = place(&answer.url).unwrap_or_default().to_owned();
    let (status, after) = (answer.status, retry_after(&answer.headers));
    let said = body::whole(answer.body.into_with_config().limit(u64::MAX).reader(), "", ERROR_BYTES_MAX);
    let (code, said) = explained(&said.unwrap_or_default());
    let message = |text: &str| format!("{what}: {place} {text} ({status}{said})");
    match status.as_u16() {
        401 => Trouble::new(TroubleKind::Denied, message("wants credentials that it does not get")).hint(format!(
            "log in with `docker login {place}`, or check the name: many registries say so of what is not there"
        )),
        403 => Trouble::new(TroubleKind::Denied, message("does not allow it"))
            .hint("these credentials may not do this; ask whoever owns the repository"),
        404 => Trouble::new(TroubleKind::Missing, message("does not have it"))
            .hint("check the name and the tag, or push it"),
        408 | 429 | 500 | 502..=504 | 506..=599 => {
            let text = if status == 429 { "has too many requests" } else { "is in trouble" };
            let trouble = Trouble::new(TroubleKind::Busy, message(text));
            Trouble {
                retry_after: after,
                ..trouble.hint("this passes, or its operators must look; nothing was changed")
            }
        }
        413 => Trouble::new(TroubleKind::Denied, message("takes nothing this large")),
        _ if code == "DENIED" || code == "UNAUTHORIZED" => {
            Trouble::new(TroubleKind::Denied, message("does not allow it"))
        }
        _ => Trouble::new(TroubleKind::Wrong, message("answers what is not understood")),
    }
}

/// When to ask again: seconds, or a time of day.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let now = jiff::Timestamp::now();
    Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
}

/// The first error of a registry's answer: its code, and its words with a comma in front.
fn explained(bytes: &[u8]) -> (String, String) {
    let value: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
    let text = |key: &str| value["errors"][0][key].as_str().unwrap_or_default();
    let message: String = text("message").chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
    let said = if message.is_empty() { String::new() } else { format!(", {message}") };
    (text("code").to_owned(), said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_the_machine_without_tls() {
        assert_eq!(place("https://r.example/v2/"), Ok("r.example"));
        assert_eq!(place("http://127.0.0.1:5000/v2/"), Ok("127.0.0.1:5000"));
        for (url, says) in [
            (
                "http://r.example/v2/?token=t",
                "http://r.example/v2/ is not protected by TLS, and is not on this machine",
            ),
            ("ftp://r.example/", "ftp://r.example/ is no address"),
            ("https://user:pw@r.example/", "https://...@r.example/ is no address"),
            ("/v2/", "/v2/ is no address"),
        ] {
            assert_eq!(place(url).unwrap_err().message, says);
        }
        assert_eq!(join("https://r.example/v2/a", "/v2/b?x=1").unwrap(), "https://r.example/v2/b?x=1");
        assert_eq!(join("http://localhost/v2/a", "https://s.example/b").unwrap(), "https://s.example/b");
        assert!(join("https://r.example/v2/a", "http://s.example/b").is_err());
        assert!(join("https://r.example/v2/a", "//s.example/b").is_err());
        assert!(join("https://r.example/v2/a", "").is_err());
    }

    #[test]
    fn only_this_machine_is_asked_without_tls() {
        let http = Http::new(Patience::default(), Trust::default());
        for (text, base) in [
            ("shop", "https://registry-1.docker.io"),
            ("r.example/shop", "https://r.example"),
            ("127.0.0.1:5000/shop", "http://127.0.0.1:5000"),
            ("localhost:5000/shop", "http://localhost:5000"),
            ("[::1]:5000/shop", "http://[::1]:5000"),
            ("127.0.0.1.r.example/shop", "https://127.0.0.1.r.example"),
            ("localhost.r.example/shop", "https://localhost.r.example"),
            ("10.0.0.1:5000/shop", "https://10.0.0.1:5000"),
        ] {
            assert_eq!(http.base(&text.parse().unwrap()), base);
        }
    }

    #[test]
    fn when_to_ask_again_is_understood() {
        let of = |text: &str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]));
        assert_eq!(of("7"), Some(Duration::from_secs(7)));
        assert_eq!(of("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO), "it has passed");
        assert!(of("Sat, 21 Oct 2215 07:28:00 GMT").unwrap() > Duration::from_secs(3_600));
        assert_eq!(of("soon"), None);
    }

    #[test]
    fn a_registry_s_words_are_taken_over_harmlessly() {
        let text = "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"no\\u001b[2J\"}]}";
        assert_eq!(explained(text.as_bytes()), ("DENIED".into(), ", no [2J".into()));
        assert_eq!(explained(b"<html>"), (String::new(), String::new()));
    }
}
