//! A client that does not wait, and small images.

use deployctl_live::registry::{Image, PASSWORD, Registry as Server, USER};
use deployctl_oci::{Credentials, Login, Patience, Reference, Registry, RegistryOptions, Trouble};
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Credentials of one user for every registry that this list names; none for others.
pub(crate) struct Known(pub(crate) Vec<String>);

impl Credentials for Known {
    fn login(&self, registry: &str) -> Result<Login, Trouble> {
        Ok(match self.0.iter().any(|known| known == registry) {
            true => Login::Password { user: USER.into(), password: PASSWORD.into() },
            false => Login::Anonymous,
        })
    }
}

/// How long a client waited between its requests, in milliseconds.
pub(crate) type Waits = Arc<Mutex<Vec<u128>>>;

/// A client that notes how long it should wait, and does not.
pub(crate) fn client(known: &[&Server]) -> (Registry, Waits) {
    let waits = Waits::default();
    let note = waits.clone();
    let patience = Patience {
        answer_max: Duration::from_secs(20),
        wait: Arc::new(move |pause| note.lock().unwrap().push(pause.as_millis())),
        ..Patience::default()
    };
    let known = Known(known.iter().map(|server| server.address().to_owned()).collect());
    (Registry::new(RegistryOptions { credentials: Arc::new(known), patience, certificates: None }), waits)
}

/// A client that knows the certificates in this folder.
pub(crate) fn trusting(certificates: &std::path::Path) -> Registry {
    let patience = Patience { attempts_max: 1, ..Patience::default() };
    let certificates = Some(certificates.to_path_buf());
    Registry::new(RegistryOptions { credentials: Arc::new(Known(Vec::new())), patience, certificates })
}

pub(crate) fn name(server: &Server, rest: &str) -> Reference {
    format!("{}/{rest}", server.address()).parse().unwrap()
}

/// An image that differs from others by `mark`.
pub(crate) fn small(platform: &str, mark: &str) -> Image {
    Image::new(platform, &json!({ "Cmd": ["/app"] }), vec![b"common".to_vec(), mark.as_bytes().to_vec()])
}

/// An index of two platforms under a tag: its digest.
pub(crate) fn index(server: &Server, repository: &str, tag: &str) -> String {
    let one = |platform: &str| {
        let image = small(platform, &format!("{repository} {platform}"));
        let digest = server.image(repository, "", &image);
        let (os, architecture) = platform.split_once('/').unwrap();
        let size = server.raw_manifest(repository, &digest).1.len();
        json!({ "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": size,
                "platform": { "os": os, "architecture": architecture } })
    };
    let manifests = [one("linux/amd64"), one("linux/arm64")];
    let index =
        json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests });
    server.manifest(repository, tag, &index)
}
