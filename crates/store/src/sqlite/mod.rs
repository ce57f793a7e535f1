//! The journal in one SQLite file.
//!
//! One thread writes: whatever waits is committed together, each append checked for itself, and is answered once the
//! commit is on the disk. Another thread reads on a connection of its own and never waits for the writer.

mod newest;
mod open;
mod read;
mod row;
mod schema;
mod trouble;
mod verify;
mod write;
mod writer;

use crate::entry::Prepared;
use crate::error::OpenError;
use async_trait::async_trait;
use deployctl_core::id::{Fence, OwnerId, Sha256Hex};
use deployctl_core::journal::{AppendError, Batch, Entry, Head, Journal, ReadError, Seq, Snapshot, StreamId, Verified};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use tokio::sync::oneshot;
use writer::{Op, Task};

/// A [`Journal`] in one SQLite file, in WAL mode with `synchronous=FULL`.
///
/// Appends are owned by the writer's thread: dropping the future of an append does not undo it. Dropping the
/// journal waits for what was handed to it.
pub struct SqliteJournal {
    path: PathBuf,
    tasks: Option<mpsc::Sender<Task>>,
    queries: Option<mpsc::Sender<Query>>,
    reader: Option<JoinHandle<()>>,
    writer: Option<JoinHandle<()>>,
}

type Query = Box<dyn FnOnce(&Connection) + Send>;

impl SqliteJournal {
    /// Opens the journal at `path`, whose folder must exist, and makes it if there is none.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let (writer, reader) = open::connections(path)?;
        let (tasks, todo) = mpsc::channel();
        let (queries, asked) = mpsc::channel::<Query>();
        let write = writer::Writer::new(path, writer);
        let failed = |e: std::io::Error| OpenError::Failed { path: path.into(), detail: e.to_string() };
        let reader = spawn("journal-read", move || asked.into_iter().for_each(|query| query(&reader)));
        let writer = spawn("journal-write", move || write.run(&todo));
        let (reader, writer) = (Some(reader.map_err(failed)?), Some(writer.map_err(failed)?));
        Ok(Self { path: path.into(), tasks: Some(tasks), queries: Some(queries), reader, writer })
    }

    /// Where it lives.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives free the room that is set aside for the journal, for another write of a rollback that found the disk
    /// full. The room is set aside again when there is enough of it.
    pub async fn make_room(&self) {
        // It has no other outcome than that there is room or not, which the caller sees.
        let _ = self.write(Op::MakeRoom).await;
    }

    async fn write(&self, op: Op) -> Result<Vec<Head>, AppendError> {
        let (reply, answer) = oneshot::channel();
        let gone = || AppendError::Failed("its writer has ended; restart the engine".into());
        self.tasks.as_ref().ok_or_else(gone)?.send(Task { op, reply }).map_err(|_| gone())?;
        let unknown = |_| AppendError::Unknown("its writer ended before it answered; restart the engine".into());
        answer.await.map_err(unknown)?
    }

    /// Runs `query` on the reader's connection, in one read transaction.
    async fn query<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let gone = || ReadError::Failed("its reader has ended; restart the engine".into());
        let (reply, answer) = oneshot::channel();
        let queries = self.queries.as_ref().ok_or_else(gone)?;
        let run = move |connection: &Connection| drop(reply.send(in_transaction(connection, query)));
        queries.send(Box::new(run)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

impl Drop for SqliteJournal {
    fn drop(&mut self) {
        // One after the other, the reader first: the last connection to close empties and removes the log, and of
        // two that close at once neither is the last.
        self.queries = None;
        let _ = self.reader.take().map(JoinHandle::join);
        self.tasks = None;
        let _ = self.writer.take().map(JoinHandle::join);
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.into()).spawn(run)
}

fn in_transaction<T>(
    connection: &Connection,
    query: impl FnOnce(&Connection) -> Result<T, ReadError>,
) -> Result<T, ReadError> {
    let transaction = connection.unchecked_transaction().map_err(|e| trouble::read(&e))?;
    let found = query(connection);
    transaction.finish().map_err(|e| trouble::read(&e))?;
    found
}

#[async_trait]
impl Journal for SqliteJournal {
    async fn append(&self, batch: Batch) -> Result<Vec<Head>, AppendError> {
        self.write(Op::Append(Prepared::new(batch)?)).await
    }

    async fn read(&self, stream: &StreamId, after: Seq, limit: usize) -> Result<Vec<Entry>, ReadError> {
        let stream = stream.clone();
        self.query(move |c| read::stream(c, &stream, after, limit)).await
    }

    async fn newest(
        &self,
        prefix: &str,
        types: &[&str],
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, Entry)>, ReadError> {
        let wanted = newest::Wanted::new(prefix, types, before, limit);
        self.query(move |c| newest::newest(c, &wanted)).await
    }

    async fn head(&self, stream: &StreamId) -> Result<Option<Head>, ReadError> {
        let stream = stream.clone();
        self.query(move |c| read::head(c, &stream)).await
    }

    async fn streams(&self, prefix: &str) -> Result<Vec<StreamId>, ReadError> {
        let prefix = prefix.to_owned();
        self.query(move |c| read::streams(c, &prefix)).await
    }

    async fn verify(&self, known: Option<&Sha256Hex>) -> Result<Verified, ReadError> {
        let (path, known) = (self.path.clone(), known.cloned());
        let (reply, answer) = oneshot::channel();
        // It takes seconds: on a thread and a connection of its own, so that other reads need not wait.
        spawn("journal-verify", move || {
            let verify = |c: &Connection| in_transaction(c, |c| verify::verify(c, known.as_ref()));
            let connection = open::reader(&path).map_err(|e| ReadError::Failed(e.to_string()));
            drop(reply.send(connection.and_then(|c| verify(&c))));
        })
        .map_err(|e| ReadError::Failed(format!("no thread to check it: {e}")))?;
        answer.await.map_err(|_| ReadError::Failed("the check ended without a result".into()))?
    }

    async fn fence(&self, stream: &StreamId) -> Result<Fence, ReadError> {
        let stream = stream.clone();
        self.query(move |c| read::fence(c, &stream)).await
    }

    async fn save_snapshot(&self, stream: &StreamId, snapshot: Snapshot) -> Result<(), AppendError> {
        self.write(Op::Snapshot(stream.clone(), snapshot)).await.map(drop)
    }

    async fn snapshot(&self, stream: &StreamId) -> Result<Option<Snapshot>, ReadError> {
        let stream = stream.clone();
        self.query(move |c| read::snapshot(c, &stream)).await
    }

    async fn beat(&self, owner: &OwnerId) -> Result<(), AppendError> {
        self.write(Op::Beat(owner.clone())).await.map(drop)
    }

    async fn beats(&self, owner: &OwnerId) -> Result<Option<u64>, ReadError> {
        let owner = owner.clone();
        self.query(move |c| read::beats(c, &owner)).await
    }
}
