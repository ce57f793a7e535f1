//! Names, copies and signatures of images in a real registry.

use crate::it::world::{World, text};
use deployctl_live::registry::signer::Signer;
use deployctl_live::registry::{Image, PASSWORD, Registry, USER};
use serde_json::json;

fn world() -> World {
    World::new("project: p\nenvironments: { dev: {} }\napps: { api: { command: [x] } }\n")
}

fn image(mark: &str) -> Image {
    Image::new("linux/amd64", &json!({ "Cmd": ["/app"] }), vec![mark.as_bytes().to_vec()])
}

#[test]
fn a_name_is_resolved_and_given_on() {
    let Some(registry) = Registry::open() else { return };
    let world = world();
    let at = registry.address();
    let one = registry.image("shop", "v1", &image("one"));
    let two = registry.image("shop", "v2", &image("two"));
    let resolved = world.ok(&format!("artifact resolve {at}/shop:v1"));
    assert_eq!(resolved.out.trim(), format!("{at}/shop@{one}"));
    assert_eq!(resolved.last(), "for linux/amd64");
    let resolved = world.json(&format!("artifact resolve {at}/shop:v1 --platform linux/amd64"));
    assert_eq!((text(&resolved["digest"]), text(&resolved["platform"]["digest"])), (one.clone(), one.clone()));
    assert_eq!((text(&resolved["index"]), text(&resolved["platforms"][0])), ("false".into(), "linux/amd64".into()));
    world.fails(2, &format!("artifact resolve {at}/shop:v3"), "error[image-missing]: the image");
    world.fails(2, &format!("artifact resolve {at}/shop:v1 --platform linux/arm64"), "it has linux/amd64; next: build");
    world.fails(2, "artifact resolve Shop:v1", "error[bad-usage]: `Shop:v1` does not name an image");

    let done = world.json(&format!("artifact promote {at}/shop@{one} :stable"));
    assert_eq!((text(&done["digest"]), text(&done["unchanged"])), (one.clone(), "false".into()));
    assert_eq!(registry.raw_manifest("shop", "stable"), registry.raw_manifest("shop", &one));
    let again = world.ok(&format!("artifact promote {at}/shop:v1 :stable"));
    assert_eq!(again.last(), format!("{at}/shop:stable is that image already"));
    let says = format!("error[tag-taken]: {at}/shop:stable is another image already: {one}, not {two}");
    world.fails(4, &format!("artifact promote {at}/shop:v2 :stable"), &says);
    world.ok(&format!("artifact promote {at}/shop:v2 :stable --replace"));
    assert_eq!(registry.raw_manifest("shop", "stable"), registry.raw_manifest("shop", &two));
    world.fails(2, &format!("artifact promote {at}/shop:v1 {at}/prod"), "names no tag");
}

#[test]
fn an_image_is_copied_to_a_registry_that_asks_who_one_is() {
    let (Some(from), Some(to)) = (Registry::open(), Registry::closed()) else { return };
    let mut world = world();
    let (here, there) = (from.address().to_owned(), to.address().to_owned());
    from.image("shop", "v1", &image("one"));
    let copy = format!("artifact copy {here}/shop:v1 {there}/prod/shop");
    let denied = world.fails(3, &copy, "error[registry-denied]: the registry");
    assert!(denied.last().ends_with(&format!("; next: log in with `docker login {there}`")), "{}", denied.last());
    // What `docker login` leaves, then a helper as it would run it.
    let helper = format!(
        "#!/bin/sh\nread name\n[ \"$name\" = {there} ] || {{ echo credentials not found; exit 1; }}\n\
                          echo '{{\"Username\":\"{USER}\",\"Secret\":\"{PASSWORD}\"}}'\n"
    );
    world.write("bin/docker-credential-test", &helper);
    let program = world.path("bin/docker-credential-test");
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    world.write("docker/config.json", "{\"credsStore\": \"test\"}");
    world.var("DOCKER_CONFIG", world.path("docker"));
    let path = std::env::var("PATH").unwrap_or_default();
    world.var("PATH", format!("{}:{path}", world.path("bin").display()));
    let done = world.json(&copy);
    assert_eq!((text(&done["to"]), text(&done["blobs_sent"])), (format!("{there}/prod/shop:v1"), "2".into()));
    assert_eq!(to.raw_manifest("prod/shop", "v1"), from.raw_manifest("shop", "v1"));
    world.write("docker/config.json", "{\"credsStore\": \"gone\"}");
    let denied = world.fails(
        3,
        &format!("artifact resolve {there}/prod/shop:v1"),
        "the credential helper docker-credential-gone cannot be run",
    );
    assert!(!denied.err.contains(PASSWORD));
}

#[test]
fn verify_says_the_truth() {
    let Some(registry) = Registry::open() else { return };
    let world = world();
    let at = registry.address();
    let digest = registry.image("shop", "v1", &image("one"));
    let (signer, other) = (Signer::p256(), Signer::ed25519());
    world.write("p/cosign.pub", &signer.pem);
    world.write("p/other.pub", &other.pem);
    world.write("p/none.pub", "nothing");
    let verify = |key: &str| format!("artifact verify --key {key} {at}/shop:v1");
    let pinned = format!("{at}/shop@{digest}");
    world.fails(
        3,
        &verify("cosign.pub"),
        &format!("error[not-signed]: nobody with this key signed {pinned}: it has no signature"),
    );
    signer.sign(&registry, "shop", &digest);
    let verified = world.json(&verify("cosign.pub"));
    assert_eq!(
        (text(&verified["pinned"]), text(&verified["signatures"][0]["via"])),
        (pinned.clone(), "cosign-tag".into())
    );
    assert_eq!(world.ok(&verify("cosign.pub")).out.trim(), pinned);
    world.fails(3, &verify("other.pub"), "it has 1 signature: one is of another key, or was altered");
    world.fails(2, &verify("none.pub"), "there is no PUBLIC KEY in PEM in it");
    world.fails(2, &verify("gone.pub"), "the key gone.pub cannot be read");
    let listed = world.json(&format!("artifact referrers {at}/shop:v1"));
    assert_eq!(text(&listed[0]["tag"]), format!("{}.sig", digest.replace(':', "-")));
    let table = world.ok(&format!("artifact referrers {at}/shop:v1")).out;
    assert!(table.starts_with("TYPE") && table.contains("artifact.sig.v1+json"), "{table}");
}

#[test]
fn a_registry_that_is_away_is_no_fault_of_the_image() {
    let nobody = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let world = world();
    let ran =
        world.fails(5, &format!("artifact resolve {nobody}/shop:v1"), "error[registry-unreachable]: the registry");
    assert!(ran.last().contains("(asked 5 times)"), "{}", ran.last());
}
