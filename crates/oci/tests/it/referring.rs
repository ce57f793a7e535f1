//! What refers to an image, by a registry's own interface for it, and on the way to registries without one.

use crate::world::{client, name, small};
use deployctl_core::id::Sha256Hex;
use deployctl_live::registry::Registry as Server;
use deployctl_oci::CopyOptions;
use serde_json::{Value, json};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const ALL: CopyOptions = CopyOptions { referrers: true, replace: false };

/// Puts an artifact of this type there that refers to a manifest: its digest.
fn refer(server: &Server, subject: &Value, kind: &str, what: &str) -> String {
    let empty = server.blob("shop", "application/vnd.oci.empty.v1+json", b"{}");
    let layer = server.blob("shop", kind, what.as_bytes());
    let list = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind, "config": empty,
                       "layers": [layer], "subject": subject, "annotations": { "made": what } });
    server.manifest("shop", "", &list)
}

/// `VIA TYPE DIGEST` of all that refers to an image, in order.
fn listed(server: &Server, repository: &str, digest: &str) -> Vec<String> {
    let hex = Sha256Hex::new(digest.trim_start_matches("sha256:")).unwrap();
    let all = client(&[]).0.referrers(&name(server, repository), &hex).unwrap();
    let mut all: Vec<String> =
        all.iter().map(|one| format!("{} {} sha256:{}", one.via.word(), one.artifact_type, one.digest)).collect();
    all.sort();
    all
}

#[test]
fn a_registry_that_knows_what_refers_to_an_image_is_asked() {
    let (Some(server), Some(plain)) = (Server::with_referrers(), Server::open()) else { return };
    let digest = server.image("shop", "v1", &small("linux/amd64", "one"));
    assert_eq!(listed(&server, "shop", &digest), Vec::<String>::new(), "it says so itself");
    let size = server.raw_manifest("shop", &digest).1.len();
    let subject = json!({ "mediaType": MANIFEST, "digest": digest, "size": size });
    let parts = refer(&server, &subject, "application/spdx+json", "parts");
    let word = refer(&server, &subject, "application/vnd.in-toto+json", "how it was made");
    let wanted = |via: &str| {
        let mut all =
            vec![format!("{via} application/spdx+json {parts}"), format!("{via} application/vnd.in-toto+json {word}")];
        all.sort();
        all
    };
    assert_eq!(listed(&server, "shop", &digest), wanted("api"));
    // To one without the interface, which gets the fallback tag; from there to one with it, which needs none.
    let client = client(&[]).0;
    let done = client.copy(&name(&server, "shop:v1"), &name(&plain, "shop:v1"), ALL).unwrap();
    assert_eq!(done.referrers, 2);
    assert_eq!(listed(&plain, "shop", &digest), wanted("tag"));
    let Some(other) = Server::with_referrers() else { return };
    let done = client.copy(&name(&plain, "shop:v1"), &name(&other, "shop:v1"), ALL).unwrap();
    assert_eq!(done.referrers, 2);
    assert_eq!(listed(&other, "shop", &digest), wanted("api"));
}
