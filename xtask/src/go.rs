//! Programs that the tests need and that come as Go modules, built outside of the tree.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The version of `module` that the `go.mod` in `folder` requires.
pub(crate) fn version(folder: &Path, module: &str) -> Result<String, String> {
    let file = folder.join("go.mod");
    let text = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    // A `tool` line begins with the module's name as well, but goes on with a path.
    let version = text.lines().find_map(|line| {
        let rest = line.trim().trim_start_matches("require ").strip_prefix(module)?;
        rest.strip_prefix(' ')?.split_whitespace().next()
    });
    version.map(str::to_owned).ok_or_else(|| format!("{} does not require {module}", file.display()))
}

/// Where Go keeps the source of `module`, as the `go.mod` in `folder` has it; gets it if it is not there.
pub(crate) fn source(folder: &Path, module: &str) -> Result<PathBuf, String> {
    said(folder, &["mod", "download", module])?;
    said(folder, &["list", "-m", "-f", "{{.Dir}}", module]).map(PathBuf::from)
}

/// What Go answers.
fn said(folder: &Path, args: &[&str]) -> Result<String, String> {
    let done = program().args(args).current_dir(folder).output().map_err(|e| format!("go: {e}"))?;
    match done.status.success() {
        true => Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned()),
        false => Err(format!("go {}: {}", args.join(" "), String::from_utf8_lossy(&done.stderr).trim())),
    }
}

/// In the path, or where Go's own archive puts it.
fn program() -> Command {
    let usual = Path::new("/usr/local/go/bin/go");
    Command::new(if usual.is_file() { usual } else { Path::new("go") })
}

/// Builds `package` of the module in `folder` to `program`.
pub(crate) fn build(folder: &Path, package: &str, flags: &str, program: &Path) -> Result<(), String> {
    let parent = program.parent().unwrap_or(program);
    std::fs::create_dir_all(parent).map_err(|e| format!("{}: {e}", parent.display()))?;
    let new = program.with_extension(std::process::id().to_string());
    run(folder, &[package], flags, new.as_os_str())?;
    std::fs::rename(&new, program).map_err(|e| e.to_string())
}

/// Builds `packages` of the module in `folder` into `into`: a file, or a folder if it ends with `/`.
pub(crate) fn run(folder: &Path, packages: &[&str], flags: &str, into: &OsStr) -> Result<(), String> {
    let mut go = program();
    go.args(["build", "-trimpath", "-ldflags", &format!("-s -w {flags}"), "-o"]).arg(into).args(packages);
    let built = go.current_dir(folder).env("CGO_ENABLED", "0").status().map_err(|e| format!("go: {e}"))?;
    if built.success() { Ok(()) } else { Err(format!("go build ended with {built}")) }
}

/// Where what the checks need is kept, as in `.ci/run`.
pub(crate) fn cache() -> Result<PathBuf, String> {
    let var = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = var("XDG_CACHE_HOME").or_else(|| Some(var("HOME")?.join(".cache")));
    base.map(|base| base.join("deployctl-ci")).ok_or_else(|| "neither XDG_CACHE_HOME nor HOME is set".into())
}
