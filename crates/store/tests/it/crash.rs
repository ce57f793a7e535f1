//! What a crash of the machine leaves of the journal: every prefix of its system calls, without what was not fsynced.

use crate::trace::{self, Call};
use crate::{batch, child, event, put, write};
use deployctl_core::journal::{Journal, Seq, StreamId};
use deployctl_store::SqliteJournal;
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

const ROUNDS: u64 = 16;
const WRITERS: u64 = 3;

/// The program: three writers at once, and in a file of its own what was acknowledged.
#[tokio::test]
async fn appends() {
    let Some(folder) = child::folder() else { return };
    let mut acks = File::create(folder.join("acks")).unwrap();
    let journal = SqliteJournal::open(&folder.join("journal.db")).unwrap();
    for round in 0..ROUNDS {
        let appended = join_all((0..WRITERS).map(|writer| {
            let n = round * WRITERS + writer;
            // Large ones now and then, so that the log is emptied into the database on the way.
            let mut large = event("x", n);
            large.actor = "a".repeat(if n.is_multiple_of(2) { 300_000 } else { 2000 });
            let three = write(&format!("s/{writer}"), round * 3, vec![event("x", n), large, event("x", n)]);
            journal.append(batch(vec![three, write(&format!("d/{n}"), 0, vec![event("x", n)])]))
        }));
        for (writer, heads) in (0..WRITERS).zip(appended.await) {
            let head = heads.unwrap().remove(0);
            acks.write_all(format!("s/{writer} {} {}\n", head.seq.0, head.hash).as_bytes()).unwrap();
        }
    }
}

fn recorded() -> Option<Vec<Call>> {
    if !child::can_run("strace", Command::new("strace").args(["-o", "/dev/null", "true"])) {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let files = folder.path().join("files");
    fs::create_dir(&files).unwrap();
    let log = folder.path().join("log");
    let run = child::program(&mut trace::strace(&log), "crash::appends", files.as_os_str()).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    Some(trace::parse(&fs::read_to_string(&log).unwrap(), &files))
}

#[tokio::test]
async fn a_crash_at_any_point_loses_nothing_acknowledged() {
    let Some(calls) = recorded() else { return };
    let checkpoints = calls.iter().filter(|call| matches!(call, Call::Sync(name) if name == "journal.db")).count();
    assert!(checkpoints > 3, "the log was emptied on the way: {checkpoints}");
    let (crashes, broken) = replay(&calls, 5).await;
    assert_eq!(broken, [""; 0], "of {crashes} crashes");
    assert!(crashes > 200, "only {crashes} crashes");
}

/// A journal without these fsyncs would be found out.
#[tokio::test]
async fn the_test_would_see_a_missing_fsync() {
    let Some(calls) = recorded() else { return };
    let without = |missing: Call| -> Vec<Call> { calls.iter().filter(|call| **call != missing).cloned().collect() };
    for missing in [Call::Sync("journal.db-wal".into()), Call::Sync("journal.db".into()), Call::SyncFolder] {
        let (_, broken) = replay(&without(missing.clone()), 1).await;
        assert!(!broken.is_empty(), "nobody misses {missing:?}");
    }
}

/// Crashes at all points where something can differ, until `enough` are broken; returns how many, and what was
/// broken.
async fn replay(calls: &[Call], enough: usize) -> (usize, Vec<String>) {
    let mut disk = Disk::default();
    let mut acks = String::new();
    let (mut crashes, mut broken) = (0, vec![]);
    for (n, call) in calls.iter().enumerate() {
        let ack = matches!(call, Call::Write(name, ..) if name == "acks");
        let sync = matches!(call, Call::Sync(_) | Call::SyncFolder);
        let mut left = vec![];
        if sync || n % 150 == 0 {
            left.extend([Left::Everything, Left::Names, Left::Some(n), Left::Some(n + calls.len())]);
        }
        if ack || sync || n % 150 == 0 {
            left.push(Left::Synced);
        }
        for left in left {
            crashes += 1;
            if let Err(why) = check(&disk.after(left), &acks).await {
                broken.push(format!("before call {n}, with {left:?} left: {why}"));
            }
            if broken.len() >= enough {
                return (crashes, broken);
            }
        }
        match call {
            Call::Write(_, _, bytes) if ack => acks.push_str(std::str::from_utf8(bytes).unwrap()),
            call => disk.apply(call),
        }
    }
    if let Err(why) = check(&disk.after(Left::Synced), &acks).await {
        broken.push(format!("at the end: {why}"));
    }
    (crashes + 1, broken)
}

/// Opens what a crash left and compares it with what was acknowledged.
async fn check(files: &BTreeMap<String, Vec<u8>>, acks: &str) -> Result<(), String> {
    let folder = tempfile::tempdir_in(fast()).unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    // Taken for the room that is set aside, which would cost the most of all here.
    File::create(folder.path().join("journal.reserve")).unwrap().set_len(8 << 20).unwrap();
    let journal = SqliteJournal::open(&folder.path().join("journal.db")).map_err(|e| e.to_string())?;
    journal.verify(None).await.map_err(|e| e.to_string())?;
    let mut lengths = vec![];
    for writer in 0..WRITERS {
        let stream = StreamId(format!("s/{writer}"));
        lengths.push(journal.head(&stream).await.map_err(|e| e.to_string())?.map_or(0, |head| head.seq.0));
    }
    for ack in acks.lines() {
        let fields: Vec<&str> = ack.split(' ').collect();
        let (stream, seq) = (StreamId(fields[0].into()), fields[1].parse::<u64>().unwrap());
        let entries = journal.read(&stream, Seq(seq - 1), 1).await.map_err(|e| e.to_string())?;
        if entries.first().is_none_or(|entry| entry.hash.as_str() != fields[2]) {
            return Err(format!("it lost {ack}"));
        }
    }
    for n in 0..ROUNDS * WRITERS {
        let (round, writer) = (n / WRITERS, usize::try_from(n % WRITERS).unwrap());
        let own = journal.head(&StreamId(format!("d/{n}"))).await.map_err(|e| e.to_string())?;
        if lengths[writer] % 3 != 0 || own.is_some() != (lengths[writer] >= round * 3 + 3) {
            return Err(format!("batch {n} is there in part"));
        }
    }
    put(&journal, "afterwards", 0).await;
    Ok(())
}

/// Where writing costs little; what is fsynced there matters to nobody.
fn fast() -> std::path::PathBuf {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() { shared.into() } else { std::env::temp_dir() }
}

/// What a crash leaves.
#[derive(Clone, Copy, Debug)]
enum Left {
    /// Nothing but what was fsynced, names and bytes.
    Synced,
    /// All names, but only the bytes that were fsynced.
    Names,
    /// Everything: only the process died.
    Everything,
    /// Beyond what was fsynced, any choice of writes, also parts of them, drawn from a seed.
    Some(usize),
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

#[derive(Default)]
struct Disk {
    live: BTreeMap<String, usize>,
    synced: BTreeMap<String, usize>,
    /// Of each file the synced bytes, and the changes since.
    files: Vec<(Vec<u8>, Vec<Change>)>,
}

impl Disk {
    fn apply(&mut self, call: &Call) {
        match call {
            Call::Create(name) => {
                let next = self.files.len();
                if *self.live.entry(name.clone()).or_insert(next) == next {
                    self.files.push((vec![], vec![]));
                }
            }
            Call::Write(name, at, bytes) => self.pending(name).push(Change::Write(*at, bytes.clone())),
            Call::Truncate(name, length) => self.pending(name).push(Change::Truncate(*length)),
            Call::Sync(name) => {
                let (bytes, changes) = &mut self.files[self.live[name]];
                changes.drain(..).for_each(|change| apply(bytes, &change));
            }
            Call::SyncFolder => self.synced = self.live.clone(),
            Call::Unlink(name) => drop(self.live.remove(name)),
        }
    }

    fn pending(&mut self, name: &str) -> &mut Vec<Change> {
        &mut self.files[self.live[name]].1
    }

    fn after(&self, left: Left) -> BTreeMap<String, Vec<u8>> {
        let mut draw = match left {
            Left::Some(seed) => seed as u64,
            _ => 0,
        };
        let mut drawn = |end: u64| {
            draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (draw >> 33) % end
        };
        let names = match left {
            Left::Synced => &self.synced,
            Left::Names | Left::Everything => &self.live,
            Left::Some(_) => [&self.synced, &self.live][usize::from(drawn(2) == 1)],
        };
        let content = |file: &usize| {
            let (mut bytes, changes) = self.files[*file].clone();
            for change in changes {
                match (left, change) {
                    (Left::Everything, change) => apply(&mut bytes, &change),
                    (Left::Some(_), Change::Write(at, mut part)) => {
                        if drawn(4) == 0 {
                            // A sector has 512 bytes, and is written whole or not at all.
                            part.truncate(part.len() / 512 * 512 / 2);
                        }
                        if drawn(2) == 0 {
                            apply(&mut bytes, &Change::Write(at, part));
                        }
                    }
                    (Left::Some(_), change) if drawn(2) == 0 => apply(&mut bytes, &change),
                    _ => {}
                }
            }
            bytes
        };
        let mut content = content;
        names.iter().map(|(name, file)| (name.clone(), content(file))).collect()
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(at, part) => {
            bytes.resize(bytes.len().max(at + part.len()), 0);
            bytes[*at..at + part.len()].copy_from_slice(part);
        }
        Change::Truncate(length) => bytes.resize(*length, 0),
    }
}
