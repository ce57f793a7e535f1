//! `compose` and `buildx`: plugins of Docker's client, built from their Go modules, for the tests that need them.
//!
//! Once per version, outside of the tree; each prints the folder that is to be `DOCKER_CONFIG`.

use crate::go;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A plugin.
pub(crate) struct Plugin {
    /// `docker NAME`, and its folder below `live`.
    name: &'static str,
    /// What people call it.
    what: &'static str,
    /// As in that folder's `go.mod`.
    module: &'static str,
    /// The program's package in the module.
    package: &'static str,
    /// The variable of the module that says its version, if it must be told.
    version_in: Option<&'static str>,
}

pub(crate) const COMPOSE: Plugin = Plugin {
    name: "compose",
    what: "Docker Compose",
    module: "github.com/docker/compose/v5",
    package: "cmd",
    version_in: Some("internal.Version"),
};

pub(crate) const BUILDX: Plugin = Plugin {
    name: "buildx",
    what: "BuildKit's client",
    module: "github.com/docker/buildx",
    package: "cmd/buildx",
    version_in: None,
};

impl Plugin {
    pub(crate) fn run(&self, root: &Path) -> ExitCode {
        match self.build(root) {
            Ok(folder) => {
                println!("{}", folder.display());
                ExitCode::SUCCESS
            }
            Err(why) => {
                eprintln!("{} cannot be built: {why}", self.what);
                ExitCode::FAILURE
            }
        }
    }

    fn build(&self, root: &Path) -> Result<PathBuf, String> {
        let folder = root.join("live").join(self.name);
        let version = go::version(&folder, self.module)?;
        let built = go::cache()?.join(format!("{}-{version}", self.name));
        let program = built.join(format!("cli-plugins/docker-{}", self.name));
        if !program.is_file() {
            let told = self.version_in.map(|variable| format!("-X {}/{variable}={version}", self.module));
            go::build(&folder, &format!("{}/{}", self.module, self.package), &told.unwrap_or_default(), &program)?;
        }
        Ok(built)
    }
}
