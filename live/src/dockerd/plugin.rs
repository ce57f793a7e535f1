//! Plugins of Docker's client, as `cargo xtask` builds them.

use crate::built;
use std::path::PathBuf;

/// The folder with Docker Compose, to be `DOCKER_CONFIG`; none if `cargo xtask compose` did not build it.
pub fn compose() -> Option<PathBuf> {
    let go_mod = include_str!("../../compose/go.mod");
    built::folder("compose", go_mod, "github.com/docker/compose/v5", "cli-plugins/docker-compose")
}

/// The folder with BuildKit's client, to be `DOCKER_CONFIG`; none if `cargo xtask buildx` did not build it.
pub fn buildx() -> Option<PathBuf> {
    let go_mod = include_str!("../../buildx/go.mod");
    built::folder("buildx", go_mod, "github.com/docker/buildx", "cli-plugins/docker-buildx")
}
