//! Who we are to a registry.

use crate::docker::{Inner, bug};
use bollard::auth::DockerCredentials;
use deployctl_core::fault::Fault;
use deployctl_core::login::Login;
use std::sync::Arc;

/// Asked with `HOST` or `HOST:PORT` of a registry, `docker.io` for one without a host. It may take a while.
pub type LoginSource = Arc<dyn Fn(&str) -> Result<Login, Fault> + Send + Sync>;

/// As whom this process runs, for who is to log in.
pub(crate) fn user() -> String {
    let id = rustix::process::geteuid().as_raw();
    let known = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = known.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id.to_string()).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("the user {id}"))
}

impl Inner {
    /// What the engine is to tell the registry of an image.
    pub(crate) async fn login(&self, registry: &str) -> Result<Option<DockerCredentials>, Fault> {
        let (source, host) = (Arc::clone(&self.options.logins), registry.to_owned());
        let login = tokio::task::spawn_blocking(move || source(&host)).await.map_err(|e| bug(&e))??;
        let usual = DockerCredentials { serveraddress: Some(registry.to_owned()), ..DockerCredentials::default() };
        Ok(match login {
            Login::Anonymous => None,
            Login::Password { user, password } => {
                Some(DockerCredentials { username: Some(user), password: Some(password), ..usual })
            }
            Login::Identity(token) => Some(DockerCredentials { identitytoken: Some(token), ..usual }),
        })
    }
}
