//! Reading: streams by number, types by global order, names by prefix.

use super::{batch, event, put, stream, write};
use deployctl_core::journal::{Journal, Seq};
use std::sync::Arc;

pub(super) async fn all(make: &impl AsyncFn() -> Arc<dyn Journal>) {
    windows(&*make().await).await;
    newest(&*make().await).await;
    newest_of_many(&*make().await).await;
    names(&*make().await).await;
}

async fn windows(journal: &dyn Journal) {
    journal.append(batch(vec![write("s", 0, (1..=9).map(|n| event("x", n)).collect())])).await.unwrap();
    put(journal, "other", 0, "x").await;
    for (after, limit, expected) in
        [(0, 3, 1..4), (3, 3, 4..7), (6, 99, 7..10), (9, 5, 10..10), (99, 5, 1..1), (0, 0, 1..1)]
    {
        let entries = journal.read(&stream("s"), Seq(after), limit).await.unwrap();
        let seqs: Vec<u64> = entries.iter().map(|e| e.seq.0).collect();
        assert_eq!(seqs, expected.collect::<Vec<_>>(), "after {after}, at most {limit}");
        assert!(entries.iter().all(|e| e.stream == stream("s")));
    }
    assert_eq!(journal.read(&stream("none"), Seq(0), 9).await, Ok(vec![]));
}

async fn found(journal: &dyn Journal, prefix: &str, types: &[&str], before: Option<u64>, limit: usize) -> Vec<u64> {
    let entries = journal.newest(prefix, types, before, limit).await.unwrap();
    entries.into_iter().map(|(position, _)| position).collect()
}

async fn newest(journal: &dyn Journal) {
    // Positions 1 to 8.
    for (name, expected, kind) in [
        ("scope/p/dev/a", 0, "opened"),
        ("scope/p/prod/a", 0, "opened"),
        ("scope/p/dev/a", 1, "noise"),
        ("scope/p/dev/a", 2, "closed"),
        ("scope/p/prod/b", 0, "opened"),
        ("scope/p/prod/a", 1, "closed"),
        ("scope/p/prod-2/a", 0, "opened"),
        ("deployment/1", 0, "opened"),
    ] {
        put(journal, name, expected, kind).await;
    }
    let both = ["opened", "closed"];
    assert_eq!(found(journal, "", &both, None, 99).await, [8, 7, 6, 5, 4, 2, 1]);
    assert_eq!(found(journal, "scope/", &both, None, 3).await, [7, 6, 5]);
    assert_eq!(found(journal, "scope/", &both, Some(5), 99).await, [4, 2, 1]);
    assert_eq!(found(journal, "scope/p/prod/", &both, None, 99).await, [6, 5, 2]);
    assert_eq!(found(journal, "scope/p/prod", &["closed"], None, 99).await, [6]);
    assert_eq!(found(journal, "scope/p/dev/a", &["noise", "noise"], None, 99).await, [3]);
    assert_eq!(found(journal, "scope/p/dev/a", &both, Some(1), 99).await, [0; 0]);
    assert_eq!(found(journal, "nothing", &both, None, 99).await, [0; 0]);
    assert_eq!(found(journal, "", &[], None, 99).await, [0; 0]);
    assert_eq!(found(journal, "", &both, None, 0).await, [0; 0]);
    let (position, entry) = journal.newest("", &["noise"], None, 1).await.unwrap().remove(0);
    assert_eq!((position, entry.stream, entry.seq), (3, stream("scope/p/dev/a"), Seq(2)));
}

/// So many streams that a journal may want to go about it in another way.
async fn newest_of_many(journal: &dyn Journal) {
    let streams = 1500;
    for start in (0..streams).step_by(100) {
        let writes = (start..start + 100).map(|n| {
            let kind = if n % 2 == 0 { "even" } else { "odd" };
            write(&format!("{}/{n:05}", if n % 5 == 0 { "fifth" } else { "d" }), 0, vec![event(kind, n)])
        });
        journal.append(batch(writes.collect())).await.unwrap();
    }
    let expected = |keep: &dyn Fn(u64) -> bool, before: u64, limit: usize| -> Vec<u64> {
        (0..streams).rev().filter(|n| keep(*n) && n + 1 < before).take(limit).map(|n| n + 1).collect()
    };
    let in_d = |n: u64| !n.is_multiple_of(5);
    assert_eq!(found(journal, "d/", &["odd", "even"], None, 40).await, expected(&in_d, u64::MAX, 40));
    assert_eq!(found(journal, "d/", &["odd"], Some(700), 2000).await, expected(&|n| in_d(n) && n % 2 == 1, 700, 2000));
    assert_eq!(found(journal, "", &["even", "odd"], Some(1200), 30).await, expected(&|_| true, 1200, 30));
    assert_eq!(found(journal, "fifth/", &["even"], None, 7).await, expected(&|n| n.is_multiple_of(10), u64::MAX, 7));
}

async fn names(journal: &dyn Journal) {
    for name in ["b", "a/2", "a/1", "a", "a0", "\u{10FFFF}", "A"] {
        put(journal, name, 0, "x").await;
    }
    let names = async |prefix: &str| -> Vec<String> {
        journal.streams(prefix).await.unwrap().into_iter().map(|s| s.0).collect()
    };
    assert_eq!(names("").await, ["A", "a", "a/1", "a/2", "a0", "b", "\u{10FFFF}"]);
    assert_eq!(names("a").await, ["a", "a/1", "a/2", "a0"]);
    assert_eq!(names("a/").await, ["a/1", "a/2"]);
    assert_eq!(names("\u{10FFFF}").await, ["\u{10FFFF}"]);
    assert_eq!(names("c").await, [""; 0]);
    assert_eq!(journal.head(&stream("a/")).await, Ok(None));
}
