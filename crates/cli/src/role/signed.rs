//! The gate before images that must be signed: what is taken in is the digest that was verified.

use crate::registry;
use deployctl_core::config::ArtifactSource;
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::ports::NotTaken;
use deployctl_oci::{PublicKey, Reference, Trouble};
use std::borrow::Cow;

/// The source to take in: for an image that must be signed, the image that is, by its digest.
pub(super) async fn checked(source: &ArtifactSource) -> Result<Cow<'_, ArtifactSource>, NotTaken> {
    let ArtifactSource::SignedImage { image, key } = source else { return Ok(Cow::Borrowed(source)) };
    let (image, key) = (image.clone(), key.clone());
    let verified = match tokio::task::spawn_blocking(move || verified(&image, &key)).await {
        Ok(verified) => verified.map_err(|trouble| (registry::code(trouble.kind), Fault::from(trouble))),
        Err(error) => {
            let message = format!("the check of a signature died: {error}");
            Err(("internal", Fault::refused(FaultKind::Bug, message)))
        }
    };
    // Whatever the trouble: an image that was kept from before is no way around the check.
    let verified = verified.map(|image| Cow::Owned(ArtifactSource::Image(image)));
    verified.map_err(|(code, fault)| NotTaken { fault, is_wrong: true, code })
}

fn verified(image: &str, key: &str) -> Result<String, Trouble> {
    let reference: Reference = image.parse()?;
    let verified = registry::client().verify(&reference, &PublicKey::parse(key.as_bytes())?)?;
    // The name as it was written: the Docker Engine knows the image by that.
    let (name, _) = image.split_once('@').unwrap_or((image, ""));
    let path = name.rfind('/').map_or(0, |slash| slash + 1);
    let repository = name[path..].find(':').map_or(name, |colon| &name[..path + colon]);
    Ok(format!("{repository}@sha256:{}", verified.digest))
}
