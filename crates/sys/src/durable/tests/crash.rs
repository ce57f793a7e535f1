//! A disk in memory that records what is done to it, and what each crash would leave.

use super::super::disk::Disk;
use super::super::folder_of;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// What somebody finds after the crash.
pub(super) type Files = BTreeMap<PathBuf, Vec<u8>>;

/// What is left after one crash.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Crash {
    /// After how many operations.
    pub(super) at: usize,
    /// Whether what ran had returned.
    pub(super) returned: bool,
    pub(super) files: Files,
}

/// Which operation the disk pretends to do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    SkipSync,
    SkipSyncFolder,
}

#[derive(Clone, Debug)]
enum Op {
    Name(PathBuf, usize),
    Unname(PathBuf),
    Rename(PathBuf, PathBuf),
    Write(usize, Vec<u8>),
    Sync(usize),
    Folder(PathBuf),
    SyncFolder(PathBuf),
}

/// Runs `run` on a disk that has `start`, and returns what every possible crash leaves: after every prefix of the
/// operations; changes of names reach the disk in order, but possibly late, until their folder is fsynced; written
/// bytes reach it at their fsync, or before.
pub(super) fn crashes(fault: Fault, start: &[(&str, &[u8])], run: impl Fn(&Recorder) -> io::Result<()>) -> Vec<Crash> {
    let disk = Recorder { state: RefCell::default(), fault };
    for (path, bytes) in start {
        disk.prepare(Path::new(path), bytes);
    }
    let from = disk.state.borrow().ops.len();
    run(&disk).expect("nothing fails on this disk");
    let ops = disk.state.into_inner().ops;
    let mut crashes = Vec::new();
    for at in from..=ops.len() {
        for names_until in from..=at {
            for unsynced_data in [false, true] {
                let files = left(&ops[..at], names_until, unsynced_data);
                crashes.push(Crash { at, returned: at == ops.len(), files });
            }
        }
    }
    crashes
}

/// What `ops` leave if changes of names since `names_until` are lost, fsynced ones excepted.
fn left(ops: &[Op], names_until: usize, unsynced_data: bool) -> Files {
    let mut live = Names::default();
    let mut kept = Names::default();
    let (mut written, mut synced) = (BTreeMap::<usize, Vec<u8>>::new(), BTreeMap::new());
    for (n, op) in ops.iter().enumerate() {
        match op {
            Op::Write(file, bytes) => written.entry(*file).or_default().extend(bytes),
            Op::Sync(file) => drop(synced.insert(*file, written.get(file).cloned().unwrap_or_default())),
            Op::SyncFolder(folder) => kept.copy(&live, folder),
            name => live.apply(name),
        }
        if n < names_until {
            kept = live.clone();
        }
    }
    let data = if unsynced_data { written } else { synced };
    let reachable = kept.files.iter().filter(|(path, _)| kept.is_reachable(path));
    reachable.map(|(path, file)| (path.clone(), data.get(file).cloned().unwrap_or_default())).collect()
}

#[derive(Clone, Default)]
struct Names {
    files: BTreeMap<PathBuf, usize>,
    folders: BTreeSet<PathBuf>,
}

impl Names {
    fn apply(&mut self, op: &Op) {
        match op {
            Op::Name(path, file) => drop(self.files.insert(path.clone(), *file)),
            Op::Unname(path) => drop(self.files.remove(path)),
            Op::Rename(from, to) => {
                if let Some(file) = self.files.remove(from) {
                    self.files.insert(to.clone(), file);
                }
            }
            Op::Folder(path) => drop(self.folders.insert(path.clone())),
            Op::Write(..) | Op::Sync(_) | Op::SyncFolder(_) => {}
        }
    }

    /// Takes over what `live` has in one folder.
    fn copy(&mut self, live: &Self, folder: &Path) {
        self.files.retain(|path, _| folder_of(path) != folder);
        self.files.extend(live.files.iter().filter(|(p, _)| folder_of(p) == folder).map(|(p, f)| (p.clone(), *f)));
        self.folders.extend(live.folders.iter().filter(|p| folder_of(p) == folder).cloned());
    }

    fn is_reachable(&self, path: &Path) -> bool {
        let folder = folder_of(path);
        folder == Path::new(".") || (self.folders.contains(folder) && self.is_reachable(folder))
    }
}

#[derive(Default)]
struct State {
    ops: Vec<Op>,
    names: Names,
    next: usize,
}

/// A disk in memory. All folders are known by relative paths below `.`.
pub(super) struct Recorder {
    state: RefCell<State>,
    fault: Fault,
}

impl Recorder {
    fn record(&self, op: Op) {
        let mut state = self.state.borrow_mut();
        state.names.apply(&op);
        state.ops.push(op);
    }

    /// Puts a durable file on it.
    fn prepare(&self, path: &Path, bytes: &[u8]) {
        let folder = folder_of(path).to_path_buf();
        self.record(Op::Folder(folder.clone()));
        let file = self.open(path);
        self.record(Op::Write(file, bytes.to_vec()));
        self.record(Op::Sync(file));
        self.record(Op::SyncFolder(folder));
    }

    fn open(&self, path: &Path) -> usize {
        let known = self.state.borrow().names.files.get(path).copied();
        known.unwrap_or_else(|| {
            let file = self.state.borrow().next;
            self.state.borrow_mut().next += 1;
            self.record(Op::Name(path.into(), file));
            file
        })
    }

    fn has(&self, path: &Path) -> bool {
        self.state.borrow().names.files.contains_key(path)
    }

    fn need(&self, there: bool, kind: io::ErrorKind) -> io::Result<()> {
        if there { Ok(()) } else { Err(kind.into()) }
    }
}

impl Disk for Recorder {
    type File = usize;

    fn create_new(&self, path: &Path, _mode: u32) -> io::Result<usize> {
        self.need(!self.has(path), io::ErrorKind::AlreadyExists)?;
        Ok(self.open(path))
    }

    fn open_append(&self, path: &Path, _mode: u32) -> io::Result<usize> {
        Ok(self.open(path))
    }

    /// Byte by byte: a crash may come between any two.
    fn write(&self, file: &mut usize, bytes: &[u8]) -> io::Result<()> {
        bytes.iter().for_each(|byte| self.record(Op::Write(*file, vec![*byte])));
        Ok(())
    }

    fn sync(&self, file: &usize) -> io::Result<()> {
        if self.fault != Fault::SkipSync {
            self.record(Op::Sync(*file));
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.need(self.has(from), io::ErrorKind::NotFound)?;
        self.record(Op::Rename(from.into(), to.into()));
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.need(self.has(from), io::ErrorKind::NotFound)?;
        self.need(!self.has(to), io::ErrorKind::AlreadyExists)?;
        let file = self.open(from);
        self.record(Op::Name(to.into(), file));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.need(self.has(path), io::ErrorKind::NotFound)?;
        self.record(Op::Unname(path.into()));
        Ok(())
    }

    fn create_folder(&self, path: &Path, _mode: u32) -> io::Result<()> {
        let above = folder_of(path);
        let known = above == Path::new(".") || self.state.borrow().names.folders.contains(above);
        self.need(known, io::ErrorKind::NotFound)?;
        self.record(Op::Folder(path.into()));
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        if self.fault != Fault::SkipSyncFolder {
            self.record(Op::SyncFolder(folder.into()));
        }
        Ok(())
    }
}
