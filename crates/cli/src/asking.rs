//! Who asks.

use deployctl_core::ask::By;

/// The person (or pipeline) behind this command, and why.
pub(crate) fn by(reason: Option<&str>) -> By {
    let var = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let user = var("DEPLOYCTL_ACTOR")
        .or_else(|| var("GITHUB_ACTOR"))
        .or_else(|| var("GITLAB_USER_LOGIN"))
        .or_else(|| var("SUDO_USER"))
        .or_else(|| var("USER"))
        .or_else(|| var("LOGNAME"))
        .unwrap_or_else(|| format!("uid-{}", rustix::process::getuid().as_raw()));
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    By { actor: format!("{user}@{host}"), reason: reason.map(str::to_owned) }
}
