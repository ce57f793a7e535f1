//! The journals and the blobs from outside.

mod blobs;
mod child;
mod crash;
mod disk;
mod fault;
mod model;
mod object;
mod open;
mod scale;
mod seal;
mod suite;
mod tamper;
mod trace;

use deployctl_core::journal::{Batch, Head, Journal, NewEntry, Seq, StreamId, Write};
use deployctl_core::time::Millis;

fn stream(name: &str) -> StreamId {
    StreamId(name.into())
}

fn event(kind: &str, n: u64) -> NewEntry {
    NewEntry { at: Millis(n), actor: "alice@here".into(), event: format!(r#"{{"type":"{kind}","n":{n}}}"#) }
}

fn write(name: &str, expected: u64, entries: Vec<NewEntry>) -> Write {
    Write { stream: stream(name), expected: Seq(expected), entries }
}

fn batch(writes: Vec<Write>) -> Batch {
    Batch { writes, fences: Vec::new() }
}

async fn put(journal: &dyn Journal, name: &str, expected: u64) -> Head {
    let heads = journal.append(batch(vec![write(name, expected, vec![event("x", expected)])])).await;
    heads.expect("the append fits").remove(0)
}
