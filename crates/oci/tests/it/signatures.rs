//! Signatures, on a real registry.

use crate::world::{client, index, name, small};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use deployctl_live::registry::Registry as Server;
use deployctl_live::registry::signer::{Signer, payload, pem, put};
use deployctl_oci::{CopyOptions, Payload, PublicKey, TroubleKind, Via};
use serde_json::json;

const LAYER: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

fn key(signer: &Signer) -> PublicKey {
    PublicKey::parse(signer.pem.as_bytes()).unwrap()
}

#[test]
fn a_signature_of_the_key_counts_and_no_other() {
    let Some(server) = Server::open() else { return };
    let (client, _) = client(&[]);
    for (repository, signer) in [("p", Signer::p256()), ("e", Signer::ed25519())] {
        let digest = server.image(repository, "v1", &small("linux/amd64", repository));
        let of = name(&server, &format!("{repository}:v1"));
        let says = |by: &PublicKey| {
            let trouble = client.verify(&of, by).unwrap_err();
            assert_eq!(trouble.kind, TroubleKind::Unsigned);
            trouble.message
        };
        assert!(says(&key(&signer)).ends_with("it has no signature"));
        signer.sign(&server, repository, &digest);
        let verified = client.verify(&of, &key(&signer)).unwrap();
        assert_eq!(format!("sha256:{}", verified.digest), digest);
        assert_eq!((verified.signatures[0].name.as_str(), verified.signatures[0].via), ("r.example/shop", Via::Cosign));
        let other = says(&key(&Signer::p256()));
        assert!(other.ends_with("it has 1 signature: one is of another key, or was altered"), "{other}");
    }
}

/// Made by cosign 2.5.
#[test]
fn what_cosign_signed_holds() {
    let pem = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAELGcPJZ6cWFbpas20Dy47ipE5fy/q\n\
               m4Ab77eCh+D8cgKSkqab+808ArdBOiugX1uxw1gc+u+oCANTnrLzAibxdQ==\n-----END PUBLIC KEY-----\n";
    let signature = "MEUCIQCyih6IhOAKiPzbiO4khpzJgxdmQhAO0235pFrD1RRF9wIgbMYAZ42TTZfkKnwvYXS3rKnbbmpxSlq8Pb5+9OP67ug=";
    let digest = "a528df4189851383a83750c6bb3dee01b066885628c2115133932dd9b99b5e9e";
    let text = format!(
        "{{\"critical\":{{\"identity\":{{\"docker-reference\":\"127.0.0.1:5917/shop\"}},\"image\":{{\"docker-manifest-digest\":\
         \"sha256:{digest}\"}},\"type\":\"cosign container image signature\"}},\"optional\":null}}"
    );
    let signature = STANDARD.decode(signature).unwrap();
    assert!(PublicKey::parse(pem.as_bytes()).unwrap().made(&signature, text.as_bytes()));
    assert_eq!(Payload::parse(text.as_bytes()).unwrap().digest.as_str(), digest);
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
    let says = |tag: &str| client.verify(&name(&server, tag), &key(&signer)).unwrap_err().message;
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
    assert_eq!(client.verify(&name(&server, "s:bad"), &key(&signer)).unwrap().signatures.len(), 1);
}

#[test]
fn an_index_is_signed_as_a_whole_and_the_signature_goes_along() {
    let (Some(server), Some(other)) = (Server::open(), Server::open()) else { return };
    let (client, _) = client(&[]);
    let signer = Signer::p256();
    let digest = index(&server, "many", "v1");
    signer.sign(&server, "many", &digest);
    let options = CopyOptions { referrers: true, replace: false };
    let done = client.copy(&name(&server, "many:v1"), &name(&other, "prod:v1"), options).unwrap();
    assert_eq!(done.referrers, 1);
    assert_eq!(client.verify(&name(&other, "prod:v1"), &key(&signer)).unwrap().digest, done.digest);
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
    assert_eq!(client.verify(&name(&server, "r:v1"), &key(&signer)).unwrap().signatures[0].via, Via::Tag);
}

#[test]
fn keys_are_what_they_should_be() {
    let no = |text: &str| PublicKey::parse(text.as_bytes()).unwrap_err();
    assert!(no("").message.ends_with("there is no PUBLIC KEY in PEM in it"));
    let rsa = pem("30819f300d06092a864886f70d010101050003818d00", &[7; 140]);
    assert!(no(&rsa).message.ends_with("it is of another kind, such as RSA or another curve"));
    assert_eq!(no(&rsa).kind, TroubleKind::Usage);
    // A point that is on no curve verifies nothing.
    let prefix = "3059301306072a8648ce3d020106082a8648ce3d030107034200";
    let point = PublicKey::parse(pem(prefix, &[[4].as_slice(), &[1; 64]].concat()).as_bytes()).unwrap();
    assert!(!point.made(b"x", b"y"));
}
