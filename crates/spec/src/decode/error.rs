//! Why a value could not be read, on its way from the value outwards.

use crate::code::Code;
use crate::diagnostic::{Findings, Severity};
use crate::node::{Key, Node};
use crate::source::Place;
use serde::de;
use std::fmt;

/// Why a value could not be read.
#[derive(Debug)]
pub(crate) struct DecodeError(Box<Trouble>);

#[derive(Debug)]
struct Trouble {
    code: Code,
    message: String,
    help: Option<String>,
    at: Option<Place>,
    entry: Option<Place>,
    /// Until the name of the key is known.
    mismatch: Option<Mismatch>,
}

#[derive(Debug)]
struct Mismatch {
    wanted: String,
    found: String,
    /// It is about an item of a list.
    item: bool,
}

impl DecodeError {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        let message = message.into();
        Self(Box::new(Trouble { code, message, help: None, at: None, entry: None, mismatch: None }))
    }

    pub(super) fn mismatch(node: &Node, wanted: &str) -> Self {
        let found = node.describe();
        let mut error = Self::new(Code::WrongType, format!("this must be {wanted}, not {found}"));
        error.0.mismatch = Some(Mismatch { wanted: wanted.into(), found, item: false });
        error.at(node.at)
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// The place, if none is known yet.
    pub(super) fn at(mut self, at: Place) -> Self {
        self.0.at.get_or_insert(at);
        self
    }

    /// Passing out of the entry `key`.
    pub(super) fn through(mut self, key: &Key) -> Self {
        if let Some(Mismatch { wanted, found, item }) = self.0.mismatch.take() {
            let of = if item { "an item of " } else { "" };
            self.0.message = format!("{of}`{}` must be {wanted}, not {found}", crate::text::shorten(&key.name));
        }
        self.0.entry.get_or_insert(key.at);
        self.at(key.at)
    }

    /// Passing out of an item of a list.
    pub(super) fn out_of_item(mut self, node: &Node) -> Self {
        if let Some(mismatch) = &mut self.0.mismatch {
            mismatch.item = true;
        }
        self.0.entry.get_or_insert(node.at);
        self.at(node.at)
    }

    /// The entry or item to skip when reading again.
    pub(super) fn entry(&self) -> Option<Place> {
        self.0.entry
    }

    pub(super) fn code(&self) -> Code {
        self.0.code
    }

    pub(super) fn report(self, findings: &mut Findings<'_>) {
        let Trouble { code, message, help, at, .. } = *self.0;
        findings.add(Severity::Error, at, code, message, help);
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Code::BadValue, message.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(Code::MissingKey, format!("the key `{field}` is missing here"))
    }
}
