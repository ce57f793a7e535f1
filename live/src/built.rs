//! Where `cargo xtask` keeps what it builds of Go modules: a folder per program and version, outside of the tree.

use std::path::PathBuf;

/// What is kept of `name` in the version of `module` that `go_mod` requires; none if it lacks the file `has`.
pub(crate) fn folder(name: &str, go_mod: &str, module: &str, has: &str) -> Option<PathBuf> {
    let version = go_mod.split(&format!("{module} ")).nth(1)?.split_whitespace().next()?;
    let var = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = var("XDG_CACHE_HOME").or_else(|| Some(var("HOME")?.join(".cache")))?;
    let folder = cache.join("deployctl-ci").join(format!("{name}-{version}"));
    folder.join(has).is_file().then_some(folder)
}
