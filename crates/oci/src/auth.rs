//! How a registry is convinced: its challenge, and the answer to it.

use crate::body;
use crate::http::{Answer, Http, judge, place};
use crate::trouble::{Trouble, TroubleKind};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use deployctl_core::login::Login;
use http::Method;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use serde::Deserialize;

const TOKEN_BYTES_MAX: u64 = 1 << 20;

/// What a registry wants before it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// User and password.
    Basic,
    /// A token from somewhere else.
    Bearer {
        /// Where.
        realm: String,
        /// For whom.
        service: Option<String>,
    },
}

impl Challenge {
    /// The challenge of a `WWW-Authenticate` header that we can meet, a token before a password.
    pub fn parse(header: &str) -> Option<Self> {
        let all = http_auth::parse_challenges(header).ok()?;
        let of = |scheme: &str| all.iter().find(|challenge| challenge.scheme.eq_ignore_ascii_case(scheme));
        let Some(bearer) = of("bearer") else { return of("basic").map(|_| Self::Basic) };
        let value = |name: &str| {
            let found = bearer.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_unescaped())
        };
        Some(Self::Bearer { realm: value("realm")?, service: value("service") })
    }
}

/// The value of `Authorization` that answers the challenge in `answer`.
pub(crate) fn meet(http: &Http, answer: &Answer, login: &Login, scopes: &[String]) -> Result<HeaderValue, Trouble> {
    let headers = answer.headers.get_all(WWW_AUTHENTICATE);
    let challenge = headers.iter().find_map(|value| Challenge::parse(value.to_str().ok()?));
    let registry = place(&answer.url)?;
    let text = match challenge {
        Some(Challenge::Basic) => match login {
            Login::Password { user, password } => basic(user, password),
            _ => return Err(nobody(registry)),
        },
        Some(Challenge::Bearer { realm, service }) => {
            format!("Bearer {}", token(http, &realm, service.as_deref(), login, scopes)?)
        }
        None => {
            let message = format!("the registry {registry} wants credentials in a way that is not understood");
            return Err(Trouble::new(TroubleKind::Wrong, message));
        }
    };
    let unfit = |_| Trouble::new(TroubleKind::Wrong, format!("the credentials for {registry} cannot be sent"));
    let mut value = HeaderValue::from_str(&text).map_err(unfit)?;
    value.set_sensitive(true);
    Ok(value)
}

fn nobody(registry: &str) -> Trouble {
    Trouble::new(
        TroubleKind::Denied,
        format!("the registry {registry} wants a user and a password, and there are none"),
    )
    .hint(format!("log in with `docker login {registry}`"))
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

/// A token for `scopes` from `realm`.
fn token(http: &Http, realm: &str, service: Option<&str>, login: &Login, scopes: &[String]) -> Result<String, Trouble> {
    let mut fields: Vec<(&str, &str)> = service.iter().map(|service| ("service", *service)).collect();
    let scope = scopes.join(" ");
    let mut headers = HeaderMap::new();
    let answer = match login {
        Login::Identity(identity) => {
            fields.extend([("grant_type", "refresh_token"), ("client_id", "deployctl"), ("scope", scope.as_str())]);
            fields.push(("refresh_token", identity));
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
            http.send(&Method::POST, realm, &headers, form(&fields))?
        }
        login => {
            fields.extend(scopes.iter().map(|scope| ("scope", scope.as_str())));
            if let Login::Password { user, password } = login
                && let Ok(value) = HeaderValue::from_str(&basic(user, password))
            {
                headers.insert(AUTHORIZATION, value);
            }
            let mark = if realm.contains('?') { '&' } else { '?' };
            http.fetch(&Method::GET, &format!("{realm}{mark}{}", form(&fields)), &headers)?
        }
    };
    let what = "the token of the registry";
    if !answer.status.is_success() {
        return Err(judge(what, answer));
    }
    let bytes = body::whole(answer.body.into_with_config().limit(u64::MAX).reader(), what, TOKEN_BYTES_MAX)?;
    let token: Option<Token> = serde_json::from_slice(&bytes).ok();
    let token = token.and_then(|token| token.token.or(token.access_token)).filter(|token| !token.is_empty());
    token.ok_or_else(|| {
        Trouble::new(TroubleKind::Wrong, format!("{what}: {} gives none", place(realm).unwrap_or_default()))
    })
}

/// Fields as they stand in an address or a form.
pub(crate) fn form(fields: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        let mark = if text.is_empty() { "" } else { "&" };
        text.push_str(&format!("{mark}{name}={}", escaped(value)));
    }
    text
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_understood() {
        let text = r#"Bearer realm="https://auth.example/token",service="r\"x",scope="repository:a:pull""#;
        let bearer = Challenge::Bearer { realm: "https://auth.example/token".into(), service: Some("r\"x".into()) };
        assert_eq!(Challenge::parse(text), Some(bearer.clone()));
        assert_eq!(Challenge::parse(&format!("Basic realm=\"r\", {text}")), Some(bearer));
        assert_eq!(Challenge::parse("basic realm=\"r\""), Some(Challenge::Basic));
        for text in ["", "Bearer", "Negotiate", "Bearer service=\"x\"", "Basic realm=\"", "=\u{0},,"] {
            assert_eq!(Challenge::parse(text), None, "{text}");
        }
    }

    #[test]
    fn fields_are_escaped() {
        assert_eq!(
            form(&[("a", "b c&d"), ("scope", "repository:x/y:pull,push")]),
            "a=b%20c%26d&scope=repository%3Ax%2Fy%3Apull%2Cpush"
        );
    }
}
