//! Values that look like secrets are taken out of the document: what is kept of it is read by many.

use crate::document::Document;
use deployctl_core::config::SecretRef;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The scheme of references to such a value: `compose:APP/SERVICE/NAME`.
pub const SECRET_SCHEME: &str = "compose";

/// Words in the name of a variable whose value is a secret.
const WORDS: &[&str] = &[
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "TOKEN",
    "SECRET",
    "API_KEY",
    "APIKEY",
    "PRIVATE_KEY",
    "ACCESS_KEY",
    "CREDENTIAL",
];
/// Ends of names that only say where something is.
const POINTS: &[&str] = &["_FILE", "_PATH", "_DIR"];

/// Takes out the values of variables that look like secrets, and the contents of configs, and says them; references stay in
/// their places.
pub fn redact(document: &mut Document, app: &str) -> BTreeMap<SecretRef, String> {
    let mut taken = BTreeMap::new();
    let services = document.value_mut().get_mut("services").and_then(Value::as_object_mut);
    for (service, said) in services.into_iter().flatten() {
        let env = said.get_mut("environment").and_then(Value::as_object_mut);
        for (name, value) in env.into_iter().flatten() {
            let Some(text) = crate::reader::scalar(value).filter(|text| is_secret(name, text)) else { continue };
            let reference = SecretRef(format!("{SECRET_SCHEME}:{app}/{service}/{name}"));
            *value = json!({ "secret": reference });
            taken.insert(reference, text);
        }
    }
    let configs = document.value_mut().get_mut("configs").and_then(Value::as_object_mut);
    for (name, config) in configs.into_iter().flatten() {
        let Some(content) = config.get_mut("content").filter(|content| content.is_string()) else { continue };
        let reference = SecretRef(format!("{SECRET_SCHEME}:{app}/configs/{name}"));
        let text = std::mem::replace(content, json!({ "secret": reference }));
        taken.extend(crate::reader::scalar(&text).map(|text| (reference, text)));
    }
    taken
}

fn is_secret(name: &str, text: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let points = POINTS.iter().any(|end| name.ends_with(end));
    let named = !points && WORDS.iter().any(|word| name.contains(word));
    !text.is_empty() && (named || has_password(text))
}

/// Whether it is an address with a password in it: `scheme://user:password@host`.
fn has_password(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let Some((user, _)) = authority.rsplit_once('@') else { return false };
    user.split_once(':').is_some_and(|(_, password)| !password.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_taken_out_of_the_document() {
        let mut document = Document::new(json!({ "services": { "db": { "environment": {
            "POSTGRES_PASSWORD": "pa$$ss", "POSTGRES_PASSWORD_FILE": "/run/secrets/x", "USER": "me",
            "DATABASE_URL": "postgres://me:hush@db/x", "PLAIN_URL": "http://db:80/@", "API_TOKEN": "", "EMPTY_SECRET": null,
        } } } }));
        let taken = redact(&mut document, "shop");
        let values: Vec<(&str, &str)> = taken.iter().map(|(at, value)| (at.0.as_str(), value.as_str())).collect();
        assert_eq!(
            values,
            [
                ("compose:shop/db/DATABASE_URL", "postgres://me:hush@db/x"),
                ("compose:shop/db/POSTGRES_PASSWORD", "pa$ss")
            ]
        );
        let left = document.kept().to_string();
        assert!(!left.contains("hush") && !left.contains("pa$ss") && left.contains("/run/secrets/x"), "{left}");
    }
}
