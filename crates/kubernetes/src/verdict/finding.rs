//! What a rule says.

use super::Word;

/// A verdict before it is anybody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) word: Word,
    pub(super) reason: String,
    /// Whether something is wrong, rather than merely on its way.
    pub(super) is_trouble: bool,
}

impl Finding {
    pub(super) fn ready(reason: impl Into<String>) -> Self {
        Self { word: Word::Ready, reason: reason.into(), is_trouble: false }
    }

    /// On its way, and nothing is wrong.
    pub(super) fn waits(reason: impl Into<String>) -> Self {
        Self { word: Word::Progressing, reason: reason.into(), is_trouble: false }
    }

    /// Something is wrong that may heal.
    pub(super) fn trouble(reason: impl Into<String>) -> Self {
        Self { word: Word::Progressing, reason: reason.into(), is_trouble: true }
    }

    pub(super) fn failed(reason: impl Into<String>) -> Self {
        Self { word: Word::Failed, reason: reason.into(), is_trouble: true }
    }

    pub(super) fn unknown(reason: impl Into<String>) -> Self {
        Self { word: Word::Unknown, reason: reason.into(), is_trouble: false }
    }

    /// The same word, and its reason after others.
    pub(super) fn after(self, what: &str) -> Self {
        Self { reason: format!("{what}: {}", self.reason), ..self }
    }

    /// What is to be told first.
    fn rank(&self) -> u8 {
        match (self.word, self.is_trouble) {
            (Word::Failed, _) => 3,
            (_, true) => 2,
            (Word::Ready, _) => 0,
            _ => 1,
        }
    }

    /// Of several about one thing, the first of the worst.
    pub(super) fn worst(all: impl IntoIterator<Item = Self>) -> Option<Self> {
        all.into_iter().reduce(|worst, next| if next.rank() > worst.rank() { next } else { worst })
    }
}
