//! Where the state directory is, and that it is ours alone.

use crate::fail::Failure;
use deployctl_core::ask::{Refused, RefusedKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The state directory of a system service.
pub(crate) const SYSTEM: &str = "/var/lib/deployctl";

/// The state directory: as given, else the system service's for root where it exists, else by the XDG convention.
pub(crate) fn locate(given: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(given) = given {
        return std::path::absolute(given).map_err(|e| unusable(given, &e));
    }
    if rustix::process::geteuid().is_root() && Path::new(SYSTEM).is_dir() {
        return Ok(PathBuf::from(SYSTEM));
    }
    let from = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    from("XDG_STATE_HOME")
        .or_else(|| from("HOME").map(|home| home.join(".local/state")))
        .map(|base| base.join("deployctl"))
        .ok_or_else(|| Failure::usage("no-state", "neither --state, XDG_STATE_HOME nor HOME says where the state is"))
}

/// Makes the state directory, mode 0700, or checks that it is that.
pub(crate) fn prepare(state: &Path) -> Result<(), Failure> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(state).map_err(|e| unusable(state, &e))?;
    let meta = std::fs::metadata(state).map_err(|e| unusable(state, &e))?;
    if meta.uid() != rustix::process::geteuid().as_raw() {
        let message = format!("the state directory {} belongs to user {}", state.display(), meta.uid());
        return Err(Refused::new(RefusedKind::Denied, "state-foreign", message)
            .hint("run as that user, or name another with --state")
            .into());
    }
    if meta.permissions().mode() & 0o077 != 0 {
        std::fs::set_permissions(state, std::fs::Permissions::from_mode(0o700)).map_err(|e| unusable(state, &e))?;
    }
    Ok(())
}

fn unusable(state: &Path, error: &std::io::Error) -> Failure {
    let message = format!("the state directory {} cannot be used: {error}", state.display());
    Refused::new(RefusedKind::Unreachable, "state-unusable", message)
        .hint("nothing was changed; check its permissions and the disk, or name another with --state")
        .into()
}
