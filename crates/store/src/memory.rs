//! A journal that lives as long as its process: for tests and simulations.

use crate::entry::{Prepared, check_order, checked, event_type, no_head};
use async_trait::async_trait;
use deployctl_core::id::{Fence, OwnerId, Sha256Hex};
use deployctl_core::journal::{
    AppendError, Batch, Entry, Head, Journal, NewEntry, ReadError, Seq, Snapshot, StreamId, Verified,
};
use deployctl_core::journal::{chain_link, chain_start};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A [`Journal`] in memory. Clones are the same journal, as several engines see it.
#[derive(Clone, Default)]
pub struct MemoryJournal {
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Default)]
struct State {
    /// All entries, with the type of their event; positions are indexes plus one.
    entries: Vec<(Entry, String)>,
    /// The positions of each stream's entries.
    streams: BTreeMap<StreamId, Vec<u64>>,
    fences: BTreeMap<StreamId, Fence>,
    beats: BTreeMap<OwnerId, u64>,
    snapshots: BTreeMap<StreamId, Snapshot>,
}

impl MemoryJournal {
    /// Another journal with the same content, which then goes its own way: a backup to restore in a test.
    pub fn fork(&self) -> Self {
        Self { state: Arc::new(Mutex::new(self.lock().clone())) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn entry(&self, position: u64) -> Option<&Entry> {
        let index = usize::try_from(position).ok()?.checked_sub(1)?;
        self.entries.get(index).map(|(entry, _)| entry)
    }

    fn head(&self, stream: &StreamId) -> Option<Head> {
        let entry = self.entry(*self.streams.get(stream)?.last()?)?;
        Some(Head { seq: entry.seq, hash: entry.hash.clone() })
    }

    fn stood_at(&self, stream: &StreamId, head: &Head) -> bool {
        let position = || {
            let index = usize::try_from(head.seq.0.checked_sub(1)?).ok()?;
            self.streams.get(stream)?.get(index).copied()
        };
        position().and_then(|p| self.entry(p)).is_some_and(|entry| entry.hash == head.hash)
    }

    fn append(&mut self, batch: &Prepared) -> Result<Vec<Head>, AppendError> {
        let mut fences = self.fences.clone();
        for (stream, given) in &batch.fences {
            let found = fences.entry(stream.clone()).or_default();
            if *given < *found {
                return Err(AppendError::Fenced { stream: stream.clone(), given: *given, found: *found });
            }
            *found = *given;
        }
        for write in &batch.writes {
            write.check(&self.head(&write.stream).unwrap_or_else(|| no_head(&write.stream)))?;
        }
        self.fences = fences;
        let mut heads = Vec::with_capacity(batch.writes.len());
        for write in &batch.writes {
            let mut head = self.head(&write.stream).unwrap_or_else(|| no_head(&write.stream));
            for (entry, kind) in write.entries_after(&head) {
                head = Head { seq: entry.seq, hash: entry.hash.clone() };
                self.entries.push((entry, kind.to_owned()));
                let position = self.entries.len() as u64;
                self.streams.entry(write.stream.clone()).or_default().push(position);
            }
            heads.push(head);
        }
        Ok(heads)
    }

    fn verify(&self, known: Option<&Sha256Hex>) -> Result<Verified, ReadError> {
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

#[async_trait]
impl Journal for MemoryJournal {
    async fn append(&self, batch: Batch) -> Result<Vec<Head>, AppendError> {
        let batch = Prepared::new(batch)?;
        self.lock().append(&batch)
    }

    async fn read(&self, stream: &StreamId, after: Seq, limit: usize) -> Result<Vec<Entry>, ReadError> {
        let state = self.lock();
        let positions = state.streams.get(stream).map(Vec::as_slice).unwrap_or_default();
        let skip = usize::try_from(after.0).unwrap_or(usize::MAX);
        let found = positions.iter().skip(skip).take(limit).filter_map(|p| state.entry(*p)).map(recheck);
        let entries = found.collect::<Result<Vec<_>, _>>()?;
        check_order(after, &entries)?;
        Ok(entries)
    }

    async fn newest(
        &self,
        prefix: &str,
        types: &[&str],
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, Entry)>, ReadError> {
        let state = self.lock();
        let below = before.map_or(usize::MAX, |b| usize::try_from(b.saturating_sub(1)).unwrap_or(usize::MAX));
        let older = &state.entries[..below.min(state.entries.len())];
        let wanted = older
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, (entry, kind))| entry.stream.0.starts_with(prefix) && types.contains(&kind.as_str()));
        wanted.take(limit).map(|(index, (entry, _))| Ok((index as u64 + 1, recheck(entry)?))).collect()
    }

    async fn head(&self, stream: &StreamId) -> Result<Option<Head>, ReadError> {
        Ok(self.lock().head(stream))
    }

    async fn streams(&self, prefix: &str) -> Result<Vec<StreamId>, ReadError> {
        Ok(self.lock().streams.keys().filter(|stream| stream.0.starts_with(prefix)).cloned().collect())
    }

    async fn verify(&self, known: Option<&Sha256Hex>) -> Result<Verified, ReadError> {
        self.lock().verify(known)
    }

    async fn fence(&self, stream: &StreamId) -> Result<Fence, ReadError> {
        Ok(self.lock().fences.get(stream).copied().unwrap_or_default())
    }

    async fn save_snapshot(&self, stream: &StreamId, snapshot: Snapshot) -> Result<(), AppendError> {
        let mut state = self.lock();
        if !state.stood_at(stream, &snapshot.head) {
            let seq = snapshot.head.seq.0;
            return Err(AppendError::Failed(format!("a snapshot at {seq} does not fit stream {stream}")));
        }
        if state.snapshots.get(stream).is_none_or(|kept| kept.head.seq <= snapshot.head.seq) {
            state.snapshots.insert(stream.clone(), snapshot);
        }
        Ok(())
    }

    async fn snapshot(&self, stream: &StreamId) -> Result<Option<Snapshot>, ReadError> {
        let state = self.lock();
        Ok(state.snapshots.get(stream).filter(|kept| state.stood_at(stream, &kept.head)).cloned())
    }

    async fn beat(&self, owner: &OwnerId) -> Result<(), AppendError> {
        *self.lock().beats.entry(owner.clone()).or_default() += 1;
        Ok(())
    }

    async fn beats(&self, owner: &OwnerId) -> Result<Option<u64>, ReadError> {
        Ok(self.lock().beats.get(owner).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deployctl_core::journal::Write;
    use deployctl_core::time::Millis;

    type Edit = fn(&mut Vec<(Entry, String)>);

    async fn filled() -> MemoryJournal {
        let journal = MemoryJournal::default();
        for n in 0..6 {
            let event = format!(r#"{{"type":"x","n":{n}}}"#);
            let entry = NewEntry { at: Millis(n), actor: "alice".into(), event };
            let stream = StreamId(format!("s/{}", n % 2));
            let write = Write { stream, expected: Seq(n / 2), entries: vec![entry] };
            journal.append(Batch { writes: vec![write], fences: vec![] }).await.unwrap();
        }
        journal
    }

    #[tokio::test]
    async fn an_edit_is_seen() {
        let edits: [(Edit, &str); 7] = [
            (|e| e[3].0.at.0 += 1, "does not have the hash of its content"),
            (|e| e[3].0.actor.push('x'), "does not have the hash of its content"),
            (|e| e[3].0.event.push(' '), "does not have the hash of its content"),
            (|e| e[3].0.seq.0 = 9, "does not follow entry 1"),
            (|e| e[3].0.prev = Sha256Hex::of(b""), "does not follow entry 1"),
            (|e| e[3].1.push('x'), "is filed under a type that it does not have"),
            (|e| drop(e.remove(1)), "does not follow entry 0"),
        ];
        for (edit, seen) in edits {
            let journal = filled().await;
            edit(&mut journal.lock().entries);
            let verified = journal.verify(None).await;
            assert!(matches!(&verified, Err(ReadError::Altered(why)) if why.contains(seen)), "{seen}: {verified:?}");
        }
    }

    #[tokio::test]
    async fn a_cut_tail_is_seen_by_who_holds_a_head_and_a_fork_goes_its_own_way() {
        let journal = filled().await;
        let known = journal.verify(None).await.unwrap().head;
        let cut = journal.fork();
        cut.lock().entries.pop();
        assert_eq!(cut.verify(Some(&known)).await.unwrap().known_at, None);
        assert_eq!(journal.verify(Some(&known)).await.unwrap().known_at, Some(6));
    }
}
