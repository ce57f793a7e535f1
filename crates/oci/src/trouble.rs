//! What can go wrong with a registry, and whose trouble it is.

use deployctl_core::fault::{Fault, FaultKind, Retry};
use deployctl_core::time::Span;
use std::time::Duration;

/// Whose trouble it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TroubleKind {
    /// What was asked for cannot be meant: a bad reference, a bad key. Whoever asked must correct it.
    Usage,
    /// The registry wants other credentials, or those are not allowed to do this.
    Denied,
    /// There is no such image, tag or digest.
    Missing,
    /// The registry has too many requests, or trouble of its own; trying again helps.
    Busy,
    /// It cannot be reached, or does not go on; trying again helps.
    Unreachable,
    /// What it says is not so: other bytes than the digest, no manifest, too much of it.
    Wrong,
    /// Nobody who is trusted signed it.
    Unsigned,
    /// A name that is there already means another image.
    Taken,
}

/// Why something was not done. Nothing is half done: a name appears after all that it needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Trouble {
    /// Whose trouble.
    pub kind: TroubleKind,
    /// What happened, and where.
    pub message: String,
    /// What a person can do next, if anything.
    pub hint: Option<String>,
    /// When the registry wants to be asked again, if it said so.
    pub retry_after: Option<Duration>,
}

impl Trouble {
    pub(crate) fn new(kind: TroubleKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, retry_after: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, with what was tried in front: `cannot copy x: ...`.
    pub(crate) fn while_(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// Whether trying again can help.
    pub fn is_passing(&self) -> bool {
        matches!(self.kind, TroubleKind::Busy | TroubleKind::Unreachable)
    }
}

impl From<Trouble> for Fault {
    fn from(trouble: Trouble) -> Self {
        let fault = match trouble.kind {
            TroubleKind::Usage | TroubleKind::Missing | TroubleKind::Wrong => {
                Fault::refused(FaultKind::Spec, trouble.message)
            }
            TroubleKind::Denied | TroubleKind::Unsigned | TroubleKind::Taken => {
                Fault::refused(FaultKind::Denied, trouble.message)
            }
            TroubleKind::Busy | TroubleKind::Unreachable => Fault {
                retry: trouble.retry_after.map_or(Retry::Soon, |after| Retry::After(Span(after))),
                ..Fault::platform(trouble.message)
            },
        };
        Fault { hint: trouble.hint, ..fault }
    }
}
