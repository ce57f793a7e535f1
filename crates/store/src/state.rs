//! A whole journal in memory: what stands where, and what may be appended.

use crate::entry::{Prepared, check_order, checked, event_type, no_head};
use deployctl_core::id::{Fence, OwnerId, Sha256Hex};
use deployctl_core::journal::{AppendError, Entry, Head, NewEntry, ReadError, Seq, Snapshot, StreamId, Verified};
use deployctl_core::journal::{chain_link, chain_start};
use std::collections::BTreeMap;

/// The fold of all entries.
#[derive(Clone, Default)]
pub(crate) struct State {
    /// All entries, with the type of their event; positions are indexes plus one.
    pub(crate) entries: Vec<(Entry, String)>,
    /// The positions of each stream's entries.
    streams: BTreeMap<StreamId, Vec<u64>>,
    pub(crate) fences: BTreeMap<StreamId, Fence>,
    pub(crate) beats: BTreeMap<OwnerId, u64>,
    snapshots: BTreeMap<StreamId, Snapshot>,
}

impl State {
    fn entry(&self, position: u64) -> Option<&Entry> {
        let index = usize::try_from(position).ok()?.checked_sub(1)?;
        self.entries.get(index).map(|(entry, _)| entry)
    }

    pub(crate) fn head(&self, stream: &StreamId) -> Option<Head> {
        let entry = self.entry(*self.streams.get(stream)?.last()?)?;
        Some(Head { seq: entry.seq, hash: entry.hash.clone() })
    }

    fn stood_at(&self, stream: &StreamId, head: &Head) -> bool {
        head.seq > Seq(0) && self.stood(stream, head.seq) == *head
    }

    /// Whether a batch may be appended as everything stands.
    pub(crate) fn admit(&self, batch: &Prepared) -> Result<(), AppendError> {
        let mut fences: BTreeMap<&StreamId, Fence> = BTreeMap::new();
        for (stream, given) in &batch.fences {
            let found = *fences.get(stream).unwrap_or(&self.fence(stream));
            if *given < found {
                return Err(AppendError::Fenced { stream: stream.clone(), given: *given, found });
            }
            fences.insert(stream, *given);
        }
        batch.writes.iter().try_for_each(|write| write.check(&self.stands(&write.stream)))
    }

    /// The entries that a batch is, as they follow what stands, each with its type.
    pub(crate) fn chained<'a>(&self, batch: &'a Prepared) -> Vec<(Entry, &'a str)> {
        batch.writes.iter().flat_map(|write| write.entries_after(&self.stands(&write.stream))).collect()
    }

    /// Takes in what was appended.
    pub(crate) fn push(&mut self, entry: Entry, kind: String) {
        let stream = entry.stream.clone();
        self.entries.push((entry, kind));
        self.streams.entry(stream).or_default().push(self.entries.len() as u64);
    }

    /// Where a stream stands, also one without entries.
    pub(crate) fn stands(&self, stream: &StreamId) -> Head {
        self.head(stream).unwrap_or_else(|| no_head(stream))
    }

    /// Where a stream stood at an entry of it.
    pub(crate) fn stood(&self, stream: &StreamId, seq: Seq) -> Head {
        let position = || self.streams.get(stream)?.get(usize::try_from(seq.0.checked_sub(1)?).ok()?).copied();
        let entry = position().and_then(|position| self.entry(position));
        entry.map_or_else(|| no_head(stream), |entry| Head { seq, hash: entry.hash.clone() })
    }

    /// Appends a batch.
    pub(crate) fn append(&mut self, batch: &Prepared) -> Result<Vec<Head>, AppendError> {
        self.admit(batch)?;
        for (entry, kind) in self.chained(batch) {
            self.push(entry, kind.to_owned());
        }
        self.fences.extend(batch.fences.iter().cloned());
        Ok(batch.writes.iter().map(|write| self.stands(&write.stream)).collect())
    }

    pub(crate) fn fence(&self, stream: &StreamId) -> Fence {
        self.fences.get(stream).copied().unwrap_or_default()
    }

    pub(crate) fn read(&self, stream: &StreamId, after: Seq, limit: usize) -> Result<Vec<Entry>, ReadError> {
        let positions = self.streams.get(stream).map(Vec::as_slice).unwrap_or_default();
        let skip = usize::try_from(after.0).unwrap_or(usize::MAX);
        let found = positions.iter().skip(skip).take(limit).filter_map(|p| self.entry(*p)).map(recheck);
        let entries = found.collect::<Result<Vec<_>, _>>()?;
        check_order(after, &entries)?;
        Ok(entries)
    }

    pub(crate) fn newest(
        &self,
        prefix: &str,
        types: &[&str],
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, Entry)>, ReadError> {
        let below = before.map_or(usize::MAX, |b| usize::try_from(b.saturating_sub(1)).unwrap_or(usize::MAX));
        let older = &self.entries[..below.min(self.entries.len())];
        let wanted = older
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, (entry, kind))| entry.stream.0.starts_with(prefix) && types.contains(&kind.as_str()));
        wanted.take(limit).map(|(index, (entry, _))| Ok((index as u64 + 1, recheck(entry)?))).collect()
    }

    pub(crate) fn names(&self, prefix: &str) -> Vec<StreamId> {
        self.streams.keys().filter(|stream| stream.0.starts_with(prefix)).cloned().collect()
    }

    pub(crate) fn save_snapshot(&mut self, stream: &StreamId, snapshot: Snapshot) -> Result<(), AppendError> {
        if !self.stood_at(stream, &snapshot.head) {
            let seq = snapshot.head.seq.0;
            return Err(AppendError::Failed(format!("a snapshot at {seq} does not fit stream {stream}")));
        }
        if self.snapshots.get(stream).is_none_or(|kept| kept.head.seq <= snapshot.head.seq) {
            self.snapshots.insert(stream.clone(), snapshot);
        }
        Ok(())
    }

    pub(crate) fn snapshot(&self, stream: &StreamId) -> Option<Snapshot> {
        self.snapshots.get(stream).filter(|kept| self.stood_at(stream, &kept.head)).cloned()
    }

    pub(crate) fn verify(&self, known: Option<&Sha256Hex>) -> Result<Verified, ReadError> {
        let mut heads: BTreeMap<&StreamId, Head> = BTreeMap::new();
        let mut chain = chain_start();
        let mut known_at = (known == Some(&chain)).then_some(0);
        for (position, (entry, kind)) in (1..).zip(&self.entries) {
            let altered = |why: &str| {
                let Entry { stream, seq, .. } = entry;
                ReadError::Altered(format!("at position {position}: entry {} of {stream} {why}", seq.0))
            };
            let head = heads.entry(&entry.stream).or_insert_with(|| no_head(&entry.stream));
            if entry.seq.0 != head.seq.0 + 1 || entry.prev != head.hash {
                return Err(altered(&format!("does not follow entry {} of its stream", head.seq.0)));
            }
            recheck(entry).map_err(|_| altered("does not have the hash of its content"))?;
            if event_type(&entry.event).as_ref() != Ok(kind) {
                return Err(altered("is filed under a type that it does not have"));
            }
            *head = Head { seq: entry.seq, hash: entry.hash.clone() };
            chain = chain_link(&chain, &entry.hash);
            if known == Some(&chain) {
                known_at = Some(position);
            }
        }
        Ok(Verified { streams: heads.len() as u64, entries: self.entries.len() as u64, head: chain, known_at })
    }
}

fn recheck(entry: &Entry) -> Result<Entry, ReadError> {
    let new = NewEntry { at: entry.at, actor: entry.actor.clone(), event: entry.event.clone() };
    checked(entry.stream.clone(), entry.seq, new, entry.prev.clone(), &entry.hash)
}
