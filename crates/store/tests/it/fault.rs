//! A disk that reports errors.

use crate::{batch, child, event, stream, write};
use deployctl_core::journal::{AppendError, Journal, Seq};
use deployctl_store::SqliteJournal;
use std::process::Command;

/// Runs the program `test` with the given fault in calls on the log.
fn with_fault(fault: &str, test: &str) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("journal.db-wal");
    let mut probe = Command::new("strace");
    probe.args(["-o", "/dev/null", "-e", "inject=fsync:error=EIO:when=9", "true"]);
    if !child::can_run("strace that injects faults", &mut probe) {
        return;
    }
    let mut command = Command::new("strace");
    command.args(["-f", "-o", "/dev/null", "-P"]).arg(&log).args(["-e", &format!("inject={fault}")]);
    let run = child::program(&mut command, test, folder.path().as_os_str()).output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn a_failed_fsync() {
    with_fault("fsync,fdatasync:error=EIO:when=5", "fault::one_outcome_is_unknown");
}

#[test]
fn a_failed_write() {
    with_fault("pwrite64:error=EIO:when=21", "fault::one_outcome_is_unknown");
}

/// The program: one commit of many fails; nobody is told that it was written, nor that it was not.
#[tokio::test]
async fn one_outcome_is_unknown() {
    let Some(folder) = child::folder() else { return };
    let journal = SqliteJournal::open(&folder.join("journal.db")).unwrap();
    let name = stream("s");
    let mut unknown = 0;
    for n in 0..20 {
        let append = || journal.append(batch(vec![write("s", n, vec![event("x", n)])]));
        match append().await {
            Ok(heads) => assert_eq!(heads[0].seq, Seq(n + 1)),
            Err(AppendError::Unknown(why)) => {
                unknown += 1;
                assert!(why.ends_with("the disk reports errors; look at the kernel's log"), "{why}");
                // What the caller does: read where it stands, and try again if it was not written.
                if journal.head(&name).await.unwrap().map_or(0, |head| head.seq.0) == n {
                    append().await.unwrap();
                }
            }
            Err(e) => panic!("a failed commit is of unknown outcome: {e:?}"),
        }
    }
    assert_eq!(unknown, 1);
    assert_eq!(journal.head(&name).await.unwrap().unwrap().seq, Seq(20));
    let verified = journal.verify(None).await.unwrap();
    drop(journal);
    let journal = SqliteJournal::open(&folder.join("journal.db")).unwrap();
    assert_eq!(journal.verify(Some(&verified.head)).await.unwrap().known_at, Some(20));
}
