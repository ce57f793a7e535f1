//! What is common to all journals: a batch that is fit to be written, and an entry that fits its hash.

use deployctl_core::id::{Fence, Sha256Hex};
use deployctl_core::journal::{AppendError, Batch, Entry, Head, NewEntry, ReadError, Seq, StreamId, Write};
use deployctl_core::journal::{entry_hash, genesis_hash};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// A batch whose every part was looked at: streams occur once, events have a type, numbers can be kept.
pub(crate) struct Prepared {
    pub(crate) writes: Vec<PreparedWrite>,
    pub(crate) fences: Vec<(StreamId, Fence)>,
}

pub(crate) struct PreparedWrite {
    pub(crate) stream: StreamId,
    pub(crate) expected: Seq,
    pub(crate) entries: Vec<(NewEntry, String)>,
}

impl Prepared {
    pub(crate) fn new(batch: Batch) -> Result<Self, AppendError> {
        let mut seen = BTreeSet::new();
        for write in &batch.writes {
            if !seen.insert(&write.stream) {
                return Err(AppendError::Failed(format!("stream {} occurs twice in one batch", write.stream)));
            }
        }
        for (stream, fence) in &batch.fences {
            fits(fence.0, || format!("the fence of {stream}"))?;
        }
        let writes = batch.writes.into_iter().map(PreparedWrite::new).collect::<Result<_, _>>()?;
        Ok(Self { writes, fences: batch.fences })
    }
}

impl PreparedWrite {
    fn new(write: Write) -> Result<Self, AppendError> {
        let stream = write.stream;
        let entries = write.entries.into_iter().map(|entry| {
            fits(entry.at.0, || format!("the time of an event for {stream}"))?;
            let kind = event_type(&entry.event)
                .map_err(|why| AppendError::Failed(format!("an event for {stream} has no type: {why}")))?;
            Ok((entry, kind))
        });
        Ok(Self { entries: entries.collect::<Result<_, AppendError>>()?, expected: write.expected, stream })
    }

    /// The entries as they follow `head`.
    pub(crate) fn entries_after(&self, head: &Head) -> Vec<(Entry, &str)> {
        let mut head = head.clone();
        let chained = self.entries.iter().map(|(new, kind)| {
            let entry = link(&self.stream, Seq(head.seq.0 + 1), new.clone(), head.hash.clone());
            head = Head { seq: entry.seq, hash: entry.hash.clone() };
            (entry, kind.as_str())
        });
        chained.collect()
    }

    /// Refuses if the stream stands elsewhere than expected.
    pub(crate) fn check(&self, head: &Head) -> Result<(), AppendError> {
        if head.seq == self.expected {
            return Ok(());
        }
        Err(AppendError::Conflict { stream: self.stream.clone(), expected: self.expected, found: head.seq })
    }
}

/// Integers are kept signed.
fn fits(number: u64, what: impl FnOnce() -> String) -> Result<(), AppendError> {
    match i64::try_from(number) {
        Ok(_) => Ok(()),
        Err(_) => Err(AppendError::Failed(format!("{} is too large: {number}", what()))),
    }
}

/// Where a stream without entries stands.
pub(crate) fn no_head(stream: &StreamId) -> Head {
    Head { seq: Seq(0), hash: genesis_hash(stream) }
}

fn link(stream: &StreamId, seq: Seq, new: NewEntry, prev: Sha256Hex) -> Entry {
    let hash = entry_hash(stream, seq, &new, &prev);
    Entry { stream: stream.clone(), seq, at: new.at, actor: new.actor, event: new.event, prev, hash }
}

/// An entry with the hash that its content must have; refused if that is not `kept`.
pub(crate) fn checked(
    stream: StreamId,
    seq: Seq,
    new: NewEntry,
    prev: Sha256Hex,
    kept: &Sha256Hex,
) -> Result<Entry, ReadError> {
    let entry = link(&stream, seq, new, prev);
    if entry.hash == *kept {
        return Ok(entry);
    }
    Err(ReadError::Altered(format!("entry {} of {stream} does not have the hash of its content", seq.0)))
}

/// Checks that `entries` of one stream follow each other, the first of them `after`.
pub(crate) fn check_order(after: Seq, entries: &[Entry]) -> Result<(), ReadError> {
    let mut expected = after.0;
    let mut prev = None;
    for entry in entries {
        expected += 1;
        let fits = match prev {
            Some(prev) => entry.prev == prev,
            None => after.0 > 0 || entry.prev == genesis_hash(&entry.stream),
        };
        if entry.seq.0 != expected || !fits {
            let (seq, stream) = (entry.seq.0, &entry.stream);
            return Err(ReadError::Altered(format!("entry {seq} of {stream} does not follow entry {}", expected - 1)));
        }
        prev = Some(entry.hash.clone());
    }
    Ok(())
}

#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

/// The `type` of an event.
pub(crate) fn event_type(event: &str) -> Result<String, String> {
    serde_json::from_str::<Typed<'_>>(event).map(|typed| typed.kind.into_owned()).map_err(|e| e.to_string())
}
