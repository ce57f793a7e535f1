//! What every journal and every keeper of blobs must do, as one suite that runs on all of them.
//!
//! Each check panics with what it expected. `make` is asked for a fresh, empty one for every check.

mod append;
mod blobs;
mod model;
mod read;
mod small;
mod verify;

pub use blobs::blobs;
pub use model::{Draw, Step, random_steps, steps};

use deployctl_core::journal::{Batch, Head, Journal, NewEntry, Seq, StreamId, Write};
use deployctl_core::time::Millis;
use std::sync::Arc;

/// Runs the whole suite on journals from `make`.
pub async fn journal(make: impl AsyncFn() -> Arc<dyn Journal>) {
    append::all(&make).await;
    read::all(&make).await;
    verify::all(&make).await;
    small::all(&make).await;
    for seed in 0..8 {
        model::steps(&*make().await, &model::random_steps(seed, 60)).await;
    }
}

fn stream(name: &str) -> StreamId {
    StreamId(name.into())
}

/// An event of type `kind`, told apart by `n`.
fn event(kind: &str, n: u64) -> NewEntry {
    NewEntry {
        at: Millis(1_700_000_000_000 + n),
        actor: format!("writer-{n}@here"),
        event: format!(r#"{{"type":"{kind}","n":{n}}}"#),
    }
}

fn write(name: &str, expected: u64, entries: Vec<NewEntry>) -> Write {
    Write { stream: stream(name), expected: Seq(expected), entries }
}

fn batch(writes: Vec<Write>) -> Batch {
    Batch { writes, fences: Vec::new() }
}

/// Appends one event that must be accepted.
async fn put(journal: &dyn Journal, name: &str, expected: u64, kind: &str) -> Head {
    let entries = vec![event(kind, expected)];
    let heads = journal.append(batch(vec![write(name, expected, entries)])).await;
    heads.expect("the append fits").pop().expect("a head per write")
}
