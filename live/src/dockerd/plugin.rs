//! Docker Compose, as `cargo xtask compose` builds it.

use std::path::PathBuf;

const MODULE: &str = "github.com/docker/compose/v5 v";

/// The folder with the plugin, to be `DOCKER_CONFIG`; none if `cargo xtask compose` did not build it.
pub fn compose() -> Option<PathBuf> {
    let version = include_str!("../../compose/go.mod").lines().find_map(|line| line.split_once(MODULE))?.1;
    let version = version.split_whitespace().next()?;
    let var = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = var("XDG_CACHE_HOME").or_else(|| Some(var("HOME")?.join(".cache")))?;
    let folder = cache.join("deployctl-ci").join(format!("compose-v{version}"));
    folder.join("cli-plugins/docker-compose").is_file().then_some(folder)
}
