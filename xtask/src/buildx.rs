//! `buildx`: builds the part of Docker's client that speaks to BuildKit, from its Go module, for the tests that need it.
//!
//! Once per version, outside of the tree; prints the folder that is to be `DOCKER_CONFIG`.

use crate::go;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// As in `live/buildx/go.mod`.
const MODULE: &str = "github.com/docker/buildx";

pub(crate) fn run(root: &Path) -> ExitCode {
    match build(root) {
        Ok(folder) => {
            println!("{}", folder.display());
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("BuildKit's client cannot be built: {why}");
            ExitCode::FAILURE
        }
    }
}

fn build(root: &Path) -> Result<PathBuf, String> {
    let module = root.join("live/buildx");
    let version = go::version(&module, MODULE)?;
    let folder = go::cache()?.join(format!("buildx-{version}"));
    let plugin = folder.join("cli-plugins/docker-buildx");
    if !plugin.is_file() {
        go::build(&module, &format!("{MODULE}/cmd/buildx"), "", &plugin)?;
    }
    Ok(folder)
}
