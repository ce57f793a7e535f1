//! The binaries of a run, and what runs the apps if that is not the binary itself.

use super::procs::{self, Whose};
use super::{Apps, containers, objects};
use crate::dockerd::Dockerd;
use crate::kube::Cluster;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

/// The binaries of a run, copied so that a build meanwhile changes nothing, with a state to link the copies from.
#[derive(Clone)]
pub(crate) struct Binaries {
    pub(crate) deployctl: PathBuf,
    pub(crate) app: PathBuf,
    template: PathBuf,
    /// What runs the containers, if that is what is deployed.
    pub(crate) docker: Option<Arc<Dockerd>>,
    /// What has the objects, if those are what is deployed.
    pub(crate) cluster: Option<Arc<Cluster>>,
}

impl Binaries {
    /// Copies the binaries into `scratch`.
    pub(crate) fn prepare(scratch: &Path, deployctl: &Path, app: &Path, on: Apps) -> Result<Self, String> {
        let template = scratch.join("template");
        let (docker, cluster) = match on {
            Apps::Processes => (None, None),
            Apps::Containers => (Some(Arc::new(containers::engine(app, scratch)?)), None),
            Apps::Objects => (None, Some(Arc::new(objects::cluster(app, scratch)?))),
        };
        let copies = Self { deployctl: scratch.join("deployctl"), app: scratch.join("app"), template, docker, cluster };
        let copy = |from: &Path, to: &Path| {
            std::fs::copy(from, to).map(drop).map_err(|e| format!("{} cannot be copied: {e}", from.display()))
        };
        copy(deployctl, &copies.deployctl)?;
        copy(app, &copies.app)?;
        copies.known_to_template()?;
        Ok(copies)
    }

    /// The same binary with some bytes more, in `folder`: another build.
    pub(crate) fn other_build(&self, folder: &Path) -> Result<Self, String> {
        let other = folder.join("deployctl");
        let make = || {
            std::fs::create_dir_all(folder)?;
            std::fs::copy(&self.deployctl, &other)?;
            std::fs::OpenOptions::new().append(true).open(&other)?.write_all(b"another build")
        };
        make().map_err(|e| format!("{}: {e}", other.display()))?;
        Ok(Self { deployctl: other, ..self.clone() })
    }

    /// One command has the copy made from which every world's is linked.
    fn known_to_template(&self) -> Result<(), String> {
        let made = Command::new(&self.deployctl)
            .args(["status", "--state"])
            .arg(&self.template)
            .env_clear()
            .stdin(Stdio::null())
            .output();
        let made = made.map_err(|e| format!("{}: {e}", self.deployctl.display()))?;
        procs::kill_all(Whose::State(&self.template))?;
        if made.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&made.stderr).into_owned()) }
    }

    /// Makes the folder of a state, where the copy of the binary is a link.
    pub(crate) fn link(&self, state: &Path) -> std::io::Result<()> {
        let folder = state.join("bin");
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(state)?;
        std::fs::create_dir(&folder)?;
        for entry in std::fs::read_dir(self.template.join("bin"))?.flatten() {
            let to = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                std::fs::create_dir(&to)?;
                std::fs::hard_link(entry.path().join("deployctl"), to.join("deployctl"))?;
            } else {
                std::fs::copy(entry.path(), to)?;
            }
        }
        Ok(())
    }
}
