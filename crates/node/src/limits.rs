//! Which limits this machine can hold an instance to. What it cannot is refused, never ignored.

use crate::cgroup::Places;
use deployctl_core::config::ProcessConfig;
use deployctl_core::fault::{Fault, FaultKind};
use rustix::process::{Resource, getrlimit};

/// Refuses a configuration whose limits or user cannot be had here, before anything is touched.
pub(crate) fn check(config: &ProcessConfig) -> Result<(), Fault> {
    let root = rustix::process::geteuid().is_root();
    if let Some(name) = &config.user {
        let user = crate::user::find(name).map_err(|message| Fault::refused(FaultKind::Spec, message))?;
        if !root && user.uid != rustix::process::geteuid().as_raw() {
            let message = format!("instances cannot run as `{name}`: only an engine of root can become another user");
            return Err(Fault::refused(FaultKind::Denied, message)
                .hint("run the engine as root, or leave `user` out and run it as that user"));
        }
    }
    if config.limits.cpu_millis.is_some() && !Places::find().has_cpu() {
        let message = "`limits.cpu` cannot be had: this user may make no control group with the cpu controller here";
        return Err(Fault::refused(FaultKind::Denied, message).hint(
            "run the engine as root or under `systemd-run --user --scope -p Delegate=yes`, or leave `limits.cpu` out",
        ));
    }
    let most = getrlimit(Resource::Nofile).maximum;
    if let (Some(files), Some(most), false) = (config.limits.files, most, root)
        && files > most
    {
        let message = format!("`limits.files: {files}` is above the {most} that this user may have");
        return Err(Fault::refused(FaultKind::Denied, message).hint("raise the hard limit of the engine's user"));
    }
    Ok(())
}
