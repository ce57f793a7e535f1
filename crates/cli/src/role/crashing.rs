//! The journal with a crash point before and after every append, named by the first event: `before-opened`,
//! `after-closed`. Without an armed point it adds nothing.

use async_trait::async_trait;
use deployctl_core::id::{Fence, OwnerId, Sha256Hex};
use deployctl_core::journal::{AppendError, Batch, Entry, Head, Journal, ReadError, Seq, Snapshot, StreamId, Verified};
use deployctl_sys::crash;

pub(crate) struct Crashing<J>(pub(crate) J);

/// The `type` of the batch's first event.
fn kind(batch: &Batch) -> String {
    let first = batch.writes.first().and_then(|write| write.entries.first());
    let event: Option<serde_json::Value> = first.and_then(|entry| serde_json::from_str(&entry.event).ok());
    event.and_then(|event| Some(event["type"].as_str()?.replace('_', "-"))).unwrap_or_default()
}

#[async_trait]
impl<J: Journal> Journal for Crashing<J> {
    async fn append(&self, batch: Batch) -> Result<Vec<Head>, AppendError> {
        if !crash::is_armed() {
            return self.0.append(batch).await;
        }
        let kind = kind(&batch);
        crash::point(&format!("before-{kind}"));
        let done = self.0.append(batch).await;
        crash::point(&format!("after-{kind}"));
        done
    }

    async fn read(&self, stream: &StreamId, after: Seq, limit: usize) -> Result<Vec<Entry>, ReadError> {
        self.0.read(stream, after, limit).await
    }

    async fn newest(
        &self,
        prefix: &str,
        types: &[&str],
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, Entry)>, ReadError> {
        self.0.newest(prefix, types, before, limit).await
    }

    async fn head(&self, stream: &StreamId) -> Result<Option<Head>, ReadError> {
        self.0.head(stream).await
    }

    async fn streams(&self, prefix: &str) -> Result<Vec<StreamId>, ReadError> {
        self.0.streams(prefix).await
    }

    async fn verify(&self, known: Option<&Sha256Hex>) -> Result<Verified, ReadError> {
        self.0.verify(known).await
    }

    async fn fence(&self, stream: &StreamId) -> Result<Fence, ReadError> {
        self.0.fence(stream).await
    }

    async fn save_snapshot(&self, stream: &StreamId, snapshot: Snapshot) -> Result<(), AppendError> {
        self.0.save_snapshot(stream, snapshot).await
    }

    async fn snapshot(&self, stream: &StreamId) -> Result<Option<Snapshot>, ReadError> {
        self.0.snapshot(stream).await
    }

    async fn beat(&self, owner: &OwnerId) -> Result<(), AppendError> {
        self.0.beat(owner).await
    }

    async fn beats(&self, owner: &OwnerId) -> Result<Option<u64>, ReadError> {
        self.0.beats(owner).await
    }

    fn ask_anew(&self) {
        self.0.ask_anew();
    }
}
