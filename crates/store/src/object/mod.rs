//! A journal and blobs on versioned objects, such as those of a cluster's namespace.
//!
//! One object, the head, says where the journal stands and has its last commits; it is written by compare-and-swap, so an
//! append over several streams is one write. Older commits are in segments that never change: written before the head names
//! them, removed after it does not any more.

mod append;
mod blobs;
mod fake;
mod format;
mod log;
mod merge;
mod seat;

pub use blobs::ObjectBlobs;
pub use fake::{Hitch, MemoryObjects};
pub use seat::ObjectSeat;

use crate::entry::Prepared;
use async_trait::async_trait;
use deployctl_core::id::{Fence, OwnerId, Sha256Hex};
use deployctl_core::journal::{AppendError, Batch, Entry, Head, Journal, ReadError, Seq, Snapshot, StreamId, Verified};
use deployctl_core::objects::{ObjectError, Objects};
use log::{Behind, Log};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

/// The object of renewal counters, and how many of the newest it has.
const BEATS: &str = "beats";
const BEATS_MAX: usize = 64;
/// Of several who count at once, one is first each time.
const TRIES: usize = 64;

/// A [`Journal`] on [`Objects`]. All of it is kept in memory besides; each operation first takes in what others wrote.
pub struct ObjectJournal {
    objects: Arc<dyn Objects>,
    fresh: Duration,
    /// What was asked for before this moment is not new enough.
    since: std::sync::Mutex<Option<Instant>>,
    log: Mutex<Log>,
}

impl ObjectJournal {
    /// The journal on these objects; one without entries if there is none yet.
    pub fn new(objects: Arc<dyn Objects>) -> Self {
        Self { objects, fresh: Duration::ZERO, since: std::sync::Mutex::default(), log: Mutex::default() }
    }

    /// Reads ask for what others wrote so often at most, unless they are told to [ask anew](Journal::ask_anew). An append is checked
    /// against what stands there in any case.
    pub fn fresh_for(self, fresh: Duration) -> Self {
        Self { fresh, ..self }
    }

    /// What is known, up to date. While it cannot be asked, what was known before: an append will notice.
    async fn known(&self) -> Result<MutexGuard<'_, Log>, ReadError> {
        let mut log = self.log.lock().await;
        let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh =
            |(asked, done): (Instant, Instant)| done.elapsed() < self.fresh && since.is_none_or(|since| asked > since);
        if log.head.is_some() && log.asked.is_some_and(is_fresh) {
            return Ok(log);
        }
        match log.catch_up(&*self.objects).await {
            Ok(_) => Ok(log),
            Err(Behind::Away(_)) if log.head.is_some() => Ok(log),
            Err(error) => Err(error.into()),
        }
    }
}

#[async_trait]
impl Journal for ObjectJournal {
    async fn append(&self, batch: Batch) -> Result<Vec<Head>, AppendError> {
        let batch = Prepared::new(batch)?;
        let mut log = self.log.lock().await;
        let heads = log.append(&*self.objects, &batch).await?;
        log.tidy(&*self.objects).await;
        Ok(heads)
    }

    async fn read(&self, stream: &StreamId, after: Seq, limit: usize) -> Result<Vec<Entry>, ReadError> {
        self.known().await?.state.read(stream, after, limit)
    }

    async fn newest(
        &self,
        prefix: &str,
        types: &[&str],
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, Entry)>, ReadError> {
        self.known().await?.state.newest(prefix, types, before, limit)
    }

    async fn head(&self, stream: &StreamId) -> Result<Option<Head>, ReadError> {
        Ok(self.known().await?.state.head(stream))
    }

    async fn streams(&self, prefix: &str) -> Result<Vec<StreamId>, ReadError> {
        Ok(self.known().await?.state.names(prefix))
    }

    /// Reads every object anew, and compares with what was known.
    async fn verify(&self, known: Option<&Sha256Hex>) -> Result<Verified, ReadError> {
        let mut fresh = Log::default();
        fresh.catch_up(&*self.objects).await?;
        let ours = self.log.lock().await.chain();
        if fresh.state.verify(Some(&ours))?.known_at.is_none() {
            return Err(ReadError::Altered("what was read before is not in it any more".into()));
        }
        fresh.state.verify(known)
    }

    async fn fence(&self, stream: &StreamId) -> Result<Fence, ReadError> {
        Ok(self.known().await?.state.fence(stream))
    }

    async fn save_snapshot(&self, stream: &StreamId, snapshot: Snapshot) -> Result<(), AppendError> {
        self.log.lock().await.state.save_snapshot(stream, snapshot)
    }

    async fn snapshot(&self, stream: &StreamId) -> Result<Option<Snapshot>, ReadError> {
        Ok(self.log.lock().await.state.snapshot(stream))
    }

    async fn beat(&self, owner: &OwnerId) -> Result<(), AppendError> {
        let mut doubt = None;
        for _ in 0..TRIES {
            let (mut beats, version) = read_beats(&*self.objects).await.map_err(AppendError::Failed)?;
            let count = beats.iter().find(|(other, _)| other == owner).map_or(0, |(_, count)| *count);
            if doubt.is_some_and(|before| count > before) {
                return Ok(());
            }
            beats.retain(|(other, _)| other != owner);
            beats.insert(0, (owner.clone(), count + 1));
            beats.truncate(BEATS_MAX);
            match self.objects.replace(BEATS, &format::bytes_of(&beats), version.as_ref()).await {
                Ok(_) => return Ok(()),
                Err(ObjectError::Changed) => {}
                Err(ObjectError::Unknown(_)) => doubt = Some(count),
                Err(error) => return Err(AppendError::Failed(error.to_string())),
            }
        }
        Err(AppendError::Failed("other writers are always first".into()))
    }

    async fn beats(&self, owner: &OwnerId) -> Result<Option<u64>, ReadError> {
        let (beats, _) = read_beats(&*self.objects).await.map_err(ReadError::Failed)?;
        Ok(beats.iter().find(|(other, _)| other == owner).map(|(_, count)| *count))
    }

    fn ask_anew(&self) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

type Beats = (Vec<(OwnerId, u64)>, Option<deployctl_core::objects::ObjectVersion>);

/// Newest first.
async fn read_beats(objects: &dyn Objects) -> Result<Beats, String> {
    let Some(object) = objects.get(BEATS).await.map_err(|e| e.to_string())? else { return Ok((vec![], None)) };
    let beats = serde_json::from_slice(&object.bytes).map_err(|e| format!("the object {BEATS}: {e}"))?;
    Ok((beats, Some(object.version)))
}
