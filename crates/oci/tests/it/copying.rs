//! Copying and promoting, on real registries.

use crate::world::{client, index, name, small, trusting};
use deployctl_live::registry::{Image, Registry as Server};
use deployctl_oci::{CopyOptions, TroubleKind};
use serde_json::json;

const ALL: CopyOptions = CopyOptions { referrers: true, replace: false };

#[test]
fn an_index_goes_whole_to_another_registry_and_stays_the_same() {
    let (Some(from), Some(to)) = (Server::open(), Server::closed()) else { return };
    let (client, _) = client(&[&to]);
    let digest = index(&from, "team/shop", "v1");
    let done = client.copy(&name(&from, "team/shop:v1"), &name(&to, "prod/shop:v1"), ALL).unwrap();
    assert_eq!(format!("sha256:{}", done.digest), digest);
    // Two configurations, two layers of their own, and one in common.
    assert_eq!((done.manifests, done.blobs_sent, done.blobs_mounted), (4, 5, 0));
    for name in ["v1", digest.as_str()] {
        assert_eq!(to.raw_manifest("prod/shop", name), from.raw_manifest("team/shop", "v1"), "byte by byte");
    }
    let there = client.resolve(&name(&to, "prod/shop:v1")).unwrap();
    for platform in &there.platforms {
        let image = client.for_platform(&there, platform).unwrap();
        let deployctl_oci::Document::Image(manifest) = image.document else { panic!("an image") };
        for layer in &manifest.layers {
            client.small_blob(&there.reference, layer, 1 << 20).unwrap();
        }
    }
    let again = client.copy(&name(&from, "team/shop:v1"), &name(&to, "prod/shop:v1"), ALL).unwrap();
    assert!(again.unchanged && again.manifests == 0 && again.bytes_sent == 0, "{again:?}");
}

#[test]
fn within_a_registry_blobs_are_mounted_and_a_tag_is_only_a_name() {
    let Some(server) = Server::closed() else { return };
    let (client, _) = client(&[&server]);
    let digest = server.image("shop", "v1", &small("linux/amd64", "one"));
    let promoted = client.copy(&name(&server, &format!("shop@{digest}")), &name(&server, "shop:stable"), ALL).unwrap();
    assert_eq!((promoted.manifests, promoted.blobs_sent, promoted.blobs_mounted), (1, 0, 0));
    assert_eq!(server.raw_manifest("shop", "stable"), server.raw_manifest("shop", "v1"));
    let promoted = client.copy(&name(&server, "shop:v1"), &name(&server, "prod/shop:v1"), ALL).unwrap();
    assert_eq!((promoted.blobs_sent, promoted.blobs_mounted), (0, 3));
    assert_eq!(server.raw_manifest("prod/shop", "v1"), server.raw_manifest("shop", "v1"));
}

#[test]
fn a_name_that_means_something_else_is_not_moved_unasked() {
    let Some(server) = Server::open() else { return };
    let (client, _) = client(&[]);
    let one = server.image("shop", "v1", &small("linux/amd64", "one"));
    let two = server.image("shop", "v2", &small("linux/amd64", "two"));
    let taken = client.copy(&name(&server, "shop:v2"), &name(&server, "shop:v1"), ALL).unwrap_err();
    assert_eq!(taken.kind, TroubleKind::Taken);
    assert!(taken.message.ends_with(&format!("is another image already: {one}, not {two}")), "{taken}");
    assert_eq!(server.raw_manifest("shop", "v1"), server.raw_manifest("shop", &one), "nothing moved");
    let moved = CopyOptions { replace: true, ..ALL };
    client.copy(&name(&server, "shop:v2"), &name(&server, "shop:v1"), moved).unwrap();
    assert_eq!(server.raw_manifest("shop", "v1"), server.raw_manifest("shop", &two));
    let other = client.copy(&name(&server, "shop:v2"), &name(&server, &format!("prod@{one}")), ALL).unwrap_err();
    assert!(other.message.ends_with(&format!("is {two}, not {one}")), "{other}");
}

#[test]
fn a_registry_with_a_certificate_of_its_own_is_asked_by_tls() {
    let (Some(from), Some(to)) = (Server::open(), Server::with_tls()) else { return };
    let digest = from.image("shop", "v1", &small("linux/amd64", "one"));
    let folder = tempfile::tempdir().unwrap();
    let put = |text: &str| {
        let own = folder.path().join(to.address());
        std::fs::create_dir_all(&own).unwrap();
        std::fs::write(own.join("ca.crt"), text).unwrap();
    };
    let copy = || trusting(folder.path()).copy(&name(&from, "shop:v1"), &name(&to, "shop:v1"), ALL);
    // Without a certificate it is asked as anybody on this machine, and does not speak so.
    assert!(copy().is_err());
    put(&Server::with_tls().unwrap().certificate());
    let stranger = copy().unwrap_err();
    assert_eq!(stranger.kind, TroubleKind::Unreachable, "{stranger}");
    assert!(stranger.message.contains("certificate"), "{stranger}");
    put("-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n");
    let unreadable = copy().unwrap_err();
    assert!(unreadable.message.starts_with(&format!("the certificates of {} in ", to.address())), "{unreadable}");
    put(&to.certificate());
    assert_eq!(format!("sha256:{}", copy().unwrap().digest), digest);
}

#[test]
fn large_layers_pass_through_in_pieces() {
    let (Some(from), Some(to)) = (Server::open(), Server::open()) else { return };
    let (client, _) = client(&[]);
    let layer: Vec<u8> = (0..96_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    from.image("large", "v1", &Image::new("linux/amd64", &json!({}), vec![layer]));
    // From here on, the most memory is measured anew.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak();
    let done = client.copy(&name(&from, "large:v1"), &name(&to, "large:v1"), ALL).unwrap();
    assert!(done.bytes_sent > 96 << 20);
    let more = peak() - before;
    assert!(more < 48 << 20, "{more} bytes of memory for a layer of 96 MiB");
}

/// The most memory that this process had, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn what_refers_to_an_image_goes_along() {
    let (Some(from), Some(to)) = (Server::open(), Server::open()) else { return };
    let (client, _) = client(&[]);
    let digest = from.image("shop", "v1", &small("linux/amd64", "one"));
    let size = from.raw_manifest("shop", &digest).1.len();
    let empty = from.blob("shop", "application/vnd.oci.empty.v1+json", b"{}");
    let parts = from.blob("shop", "application/spdx+json", b"{\"spdxVersion\":\"SPDX-2.3\"}");
    let subject = json!({ "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": size });
    let list = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                       "artifactType": "application/spdx+json", "config": empty, "layers": [parts], "subject": subject });
    let list_digest = from.manifest("shop", "", &list);
    let one = json!({ "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": list_digest,
                      "size": list.to_string().len(), "artifactType": "application/spdx+json" });
    let fallback =
        json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [one] });
    from.manifest("shop", &digest.replace(':', "-"), &fallback);
    let listed = |server: &Server, repository: &str| {
        let of = name(server, repository);
        let hex = deployctl_core::id::Sha256Hex::new(digest.trim_start_matches("sha256:")).unwrap();
        let all = client.referrers(&of, &hex).unwrap();
        all.iter()
            .map(|one| format!("{} {} sha256:{}", one.via.word(), one.artifact_type, one.digest))
            .collect::<Vec<_>>()
    };
    let wanted = [format!("tag application/spdx+json {list_digest}")];
    assert_eq!(listed(&from, "shop"), wanted);
    let done = client.copy(&name(&from, "shop:v1"), &name(&to, "shop:v1"), ALL).unwrap();
    assert_eq!(done.referrers, 1);
    assert_eq!(listed(&to, "shop"), wanted);
    let alone = CopyOptions { referrers: false, replace: false };
    assert_eq!(client.copy(&name(&from, "shop:v1"), &name(&to, "alone:v1"), alone).unwrap().referrers, 0);
    assert_eq!(listed(&to, "alone"), Vec::<String>::new());
}
