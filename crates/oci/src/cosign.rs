//! Signatures as cosign makes them with a key: a small text that names the image's digest, signed, kept beside the image.

use crate::key::PublicKey;
use crate::manifest::{Descriptor, Document};
use crate::reference::Reference;
use crate::referrers::Via;
use crate::registry::Registry;
use crate::trouble::{Trouble, TroubleKind};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use deployctl_core::id::Sha256Hex;
use serde::Deserialize;

const PAYLOAD_BYTES_MAX: u64 = 64 << 10;
const SIGNATURES_MAX: usize = 200;
const LAYER: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const ARTIFACT: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
const TYPE: &str = "cosign container image signature";

/// An image that somebody who is trusted signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The digest that was signed: that of the index, if it is one.
    pub digest: Sha256Hex,
    /// The signatures of this key that hold.
    pub signatures: Vec<Signature>,
}

/// A signature that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The name under which the image was signed. It says nothing of where the image is now.
    pub name: String,
    /// How it was found.
    pub via: Via,
}

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The digest of the image.
    pub digest: Sha256Hex,
    /// The name under which it was signed.
    pub name: String,
}

impl Payload {
    /// Reads what is signed. A text of another kind is none, whoever signed it.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let raw: RawPayload = serde_json::from_slice(bytes).ok()?;
        let hex = raw.critical.image.digest.strip_prefix("sha256:")?;
        let digest = Sha256Hex::new(hex).ok()?;
        (raw.critical.kind == TYPE).then_some(Self { digest, name: raw.critical.identity.reference })
    }
}

#[derive(Deserialize)]
struct RawPayload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    identity: Identity,
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Identity {
    #[serde(rename = "docker-reference", default)]
    reference: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

impl Registry {
    /// Whether the image that `reference` means now was signed with `key`. What is verified is the digest in the answer,
    /// and nothing else: use that one, not the tag.
    pub fn verify(&self, reference: &Reference, key: &PublicKey) -> Result<Verified, Trouble> {
        let Some(digest) = self.digest(reference)? else {
            let message = format!("the image {reference} is not in its registry");
            return Err(Trouble::new(TroubleKind::Missing, message).hint("check the name and the tag, or push it"));
        };
        // What a registry says of a tag counts only after its bytes were seen.
        self.manifest(&reference.at(&digest))?;
        let mut signatures = Vec::new();
        let mut failed = Vec::new();
        let found = self.referrers(reference, &digest)?;
        for referrer in found.iter().filter(|one| one.artifact_type == ARTIFACT) {
            let manifest = self.manifest(&reference.at(&referrer.digest))?;
            let Document::Image(manifest) = manifest.document else { continue };
            for layer in manifest.layers.iter().filter(|layer| layer.media_type == LAYER) {
                if signatures.len() + failed.len() >= SIGNATURES_MAX {
                    break;
                }
                match self.signature(reference, layer, key, &digest)? {
                    Ok(name) => signatures.push(Signature { name, via: referrer.via }),
                    Err(why) => failed.push(why),
                }
            }
        }
        if signatures.is_empty() {
            Err(unsigned(&reference.at(&digest), &failed))
        } else {
            Ok(Verified { digest, signatures })
        }
    }

    /// The name in a signature that holds, or why it does not. Trouble only if it cannot be read now.
    fn signature(
        &self,
        of: &Reference,
        layer: &Descriptor,
        key: &PublicKey,
        digest: &Sha256Hex,
    ) -> Result<Result<String, &'static str>, Trouble> {
        let text = layer.annotations.get(SIGNATURE).map(String::as_str).unwrap_or_default();
        let Ok(signature) = STANDARD.decode(text) else { return Ok(Err("one is not readable")) };
        let payload = match self.small_blob(of, layer, PAYLOAD_BYTES_MAX) {
            Ok(payload) => payload,
            Err(trouble) if trouble.is_passing() => return Err(trouble),
            Err(_) => return Ok(Err("what one signs is not there as it should be")),
        };
        if !key.made(&signature, &payload) {
            return Ok(Err("one is of another key, or was altered"));
        }
        Ok(match Payload::parse(&payload) {
            None => Err("one is of this key, but signs no image"),
            Some(payload) if payload.digest != *digest => Err("one is of this key, but for another image"),
            Some(payload) => Ok(payload.name),
        })
    }
}

fn unsigned(image: &Reference, failed: &[&str]) -> Trouble {
    let why = match failed {
        [] => "it has no signature".to_owned(),
        all => {
            let mut reasons = all.to_vec();
            reasons.sort_unstable();
            reasons.dedup();
            format!("it has {} signature{}: {}", all.len(), if all.len() == 1 { "" } else { "s" }, reasons.join("; "))
        }
    };
    Trouble::new(TroubleKind::Unsigned, format!("nobody with this key signed {image}: {why}"))
        .hint(format!("sign it with `cosign sign --key KEY {image}`, or check with the right key"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_signatures_of_images_count() {
        let hex = "ab".repeat(32);
        let text = |kind: &str, digest: &str| {
            format!(
                r#"{{"critical":{{"identity":{{"docker-reference":"r.example/shop"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"{kind}"}},"optional":null}}"#
            )
        };
        let parse = |kind: &str, digest: &str| Payload::parse(text(kind, digest).as_bytes());
        let payload = parse(TYPE, &format!("sha256:{hex}")).unwrap();
        assert_eq!((payload.digest.as_str(), payload.name.as_str()), (hex.as_str(), "r.example/shop"));
        assert_eq!(parse("atomic container signature", &format!("sha256:{hex}")), None);
        assert_eq!(parse(TYPE, "sha256:ab"), None);
        assert_eq!(parse(TYPE, &format!("sha512:{hex}")), None);
        assert_eq!(Payload::parse(b"{}"), None);
    }
}
