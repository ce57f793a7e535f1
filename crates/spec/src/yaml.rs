//! From a text to a tree of places, within limits that no honest specification comes near.

use crate::code::Code;
use crate::diagnostic::Findings;
use crate::node::{Key, Kind, Node};
use crate::source::{Place, Source};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Error, Location, Spanned};
use std::fmt;

/// The largest file, in bytes.
pub(crate) const BYTES_MAX: usize = 1 << 20;
const DEPTH_MAX: usize = 32;
const NODES_MAX: usize = 50_000;

/// Reads source number `index`; what is wrong goes to `findings`.
pub(crate) fn parse(index: u32, source: &Source, findings: &mut Findings<'_>) -> Option<Node> {
    let top = Place { source: index, line: 1, column: 1, width: 1 };
    if source.text.len() > BYTES_MAX {
        let message = format!("`{}` has {} bytes; at most {BYTES_MAX} are read", source.name, source.text.len());
        findings.error_help(top, Code::TooLarge, message, "is this the right file?");
        return None;
    }
    if let Some(at) = source.text.find(|c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        let message = format!("`{}` is not text: it has a control character", source.name);
        findings.error_help(place_of(index, &source.text, at), Code::Unreadable, message, "is this the right file?");
        return None;
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: DEPTH_MAX, max_nodes: NODES_MAX, max_anchors: 1000 },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: NODES_MAX, max_replay_stack_depth: 16 },
        non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::AsString,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options::<Spanned<Shape>>(&source.text, options) {
        Ok(spanned) => {
            let node = Reader { index, text: &source.text }.node(spanned);
            if node.kind == Kind::Null {
                findings.error_help(top, Code::Empty, format!("`{}` is empty", source.name), EMPTY_HELP);
                return None;
            }
            Some(node)
        }
        Err(error) => {
            report(index, source, &error, findings);
            None
        }
    }
}

const EMPTY_HELP: &str = "`deployctl init` writes a start";

/// The place of the byte `offset`.
fn place_of(source: u32, text: &str, offset: usize) -> Place {
    let before = &text[..offset];
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Place { source, line: number(line), column: number(column), width: 1 }
}

fn report(index: u32, source: &Source, error: &Error, findings: &mut Findings<'_>) {
    let error = cause(error);
    let at = error.location().filter(|l| l.line() > 0).map_or_else(
        || place_of(index, &source.text, source.text.trim_end().len()),
        |location| Place { width: location.span().len().clamp(1, 60) as u32, ..place(index, &location) },
    );
    let name = &source.name;
    let (code, message, help) = match error {
        Error::DuplicateMappingKey { key, .. } => {
            let key = crate::text::shorten(key.as_deref().unwrap_or("?"));
            (Code::DuplicateKey, format!("the key `{key}` stands here a second time"), "merge the two, or remove one")
        }
        Error::Budget { .. }
        | Error::AliasReplayCounterOverflow { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            (Code::TooLarge, format!("`{name}` is larger than any specification needs to be"), LIMITS_HELP)
        }
        Error::Eof { .. } => (Code::Empty, format!("`{name}` is empty"), EMPTY_HELP),
        Error::MultipleDocuments { .. } => {
            (Code::Syntax, "a second document begins here".into(), "a specification is one document; remove the `---`")
        }
        Error::UnsupportedTag { .. } => {
            (Code::Syntax, "tags have no meaning in a specification".into(), "remove the `!...`")
        }
        other => {
            let message = other.to_string();
            let message = message.split(" at line ").next().unwrap_or_default().trim_end_matches([':', ',', ' ']);
            if message.contains("recursion limit") {
                (Code::TooLarge, format!("`{name}` is nested too deeply"), LIMITS_HELP)
            } else {
                let help = if message.contains("tabs ") { "indent with spaces" } else { SYNTAX_HELP };
                let message = crate::text::shorten_to(message, 200);
                (Code::Syntax, format!("this is not YAML: {message}"), help)
            }
        }
    };
    findings.error_help(at, code, message, help);
}

/// The error itself, without what it was wrapped in on its way.
fn cause(error: &Error) -> &Error {
    match error.without_snippet() {
        Error::AliasError { error, .. } => cause(error),
        other => other,
    }
}

const LIMITS_HELP: &str = "at most 32 levels and 50,000 values are read; an alias counts each time it is used";
const SYNTAX_HELP: &str = "look for a bracket or quote that is not closed, or an indentation that does not fit";

fn place(source: u32, location: &Location) -> Place {
    let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    Place { source, line: number(location.line()), column: number(location.column()), width: 1 }
}

/// What the YAML library is asked for: everything, with places, without guessing types.
enum Shape {
    Null,
    /// Text that YAML would take for a number or a truth value; its spelling is read from the source.
    Typed(String),
    Text(String),
    List(Vec<Spanned<Shape>>),
    Map(Vec<(Spanned<String>, Spanned<Shape>)>),
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Shape, E> {
        Ok(Shape::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Shape, E> {
        Ok(Shape::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Shape, D::Error> {
        Shape::deserialize(from)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Shape, E> {
        Ok(Shape::Typed(value.to_string()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Shape, E> {
        Ok(Shape::Typed(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Shape, E> {
        Ok(Shape::Typed(value.to_string()))
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Shape, E> {
        Ok(Shape::Typed(value.to_string()))
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<Shape, E> {
        Ok(Shape::Typed(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Shape, E> {
        Ok(Shape::Typed(value.to_string()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Shape, E> {
        Ok(Shape::Text(value.to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Shape, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element()? {
            items.push(item);
        }
        Ok(Shape::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Shape, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = from.next_entry()? {
            entries.push(entry);
        }
        Ok(Shape::Map(entries))
    }
}

struct Reader<'a> {
    index: u32,
    text: &'a str,
}

impl Reader<'_> {
    fn node(&self, spanned: Spanned<Shape>) -> Node {
        let (raw, mut at) = self.raw(&spanned.defined);
        let kind = match spanned.value {
            Shape::Null => Kind::Null,
            Shape::Typed(text) => {
                let text = if raw.is_empty() { text } else { raw.to_string() };
                Kind::Scalar { text, plain: true }
            }
            Shape::Text(text) => Kind::Scalar { plain: !raw.starts_with(['"', '\'', '|', '>']), text },
            Shape::List(items) => Kind::List(items.into_iter().map(|item| self.node(item)).collect()),
            Shape::Map(entries) => {
                Kind::Map(entries.into_iter().map(|(key, value)| (self.key(key), self.node(value))).collect())
            }
        };
        if !matches!(kind, Kind::Scalar { .. }) {
            at.width = 1;
        }
        Node { at, kind }
    }

    fn key(&self, key: Spanned<String>) -> Key {
        let (_, at) = self.raw(&key.defined);
        Key { at, name: key.value }
    }

    /// The text of a value as it was written, and its place; the width is that of its first line.
    fn raw(&self, location: &Location) -> (&str, Place) {
        let span = location.span();
        let raw = match (span.byte_offset(), span.byte_len()) {
            (Some(from), Some(len)) => {
                usize::try_from(from).ok().and_then(|from| self.text.get(from..from + usize::try_from(len).ok()?))
            }
            _ => None,
        };
        let raw = raw.unwrap_or("").trim_end();
        let width = raw.lines().next().map_or(1, |line| line.chars().count().max(1));
        (raw, place(self.index, location).within(0, width))
    }
}
