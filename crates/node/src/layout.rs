//! Where everything lies below the state folder.

use deployctl_core::id::{InstanceId, JobId, Scope};
use std::path::{Path, PathBuf};

/// The folders of the node runtime in one state folder.
#[derive(Clone, Debug)]
pub struct Layout {
    state: PathBuf,
}

impl Layout {
    /// The layout of the state folder `state`, an absolute path.
    pub fn new(state: impl Into<PathBuf>) -> Self {
        Self { state: state.into() }
    }

    /// The state folder.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Holds a folder per instance.
    pub fn runs(&self) -> PathBuf {
        self.state.join("run")
    }

    /// Holds a folder per job.
    pub fn jobs(&self) -> PathBuf {
        self.state.join("run-jobs")
    }

    /// The folder of an instance.
    pub fn run(&self, id: &InstanceId) -> RunFolder {
        RunFolder(self.runs().join(id.as_str()))
    }

    /// The folder of a job.
    pub fn job(&self, id: &JobId) -> RunFolder {
        RunFolder(self.jobs().join(id.as_str()))
    }

    /// The data folder of an app; nothing ever removes it.
    pub fn data(&self, scope: &Scope) -> PathBuf {
        self.state
            .join("data")
            .join(scope.project.as_str())
            .join(scope.environment.as_str())
            .join(scope.region.as_str())
            .join(scope.app.as_str())
    }

    /// The ports that outlive their instances.
    pub fn stable_ports(&self) -> PathBuf {
        self.state.join("ports.json")
    }
}

/// The folder of one instance or job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFolder(pub PathBuf);

impl RunFolder {
    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// What is to run: written by the engine, read by the shim.
    pub fn spec(&self) -> PathBuf {
        self.0.join("spec.json")
    }

    /// How it is: written by the shim alone.
    pub fn state(&self) -> PathBuf {
        self.0.join("state.json")
    }

    /// Held by the shim.
    pub fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// Held by the instance's processes.
    pub fn live_lock(&self) -> PathBuf {
        self.0.join("live.lock")
    }

    /// A FIFO on which the shim takes orders.
    pub fn control(&self) -> PathBuf {
        self.0.join("control")
    }

    /// That it is to stop: outlives the shim that was told.
    pub fn stop(&self) -> PathBuf {
        self.0.join("stop.json")
    }

    /// Which process of the instance was healthy last.
    pub fn healthy(&self) -> PathBuf {
        self.0.join("healthy.json")
    }

    /// That a job's command may have begun: durable before it does.
    pub fn begun(&self) -> PathBuf {
        self.0.join("begun.json")
    }

    /// How a job ended: durable.
    pub fn result(&self) -> PathBuf {
        self.0.join("result.json")
    }

    /// What the instance printed.
    pub fn log(&self) -> PathBuf {
        self.0.join("out.log")
    }

    /// What it printed before that, where the file system cannot punch holes.
    pub fn old_log(&self) -> PathBuf {
        self.0.join("out.log.1")
    }

    /// The instance's scratch folder.
    pub fn scratch(&self) -> PathBuf {
        self.0.join("folder")
    }
}

pub use deployctl_runner::fence::make_private;
