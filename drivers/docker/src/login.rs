//! Who we are to a registry.

use crate::docker::{Inner, bug};
use bollard::auth::DockerCredentials;
use deployctl_core::fault::Fault;
use deployctl_core::login::Login;
use std::sync::Arc;

/// Asked with `HOST` or `HOST:PORT` of a registry, `docker.io` for one without a host. It may take a while.
pub type LoginSource = Arc<dyn Fn(&str) -> Result<Login, Fault> + Send + Sync>;

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
