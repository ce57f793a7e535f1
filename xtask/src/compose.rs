//! `compose`: builds Docker Compose, a plugin of Docker's client, from its Go module, for the tests that need it.
//!
//! Once per version, outside of the tree; prints the folder that is to be `DOCKER_CONFIG`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

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
    let text = std::fs::read_to_string(module.join("go.mod")).map_err(|e| format!("live/compose/go.mod: {e}"))?;
    let version = text.lines().find_map(|line| line.trim().trim_start_matches("require ").strip_prefix(MODULE));
    let version =
        version.and_then(|rest| rest.split_whitespace().next()).ok_or("live/compose/go.mod does not require it")?;
    let folder = cache()?.join(format!("compose-{version}"));
    let plugin = folder.join("cli-plugins/docker-compose");
    if plugin.is_file() {
        return Ok(folder);
    }
    std::fs::create_dir_all(folder.join("cli-plugins")).map_err(|e| format!("{}: {e}", folder.display()))?;
    let new = plugin.with_extension(std::process::id().to_string());
    let flags = format!("-s -w -X {MODULE}/internal.Version={version}");
    // In the path, or where Go's own archive puts it.
    let usual = Path::new("/usr/local/go/bin/go");
    let mut go = Command::new(if usual.is_file() { usual } else { Path::new("go") });
    go.args(["build", "-trimpath", "-ldflags", &flags, "-o"]).arg(&new).arg(format!("{MODULE}/cmd"));
    let built = go.current_dir(&module).env("CGO_ENABLED", "0").status().map_err(|e| format!("go: {e}"))?;
    if !built.success() {
        return Err(format!("go build ended with {built}"));
    }
    std::fs::rename(&new, &plugin).map_err(|e| e.to_string())?;
    Ok(folder)
}

/// Where what the checks need is kept, as in `.ci/run`.
fn cache() -> Result<PathBuf, String> {
    let var = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = var("XDG_CACHE_HOME").or_else(|| Some(var("HOME")?.join(".cache")));
    base.map(|base| base.join("deployctl-ci")).ok_or_else(|| "neither XDG_CACHE_HOME nor HOME is set".into())
}
