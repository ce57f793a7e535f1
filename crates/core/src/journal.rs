//! The journal port: append-only streams with compare-and-swap and fencing. And blobs: bytes by their digest.

use crate::id::{Fence, OwnerId, Sha256Hex};
use crate::time::Millis;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The name of a stream: `deployment/ID` or `scope/PROJECT/ENVIRONMENT/REGION/APP`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamId(pub String);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number of an entry in its stream, from 1; 0 stands for "before the first".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

/// Where a stream stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The number of its last entry.
    pub seq: Seq,
    /// The hash of its last entry.
    pub hash: Sha256Hex,
}

/// What is to be written as one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEntry {
    /// When, by the writer's wall clock.
    pub at: Millis,
    /// Who asked, such as `alice@build-7`.
    pub actor: String,
    /// The event, as JSON text with a `type` field.
    pub event: String,
}

/// An entry as it stands in the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its stream.
    pub stream: StreamId,
    /// Its number.
    pub seq: Seq,
    /// When, by the writer's wall clock.
    pub at: Millis,
    /// Who asked.
    pub actor: String,
    /// The event, as JSON text.
    pub event: String,
    /// The hash of the entry before; of the stream's name for the first.
    pub prev: Sha256Hex,
    /// The hash of this entry, see [`entry_hash`].
    pub hash: Sha256Hex,
}

/// The hash that an entry must have: sha256 over length-prefixed fields, so that no two entries share bytes.
pub fn entry_hash(stream: &StreamId, seq: Seq, new: &NewEntry, prev: &Sha256Hex) -> Sha256Hex {
    let mut bytes = Vec::with_capacity(256 + new.event.len());
    for field in [stream.0.as_str(), &seq.0.to_string(), &new.at.0.to_string(), &new.actor, &new.event, prev.as_str()] {
        bytes.extend_from_slice(&(field.len() as u64).to_be_bytes());
        bytes.extend_from_slice(field.as_bytes());
    }
    Sha256Hex::of(&bytes)
}

/// What the first entry of a stream has for `prev`.
pub fn genesis_hash(stream: &StreamId) -> Sha256Hex {
    Sha256Hex::of(stream.0.as_bytes())
}

/// The head of the global chain before its first entry.
pub fn chain_start() -> Sha256Hex {
    Sha256Hex::of(b"")
}

/// The link of the global chain for the entry with `hash`, after the link `prev`.
pub fn chain_link(prev: &Sha256Hex, hash: &Sha256Hex) -> Sha256Hex {
    Sha256Hex::of(format!("{prev}{hash}").as_bytes())
}

/// Entries for one stream, to be appended if it still stands at `expected`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The stream.
    pub stream: StreamId,
    /// The number of its last entry, as the writer knows it.
    pub expected: Seq,
    /// What to append, in order.
    pub entries: Vec<NewEntry>,
}

/// An append over several streams: all of it or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The writes; a stream occurs at most once.
    pub writes: Vec<Write>,
    /// Fencing tokens of the scopes that it touches: refused if a newer one was seen, remembered otherwise.
    pub fences: Vec<(StreamId, Fence)>,
}

/// Why an append was not made, or may not have been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// A stream stands elsewhere; nothing was written.
    #[error("stream {stream} stands at {found:?}, not at {expected:?}")]
    Conflict {
        /// The stream.
        stream: StreamId,
        /// Where the writer thought it stands.
        expected: Seq,
        /// Where it stands.
        found: Seq,
    },
    /// A newer fence was seen; nothing was written. The writer has lost its lease for good.
    #[error("a newer owner holds {stream}: fence {found:?} is above {given:?}")]
    Fenced {
        /// The stream whose fence it is.
        stream: StreamId,
        /// The token that was given.
        given: Fence,
        /// The newest token seen.
        found: Fence,
    },
    /// It may or may not have been written: read the heads again.
    #[error("the outcome of a write to the journal is unknown: {0}")]
    Unknown(String),
    /// It was not written, because of the disk or the like.
    #[error("the journal cannot be written: {0}")]
    Failed(String),
}

/// Why the journal cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The disk or the database.
    #[error("the journal cannot be read: {0}")]
    Failed(String),
    /// Hashes or numbers do not fit together: somebody edited it.
    #[error("the journal was altered: {0}")]
    Altered(String),
}

/// A cached fold of a stream; never the truth, always rebuildable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The entry up to which it was folded.
    pub head: Head,
    /// The fold, as JSON.
    pub state: Vec<u8>,
}

/// Append-only streams. Durable when `append` returns.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Appends all of `batch` or nothing; returns the new head of each written stream, in the order of the writes.
    async fn append(&self, batch: Batch) -> Result<Vec<Head>, AppendError>;
    /// The entries of a stream after `after`, in order, at most `limit`.
    async fn read(&self, stream: &StreamId, after: Seq, limit: usize) -> Result<Vec<Entry>, ReadError>;
    /// The entries of all streams whose name begins with `prefix` whose event has one of these `types`, newest first
    /// by global order, at most `limit`, older than global position `before` if given. With each, its global position.
    async fn newest(
        &self,
        prefix: &str,
        types: &[&str],
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, Entry)>, ReadError>;
    /// The head of a stream; none if it has no entry.
    async fn head(&self, stream: &StreamId) -> Result<Option<Head>, ReadError>;
    /// The names of all streams that begin with `prefix`, sorted.
    async fn streams(&self, prefix: &str) -> Result<Vec<StreamId>, ReadError>;
    /// Checks every hash and number, and the chain over all entries in global order. If `known` is a head of that chain
    /// that was handed out earlier, says where it stood; if it is nowhere in the chain, `known_at` is none.
    async fn verify(&self, known: Option<&Sha256Hex>) -> Result<Verified, ReadError>;
    /// The highest fence seen for a stream.
    async fn fence(&self, stream: &StreamId) -> Result<Fence, ReadError>;
    /// Keeps a fold of a stream. May be lost.
    async fn save_snapshot(&self, stream: &StreamId, snapshot: Snapshot) -> Result<(), AppendError>;
    /// The newest kept fold of a stream.
    async fn snapshot(&self, stream: &StreamId) -> Result<Option<Snapshot>, ReadError>;
    /// Moves the owner's renewal counter by one. An owner whose counter stands still, by the observer's own monotonic
    /// clock, for the lease time is dead.
    async fn beat(&self, owner: &OwnerId) -> Result<(), AppendError>;
    /// The renewal counter of an owner; none if it never beat.
    async fn beats(&self, owner: &OwnerId) -> Result<Option<u64>, ReadError>;
    /// Reads from now on have all that anybody wrote before this, if the journal can be asked. One that nobody else writes has it
    /// anyway; one that others write may otherwise answer with what it saw a moment ago.
    fn ask_anew(&self) {}
}

/// What a check of the whole journal found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// How many streams.
    pub streams: u64,
    /// How many entries.
    pub entries: u64,
    /// The head of the global chain, see [`chain_link`]; [`chain_start`] if there is no entry.
    pub head: Sha256Hex,
    /// How many entries the chain had when `known` was its head.
    pub known_at: Option<u64>,
}

/// Bytes by their digest.
#[async_trait]
pub trait Blobs: Send + Sync {
    /// Keeps `bytes`, durably, and returns their digest. Keeping twice is keeping once.
    async fn put(&self, bytes: Vec<u8>) -> Result<Sha256Hex, AppendError>;
    /// The bytes of a digest, checked against it; none if they are not kept.
    async fn get(&self, digest: &Sha256Hex) -> Result<Option<Vec<u8>>, ReadError>;
    /// Forgets everything but `keep`; returns how many were dropped.
    async fn retain(&self, keep: &[Sha256Hex]) -> Result<usize, AppendError>;
}
