//! All processes of a run: the one that was started and what it started in turn, wherever that went.

use crate::layout::{Layout, RunFolder};
use crate::records::RunSpec;
use deployctl_core::id::Sha256Hex;
use deployctl_sys::lock;
use deployctl_sys::process::{self, Identity, Stat};
use rustix::process::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// How the processes of a run are told from others. A process belongs to it if it has the run's id and state folder in
/// its environment, or the run's live lock open, or is a descendant of the shim, or is in the group or session of the
/// process that was started (as long as that pid cannot be somebody else's), or is in the run's control group.
#[derive(Clone, Debug)]
pub(crate) struct Family {
    name: String,
    marks: [Vec<u8>; 2],
    live_lock: PathBuf,
    shim: Option<u32>,
    cgroups: Vec<PathBuf>,
}

impl Family {
    /// The family of a run, as its shim sees it.
    pub(crate) fn new(layout: &Layout, folder: &RunFolder, spec: &RunSpec) -> Self {
        Self { shim: Some(std::process::id()), ..Self::seen_from_outside(layout, folder, &spec.id) }
    }

    /// The same as anybody else sees it.
    pub(crate) fn seen_from_outside(layout: &Layout, folder: &RunFolder, id: &str) -> Self {
        let marks = [
            format!("DEPLOYCTL_INSTANCE={id}").into_bytes(),
            [b"DEPLOYCTL_STATE=", layout.state().as_os_str().as_encoded_bytes()].concat(),
        ];
        let digest = Sha256Hex::of(layout.state().as_os_str().as_encoded_bytes());
        let name = format!("deployctl-{}-{id}", &digest.as_str()[..8]);
        Self { name, marks, live_lock: folder.live_lock(), shim: None, cgroups: Vec::new() }
    }

    /// A name for its control groups that no other run on this machine has.
    pub(crate) fn name(&self) -> String {
        self.name.clone()
    }

    /// Counts in the processes of these control groups.
    pub(crate) fn with_cgroups(&mut self, cgroups: Vec<PathBuf>) {
        self.cgroups = cgroups;
    }

    /// Who belongs to it now. `main` is the process that was started, if its pid is certainly still its own.
    pub(crate) fn members(&self, main: Option<u32>) -> io::Result<Vec<Identity>> {
        let everybody: BTreeMap<u32, Stat> =
            process::all()?.into_iter().filter_map(|pid| Some((pid, process::stat(pid)?))).collect();
        let grouped = self.in_cgroups();
        let own = std::process::id();
        let mut ours: BTreeSet<u32> = BTreeSet::new();
        for (pid, stat) in &everybody {
            let marked = || self.is_marked(*pid);
            let related = main.is_some_and(|main| stat.session == main || stat.group == main || *pid == main)
                || self.shim.is_some_and(|shim| stat.parent == shim)
                || grouped.contains(pid);
            if *pid != own && (related || marked()) {
                ours.insert(*pid);
            }
        }
        if ours.is_empty() && lock::is_held(&self.live_lock)? {
            ours.extend(everybody.keys().filter(|pid| **pid != own && self.has_lock_open(**pid)));
        }
        add_descendants(&everybody, &mut ours, own);
        let boot = process::boot_id()?;
        let alive = ours.into_iter().filter_map(|pid| everybody.get(&pid).map(|stat| (pid, *stat)));
        let alive = alive.filter(|(_, stat)| !stat.ended());
        Ok(alive.map(|(pid, stat)| Identity { pid, start: stat.start, boot: boot.clone() }).collect())
    }

    /// Whether anybody is there.
    pub(crate) fn anybody(&self, main: Option<u32>) -> bool {
        self.members(main).is_ok_and(|members| members.iter().any(|member| Some(member.pid) != main))
            || lock::is_held(&self.live_lock).unwrap_or(true)
    }

    /// Kills everybody and returns when nobody is left: no process to be found and the live lock free.
    pub(crate) fn end_all(&self, main: Option<u32>) -> io::Result<()> {
        let mut pause = Duration::from_millis(1);
        loop {
            let members = self.members(main)?;
            for member in &members {
                // Somebody of another user, or in another namespace, cannot be killed; the rest is all the same.
                let _ = member.signal(Signal::KILL);
            }
            if members.is_empty() && !lock::is_held(&self.live_lock)? {
                return Ok(());
            }
            sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// Whether the run's id and state stand in the environment of `pid`.
    pub(crate) fn is_marked(&self, pid: u32) -> bool {
        let environment = process::environment(pid);
        let mut entries = environment.split(|b| *b == 0);
        self.marks.iter().all(|mark| entries.clone().any(|entry| entry == mark)) && entries.next().is_some()
    }

    /// Whether `pid` has the live lock open.
    pub(crate) fn has_lock_open(&self, pid: u32) -> bool {
        let Ok(wanted) = fs::metadata(&self.live_lock) else { return false };
        let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        entries.flatten().any(|entry| same_file(&entry.path(), &wanted))
    }

    fn in_cgroups(&self) -> BTreeSet<u32> {
        let lists = self.cgroups.iter().filter_map(|cgroup| fs::read_to_string(cgroup.join("cgroup.procs")).ok());
        lists.flat_map(|list| list.lines().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()).collect()
    }
}

fn same_file(path: &Path, wanted: &fs::Metadata) -> bool {
    fs::metadata(path).is_ok_and(|found| found.dev() == wanted.dev() && found.ino() == wanted.ino())
}

fn add_descendants(everybody: &BTreeMap<u32, Stat>, ours: &mut BTreeSet<u32>, but: u32) {
    loop {
        let more: Vec<u32> = everybody
            .iter()
            .filter(|(pid, stat)| **pid != but && !ours.contains(pid) && ours.contains(&stat.parent))
            .map(|(pid, _)| *pid)
            .collect();
        if more.is_empty() {
            return;
        }
        ours.extend(more);
    }
}
