//! Journals and blobs on objects: everything that may go wrong with a write, a list, a client.

use crate::{batch, stream, write};
use deployctl_core::fault::Fault;
use deployctl_core::id::{OwnerId, Sha256Hex};
use deployctl_core::journal::{AppendError, Blobs, Journal, NewEntry, ReadError, Seq};
use deployctl_core::lease::{Life, Seat, Sits};
use deployctl_core::objects::Objects;
use deployctl_core::time::{Millis, Span};
use deployctl_store::conformance::Draw;
use deployctl_store::{Hitch, MemoryObjects, ObjectBlobs, ObjectJournal, ObjectSeat, conformance};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn the_suite_of_journals() {
    conformance::journal(async || Arc::new(on(&MemoryObjects::default())) as Arc<dyn Journal>).await;
}

#[tokio::test(start_paused = true)]
async fn the_suite_of_journals_where_answers_are_lost() {
    for seed in 0..6 {
        let make = async || {
            let objects = MemoryObjects::default().client(hitches(seed, 4000, 5, &WRITES));
            Arc::new(on(&objects)) as Arc<dyn Journal>
        };
        conformance::journal(make).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_suite_of_blobs() {
    conformance::blobs(async || Arc::new(blobs(&MemoryObjects::default())) as Arc<dyn Blobs>).await;
    let lost = [Hitch::AnswerLost, Hitch::RequestLost];
    let make = async || {
        let objects = MemoryObjects::default().client(hitches(3, 4000, 9, &lost));
        Arc::new(blobs(&objects)) as Arc<dyn Blobs>
    };
    // What is lost of a removal is an error, so only what is put and read.
    put_and_get(&*make().await).await;
}

async fn put_and_get(blobs: &dyn Blobs) {
    for size in [0, 1, 900 << 10, (900 << 10) + 1, 3 << 20] {
        let bytes: Vec<u8> = (0..=255).cycle().take(size).collect();
        let digest = blobs.put(bytes.clone()).await.unwrap();
        assert_eq!(blobs.get(&digest).await, Ok(Some(bytes)));
    }
}

fn on(objects: &MemoryObjects) -> ObjectJournal {
    ObjectJournal::new(Arc::new(objects.clone()))
}

fn blobs(objects: &MemoryObjects) -> ObjectBlobs {
    ObjectBlobs::new(Arc::new(objects.clone()))
}

#[tokio::test]
async fn what_others_wrote_is_asked_for_so_often_at_most_and_whenever_somebody_says_so() {
    let objects = MemoryObjects::default();
    let (writer, reader) = (on(&objects), on(&objects).fresh_for(Duration::from_secs(3600)));
    let seen = async || reader.read(&stream("s"), Seq(0), 9).await.unwrap().len();
    try_to(&writer, 0).await.unwrap();
    assert_eq!(seen().await, 1);
    try_to(&writer, 1).await.unwrap();
    assert_eq!(seen().await, 1);
    reader.ask_anew();
    assert_eq!(seen().await, 2);
    try_to(&writer, 2).await.unwrap();
    assert_eq!(seen().await, 2, "it was asked once");
}

/// Writes of which it is not known what became of them.
const WRITES: [Hitch; 4] = [Hitch::AnswerLost, Hitch::RequestLost, Hitch::Late, Hitch::Lied];

/// One operation in `every` goes wrong.
fn hitches(seed: u64, count: usize, every: u64, of: &[Hitch]) -> Vec<Option<Hitch>> {
    let mut draw = Draw(seed);
    let mut one = || (draw.below(every) == 0).then(|| of[usize::try_from(draw.below(of.len() as u64)).unwrap()]);
    (0..count).map(|_| one()).collect()
}

/// An event so large that a few of them are a segment.
fn large(n: u64) -> NewEntry {
    let event =
        format!(r#"{{"type":"x","n":{n},"pad":"{}"}}"#, "x".repeat(12_000 + usize::try_from(n % 7).unwrap() * 4_000));
    NewEntry { at: Millis(n), actor: "alice".into(), event }
}

fn number(event: &str) -> u64 {
    serde_json::from_str::<serde_json::Value>(event).unwrap()["n"].as_u64().unwrap()
}

#[tokio::test(start_paused = true)]
async fn two_writers_in_trouble_lose_nothing_and_write_nothing_twice() {
    let all = [Hitch::AnswerLost, Hitch::RequestLost, Hitch::Late, Hitch::Lied, Hitch::Away, Hitch::OldList];
    for seed in 0..40 {
        let objects = MemoryObjects::default();
        let writers: Vec<ObjectJournal> =
            (0..2).map(|n| on(&objects.client(hitches(seed * 2 + n, 3000, 6, &all)))).collect();
        let (mut written, mut not_written) = (BTreeSet::new(), BTreeSet::new());
        for n in 0..60 {
            let (one, two) = (n * 2, n * 2 + 1);
            let (first, second) = tokio::join!(try_to(&writers[0], one), try_to(&writers[1], two));
            for (n, outcome) in [(one, first), (two, second)] {
                match outcome {
                    Ok(()) => drop(written.insert(n)),
                    Err(AppendError::Unknown(_)) => {}
                    Err(_) => drop(not_written.insert(n)),
                }
            }
        }
        // What was on its way arrives, or never will.
        let _ = objects.get("journal").await;
        let fresh = on(&objects);
        let entries = fresh.read(&stream("s"), Seq(0), 9999).await.unwrap();
        let found: Vec<u64> = entries.iter().map(|entry| number(&entry.event)).collect();
        let kept: BTreeSet<u64> = found.iter().copied().collect();
        assert_eq!(kept.len(), found.len(), "seed {seed}: something was written twice");
        assert!(written.is_subset(&kept), "seed {seed}: lost {:?}", written.difference(&kept));
        assert!(kept.is_disjoint(&not_written), "seed {seed}: written though it was denied");
        assert!(written.len() > 40, "seed {seed}: only {} were written", written.len());
        fresh.verify(None).await.unwrap();
    }
}

/// Appends at the end, wherever that is.
async fn try_to(journal: &ObjectJournal, n: u64) -> Result<(), AppendError> {
    loop {
        let head = journal.head(&stream("s")).await.map_err(|e| AppendError::Failed(e.to_string()))?;
        let expected = head.map_or(0, |head| head.seq.0);
        match journal.append(batch(vec![write("s", expected, vec![large(n)])])).await {
            Err(AppendError::Conflict { .. }) => tokio::task::yield_now().await,
            other => return other.map(drop),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn there_are_few_objects_of_many_commits_and_a_killed_writer_leaves_none_behind() {
    let objects = MemoryObjects::default();
    let journal = on(&objects);
    for n in 0..300 {
        try_to(&journal, n).await.unwrap();
        if ![0, 37, 181].contains(&n) {
            continue;
        }
        for killed_at in 0..18 {
            // The next writes, among them rolls and merges, cut off at each operation in turn.
            let fork = objects.fork();
            let hitches = (0..=killed_at).map(|at| (at == killed_at).then_some(Hitch::Killed));
            let victim = on(&fork.client(hitches));
            let mut done = n;
            while try_to(&victim, done + 1).await.is_ok() {
                done += 1;
            }
            let next = on(&fork);
            let kept = next.read(&stream("s"), Seq(0), 9999).await.unwrap().len() as u64;
            assert!(kept == done + 1 || kept == done + 2, "{kept} entries after {done} were written");
            for more in 0..40 {
                try_to(&next, kept + more).await.unwrap();
            }
            next.verify(None).await.unwrap();
            let head = fork.with("journal", |bytes| String::from_utf8(bytes.clone()).unwrap()).unwrap();
            // Up to the next merge, what the killed one left is there.
            let unnamed = fork.names().into_iter().filter(|name| name != "journal" && !head.contains(name)).count();
            assert!(unnamed <= 1, "{unnamed} objects are nobody's");
        }
    }
    // 300 entries of some 24 kB.
    assert!(objects.names().len() <= 32, "{:?}", objects.names());
}

#[tokio::test]
async fn an_edit_a_missing_object_and_an_older_journal_are_seen() {
    let objects = MemoryObjects::default();
    let journal = on(&objects);
    for n in 0..4 {
        try_to(&journal, n).await.unwrap();
    }
    let before = objects.fork();
    for n in 4..9 {
        try_to(&journal, n).await.unwrap();
    }
    let known = journal.verify(None).await.unwrap().head;
    let segment = objects.names().into_iter().find(|name| name.starts_with("segment-")).unwrap();
    let edited = objects.fork();
    edited.with(&segment, |bytes| bytes[40] ^= 1);
    let why = on(&edited).verify(None).await;
    assert_eq!(why, Err(ReadError::Altered(format!("the object {segment} is not what was written"))));
    let cut = objects.fork();
    cut.delete(&segment).await.unwrap();
    assert_eq!(on(&cut).verify(None).await, Err(ReadError::Altered(format!("the object {segment} is gone"))));
    assert_eq!(on(&before).verify(Some(&known)).await.unwrap().known_at, None, "an older one is seen by its head");
    let head = before.with("journal", |bytes| bytes.clone()).unwrap();
    objects.with("journal", |bytes| *bytes = head);
    let why = journal.read(&stream("s"), Seq(0), 1).await;
    let older = "it ends at commit 4, and 9 is known: an older one was restored";
    assert_eq!(why, Err(ReadError::Altered(older.into())));
    objects.with("journal", |bytes| *bytes = br#"{"format":2}"#.to_vec());
    let why = on(&objects).head(&stream("s")).await;
    let newer = "it has form 2; this deployctl knows up to 1: use the newer one";
    assert_eq!(why, Err(ReadError::Failed(newer.into())));
}

#[tokio::test]
async fn what_is_known_can_be_read_while_it_cannot_be_asked() {
    let objects = MemoryObjects::default();
    try_to(&on(&objects), 0).await.unwrap();
    let journal = on(&objects.client([None, Some(Hitch::Killed)]));
    assert_eq!(journal.head(&stream("s")).await.unwrap().unwrap().seq, Seq(1));
    assert_eq!(journal.read(&stream("s"), Seq(0), 9).await.unwrap().len(), 1);
    let failed = journal.append(batch(vec![write("s", 1, vec![large(1)])])).await;
    assert_eq!(failed, Err(AppendError::Failed("the journal: it cannot be reached".into())));
    let never = on(&objects.client([Some(Hitch::Killed)]));
    let why = never.head(&stream("s")).await;
    assert_eq!(why, Err(ReadError::Failed("the journal: it cannot be reached".into())));
}

#[tokio::test]
async fn a_damaged_blob_is_seen_and_putting_it_again_repairs_it() {
    let objects = MemoryObjects::default();
    let blobs = blobs(&objects);
    let digest = blobs.put(b"release".to_vec()).await.unwrap();
    let name = format!("blob-{digest}");
    objects.with(&name, |bytes| bytes[3] ^= 1).unwrap();
    let why = format!("the object {name} does not have the digest of its name");
    assert_eq!(blobs.get(&digest).await, Err(ReadError::Altered(why)));
    blobs.put(b"release".to_vec()).await.unwrap();
    assert_eq!(blobs.get(&digest).await, Ok(Some(b"release".to_vec())));
    assert_eq!(digest, Sha256Hex::of(b"release"));
}

fn seat(objects: &MemoryObjects, name: &str) -> ObjectSeat {
    ObjectSeat::new(Arc::new(objects.clone()), OwnerId::new(name).unwrap(), format!("{name}@here"), Span::secs(10))
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

fn other(who: &str, life: Life) -> Result<Sits, Fault> {
    Ok(Sits::Other { who: who.into(), life })
}

#[tokio::test(start_paused = true)]
async fn one_has_the_seat_until_it_leaves_or_is_silent_for_the_lease() {
    let objects = MemoryObjects::default();
    let (a, b) = (seat(&objects, "a"), seat(&objects, "b"));
    assert_eq!(a.look().await, Ok(Sits::Nobody));
    assert_eq!(a.take().await, Ok(Sits::Me));
    assert_eq!(b.take().await, other("a@here", Life::Alive));
    pass(5).await;
    assert_eq!(b.take().await, other("a@here", Life::Silent(Duration::from_secs(5))));
    assert_eq!(a.beat().await, Ok(Sits::Me));
    pass(4).await;
    assert_eq!(b.take().await, other("a@here", Life::Alive));
    pass(10).await;
    assert_eq!(b.take().await, Ok(Sits::Me));
    assert_eq!(a.beat().await, other("b@here", Life::Alive));
    a.leave().await.unwrap();
    assert_eq!(b.look().await, Ok(Sits::Me), "who has it no more leaves nothing");
    b.leave().await.unwrap();
    assert_eq!(a.take().await, Ok(Sits::Me));
}

#[tokio::test(start_paused = true)]
async fn who_cannot_look_takes_nobody_for_dead_and_a_lost_answer_is_looked_up() {
    let objects = MemoryObjects::default();
    let a = seat(&objects.client([None, Some(Hitch::AnswerLost)]), "a");
    assert_eq!(a.take().await, Ok(Sits::Me), "the write was made");
    let b = seat(&objects.client([None, Some(Hitch::Away)]), "b");
    assert_eq!(b.take().await, other("a@here", Life::Alive));
    pass(9).await;
    let away = b.take().await.unwrap_err();
    assert_eq!(away.message, "who changes this state cannot be seen: it cannot be reached");
    pass(20).await;
    assert_eq!(b.take().await, other("a@here", Life::Alive), "it begins anew");
    pass(10).await;
    assert_eq!(b.take().await, Ok(Sits::Me));
}
