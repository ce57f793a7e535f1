//! `compose`: builds Docker Compose, a plugin of Docker's client, from its Go module, for the tests that need it.
//!
//! Once per version, outside of the tree; prints the folder that is to be `DOCKER_CONFIG`.

use crate::go;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// As in `live/compose/go.mod`.
const MODULE: &str = "github.com/docker/compose/v5";

pub(crate) fn run(root: &Path) -> ExitCode {
    match build(root) {
        Ok(folder) => {
            println!("{}", folder.display());
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("Docker Compose cannot be built: {why}");
            ExitCode::FAILURE
        }
    }
}

fn build(root: &Path) -> Result<PathBuf, String> {
    let module = root.join("live/compose");
    let version = go::version(&module, MODULE)?;
    let folder = go::cache()?.join(format!("compose-{version}"));
    let plugin = folder.join("cli-plugins/docker-compose");
    if !plugin.is_file() {
        let flags = format!("-X {MODULE}/internal.Version={version}");
        go::build(&module, &format!("{MODULE}/cmd"), &flags, &plugin)?;
    }
    Ok(folder)
}
