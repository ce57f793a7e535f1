//! Reading the document strictly, with the path of everything.

use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

/// Something in the document that cannot be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it is: keys from the top.
    pub path: Vec<String>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: String,
    /// Whether it is only not built yet, rather than wrong.
    pub not_built: bool,
}

/// What was found, over a whole document.
#[derive(Debug, Default)]
pub(crate) struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    pub(crate) fn take(self) -> Vec<Problem> {
        self.0.into_inner()
    }
}

/// A value and its path.
#[derive(Clone)]
pub(crate) struct At<'a> {
    pub(crate) path: Vec<String>,
    pub(crate) value: &'a Value,
    problems: &'a Problems,
}

impl<'a> At<'a> {
    pub(crate) fn top(value: &'a Value, problems: &'a Problems) -> Self {
        Self { path: Vec::new(), value, problems }
    }

    fn child(&self, key: &str, value: &'a Value) -> Self {
        let mut path = self.path.clone();
        path.push(key.to_owned());
        Self { path, value, problems: self.problems }
    }

    /// The entry `key`; none if it says nothing.
    pub(crate) fn get(&self, key: &str) -> Option<Self> {
        let value = self.value.as_object()?.get(key)?;
        (!is_nothing(value)).then(|| self.child(key, value))
    }

    /// All entries that say something.
    pub(crate) fn entries(&self) -> Vec<(String, Self)> {
        let map = self.map();
        map.iter().filter(|(_, v)| !is_nothing(v)).map(|(key, value)| (key.clone(), self.child(key, value))).collect()
    }

    /// All entries, those without a value too.
    pub(crate) fn names(&self) -> Vec<(String, Self)> {
        self.map().iter().map(|(key, value)| (key.clone(), self.child(key, value))).collect()
    }

    fn map(&self) -> &'a Map<String, Value> {
        static EMPTY: std::sync::OnceLock<Map<String, Value>> = std::sync::OnceLock::new();
        match self.value {
            Value::Object(map) => map,
            Value::Null => EMPTY.get_or_init(Map::new),
            _ => {
                self.wrong("a map");
                EMPTY.get_or_init(Map::new)
            }
        }
    }

    pub(crate) fn items(&self) -> Vec<Self> {
        match self.value {
            Value::Array(items) => {
                items.iter().enumerate().map(|(index, item)| self.child(&index.to_string(), item)).collect()
            }
            _ => {
                self.wrong("a list");
                Vec::new()
            }
        }
    }

    /// A single value, as it is written.
    pub(crate) fn text(&self) -> String {
        match scalar(self.value) {
            Some(text) => text,
            None => {
                self.wrong("a single value");
                String::new()
            }
        }
    }

    pub(crate) fn texts(&self) -> Vec<String> {
        match self.value {
            Value::Array(_) => self.items().iter().map(Self::text).collect(),
            _ => vec![self.text()],
        }
    }

    /// `NAME: VALUE`; those without a value are left out.
    pub(crate) fn text_map(&self) -> BTreeMap<String, String> {
        self.entries().into_iter().map(|(key, value)| (key, value.text())).collect()
    }

    pub(crate) fn flag(&self) -> bool {
        match self.text().as_str() {
            "true" => true,
            "false" => false,
            _ => {
                self.wrong("true or false");
                false
            }
        }
    }

    pub(crate) fn number(&self) -> Option<u64> {
        let number = self.text().parse().ok();
        if number.is_none() {
            self.wrong("a number");
        }
        number
    }

    pub(crate) fn decimal(&self) -> Option<f64> {
        let number = self.text().parse().ok().filter(|number: &f64| number.is_finite());
        if number.is_none() {
            self.wrong("a number");
        }
        number
    }

    /// A size as Compose prints it: bytes.
    pub(crate) fn bytes(&self) -> Option<u64> {
        self.number()
    }

    /// A duration as Compose prints it, such as `1m30s`.
    pub(crate) fn span(&self) -> Option<Duration> {
        let span = duration(&self.text());
        if span.is_none() {
            self.wrong("a duration");
        }
        span
    }

    fn wrong(&self, wanted: &str) {
        self.bad(format!("`{}` is not {wanted}", self.name()), "see what `docker compose config` prints".to_owned());
    }

    /// The path, for people.
    pub(crate) fn name(&self) -> String {
        self.path.join(".")
    }

    pub(crate) fn bad(&self, message: impl Into<String>, help: impl Into<String>) {
        self.add(message.into(), help.into(), false);
    }

    /// It can be said, and cannot be done.
    pub(crate) fn not_built(&self, help: impl Into<String>) {
        self.add(format!("`{}` is not built yet", self.name()), help.into(), true);
    }

    fn add(&self, message: String, help: String, not_built: bool) {
        self.problems.0.borrow_mut().push(Problem { path: self.path.clone(), message, help, not_built });
    }
}

/// Whether a value says nothing: what Compose prints for what was not said.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

pub(crate) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// `1h2m3.5s`, `250ms`, `10us`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut whole = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        whole += Duration::try_from_secs_f64(number * unit).ok()?;
        rest = &rest[end..];
    }
    (!text.is_empty()).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::duration;
    use std::time::Duration;

    #[test]
    fn durations_are_read_as_compose_prints_them() {
        assert_eq!(duration("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("0s"), Some(Duration::ZERO));
        for bad in ["", "s", "5", "1y", "-1s"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
