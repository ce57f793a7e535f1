//! From a tree to the raw types, by their `Deserialize`; every error knows its place, and all of them are found.
//!
//! A value that cannot be read is reported, skipped, and the rest is read again without it.

mod access;
mod error;

use crate::code::Code;
use crate::diagnostic::Findings;
use crate::node::{Key, Kind, Node};
use crate::source::Place;
use crate::text::{alternatives, nearest, suggest};
use access::{Choice, Entries, Items, Placed};
use error::DecodeError;
use serde::de::{self, DeserializeOwned, IntoDeserializer, Visitor};
use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

/// The name by which [`crate::raw::At`] asks for the place of its value.
pub(crate) const AT: &str = "$at";
/// The name by which [`crate::raw::Either`] asks for a choice by the shape of its value: a map is `full`.
pub(crate) const EITHER: &str = "$either";

/// The name by which [`crate::raw::OneOrMany`] asks for a list, or a single value as a list of one.
pub(crate) const MANY: &str = "$many";

const ROUNDS_MAX: usize = 50;

/// Reads a `T` from `node`; what is wrong goes to `findings`.
pub(crate) fn decode<T: DeserializeOwned>(node: &Node, findings: &mut Findings<'_>) -> Option<T> {
    let skipped = Skipped::default();
    let mut failed = false;
    for _ in 0..ROUNDS_MAX {
        let result = T::deserialize(Decoder { node, skipped: &skipped });
        let unknown = skipped.unknown.take();
        let misspelt = !unknown.is_empty();
        for error in unknown {
            failed = true;
            error.report(findings);
        }
        match result {
            Ok(value) => return (!failed).then_some(value),
            Err(error) => {
                failed = true;
                let entry = error.entry();
                // What is missing is most likely what is misspelt.
                if error.code() != Code::MissingKey || !misspelt {
                    error.report(findings);
                }
                match entry {
                    Some(entry) if skipped.places.borrow_mut().insert(entry) => {}
                    _ => return None,
                }
            }
        }
    }
    None
}

#[derive(Default)]
struct Skipped {
    places: RefCell<HashSet<Place>>,
    unknown: RefCell<Vec<DecodeError>>,
}

#[derive(Clone, Copy)]
struct Decoder<'a> {
    node: &'a Node,
    skipped: &'a Skipped,
}

impl<'a> Decoder<'a> {
    fn scalar(self, wanted: &str) -> Result<(&'a str, bool), DecodeError> {
        match &self.node.kind {
            Kind::Scalar { text, plain } => Ok((text, *plain)),
            _ => Err(DecodeError::mismatch(self.node, wanted)),
        }
    }

    fn number<N: std::str::FromStr + TryFrom<u64> + fmt::Display>(self, max: N) -> Result<N, DecodeError> {
        let wanted = "a whole number";
        let (text, plain) = self.scalar(wanted)?;
        let digits = text.strip_prefix('-').unwrap_or(text);
        if !plain || digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(DecodeError::mismatch(self.node, wanted));
        }
        if digits.len() < text.len() {
            return Err(DecodeError::mismatch(self.node, "0 or more"));
        }
        text.parse().map_err(|_| DecodeError::mismatch(self.node, &format!("at most {max}")))
    }

    fn items<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.kind {
            Kind::List(items) => {
                let items: Vec<&Node> = items.iter().filter(|item| !self.skip(item.at)).collect();
                visitor.visit_seq(Items { rest: items.into_iter(), skipped: self.skipped })
            }
            Kind::Scalar { text, .. } => Err(DecodeError::mismatch(self.node, "a list")
                .help(format!("write `[{}]`", crate::text::shorten(text).replace(' ', ", ")))),
            _ => Err(DecodeError::mismatch(self.node, "a list")),
        }
    }

    fn entries<V: Visitor<'a>>(
        self,
        fields: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let entries = match &self.node.kind {
            Kind::Map(entries) => entries.as_slice(),
            Kind::Null => &[],
            _ => return Err(DecodeError::mismatch(self.node, "a map")),
        };
        let mut known = Vec::new();
        for entry in entries.iter().filter(|(key, _)| !self.skip(key.at)) {
            match fields {
                Some(fields) if !fields.contains(&entry.0.name.as_str()) => self.unknown(&entry.0, fields),
                _ => known.push(entry),
            }
        }
        let read = visitor.visit_map(Entries { rest: known.into_iter(), value: None, skipped: self.skipped });
        read.map_err(|error| error.at(self.node.at))
    }

    fn skip(self, at: Place) -> bool {
        self.skipped.places.borrow().contains(&at)
    }

    fn unknown(self, key: &Key, fields: &'static [&'static str]) {
        let message = format!("unknown key `{}`", crate::text::shorten(&key.name));
        let help = crate::elsewhere::known_elsewhere(&key.name, fields)
            .unwrap_or_else(|| suggest(&key.name, fields.iter().copied()));
        let error = DecodeError::new(Code::UnknownKey, message).help(help).at(key.at);
        if self.skipped.places.borrow_mut().insert(key.at) {
            self.skipped.unknown.borrow_mut().push(error);
        }
    }
}

impl<'de> de::Deserializer<'de> for Decoder<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.kind {
            Kind::Null => visitor.visit_unit(),
            Kind::Scalar { text, .. } => visitor.visit_borrowed_str(text),
            Kind::List(_) => self.items(visitor),
            Kind::Map(_) => self.entries(None, visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.scalar("`true` or `false`")? {
            ("true", true) => visitor.visit_bool(true),
            ("false", true) => visitor.visit_bool(false),
            _ => Err(DecodeError::mismatch(self.node, "`true` or `false`")),
        }
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_u16(self.number(u16::MAX)?)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_u32(self.number(u32::MAX)?)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_u64(self.number(u64::MAX)?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_borrowed_str(self.scalar("a text")?.0)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.node.kind {
            Kind::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.items(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match name {
            AT => visitor.visit_seq(Placed { at: self.node.at, value: self, next: 0 }),
            MANY if matches!(self.node.kind, Kind::Scalar { .. }) => {
                visitor.visit_seq(Items { rest: vec![self.node].into_iter(), skipped: self.skipped })
            }
            _ => self.items(visitor),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.entries(None, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.entries(Some(fields), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        if name == EITHER {
            let full = matches!(self.node.kind, Kind::Map(_));
            return visitor.visit_enum(Choice { variant: if full { "full" } else { "short" }, decoder: self });
        }
        let accepted = alternatives(variants.iter().copied());
        let (text, _) = self.scalar(&accepted)?;
        match variants.iter().find(|variant| **variant == text) {
            Some(variant) => visitor.visit_enum(variant.into_deserializer()),
            None => {
                let error = DecodeError::mismatch(self.node, &accepted);
                Err(match nearest(text, variants.iter().copied()) {
                    Some(near) => error.help(format!("did you mean `{near}`?")),
                    None => error,
                })
            }
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u128 f32 f64 char bytes byte_buf unit unit_struct tuple identifier
    }
}
