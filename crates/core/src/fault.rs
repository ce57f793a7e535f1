//! What can go wrong with the world, as opposed to with a release.

use crate::time::Span;
use serde::{Deserialize, Serialize};

/// Whose trouble a fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The platform: unreachable, full, overloaded. Waiting may help.
    Platform,
    /// The platform said no: permission, quota, policy.
    Denied,
    /// Somebody else owns or changed it; a newer fence was seen.
    Conflict,
    /// What was asked for cannot be: the specification is at fault.
    Spec,
    /// deployctl itself.
    Bug,
}

/// Whether the effect took place before the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Applied {
    /// Nothing was changed.
    No,
    /// It was done all the same.
    Yes,
    /// Unknown; observe again.
    Maybe,
}

/// Whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// It cannot.
    Never,
    /// It may, with the usual backoff.
    Soon,
    /// It may, not before this span.
    After(Span),
}

/// Trouble of the world. A fault never condemns a release; only a condition that was observed does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// Whose trouble.
    pub kind: FaultKind,
    /// Whether something was changed.
    pub applied: Applied,
    /// Whether to try again.
    pub retry: Retry,
    /// What happened, and where.
    pub message: String,
    /// What a person can do next, if anything.
    pub hint: Option<String>,
}

impl Fault {
    /// Platform trouble, nothing known to be applied, worth a retry.
    pub fn platform(message: impl Into<String>) -> Self {
        Self {
            kind: FaultKind::Platform,
            applied: Applied::Maybe,
            retry: Retry::Soon,
            message: message.into(),
            hint: None,
        }
    }

    /// A refusal of the given kind: nothing applied, no use in trying again.
    pub fn refused(kind: FaultKind, message: impl Into<String>) -> Self {
        Self { kind, applied: Applied::No, retry: Retry::Never, message: message.into(), hint: None }
    }

    /// The same fault with a hint for the person.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
