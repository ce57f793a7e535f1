//! Registries of images: our client of them, and what its trouble means to a person.

use crate::fail::Failure;
use deployctl_core::ask::{Refused, RefusedKind};
use deployctl_core::fault::Fault;
use deployctl_driver_docker::LoginSource;
use deployctl_oci::{Credentials, DockerConfig, Patience, Registry, RegistryOptions, Trouble, TroubleKind};
use std::path::PathBuf;
use std::sync::Arc;

/// Where Docker keeps the certificates of registries.
const CERTIFICATES: &str = "/etc/docker/certs.d";

/// What `docker login` left in `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`.
fn logins() -> DockerConfig {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = folder("DOCKER_CONFIG").or_else(|| folder("HOME").map(|home| home.join(".docker")));
    folder.map_or_else(DockerConfig::none, |folder| DockerConfig::at(folder.join("config.json")))
}

/// The same, for the Docker Engine.
pub(crate) fn engine_logins() -> LoginSource {
    let config = logins();
    Arc::new(move |registry| config.login(registry).map_err(Fault::from))
}

/// A client that is who `docker login` says.
pub(crate) fn client() -> Registry {
    let certificates = Some(PathBuf::from(CERTIFICATES));
    Registry::new(RegistryOptions { credentials: Arc::new(logins()), patience: Patience::default(), certificates })
}

/// Does something with registries, off the thread that listens for Ctrl-C.
pub(crate) async fn with<T: Send + 'static>(
    work: impl FnOnce(&Registry) -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(move || work(&client())).await;
    match done {
        Ok(done) => done.map_err(Failure::from),
        Err(error) => Err(Refused::new(RefusedKind::Internal, "internal", error.to_string()).into()),
    }
}

/// Under which name trouble is explained.
pub(crate) fn code(kind: TroubleKind) -> &'static str {
    refusal(kind).1
}

fn refusal(kind: TroubleKind) -> (RefusedKind, &'static str) {
    match kind {
        TroubleKind::Usage => (RefusedKind::Usage, "bad-usage"),
        TroubleKind::Missing => (RefusedKind::Usage, "image-missing"),
        TroubleKind::Denied => (RefusedKind::Denied, "registry-denied"),
        TroubleKind::Unsigned => (RefusedKind::Denied, "not-signed"),
        TroubleKind::Taken => (RefusedKind::Conflict, "tag-taken"),
        TroubleKind::Busy | TroubleKind::Unreachable => (RefusedKind::Unreachable, "registry-unreachable"),
        TroubleKind::Wrong => (RefusedKind::Unreachable, "registry-wrong"),
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        let (kind, code) = refusal(trouble.kind);
        let refused = Refused::new(kind, code, trouble.message);
        Self::Refused(Refused { hint: trouble.hint, ..refused })
    }
}
