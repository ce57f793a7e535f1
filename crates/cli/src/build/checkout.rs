//! Clean checkouts of a revision, by Git.

use super::failed;
use crate::fail::Failure;
use deployctl_core::ask::{Refused, RefusedKind};
use deployctl_spec::ResolvedApp;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where what is built comes from; nothing is known of a tree that is no clean checkout.
#[derive(Default)]
pub(super) struct Origin {
    pub(super) revision: Option<String>,
    pub(super) source: Option<String>,
}

/// A clean checkout of a revision, removed when it is dropped.
pub(super) struct Checkout {
    repository: PathBuf,
    root: PathBuf,
    /// The project's directory in it.
    pub(super) project: PathBuf,
    pub(super) origin: Origin,
}

impl Checkout {
    pub(super) fn new(dir: &Path, app: &ResolvedApp) -> Result<Self, Failure> {
        let repository = git(dir, &["rev-parse", "--show-toplevel"]).map_err(|_| {
            let message = format!(
                "{} {} is unknown, and {} is in no Git repository to build it from",
                app.app,
                app.version,
                dir.display()
            );
            Failure::from(
                Refused::new(RefusedKind::Usage, "no-revision", message)
                    .hint("--build-here builds the directory as it is"),
            )
        })?;
        let changes = git(dir, &["status", "--porcelain", "--untracked-files=no"]).map_err(|why| failed(app, &why))?;
        if !changes.is_empty() {
            let message = format!("{} {} is unknown, and the working tree has local changes", app.app, app.version);
            return Err(Refused::new(RefusedKind::Usage, "local-changes", message)
                .hint("commit them, or build the directory as it is with --build-here")
                .into());
        }
        let revision = git(dir, &["rev-parse", "--verify", "--quiet", &format!("{}^{{commit}}", app.version)]);
        let revision = revision.map_err(|_| {
            let message = format!(
                "{} {} is unknown, and no tag or commit of that name is in the repository",
                app.app, app.version
            );
            Failure::from(
                Refused::new(RefusedKind::Usage, "no-revision", message).hint("tag the commit with the version first"),
            )
        })?;
        let prefix = git(dir, &["rev-parse", "--show-prefix"]).map_err(|why| failed(app, &why))?;
        let root = std::env::temp_dir().join(format!("deployctl-build-{}-{}", std::process::id(), app.app));
        let root_text = root.to_string_lossy().into_owned();
        git(dir, &["worktree", "add", "--detach", "--force", &root_text, &revision])
            .map_err(|why| failed(app, &why))?;
        let project = root.join(prefix);
        let source = git(dir, &["config", "--get", "remote.origin.url"]).ok().map(|url| without_credentials(&url));
        let origin = Origin { revision: Some(revision), source };
        Ok(Self { repository: repository.into(), root, project, origin })
    }
}

/// An address without the name and password that may stand in it.
fn without_credentials(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            format!("{scheme}://{host}/{path}")
        }
        None => url.to_owned(),
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        let root = self.root.to_string_lossy().into_owned();
        let _ = git(&self.repository, &["worktree", "remove", "--force", &root]);
    }
}

/// The only place where Git is run; what it printed, or why not.
fn git(dir: &Path, args: &[&str]) -> Result<String, String> {
    let mut command = Command::new("git");
    command.arg("-C").arg(dir).args(args).stdin(Stdio::null()).env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
    let output = command.output().map_err(|e| format!("git cannot be run: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(format!("git {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

#[cfg(test)]
mod tests {
    use super::without_credentials;

    #[test]
    fn credentials_are_no_part_of_a_source() {
        assert_eq!(without_credentials("https://me:pw@h.example/a/b.git"), "https://h.example/a/b.git");
        assert_eq!(without_credentials("git@h.example:a/b.git"), "git@h.example:a/b.git");
    }
}
