//! The thread that writes: group commit, and what to do when a commit fails.

use super::trouble;
use super::write::{self, Stop};
use crate::entry::Prepared;
use crate::reserve::Reserve;
use deployctl_core::id::OwnerId;
use deployctl_core::journal::{AppendError, Head, Snapshot, StreamId};
use rusqlite::Connection;
use rusqlite::ffi::ErrorCode;
use std::path::Path;
use std::sync::mpsc::Receiver;
use tokio::sync::oneshot;

/// What one caller wants written.
pub(super) enum Op {
    Append(Prepared),
    Snapshot(StreamId, Snapshot),
    Beat(OwnerId),
    MakeRoom,
}

pub(super) struct Task {
    pub(super) op: Op,
    pub(super) reply: oneshot::Sender<Answer>,
}

type Answer = Result<Vec<Head>, AppendError>;

/// At most so many callers share a commit: it bounds what one of them waits for the others.
const GROUP: usize = 256;

/// A reserve that was given free is looked after again after so many commits.
const RESTORE_EVERY: u32 = 64;

/// Why a transaction did not succeed.
enum Failure {
    /// Nothing of it will ever be there.
    NotWritten(rusqlite::Error),
    /// It may be there, now or after the next start.
    Unknown(rusqlite::Error),
}

pub(super) struct Writer {
    connection: Connection,
    reserve: Reserve,
    commits: u32,
}

impl Writer {
    pub(super) fn new(path: &Path, connection: Connection) -> Self {
        let mut reserve = Reserve::beside(path);
        reserve.restore();
        Self { connection, reserve, commits: 0 }
    }

    /// Writes until all senders are gone and everything sent is answered.
    pub(super) fn run(mut self, tasks: &Receiver<Task>) {
        while let Ok(first) = tasks.recv() {
            let (ops, replies): (Vec<_>, Vec<_>) =
                std::iter::once(first).chain(tasks.try_iter().take(GROUP - 1)).map(|t| (t.op, t.reply)).unzip();
            if ops.iter().any(|op| matches!(op, Op::MakeRoom)) {
                self.reserve.release();
            }
            for (answer, reply) in self.write(&ops).into_iter().zip(replies) {
                // Whoever asked may have gone; it is written all the same.
                let _ = reply.send(answer);
            }
            self.commits = self.commits.wrapping_add(1);
            if self.commits.is_multiple_of(RESTORE_EVERY) {
                self.reserve.restore();
            }
        }
    }

    /// Writes all of `ops` in one transaction; if that fails for certain, each in its own, so that one that cannot
    /// be written takes no other along.
    fn write(&mut self, ops: &[Op]) -> Vec<Answer> {
        let failure = match self.attempt(ops) {
            Ok(answers) => return answers,
            Err(Failure::NotWritten(e)) if self.make_room(&e) => match self.attempt(ops) {
                Ok(answers) => return answers,
                Err(failure) => failure,
            },
            Err(failure) => failure,
        };
        match failure {
            Failure::NotWritten(_) if ops.len() > 1 => ops.chunks(1).flat_map(|op| self.write(op)).collect(),
            Failure::NotWritten(e) => vec![Err(AppendError::Failed(trouble::write(&e)))],
            Failure::Unknown(e) => {
                let unknown = AppendError::Unknown(trouble::write(&e));
                ops.iter().map(|_| Err(unknown.clone())).collect()
            }
        }
    }

    fn make_room(&mut self, e: &rusqlite::Error) -> bool {
        let full =
            trouble::is_full(e) || (trouble::code(e) == Some(ErrorCode::SystemIoFailure) && self.reserve.is_needed());
        full && self.reserve.release()
    }

    fn attempt(&mut self, ops: &[Op]) -> Result<Vec<Answer>, Failure> {
        let answers = self.transact(ops);
        if answers.is_err() && !self.connection.is_autocommit() {
            // If even this fails, the next BEGIN does, and says so.
            let _ = self.run_cached("ROLLBACK");
        }
        answers
    }

    fn transact(&self, ops: &[Op]) -> Result<Vec<Answer>, Failure> {
        self.run_cached("BEGIN IMMEDIATE").map_err(Failure::NotWritten)?;
        let mut answers = Vec::with_capacity(ops.len());
        for op in ops {
            answers.push(match self.apply(op) {
                Ok(heads) => Ok(heads),
                Err(Stop::Refused(refused)) => Err(refused),
                Err(Stop::Sqlite(e)) => return Err(Failure::NotWritten(e)),
            });
        }
        deployctl_sys::crash::point("journal.before-commit");
        self.run_cached("COMMIT").map_err(after_commit)?;
        deployctl_sys::crash::point("journal.after-commit");
        Ok(answers)
    }

    fn apply(&self, op: &Op) -> Result<Vec<Head>, Stop> {
        match op {
            Op::Append(batch) => write::append(&self.connection, batch),
            Op::Snapshot(stream, snapshot) => write::snapshot(&self.connection, stream, snapshot).map(|()| Vec::new()),
            Op::MakeRoom => Ok(Vec::new()),
            Op::Beat(owner) => Ok(write::beat(&self.connection, owner).map(|()| Vec::new())?),
        }
    }

    fn run_cached(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(drop)
    }
}

/// A commit that ran out of room did not get as far as its commit record; one that met the lock did not begin. Of
/// all others nobody knows, least of all of a failed fsync.
fn after_commit(e: rusqlite::Error) -> Failure {
    match trouble::code(&e) {
        Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy) => Failure::NotWritten(e),
        _ => Failure::Unknown(e),
    }
}
