//! What is left after a crash at any instant.

mod crash;

use super::*;
use crash::{Crash, Fault, Files, crashes};

const OLD: &[u8] = b"the old content, of some length";
const NEW: &[u8] = b"new";

fn file<'a>(files: &'a Files, path: &str) -> Option<&'a [u8]> {
    files.get(Path::new(path)).map(Vec::as_slice)
}

fn only_temporary_besides(files: &Files, known: &[&str]) -> bool {
    files.keys().all(|path| {
        known.iter().any(|k| Path::new(k) == path)
            || path.file_name().is_some_and(|name| temporary::writer_in(name).is_some())
    })
}

/// The crashes that break the promise of `replace`.
fn broken_replaces(fault: Fault) -> Vec<Crash> {
    let all = crashes(fault, &[("d/f", OLD)], |disk| replace_on(disk, Path::new("d/f"), NEW, 0o600));
    let broken = all.into_iter().filter(|crash| match file(&crash.files, "d/f") {
        _ if !only_temporary_besides(&crash.files, &["d/f"]) => true,
        Some(NEW) => false,
        Some(OLD) => crash.returned,
        _ => true,
    });
    broken.collect()
}

#[test]
fn replace_leaves_the_old_or_the_new_whole() {
    assert_eq!(broken_replaces(Fault::None), []);
}

#[test]
fn the_test_would_see_a_missing_fsync() {
    let torn = broken_replaces(Fault::SkipSync);
    assert!(torn.iter().any(|crash| file(&crash.files, "d/f") == Some(b"")), "{torn:?}");
    let lost = broken_replaces(Fault::SkipSyncFolder);
    assert!(lost.iter().any(|crash| crash.returned && file(&crash.files, "d/f") == Some(OLD)), "{lost:?}");
}

#[test]
fn create_new_leaves_nothing_or_the_whole() {
    for crash in crashes(Fault::None, &[("d/other", OLD)], |disk| create_new_on(disk, Path::new("d/f"), NEW, 0o600)) {
        let found = file(&crash.files, "d/f");
        assert!(found == Some(NEW) || (found.is_none() && !crash.returned), "{crash:?}");
        assert!(only_temporary_besides(&crash.files, &["d/f", "d/other"]), "{crash:?}");
        assert_eq!(file(&crash.files, "d/other"), Some(OLD));
    }
}

#[test]
fn create_new_never_touches_what_is_there() {
    for crash in crashes(Fault::None, &[("d/f", OLD)], |disk| {
        let refused = create_new_on(disk, Path::new("d/f"), NEW, 0o600).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        Ok(())
    }) {
        assert_eq!(file(&crash.files, "d/f"), Some(OLD), "{crash:?}");
        assert!(only_temporary_besides(&crash.files, &["d/f"]), "{crash:?}");
    }
}

#[test]
fn append_keeps_what_was_there_and_all_of_the_new_once_it_returned() {
    let start = [("d/log", OLD)];
    for (path, before) in [("d/log", OLD), ("d/fresh", b"")] {
        for crash in crashes(Fault::None, &start, |disk| append_on(disk, Path::new(path), NEW, 0o600)) {
            let found = file(&crash.files, path).unwrap_or_default();
            assert!(found.starts_with(before), "{crash:?}");
            assert!(NEW.starts_with(&found[before.len()..]), "{crash:?}");
            assert!(!crash.returned || found.len() == before.len() + NEW.len(), "{crash:?}");
        }
    }
}

#[test]
fn folders_are_there_before_what_is_in_them() {
    let run = |disk: &crash::Recorder| {
        create_folders_on(disk, Path::new("d/a/b"), 0o700)?;
        replace_on(disk, Path::new("d/a/b/f"), NEW, 0o600)
    };
    for crash in crashes(Fault::None, &[("d/f", OLD)], run) {
        assert!(!crash.returned || file(&crash.files, "d/a/b/f") == Some(NEW), "{crash:?}");
    }
}

#[test]
fn removed_is_removed() {
    for crash in crashes(Fault::None, &[("d/f", OLD)], |disk| remove_on(disk, Path::new("d/f"))) {
        let found = file(&crash.files, "d/f");
        assert!(found.is_none() || (found == Some(OLD) && !crash.returned), "{crash:?}");
    }
}

#[test]
fn published_under_one_name_at_least() {
    for crash in
        crashes(Fault::None, &[("d/f", OLD), ("e/x", NEW)], |disk| publish_on(disk, Path::new("d/f"), Path::new("e/f")))
    {
        let (from, to) = (file(&crash.files, "d/f"), file(&crash.files, "e/f"));
        assert!(from == Some(OLD) || to == Some(OLD), "{crash:?}");
        assert!(!crash.returned || (from.is_none() && to == Some(OLD)), "{crash:?}");
    }
}

mod on_the_real_disk {
    use super::super::temporary::{Writer, temporary_name};
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    /// A folder of its own, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("deployctl-durable-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            create_folders(&path.join("d"), 0o700).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn each_does_what_it_says() {
        let folder = Folder::new("each");
        let f = folder.0.join("d/f");
        create_new(&f, OLD, 0o600).unwrap();
        assert_eq!(create_new(&f, NEW, 0o600).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&f).unwrap(), OLD);
        assert_eq!(fs::metadata(&f).unwrap().permissions().mode() & 0o777, 0o600);
        replace(&f, NEW, 0o640).unwrap();
        append(&f, OLD, 0o600).unwrap();
        assert_eq!(fs::read(&f).unwrap(), [NEW, OLD].concat());
        publish(&f, &folder.0.join("g")).unwrap();
        sync_tree(&folder.0).unwrap();
        assert_eq!((names(&folder.0), names(&folder.0.join("d"))), (vec!["d".into(), "g".into()], vec![]));
        remove(&folder.0.join("g")).unwrap();
        remove(&folder.0.join("g")).unwrap();
        assert_eq!(names(&folder.0), ["d"]);
    }

    #[test]
    fn a_failure_leaves_no_temporary_file() {
        let folder = Folder::new("failure");
        assert!(replace(&folder.0.join("d"), NEW, 0o600).is_err(), "a folder cannot be replaced by a file");
        assert_eq!(names(&folder.0), ["d"]);
    }

    #[test]
    fn many_threads_replace_one_file() {
        let folder = Folder::new("threads");
        let f = folder.0.join("d/f");
        std::thread::scope(|scope| {
            for n in 0..8_u8 {
                let f = &f;
                scope.spawn(move || (0..20).for_each(|_| replace(f, &[n; 3000], 0o600).unwrap()));
            }
        });
        let left = fs::read(&f).unwrap();
        assert!(left.len() == 3000 && left.iter().all(|b| *b == left[0]));
        assert_eq!(names(&folder.0.join("d")), ["f"]);
    }

    #[test]
    fn sweep_takes_what_the_dead_left_and_nothing_else() {
        let folder = Folder::new("sweep");
        let d = folder.0.join("d");
        let (living, _open) = temporary::create(&d.join("f"), |path| fs::File::create_new(path)).unwrap();
        let name = |pid, start| temporary_name(OsStr::new("f"), Writer { pid, start }, 0);
        let own = temporary::writer_in(living.file_name().unwrap()).unwrap();
        // A process of our id, but of another start, is dead; no process has an id this high.
        for dead in [name(own.pid, own.start + 1), name(u32::MAX - 1, 5)] {
            fs::write(d.join(dead), NEW).unwrap();
        }
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        let stat = || crate::process::stat(ended.id()).expect("nobody waited for it");
        while !stat().ended() {
            std::thread::yield_now();
        }
        fs::write(d.join(name(ended.id(), stat().start)), NEW).unwrap();
        for other in ["f", ".f.tmp", ".f.12.tmp", ".f.12-3.x.tmp", "f.12-3.0.tmp", ".hidden"] {
            fs::write(d.join(other), OLD).unwrap();
        }
        let before = names(&d).len();
        assert_eq!(sweep(&d).unwrap(), 3);
        ended.wait().unwrap();
        assert_eq!(names(&d).len(), before - 3);
        assert!(living.exists());
        assert_eq!(sweep(&d).unwrap(), 0);
        assert_eq!(sweep(&folder.0.join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
