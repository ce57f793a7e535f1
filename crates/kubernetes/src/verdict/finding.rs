//! What a rule says.

use super::Word;

/// A verdict before it is anybody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) word: Word,
    pub(super) reason: String,
}

impl Finding {
    pub(super) fn ready(reason: impl Into<String>) -> Self {
        Self { word: Word::Ready, reason: reason.into() }
    }

    pub(super) fn progressing(reason: impl Into<String>) -> Self {
        Self { word: Word::Progressing, reason: reason.into() }
    }

    pub(super) fn failed(reason: impl Into<String>) -> Self {
        Self { word: Word::Failed, reason: reason.into() }
    }

    pub(super) fn unknown(reason: impl Into<String>) -> Self {
        Self { word: Word::Unknown, reason: reason.into() }
    }
}
