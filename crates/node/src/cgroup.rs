//! Control groups for instances with limits, of either version of the kernel's interface.

use deployctl_core::config::Limits;
use rustix::fs::{Access, access};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// The period of the processor limit, in microseconds.
const PERIOD: u64 = 100_000;

/// Where groups can be made for one controller.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    parent: PathBuf,
    unified: bool,
}

/// Which limits can be had by groups here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Places {
    memory: Option<Place>,
    cpu: Option<Place>,
}

/// What the kernel says of this process and of its own mounts.
struct Facts {
    mounts: String,
    own: String,
}

impl Places {
    /// Looks where this process may make groups.
    pub(crate) fn find() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let facts = Facts { mounts: read("/proc/self/mountinfo"), own: read("/proc/self/cgroup") };
        Self { memory: facts.place("memory"), cpu: facts.place("cpu") }
    }

    /// Whether a processor limit can be had.
    pub(crate) fn has_cpu(&self) -> bool {
        self.cpu.is_some()
    }

    /// Makes the groups that `limits` needs, all called `name`.
    pub(crate) fn make(&self, name: &str, limits: &Limits) -> io::Result<Groups> {
        let mut groups = Groups::default();
        if let (Some(bytes), Some(place)) = (limits.memory_bytes, &self.memory) {
            let folder = groups.add(place, name)?;
            if place.unified {
                write(&folder.join("memory.max"), bytes)?;
                let _ = write(&folder.join("memory.swap.max"), 0);
            } else {
                // The limit with swap may never be below the one without: of two writes one order works.
                let (plain, swap) = (folder.join("memory.limit_in_bytes"), folder.join("memory.memsw.limit_in_bytes"));
                if write(&plain, bytes).is_err() {
                    let _ = write(&swap, bytes);
                    write(&plain, bytes)?;
                }
                let _ = write(&swap, bytes);
            }
            groups.memory = Some(folder);
        }
        if let (Some(millis), Some(place)) = (limits.cpu_millis, &self.cpu) {
            let folder = groups.add(place, name)?;
            let quota = (millis * PERIOD / 1000).max(1000);
            if place.unified {
                fs::write(folder.join("cpu.max"), format!("{quota} {PERIOD}"))?;
            } else {
                write(&folder.join("cpu.cfs_period_us"), PERIOD)?;
                write(&folder.join("cpu.cfs_quota_us"), quota)?;
            }
        }
        Ok(groups)
    }
}

/// The groups of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Groups {
    /// Their folders.
    pub(crate) folders: Vec<PathBuf>,
    /// The one that limits memory.
    pub(crate) memory: Option<PathBuf>,
}

impl Groups {
    fn add(&mut self, place: &Place, name: &str) -> io::Result<PathBuf> {
        let folder = place.parent.join(name);
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        if !self.folders.contains(&folder) {
            self.folders.push(folder.clone());
        }
        Ok(folder)
    }

    /// The files into which a process writes itself.
    pub(crate) fn doors(&self) -> io::Result<Vec<File>> {
        self.folders.iter().map(|folder| OpenOptions::new().write(true).open(folder.join("cgroup.procs"))).collect()
    }

    /// How often the kernel killed one of its processes for want of memory.
    pub(crate) fn oom_kills(&self) -> u64 {
        let Some(folder) = &self.memory else { return 0 };
        let text = fs::read_to_string(folder.join("memory.events"))
            .or_else(|_| fs::read_to_string(folder.join("memory.oom_control")));
        let text = text.unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok()).unwrap_or(0)
    }
}

/// Removes empty groups; one that is not stays, and is used again.
pub(crate) fn remove(folders: &[PathBuf]) {
    for folder in folders {
        let _ = fs::remove_dir(folder);
    }
}

impl Facts {
    /// The nearest group from this process's own upwards in which a group with `controller` can be made.
    fn place(&self, controller: &str) -> Option<Place> {
        self.old(controller).or_else(|| self.unified(controller))
    }

    fn old(&self, controller: &str) -> Option<Place> {
        let own = self.own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            fields.next()?.split(',').any(|name| name == controller).then(|| fields.next())?
        })?;
        let parent =
            self.folder(own, |kind, options| kind == "cgroup" && options.split(',').any(|o| o == controller))?;
        writable(&parent).then_some(Place { parent, unified: false })
    }

    /// A group of the unified hierarchy hands controllers on only if it has no processes itself, so it is one above.
    fn unified(&self, controller: &str) -> Option<Place> {
        let own = self.own.lines().find_map(|line| line.strip_prefix("0::"))?;
        let own = self.folder(own, |kind, _| kind == "cgroup2")?;
        let above = own.ancestors().skip(1).take_while(|folder| folder.join("cgroup.procs").exists());
        above.map(Path::to_path_buf).find_map(|parent| {
            let handed_on = fs::read_to_string(parent.join("cgroup.subtree_control")).unwrap_or_default();
            let has = handed_on.split_ascii_whitespace().any(|name| name == controller);
            (has && writable(&parent) && writable(&parent.join("cgroup.procs")))
                .then_some(Place { parent, unified: true })
        })
    }

    /// The folder of the group `own` in the hierarchy whose mount `is_it`.
    fn folder(&self, own: &str, is_it: impl Fn(&str, &str) -> bool) -> Option<PathBuf> {
        self.mounts.lines().find_map(|line| {
            let (place, rest) = line.split_once(" - ")?;
            let mut kinds = rest.split(' ');
            let (kind, options) = (kinds.next()?, kinds.nth(1)?);
            let mut fields = place.split(' ').skip(3);
            let (root, mount) = (fields.next()?, fields.next()?);
            let inside = Path::new(own).strip_prefix(root).ok()?;
            is_it(kind, options).then(|| Path::new(mount).join(inside))
        })
    }
}

fn writable(path: &Path) -> bool {
    access(path, Access::WRITE_OK).is_ok()
}

fn write(path: &Path, number: u64) -> io::Result<()> {
    fs::write(path, number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_hierarchies() {
        let at = tempfile::tempdir().unwrap();
        let mount = at.path().display();
        fs::create_dir_all(at.path().join("memory/mine")).unwrap();
        let facts = Facts {
            mounts: format!(
                "30 24 0:26 / {mount}/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
                 31 24 0:27 / {mount}/memory rw - cgroup cgroup rw,memory\n"
            ),
            own: "4:memory:/mine\n1:cpuacct,cpu:/\n0::/\n".into(),
        };
        let memory = Place { parent: at.path().join("memory/mine"), unified: false };
        assert_eq!(facts.place("memory"), Some(memory));
        assert_eq!(facts.place("cpu"), None, "its folder is missing");
    }

    #[test]
    fn the_unified_hierarchy_hands_controllers_on_above() {
        let at = tempfile::tempdir().unwrap();
        let slice = at.path().join("user.slice");
        let own = slice.join("session.scope");
        fs::create_dir_all(&own).unwrap();
        for folder in [&slice, &own] {
            fs::write(folder.join("cgroup.procs"), "").unwrap();
        }
        fs::write(slice.join("cgroup.subtree_control"), "cpu memory pids").unwrap();
        let facts = Facts {
            mounts: format!("31 24 0:27 / {} rw - cgroup2 cgroup2 rw,nsdelegate\n", at.path().display()),
            own: "0::/user.slice/session.scope\n".into(),
        };
        let place = Place { parent: slice.clone(), unified: true };
        assert_eq!(facts.place("memory"), Some(place.clone()));
        let places = Places { memory: Some(place.clone()), cpu: Some(place) };
        let limits = Limits { cpu_millis: Some(500), memory_bytes: Some(1 << 20), files: None };
        let groups = places.make("deployctl-x", &limits).unwrap();
        let folder = slice.join("deployctl-x");
        assert_eq!(groups.folders, std::slice::from_ref(&folder), "one group for both");
        assert_eq!(fs::read_to_string(folder.join("memory.max")).unwrap(), "1048576");
        assert_eq!(fs::read_to_string(folder.join("cpu.max")).unwrap(), "50000 100000");
        fs::write(folder.join("memory.events"), "low 0\noom 3\noom_kill 2\n").unwrap();
        assert_eq!(groups.oom_kills(), 2);
    }
}
