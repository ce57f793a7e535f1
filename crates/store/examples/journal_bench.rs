//! Events per second of the journal beside commits per second of plain SQLite, in one run, interleaved, medians.
//!
//! `journal_bench [FOLDER [ROUNDS [EVENTS]]]`: the folder should be on the disk that matters. With `large` as the
//! fourth argument also how long reads take in a journal of 1,000,000 entries. One `name value unit` a line.

use deployctl_core::journal::{Batch, Journal, NewEntry, Seq, StreamId, Write};
use deployctl_core::time::Millis;
use deployctl_store::SqliteJournal;
use futures_util::future::join_all;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const WRITERS: u64 = 16;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |n: usize, otherwise: u64| arguments.get(n).and_then(|a| a.parse().ok()).unwrap_or(otherwise);
    let base = arguments.first().map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(base).expect("a folder to write to");
    let (rounds, events) = (number(1, 7), number(2, 500));
    let journal = SqliteJournal::open(&folder.path().join("journal.db")).expect("a new journal");
    let raw = raw(&folder.path().join("raw.db"));
    let (mut plain, mut one, mut many) = (vec![], vec![], vec![]);
    for round in 0..rounds {
        plain.push(rate(events, plain_commits(&raw, events)));
        one.push(rate(events, one_writer(&journal, round, events).await));
        many.push(rate(events, many_writers(&journal, round, events).await));
    }
    let (plain, one, many) = (median(plain), median(one), median(many));
    println!("raw_sqlite_commits {plain:.0} 1/s");
    println!("journal_one_writer {one:.0} events/s");
    println!("journal_{WRITERS}_writers {many:.0} events/s");
    println!("ratio_one_writer {:.2} of raw", one / plain);
    println!("ratio_{WRITERS}_writers {:.2} of raw", many / plain);
    if arguments.get(3).is_some_and(|a| a == "large") {
        large(&folder.path().join("large.db")).await;
    }
}

/// Plain SQLite with the journal's settings and one table.
fn raw(path: &Path) -> Connection {
    let raw = Connection::open(path).expect("a new database");
    raw.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t (n INTEGER PRIMARY KEY, event TEXT);",
    )
    .expect("a table");
    raw
}

fn event(n: u64) -> NewEntry {
    let event = format!(r#"{{"type":"step_{}","n":{n},"text":"{}"}}"#, n % 4, "x".repeat(200));
    NewEntry { at: Millis(n), actor: "alice@build-7".into(), event }
}

fn batch(stream: &str, expected: u64, entries: Vec<NewEntry>) -> Batch {
    let write = Write { stream: StreamId(stream.into()), expected: Seq(expected), entries };
    Batch { writes: vec![write], fences: vec![] }
}

fn plain_commits(raw: &Connection, events: u64) -> Duration {
    let begin = Instant::now();
    for n in 0..events {
        let mut insert = raw.prepare_cached("INSERT INTO t (event) VALUES (?1)").expect("a statement");
        insert.execute([event(n).event]).expect("a commit");
    }
    begin.elapsed()
}

async fn one_writer(journal: &SqliteJournal, round: u64, events: u64) -> Duration {
    let stream = format!("deployment/one-{round}");
    let begin = Instant::now();
    for n in 0..events {
        journal.append(batch(&stream, n, vec![event(n)])).await.expect("an append");
    }
    begin.elapsed()
}

async fn many_writers(journal: &SqliteJournal, round: u64, events: u64) -> Duration {
    let begin = Instant::now();
    let writers = (0..WRITERS).map(async |writer| {
        let stream = format!("deployment/many-{round}-{writer}");
        for n in 0..events / WRITERS {
            journal.append(batch(&stream, n, vec![event(n)])).await.expect("an append");
        }
    });
    join_all(writers).await;
    begin.elapsed()
}

/// Reads in a journal of 1,000,000 entries: 100,000 deployments of 8 entries each, and 1,000 scopes.
async fn large(path: &Path) {
    let journal = SqliteJournal::open(path).expect("a new journal");
    let scope = |n: u64| format!("scope/p/env-{}/default/app-{}", n % 20, n / 20 % 50);
    let mut seqs = vec![0; 1000];
    for start in (0..100_000).step_by(100) {
        for n in start..start + 100 {
            let index = usize::try_from(n % 1000).expect("small");
            let mut both = batch(&format!("deployment/{n:06}"), 0, (0..8).map(event).collect());
            both.writes.extend(batch(&scope(n), seqs[index], (0..2).map(event).collect()).writes);
            seqs[index] += 2;
            journal.append(both).await.expect("an append");
        }
    }
    for (name, prefix) in [
        ("one_scope", "scope/p/env-7/default/app-3"),
        ("one_environment", "scope/p/env-7/"),
        ("all_scopes", "scope/"),
        ("all", ""),
    ] {
        let types = ["step_0", "step_1"];
        let time = timed(async || journal.newest(prefix, &types, None, 20).await.expect("entries").len() == 20).await;
        println!("newest_20_of_{name} {:.3} ms", time.as_secs_f64() * 1e3);
    }
    let head = StreamId("deployment/054321".into());
    let time = timed(async || journal.head(&head).await.expect("a head").is_some()).await;
    println!("head {:.3} ms", time.as_secs_f64() * 1e3);
    let begin = Instant::now();
    let verified = journal.verify(None).await.expect("nobody altered it");
    println!("verify_{}_entries {:.2} s", verified.entries, begin.elapsed().as_secs_f64());
    drop(journal);
    let open = async || SqliteJournal::open(path).is_ok();
    println!("open_and_close {:.3} ms", timed(open).await.as_secs_f64() * 1e3);
}

async fn timed(run: impl AsyncFn() -> bool) -> Duration {
    let mut times = vec![];
    for _ in 0..15 {
        let begin = Instant::now();
        assert!(run().await, "it finds what it should");
        times.push(begin.elapsed());
    }
    times.sort();
    times[times.len() / 2]
}

fn rate(events: u64, time: Duration) -> f64 {
    events as f64 / time.as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
