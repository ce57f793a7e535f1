//! What a rule says.

use super::{Trouble, Word};

/// A verdict before it is anybody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) word: Word,
    pub(super) reason: String,
    /// Whether something is wrong, rather than merely on its way.
    pub(super) trouble: Trouble,
}

impl Finding {
    pub(super) fn ready(reason: impl Into<String>) -> Self {
        Self { word: Word::Ready, reason: reason.into(), trouble: Trouble::None }
    }

    /// On its way, and nothing is wrong.
    pub(super) fn waits(reason: impl Into<String>) -> Self {
        Self { word: Word::Progressing, reason: reason.into(), trouble: Trouble::None }
    }

    /// On its way, and perhaps only slow.
    pub(super) fn slow(trouble: Trouble, reason: impl Into<String>) -> Self {
        Self { word: Word::Progressing, reason: reason.into(), trouble }
    }

    /// Something is wrong that may heal.
    pub(super) fn trouble(reason: impl Into<String>) -> Self {
        Self { word: Word::Progressing, reason: reason.into(), trouble: Trouble::Wrong }
    }

    pub(super) fn failed(reason: impl Into<String>) -> Self {
        Self { word: Word::Failed, reason: reason.into(), trouble: Trouble::Wrong }
    }

    pub(super) fn unknown(reason: impl Into<String>) -> Self {
        Self { word: Word::Unknown, reason: reason.into(), trouble: Trouble::None }
    }

    /// The same word, and its reason after others.
    pub(super) fn after(self, what: &str) -> Self {
        Self { reason: format!("{what}: {}", self.reason), ..self }
    }

    pub(super) fn is_trouble(&self) -> bool {
        self.trouble != Trouble::None
    }

    /// What is to be told first.
    fn rank(&self) -> (bool, Trouble, bool) {
        (self.word == Word::Failed, self.trouble, self.word != Word::Ready)
    }

    /// Of several about one thing, the first of the worst.
    pub(super) fn worst(all: impl IntoIterator<Item = Self>) -> Option<Self> {
        all.into_iter().reduce(|worst, next| if next.rank() > worst.rank() { next } else { worst })
    }
}
