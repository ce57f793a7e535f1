//! A journal in memory, as the port says: all of a batch or nothing, compare-and-swap on every stream, fences that only grow.

use deployctl_core::id::{Fence, OwnerId, Sha256Hex};
use deployctl_core::journal::{AppendError, Batch, Head, Seq, StreamId, entry_hash, genesis_hash};
use deployctl_core::time::Millis;
use deployctl_core::{deployment, scope};
use std::collections::BTreeMap;
use std::rc::Rc;

/// An event, read back from the text that was appended.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "few at a time, and most are of the large kind")]
pub enum Said {
    /// Of a deployment's stream.
    Deployment(deployment::Event),
    /// Of a scope's stream.
    Scope(scope::Event),
}

/// An entry.
#[derive(Clone, Debug)]
pub struct Line {
    /// When, by the writer's wall clock.
    pub at: Millis,
    /// Who asked.
    pub actor: String,
    /// What was appended.
    pub said: Rc<Said>,
    /// The hash of the entry.
    pub hash: Sha256Hex,
}

/// The journal.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    streams: BTreeMap<StreamId, Vec<Line>>,
    fences: BTreeMap<StreamId, Fence>,
    beats: BTreeMap<OwnerId, u64>,
    /// Breaks a rule, to see whether anybody notices.
    pub unfenced: bool,
}

impl Journal {
    /// Appends all of it or nothing.
    pub fn append(&mut self, batch: &Batch) -> Result<Vec<Head>, AppendError> {
        for (stream, given) in &batch.fences {
            let found = self.fences.get(stream).copied().unwrap_or_default();
            if *given < found && !self.unfenced {
                return Err(AppendError::Fenced { stream: stream.clone(), given: *given, found });
            }
        }
        for write in &batch.writes {
            let found = Seq(self.lines(&write.stream).len() as u64);
            if found != write.expected {
                let (stream, expected) = (write.stream.clone(), write.expected);
                return Err(AppendError::Conflict { stream, expected, found });
            }
        }
        for (stream, given) in &batch.fences {
            let fence = self.fences.entry(stream.clone()).or_default();
            *fence = (*given).max(*fence);
        }
        let mut heads = Vec::new();
        for write in &batch.writes {
            let lines = self.streams.entry(write.stream.clone()).or_default();
            for new in &write.entries {
                let prev = lines.last().map_or_else(|| genesis_hash(&write.stream), |line| line.hash.clone());
                let hash = entry_hash(&write.stream, Seq(lines.len() as u64 + 1), new, &prev);
                let said = Rc::new(read(&write.stream, &new.event).map_err(AppendError::Failed)?);
                lines.push(Line { at: new.at, actor: new.actor.clone(), said, hash });
            }
            if let Some(last) = lines.last() {
                heads.push(Head { seq: Seq(lines.len() as u64), hash: last.hash.clone() });
            }
        }
        Ok(heads)
    }

    /// The entries of a stream.
    pub fn lines(&self, stream: &StreamId) -> &[Line] {
        self.streams.get(stream).map_or(&[], Vec::as_slice)
    }

    /// The streams whose name begins so.
    pub fn streams(&self, prefix: &str) -> impl Iterator<Item = &StreamId> {
        self.streams.keys().filter(move |stream| stream.0.starts_with(prefix))
    }

    /// Moves a renewal counter.
    pub fn beat(&mut self, owner: &OwnerId) {
        *self.beats.entry(owner.clone()).or_default() += 1;
    }

    /// A renewal counter.
    pub fn beats(&self, owner: &OwnerId) -> Option<u64> {
        self.beats.get(owner).copied()
    }
}

fn read(stream: &StreamId, text: &str) -> Result<Said, String> {
    let said = |e: serde_json::Error| format!("what was written to {stream} cannot be read again: {e}: {text}");
    if stream.0.starts_with("scope/") {
        serde_json::from_str(text).map(Said::Scope).map_err(said)
    } else {
        serde_json::from_str(text).map(Said::Deployment).map_err(said)
    }
}
