//! A journal that lives as long as its process: for tests and simulations.

use crate::entry::Prepared;
use crate::state::State;
use async_trait::async_trait;
use deployctl_core::id::{Fence, OwnerId, Sha256Hex};
use deployctl_core::journal::{AppendError, Batch, Entry, Head, Journal, ReadError, Seq, Snapshot, StreamId, Verified};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A [`Journal`] in memory. Clones are the same journal, as several engines see it.
#[derive(Clone, Default)]
pub struct MemoryJournal {
    state: Arc<Mutex<State>>,
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

#[async_trait]
impl Journal for MemoryJournal {
    async fn append(&self, batch: Batch) -> Result<Vec<Head>, AppendError> {
        let batch = Prepared::new(batch)?;
        self.lock().append(&batch)
    }

    async fn read(&self, stream: &StreamId, after: Seq, limit: usize) -> Result<Vec<Entry>, ReadError> {
        self.lock().read(stream, after, limit)
    }

    async fn newest(
        &self,
        prefix: &str,
        types: &[&str],
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, Entry)>, ReadError> {
        self.lock().newest(prefix, types, before, limit)
    }

    async fn head(&self, stream: &StreamId) -> Result<Option<Head>, ReadError> {
        Ok(self.lock().head(stream))
    }

    async fn streams(&self, prefix: &str) -> Result<Vec<StreamId>, ReadError> {
        Ok(self.lock().names(prefix))
    }

    async fn verify(&self, known: Option<&Sha256Hex>) -> Result<Verified, ReadError> {
        self.lock().verify(known)
    }

    async fn fence(&self, stream: &StreamId) -> Result<Fence, ReadError> {
        Ok(self.lock().fence(stream))
    }

    async fn save_snapshot(&self, stream: &StreamId, snapshot: Snapshot) -> Result<(), AppendError> {
        self.lock().save_snapshot(stream, snapshot)
    }

    async fn snapshot(&self, stream: &StreamId) -> Result<Option<Snapshot>, ReadError> {
        Ok(self.lock().snapshot(stream))
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
    use deployctl_core::journal::{NewEntry, Write};
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
