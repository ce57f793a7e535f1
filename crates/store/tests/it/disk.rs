//! A full disk and a read-only one: file systems of their own, in a namespace where we may mount them.

use crate::{batch, child, event, stream, write};
use deployctl_core::journal::{AppendError, Journal, NewEntry, Seq};
use deployctl_core::time::Millis;
use deployctl_store::{OpenError, SqliteJournal};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// A shell in a namespace of its own, to which `script` is given; "$@" there is what was put after it.
fn namespace(script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-ec", script, "sh"]);
    command
}

fn in_namespace(script: &str, test: &str) {
    let folder = tempfile::tempdir().unwrap();
    let script = script.replace("FOLDER", &folder.path().display().to_string());
    if !child::can_run("mounting a tmpfs in a namespace of its own", &mut namespace("mount -t tmpfs none /mnt")) {
        return;
    }
    let mut command = namespace(&script);
    let run = child::program(&mut command, test, folder.path().as_os_str()).output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn a_full_disk() {
    in_namespace("mount -t tmpfs -o size=64m none FOLDER; exec \"$@\"", "disk::on_a_full_disk");
}

#[test]
fn a_read_only_disk() {
    in_namespace(
        "mount -t tmpfs none FOLDER; touch FOLDER/journal.db; mount -o remount,ro FOLDER; exec \"$@\"",
        "disk::on_a_read_only_disk",
    );
}

/// The program of [`a_full_disk`].
#[tokio::test]
async fn on_a_full_disk() {
    let Some(folder) = child::folder() else { return };
    let path = folder.join("journal.db");
    let journal = SqliteJournal::open(&path).unwrap();
    let mut seq = 0;
    append(&journal, &mut seq).await.unwrap();
    let reserve = folder.join("journal.reserve");
    assert_eq!(fs::metadata(&reserve).unwrap().len(), 8 << 20);
    fill(&folder);

    // 2 MiB of events still find room, in one stream and in the first of another one.
    for _ in 0..200 {
        append(&journal, &mut seq).await.expect("the room that was set aside");
    }
    journal.append(batch(vec![write("rollback", 0, vec![event("x", 1)])])).await.unwrap();
    assert!(!reserve.exists(), "the room was given free");

    // Then it is over, but nothing breaks.
    let refused = loop {
        assert!(seq < 5000, "a disk of 64 MiB took {seq} events of 10 KiB");
        if let Err(e) = append(&journal, &mut seq).await {
            break e;
        }
    };
    let AppendError::Failed(why) = &refused else { panic!("a full disk leaves nothing unknown: {refused:?}") };
    assert!(why.ends_with("the disk is full; free some space, then try again"), "{why}");
    assert_eq!(journal.head(&stream("s")).await.unwrap().unwrap().seq, Seq(seq));
    assert_eq!(journal.verify(None).await.unwrap().entries, seq + 1);
    assert!(append(&journal, &mut seq).await.is_err());

    // With room again, it goes on by itself, and room is set aside again.
    fs::remove_file(folder.join("filler")).unwrap();
    for _ in 0..70 {
        append(&journal, &mut seq).await.unwrap();
    }
    assert!(reserve.exists());
    drop(journal);

    // A start on a full disk.
    fill(&folder);
    let journal = SqliteJournal::open(&path).unwrap();
    for _ in 0..50 {
        append(&journal, &mut seq).await.unwrap();
    }
    assert_eq!(journal.verify(None).await.unwrap().entries, seq + 1);

    // A write beside the journal, such as of the route table.
    fs::remove_file(folder.join("filler")).unwrap();
    for _ in 0..70 {
        append(&journal, &mut seq).await.unwrap();
    }
    fill(&folder);
    let table = || fs::write(folder.join("table"), vec![7; 100_000]);
    assert!(table().is_err());
    journal.make_room().await;
    table().unwrap();

    // A first start on a full disk: there is nothing to give.
    fill(&folder);
    let elsewhere = folder.join("first.db");
    let refused = SqliteJournal::open(&elsewhere).err().expect("there is no room at all");
    assert_eq!(refused, OpenError::Full { path: elsewhere });
    assert_eq!(refused.hint(), "free some space on that disk, then run the same command again");
}

async fn append(journal: &SqliteJournal, seq: &mut u64) -> Result<(), AppendError> {
    let event = format!(r#"{{"type":"x","text":"{}"}}"#, "x".repeat(10_000));
    let entry = NewEntry { at: Millis(*seq), actor: "alice".into(), event };
    journal.append(batch(vec![write("s", *seq, vec![entry])])).await?;
    *seq += 1;
    Ok(())
}

/// Writes until nothing goes any more.
fn fill(folder: &Path) {
    let mut file = File::options().append(true).create(true).open(folder.join("filler")).unwrap();
    for size in [1 << 20, 4096, 1] {
        while file.write_all(&vec![7; size]).is_ok() {}
    }
}

/// The program of [`a_read_only_disk`].
#[test]
fn on_a_read_only_disk() {
    let Some(folder) = child::folder() else { return };
    for name in ["journal.db", "fresh.db"] {
        let path = folder.join(name);
        let refused = SqliteJournal::open(&path).err().expect("nothing can be written there");
        assert!(matches!(refused, OpenError::ReadOnly { .. }), "{refused}");
        assert!(refused.to_string().starts_with(&format!("the journal {} cannot be written: ", path.display())));
        let hint = "make the folder and the file writable for the user who runs deployctl";
        assert_eq!(refused.hint(), hint);
    }
}
