//! Appending: all or nothing, compare-and-swap, fences.

use super::{batch, event, put, stream, write};
use deployctl_core::id::Fence;
use deployctl_core::journal::{AppendError, Batch, Journal, NewEntry, Seq, Write, entry_hash, genesis_hash};
use deployctl_core::time::Millis;
use futures_util::future::join_all;
use std::sync::Arc;

pub(super) async fn all(make: &impl AsyncFn() -> Arc<dyn Journal>) {
    links(&*make().await).await;
    compare_and_swap(&*make().await).await;
    several_streams_or_none(&*make().await).await;
    only_looking(&*make().await).await;
    fences(&*make().await).await;
    a_refusal_remembers_no_fence(&*make().await).await;
    what_cannot_be_kept(&*make().await).await;
    of_many_writers_one_wins(&*make().await).await;
    odd_texts(&*make().await).await;
}

async fn links(journal: &dyn Journal) {
    let (one, two) = (event("opened", 1), event("closed", 2));
    let name = stream("deployment/a");
    let heads = journal.append(batch(vec![write("deployment/a", 0, vec![one.clone(), two.clone()])])).await.unwrap();
    let first = entry_hash(&name, Seq(1), &one, &genesis_hash(&name));
    let second = entry_hash(&name, Seq(2), &two, &first);
    assert_eq!((heads.len(), heads[0].seq, &heads[0].hash), (1, Seq(2), &second));
    assert_eq!(journal.head(&name).await.unwrap().as_ref(), heads.first());
    let entries = journal.read(&name, Seq(0), 10).await.unwrap();
    assert_eq!((&entries[0].prev, &entries[0].hash), (&genesis_hash(&name), &first));
    assert_eq!((&entries[1].prev, &entries[1].hash), (&first, &second));
    assert_eq!((entries[1].at, &entries[1].actor, &entries[1].event), (two.at, &two.actor, &two.event));
}

async fn compare_and_swap(journal: &dyn Journal) {
    put(journal, "s", 0, "a").await;
    for (expected, found) in [(0, 1), (2, 1)] {
        let refused = journal.append(batch(vec![write("s", expected, vec![event("a", 9)])])).await;
        let conflict = AppendError::Conflict { stream: stream("s"), expected: Seq(expected), found: Seq(found) };
        assert_eq!(refused, Err(conflict));
    }
    let refused = journal.append(batch(vec![write("none", 3, vec![event("a", 9)])])).await;
    assert_eq!(refused, Err(AppendError::Conflict { stream: stream("none"), expected: Seq(3), found: Seq(0) }));
    put(journal, "s", 1, "a").await;
}

async fn several_streams_or_none(journal: &dyn Journal) {
    put(journal, "b", 0, "x").await;
    let both = |b| batch(vec![write("a", 0, vec![event("x", 1), event("x", 2)]), write("b", b, vec![event("x", 3)])]);
    assert!(matches!(journal.append(both(0)).await, Err(AppendError::Conflict { stream, .. }) if stream.0 == "b"));
    assert_eq!(journal.head(&stream("a")).await, Ok(None));
    assert_eq!(journal.verify(None).await.unwrap().entries, 1);
    let heads = journal.append(both(1)).await.unwrap();
    assert_eq!(heads.iter().map(|h| h.seq.0).collect::<Vec<_>>(), [2, 2]);
    let twice = batch(vec![write("c", 0, vec![event("x", 1)]), write("c", 1, vec![event("x", 2)])]);
    assert_eq!(journal.append(twice).await, Err(AppendError::Failed("stream c occurs twice in one batch".into())));
    assert_eq!(journal.head(&stream("c")).await, Ok(None));
}

async fn only_looking(journal: &dyn Journal) {
    assert_eq!(journal.append(Batch::default()).await, Ok(vec![]));
    let head = put(journal, "s", 0, "x").await;
    assert_eq!(journal.append(batch(vec![write("s", 1, vec![])])).await, Ok(vec![head]));
    assert!(matches!(journal.append(batch(vec![write("s", 0, vec![])])).await, Err(AppendError::Conflict { .. })));
    let none = journal.append(batch(vec![write("none", 0, vec![])])).await.unwrap();
    assert_eq!((none[0].seq, &none[0].hash), (Seq(0), &genesis_hash(&stream("none"))));
    assert_eq!(journal.streams("").await.unwrap(), [stream("s")]);
}

fn fenced(writes: Vec<Write>, fences: &[(&str, u64)]) -> Batch {
    Batch { writes, fences: fences.iter().map(|(name, fence)| (stream(name), Fence(*fence))).collect() }
}

async fn fences(journal: &dyn Journal) {
    let scope = stream("scope/s");
    assert_eq!(journal.fence(&scope).await, Ok(Fence(0)));
    journal.append(fenced(vec![write("d", 0, vec![event("x", 1)])], &[("scope/s", 7)])).await.unwrap();
    assert_eq!(journal.fence(&scope).await, Ok(Fence(7)));
    assert_eq!(journal.head(&scope).await, Ok(None), "a fence is no entry");
    journal.append(fenced(vec![write("d", 1, vec![event("x", 2)])], &[("scope/s", 7)])).await.unwrap();
    let late = journal.append(fenced(vec![write("d", 2, vec![event("x", 3)])], &[("scope/s", 6)])).await;
    let refused = AppendError::Fenced { stream: scope.clone(), given: Fence(6), found: Fence(7) };
    assert_eq!(late, Err(refused.clone()));
    assert_eq!(journal.head(&stream("d")).await.unwrap().unwrap().seq, Seq(2));
    // A lost lease is final, a conflict can be settled: of both, the fence is told.
    let both = journal.append(fenced(vec![write("d", 0, vec![event("x", 3)])], &[("scope/s", 6)])).await;
    assert_eq!(both, Err(refused));
    journal.append(fenced(vec![], &[("scope/s", 9), ("scope/t", 2)])).await.unwrap();
    assert_eq!(journal.fence(&scope).await, Ok(Fence(9)));
    assert_eq!(journal.fence(&stream("scope/t")).await, Ok(Fence(2)));
}

async fn a_refusal_remembers_no_fence(journal: &dyn Journal) {
    journal.append(fenced(vec![], &[("b", 5)])).await.unwrap();
    assert!(journal.append(fenced(vec![], &[("a", 9), ("b", 4)])).await.is_err());
    assert!(journal.append(fenced(vec![write("d", 3, vec![])], &[("a", 9)])).await.is_err());
    let falling = journal.append(fenced(vec![], &[("a", 9), ("a", 8)])).await;
    assert_eq!(falling, Err(AppendError::Fenced { stream: stream("a"), given: Fence(8), found: Fence(9) }));
    assert_eq!(journal.fence(&stream("a")).await, Ok(Fence(0)));
}

async fn what_cannot_be_kept(journal: &dyn Journal) {
    let new = |at: u64, event: &str| NewEntry { at: Millis(at), actor: "a".into(), event: event.into() };
    for (entry, why) in [
        (new(1, "{}"), "an event for s has no type: missing field `type`"),
        (new(1, "nonsense"), "an event for s has no type: expected ident"),
        (new(1, r#"{"type":3}"#), "an event for s has no type: invalid type"),
        (new(u64::MAX, r#"{"type":"x"}"#), "the time of an event for s is too large: 18446744073709551615"),
    ] {
        let refused = journal.append(batch(vec![write("s", 0, vec![event("fine", 1), entry])])).await;
        assert!(matches!(&refused, Err(AppendError::Failed(text)) if text.starts_with(why)), "{why}: {refused:?}");
    }
    let refused = journal.append(fenced(vec![], &[("s", u64::MAX)])).await;
    assert_eq!(refused, Err(AppendError::Failed("the fence of s is too large: 18446744073709551615".into())));
    assert_eq!(journal.head(&stream("s")).await, Ok(None));
}

async fn of_many_writers_one_wins(journal: &dyn Journal) {
    for seq in 0..5 {
        let tries = (0..16).map(|n| journal.append(batch(vec![write("s", seq, vec![event("x", n)])])));
        let won = join_all(tries).await.into_iter().filter(|outcome| match outcome {
            Ok(_) => true,
            Err(AppendError::Conflict { found, .. }) if found.0 == seq + 1 => false,
            other => panic!("neither won nor lost: {other:?}"),
        });
        assert_eq!(won.count(), 1, "exactly one writer moves the stream on from {seq}");
    }
    assert_eq!(journal.verify(None).await.unwrap().entries, 5);
}

async fn odd_texts(journal: &dyn Journal) {
    let long = "x".repeat(2 << 20);
    for (n, text) in (0..).zip(["", "nul \0 in it", "ünï'\"; DROP TABLE entries; --", long.as_str()]) {
        let event = format!(r#"{{"type":{:?},"n":1}}"#, "odd.typé").replace("1}", &format!("{}}}", n));
        let entry = NewEntry { at: Millis(n), actor: text.into(), event };
        let name = format!("odd/{}", text.chars().take(40).collect::<String>());
        journal.append(batch(vec![write(&name, 0, vec![entry.clone()])])).await.unwrap();
        let kept = journal.read(&stream(&name), Seq(0), 2).await.unwrap();
        assert_eq!((kept.len(), &kept[0].actor, &kept[0].event), (1, &entry.actor, &entry.event));
    }
    assert_eq!(journal.newest("odd/", &["odd.typé"], None, 9).await.unwrap().len(), 4);
}
