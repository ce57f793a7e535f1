//! Programs that are built from Go modules, once per version, outside of the tree.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The version of `required` in a folder's `go.mod`.
pub(crate) fn version(module: &Path, required: &str) -> Result<String, String> {
    let file = module.join("go.mod");
    let text = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    let version = text
        .lines()
        .find_map(|line| line.trim().trim_start_matches("require ").strip_prefix(required)?.strip_prefix(' '));
    let version = version.and_then(|rest| rest.split_whitespace().next());
    version.map(str::to_owned).ok_or_else(|| format!("{} does not require {required}", file.display()))
}

/// Builds packages of a folder with a `go.mod`, static and without symbols beyond `flags`.
pub(crate) fn build(module: &Path, flags: &str, into: &OsStr, packages: &[&str]) -> Result<(), String> {
    // In the path, or where Go's own archive puts it.
    let usual = Path::new("/usr/local/go/bin/go");
    let mut go = Command::new(if usual.is_file() { usual } else { Path::new("go") });
    go.args(["build", "-trimpath", "-ldflags", flags, "-o"]).arg(into).args(packages);
    let built = go.current_dir(module).env("CGO_ENABLED", "0").status().map_err(|e| format!("go: {e}"))?;
    if built.success() { Ok(()) } else { Err(format!("go build ended with {built}")) }
}

/// Where what the checks need is kept, as in `.ci/run`.
pub(crate) fn cache() -> Result<PathBuf, String> {
    let var = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = var("XDG_CACHE_HOME").or_else(|| Some(var("HOME")?.join(".cache")));
    base.map(|base| base.join("deployctl-ci")).ok_or_else(|| "neither XDG_CACHE_HOME nor HOME is set".into())
}
