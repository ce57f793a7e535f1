//! What the objects of a journal say.

use crate::entry::Prepared;
use deployctl_core::id::{Fence, Sha256Hex};
use deployctl_core::journal::{Entry, Seq, StreamId};
use deployctl_core::time::Millis;
use serde::{Deserialize, Serialize};

/// The form of all that is written. An older deployctl refuses a newer one.
pub(super) const FORMAT: u32 = 1;

/// The one object that changes: where the journal stands, with its last commits. All else is written before it is
/// named here, and never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) format: u32,
    /// All commits before `first`, in order.
    pub(super) segments: Vec<Segment>,
    /// The number of the first commit of `commits`.
    pub(super) first: u64,
    pub(super) commits: Vec<Kept>,
    /// The head of the chain over all entries.
    pub(super) chain: Sha256Hex,
}

impl Head {
    /// The number of the last commit; 0 if there is none.
    pub(super) fn last(&self) -> u64 {
        self.first + self.commits.len() as u64 - 1
    }
}

/// An object with commits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Segment {
    pub(super) name: String,
    /// The numbers of its first and its last commit.
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) bytes: usize,
    pub(super) sha256: Sha256Hex,
}

/// A commit, or where it is if it is large.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Kept {
    Here(Commit),
    Elsewhere { nonce: String, parts: Vec<String>, sha256: Sha256Hex },
}

/// What one append wrote, whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Commit {
    /// Whose it is: by it a writer finds out whether its write was made.
    pub(super) nonce: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) fences: Vec<(StreamId, Fence)>,
    pub(super) entries: Vec<Written>,
}

/// An entry without what follows from those before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Written {
    pub(super) stream: StreamId,
    pub(super) seq: Seq,
    pub(super) at: Millis,
    pub(super) actor: String,
    pub(super) event: String,
    pub(super) hash: Sha256Hex,
}

impl Commit {
    pub(super) fn of(nonce: &str, batch: &Prepared, entries: &[(Entry, &str)]) -> Self {
        let entries = entries.iter().map(|(entry, _)| Written {
            stream: entry.stream.clone(),
            seq: entry.seq,
            at: entry.at,
            actor: entry.actor.clone(),
            event: entry.event.clone(),
            hash: entry.hash.clone(),
        });
        Self { nonce: nonce.into(), fences: batch.fences.clone(), entries: entries.collect() }
    }
}

/// JSON of something that is always JSON.
pub(super) fn bytes_of<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_else(|e| unreachable!("all keys are strings: {e}"))
}

/// Sixteen digits that nobody else has.
pub(super) fn nonce() -> Result<String, String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|e| format!("the system's source of randomness: {e}"))?;
    Ok(hex::encode(bytes))
}
