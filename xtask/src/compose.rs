//! `compose`: builds Docker Compose, a plugin of Docker's client, from its Go module, for the tests that need it.
//!
//! Once per version, outside of the tree; prints the folder that is to be `DOCKER_CONFIG`.

use crate::gobuild;
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
    let version = gobuild::version(&module, MODULE)?;
    let folder = gobuild::cache()?.join(format!("compose-{version}"));
    let plugin = folder.join("cli-plugins/docker-compose");
    if plugin.is_file() {
        return Ok(folder);
    }
    std::fs::create_dir_all(folder.join("cli-plugins")).map_err(|e| format!("{}: {e}", folder.display()))?;
    let new = plugin.with_extension(std::process::id().to_string());
    let flags = format!("-s -w -X {MODULE}/internal.Version={version}");
    gobuild::build(&module, &flags, new.as_os_str(), &[&format!("{MODULE}/cmd")])?;
    std::fs::rename(&new, &plugin).map_err(|e| e.to_string())?;
    Ok(folder)
}
