//! Values on their way to the cluster, and nowhere else.

use super::references;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use deployctl_core::config::SecretRef;
use deployctl_core::instance::SecretValues;
use serde_json::{Map, Value};

/// A shorter value is hidden only where it stands in quotes: it is part of many words.
const SHORT: usize = 4;
const HIDDEN: &str = "(a secret)";

/// The Secret with its values; or the first reference whose value is not there.
pub fn fill(object: &Value, values: &SecretValues) -> Result<Value, SecretRef> {
    let mut data = Map::new();
    for (key, to) in references(object) {
        let value = values.0.get(&to).ok_or(to)?;
        data.insert(key, Value::from(STANDARD.encode(value)));
    }
    let mut filled = object.clone();
    filled["data"] = Value::Object(data);
    Ok(filled)
}

/// The text without any of the values, plain or encoded: a server repeats what it was sent.
pub fn mask(text: &str, values: &SecretValues) -> String {
    let mut forms: Vec<String> = Vec::new();
    for value in values.0.values().filter(|value| !value.is_empty()) {
        forms.push(STANDARD.encode(value));
        let Ok(plain) = std::str::from_utf8(value) else { continue };
        forms.push(plain.to_owned());
        // As JSON and as Go print it.
        let quoted = Value::from(plain).to_string();
        forms.extend(quoted.get(1..quoted.len() - 1).map(str::to_owned));
        forms.push(plain.trim().to_owned());
    }
    // The longest first: a value may be a part of another.
    forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
    forms.dedup();
    let mut text = text.to_owned();
    for form in forms.iter().filter(|form| !form.is_empty()) {
        text = match form.len() < SHORT {
            true => text.replace(&format!("\"{form}\""), HIDDEN),
            false => text.replace(form.as_str(), HIDDEN),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    fn values(of: &[(&str, &str)]) -> SecretValues {
        let one = |(to, value): &(&str, &str)| (SecretRef((*to).to_owned()), Arc::from(value.as_bytes()));
        SecretValues(of.iter().map(one).collect())
    }

    #[test]
    fn a_secret_is_filled_with_its_values_or_the_missing_one_is_named() {
        let object = json!({ "apiVersion": "v1", "kind": "Secret", "data": { "password": { "secret": "env:DB" } } });
        let filled = fill(&object, &values(&[("env:DB", "hunter2"), ("env:OTHER", "x")])).unwrap();
        assert_eq!(filled["data"], json!({ "password": "aHVudGVyMg==" }));
        assert_eq!(fill(&object, &values(&[])), Err(SecretRef("env:DB".into())));
    }

    #[test]
    fn values_are_hidden_in_whatever_form_they_are_repeated() {
        let values =
            values(&[("a", "hunter2"), ("b", "hunter2-and-more\n"), ("c", "x"), ("d", ""), ("e", "say \"hi\"")]);
        let said = "hunter2 hunter2-and-more aHVudGVyMg== next \"x\" say \\\"hi\\\" {}";
        let masked = mask(said, &values);
        assert_eq!(masked, "(a secret) (a secret) (a secret) next (a secret) (a secret) {}");
    }
}
