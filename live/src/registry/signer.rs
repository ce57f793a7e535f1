//! Signatures as cosign makes them with a key, for tests.

use super::Registry;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

const LAYER: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const P256: &str = "3059301306072a8648ce3d020106082a8648ce3d030107034200";
const ED25519: &str = "302a300506032b6570032100";

type Sign = Box<dyn Fn(&[u8]) -> Vec<u8> + Send>;

/// What signs: a function, and its key for others.
pub struct Signer {
    sign: Sign,
    /// The public key, in PEM.
    pub pem: String,
}

impl Signer {
    /// With a new key of ECDSA on P-256.
    pub fn p256() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).expect("a key");
        let pem = pem(P256, pair.public_key().as_ref());
        let sign = move |message: &[u8]| pair.sign(&random, message).expect("a signature").as_ref().to_vec();
        Self { sign: Box::new(sign), pem }
    }

    /// With a new key of Ed25519.
    pub fn ed25519() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("a key");
        let pem = pem(ED25519, pair.public_key().as_ref());
        Self { sign: Box::new(move |message| pair.sign(message).as_ref().to_vec()), pem }
    }

    /// A layer of a signature manifest that says `payload`.
    pub fn layer(&self, registry: &Registry, repository: &str, payload: &str) -> Value {
        let mut layer = registry.blob(repository, LAYER, payload.as_bytes());
        let signature = STANDARD.encode((self.sign)(payload.as_bytes()));
        layer["annotations"] = json!({ "dev.cosignproject.cosign/signature": signature });
        layer
    }

    /// Signs the image with this digest, and puts the signature where cosign puts it.
    pub fn sign(&self, registry: &Registry, repository: &str, digest: &str) {
        let layer = self.layer(registry, repository, &payload(digest));
        put(registry, repository, digest, &[layer]);
    }
}

/// A public key in PEM: the beginning of its DER in hex, and its bytes.
pub fn pem(prefix: &str, key: &[u8]) -> String {
    let der = [hex::decode(prefix).expect("hex"), key.to_vec()].concat();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
}

/// What is signed for an image.
pub fn payload(digest: &str) -> String {
    json!({ "critical": { "identity": { "docker-reference": "r.example/shop" },
                          "image": { "docker-manifest-digest": digest }, "type": "cosign container image signature" },
            "optional": null })
    .to_string()
}

/// Puts signatures of the image with this digest where cosign puts them.
pub fn put(registry: &Registry, repository: &str, digest: &str, layers: &[Value]) {
    let config = registry.blob(repository, super::image::CONFIG, b"{}");
    let manifest =
        json!({ "schemaVersion": 2, "mediaType": super::image::MANIFEST, "config": config, "layers": layers });
    registry.manifest(repository, &format!("{}.sig", digest.replace(':', "-")), &manifest);
}
