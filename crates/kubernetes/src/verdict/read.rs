//! Fields of objects. What is missing or of another type reads as nothing.

use serde_json::Value;

/// The text at a JSON pointer, or an empty one.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// No number of the API is larger; so sums of them have room.
const MOST: i64 = 1 << 40;

/// The number at a JSON pointer.
pub(super) fn number(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer).and_then(Value::as_i64).map(|number| number.clamp(-MOST, MOST))
}

/// The number at a JSON pointer, or 0: how the API leaves zeros out of a status.
pub(super) fn count(object: &Value, pointer: &str) -> i64 {
    number(object, pointer).unwrap_or_default()
}

/// Whether `true` stands at a JSON pointer.
pub(super) fn is(object: &Value, pointer: &str) -> bool {
    object.pointer(pointer).and_then(Value::as_bool).unwrap_or_default()
}

/// The list at a JSON pointer, or an empty one.
pub(super) fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(super) fn kind(object: &Value) -> &str {
    text(object, "/kind")
}

pub(super) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

pub(super) fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

/// A label's value.
pub(super) fn label<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.pointer("/metadata/labels")?.get(name)?.as_str()
}

/// An annotation's value.
pub(super) fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(name)?.as_str()
}

/// The API group; that of the oldest kinds is empty.
pub(super) fn group(object: &Value) -> &str {
    text(object, "/apiVersion").split_once('/').map_or("", |(group, _)| group)
}

/// One of the conditions in a list of them.
#[derive(Clone, Copy)]
pub(super) struct Condition<'a>(&'a Value);

impl<'a> Condition<'a> {
    /// That of this type, in `status.conditions`.
    pub(super) fn of(object: &'a Value, kind: &str) -> Option<Self> {
        Self::among(list(object, "/status/conditions"), kind)
    }

    /// That of this type in a list.
    pub(super) fn among(conditions: &'a [Value], kind: &str) -> Option<Self> {
        conditions.iter().find(|one| text(one, "/type") == kind).map(Self)
    }

    pub(super) fn is_true(self) -> bool {
        text(self.0, "/status") == "True"
    }

    pub(super) fn is_false(self) -> bool {
        text(self.0, "/status") == "False"
    }

    pub(super) fn kind(self) -> &'a str {
        text(self.0, "/type")
    }

    pub(super) fn status(self) -> &'a str {
        text(self.0, "/status")
    }

    /// The generation that it is about, if it says.
    pub(super) fn generation(self) -> Option<i64> {
        number(self.0, "/observedGeneration")
    }

    pub(super) fn reason(self) -> &'a str {
        text(self.0, "/reason")
    }

    pub(super) fn message(self) -> &'a str {
        text(self.0, "/message")
    }

    /// The words that it has: its message, else its reason, else its type.
    pub(super) fn says(self) -> &'a str {
        [self.message(), self.reason()].into_iter().find(|text| !text.is_empty()).unwrap_or(text(self.0, "/type"))
    }
}
