//! `registry`: builds the registry with an interface for referrers that some tests need, from `live/registry`.

use crate::go;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const MODULE: &str = "github.com/google/go-containerregistry";

pub(crate) fn run(root: &Path) -> ExitCode {
    match build(root) {
        Ok(program) => {
            println!("{}", program.display());
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("the registry cannot be built: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Always, so that it is that of this tree: Go keeps what did not change.
fn build(root: &Path) -> Result<PathBuf, String> {
    let folder = root.join("live/registry");
    let version = go::version(&folder, MODULE)?;
    let program = go::cache()?.join(format!("registry-{version}/deployctl-live-registry"));
    go::build(&folder, ".", "", &program)?;
    Ok(program)
}
