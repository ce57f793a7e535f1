//! Signatures, on a real registry.

use crate::world::{client, index, name, small};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use deployctl_live::registry::Registry as Server;
use deployctl_oci::{CopyOptions, PublicKey, TroubleKind, Via};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

const LAYER: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// What signs: a function, and its key for others.
struct Signer {
    sign: Sign,
    pem: String,
}

impl Signer {
    fn p256() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).unwrap();
        let prefix = hex::decode("3059301306072a8648ce3d020106082a8648ce3d030107034200").unwrap();
        let pem = pem(&prefix, pair.public_key().as_ref());
        Self { sign: Box::new(move |message| pair.sign(&random, message).unwrap().as_ref().to_vec()), pem }
    }

    fn ed25519() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let pem = pem(&hex::decode("302a300506032b6570032100").unwrap(), pair.public_key().as_ref());
        Self { sign: Box::new(move |message| pair.sign(message).as_ref().to_vec()), pem }
    }

    fn key(&self) -> PublicKey {
        PublicKey::parse(self.pem.as_bytes()).unwrap()
    }

    /// A layer of a signature manifest that says `payload`.
    fn layer(&self, server: &Server, repository: &str, payload: &str) -> Value {
        let mut layer = server.blob(repository, LAYER, payload.as_bytes());
        let signature = STANDARD.encode((self.sign)(payload.as_bytes()));
        layer["annotations"] = json!({ "dev.cosignproject.cosign/signature": signature });
        layer
    }
}

fn pem(prefix: &[u8], key: &[u8]) -> String {
    let text = STANDARD.encode([prefix, key].concat());
    format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
}

fn payload(digest: &str) -> String {
    json!({ "critical": { "identity": { "docker-reference": "r.example/shop" },
                          "image": { "docker-manifest-digest": digest }, "type": "cosign container image signature" },
            "optional": null })
    .to_string()
}

/// Puts signatures where cosign puts them.
fn put(server: &Server, repository: &str, digest: &str, layers: &[Value]) -> String {
    let config = server.blob(repository, "application/vnd.oci.image.config.v1+json", b"{}");
    let manifest = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                           "config": config, "layers": layers });
    server.manifest(repository, &format!("{}.sig", digest.replace(':', "-")), &manifest)
}

#[test]
fn a_signature_of_the_key_counts_and_no_other() {
    let Some(server) = Server::open() else { return };
    let (client, _) = client(&[]);
    for (repository, signer) in [("p", Signer::p256()), ("e", Signer::ed25519())] {
        let digest = server.image(repository, "v1", &small("linux/amd64", repository));
        let of = name(&server, &format!("{repository}:v1"));
        let says = |key: &PublicKey| {
            let trouble = client.verify(&of, key).unwrap_err();
            assert_eq!(trouble.kind, TroubleKind::Unsigned);
            trouble.message
        };
        assert!(says(&signer.key()).ends_with("it has no signature"));
        put(&server, repository, &digest, &[signer.layer(&server, repository, &payload(&digest))]);
        let verified = client.verify(&of, &signer.key()).unwrap();
        assert_eq!(format!("sha256:{}", verified.digest), digest);
        assert_eq!((verified.signatures[0].name.as_str(), verified.signatures[0].via), ("r.example/shop", Via::Cosign));
        let other = says(&Signer::p256().key());
        assert!(other.ends_with("it has 1 signature: one is of another key, or was altered"), "{other}");
    }
}

#[test]
fn what_was_signed_for_something_else_does_not_count() {
    let Some(server) = Server::open() else { return };
    let (client, _) = client(&[]);
    let signer = Signer::p256();
    let good = server.image("s", "good", &small("linux/amd64", "good"));
    let bad = server.image("s", "bad", &small("linux/amd64", "bad"));
    let for_good = signer.layer(&server, "s", &payload(&good));
    // The signature of one image under another.
    put(&server, "s", &bad, std::slice::from_ref(&for_good));
    let says = |tag: &str| client.verify(&name(&server, tag), &signer.key()).unwrap_err().message;
    assert!(says("s:bad").ends_with("one is of this key, but for another image"), "{}", says("s:bad"));
    // Another text under the same signature.
    let mut altered = server.blob("s", LAYER, payload(&bad).as_bytes());
    altered["annotations"] = for_good["annotations"].clone();
    put(&server, "s", &bad, &[altered]);
    assert!(says("s:bad").ends_with("one is of another key, or was altered"), "{}", says("s:bad"));
    // Something else that the key signed once, which names the digest somewhere.
    let other = payload(&bad).replace("cosign container image signature", "a letter");
    put(&server, "s", &bad, &[signer.layer(&server, "s", &other)]);
    assert!(says("s:bad").ends_with("one is of this key, but signs no image"), "{}", says("s:bad"));
    // One good among bad ones is enough.
    let own = signer.layer(&server, "s", &payload(&bad));
    put(&server, "s", &bad, &[for_good, own]);
    assert_eq!(client.verify(&name(&server, "s:bad"), &signer.key()).unwrap().signatures.len(), 1);
}

#[test]
fn an_index_is_signed_as_a_whole_and_the_signature_goes_along() {
    let (Some(server), Some(other)) = (Server::open(), Server::open()) else { return };
    let (client, _) = client(&[]);
    let signer = Signer::p256();
    let digest = index(&server, "many", "v1");
    put(&server, "many", &digest, &[signer.layer(&server, "many", &payload(&digest))]);
    let options = CopyOptions { referrers: true, replace: false };
    let done = client.copy(&name(&server, "many:v1"), &name(&other, "prod:v1"), options).unwrap();
    assert_eq!(done.referrers, 1);
    assert_eq!(client.verify(&name(&other, "prod:v1"), &signer.key()).unwrap().digest, done.digest);
}

#[test]
fn a_signature_is_found_as_a_referrer() {
    let Some(server) = Server::open() else { return };
    let (client, _) = client(&[]);
    let signer = Signer::ed25519();
    let digest = server.image("r", "v1", &small("linux/amd64", "r"));
    let config = server.blob("r", "application/vnd.dev.cosign.artifact.sig.v1+json", b"{}");
    let layer = signer.layer(&server, "r", &payload(&digest));
    let manifest = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                           "config": config, "layers": [layer] });
    let signature = server.manifest("r", "", &manifest);
    let one = json!({ "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": signature,
                      "size": manifest.to_string().len(),
                      "artifactType": "application/vnd.dev.cosign.artifact.sig.v1+json" });
    let all = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [one] });
    server.manifest("r", &digest.replace(':', "-"), &all);
    assert_eq!(client.verify(&name(&server, "r:v1"), &signer.key()).unwrap().signatures[0].via, Via::Tag);
}

#[test]
fn keys_are_what_they_should_be() {
    let no = |text: &str| PublicKey::parse(text.as_bytes()).unwrap_err();
    assert!(no("").message.ends_with("there is no PUBLIC KEY in PEM in it"));
    let rsa = pem(&hex::decode("30819f300d06092a864886f70d010101050003818d00").unwrap(), &[7; 140]);
    assert!(no(&rsa).message.ends_with("it is of another kind, such as RSA or another curve"));
    assert_eq!(no(&rsa).kind, TroubleKind::Usage);
    // A point that is on no curve verifies nothing.
    let prefix = hex::decode("3059301306072a8648ce3d020106082a8648ce3d030107034200").unwrap();
    let point = PublicKey::parse(pem(&prefix, &[[4].as_slice(), &[1; 64]].concat()).as_bytes()).unwrap();
    assert!(!point.made(b"x", b"y"));
}
