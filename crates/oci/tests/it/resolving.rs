//! What references mean, on a real registry.

use crate::world::{client, index, name, small};
use deployctl_live::registry::Registry as Server;
use deployctl_oci::{Platform, TroubleKind};

#[test]
fn a_tag_means_a_digest_and_an_index_is_itself() {
    let Some(server) = Server::open() else { return };
    let (client, _) = client(&[]);
    let digest = server.image("shop", "v1", &small("linux/arm64", "one"));
    let resolved = client.resolve(&name(&server, "shop:v1")).unwrap();
    assert_eq!(format!("sha256:{}", resolved.top.digest), digest);
    assert_eq!(resolved.pinned().to_string(), format!("{}/shop@{digest}", server.address()));
    assert_eq!(resolved.platforms[0].to_string(), "linux/arm64");
    let amd64: Platform = "linux/amd64".parse().unwrap();
    let trouble = client.for_platform(&resolved, &amd64).unwrap_err();
    assert!(trouble.message.ends_with("has nothing for linux/amd64; it has linux/arm64"), "{trouble}");

    let digest = index(&server, "many", "v1");
    let resolved = client.resolve(&name(&server, "many:v1")).unwrap();
    assert_eq!(format!("sha256:{}", resolved.top.digest), digest, "the index is the identity");
    let platforms: Vec<String> = resolved.platforms.iter().map(ToString::to_string).collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);
    let chosen = client.for_platform(&resolved, &amd64).unwrap();
    assert_ne!(chosen.digest, resolved.top.digest);
    assert_eq!(client.resolve(&resolved.pinned()).unwrap().top, resolved.top, "by digest it is the same");
    let s390x = client.for_platform(&resolved, &"linux/s390x".parse().unwrap()).unwrap_err();
    assert!(s390x.message.ends_with("it has linux/amd64, linux/arm64"), "{s390x}");
}

#[test]
fn what_is_not_there_and_who_is_not_known_is_said() {
    let Some(server) = Server::closed() else { return };
    server.image("shop", "v1", &small("linux/amd64", "one"));
    let (anonymous, _) = client(&[]);
    let trouble = anonymous.resolve(&name(&server, "shop:v1")).unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Denied);
    assert!(trouble.message.ends_with("wants a user and a password, and there are none"), "{trouble}");
    assert_eq!(trouble.hint, Some(format!("log in with `docker login {}`", server.address())));
    let (known, waits) = client(&[&server]);
    known.resolve(&name(&server, "shop:v1")).unwrap();
    let missing = known.resolve(&name(&server, "shop:v2")).unwrap_err();
    assert_eq!(missing.kind, TroubleKind::Missing);
    assert!(missing.message.starts_with(&format!("the image {}/shop:v2: ", server.address())), "{missing}");
    assert!(missing.message.contains("does not have it (404 Not Found, manifest unknown)"), "{missing}");
    assert!(waits.lock().unwrap().is_empty(), "what is missing is not asked for again");
}

#[test]
fn what_docker_login_leaves_is_used() {
    let Some(server) = Server::closed() else { return };
    let digest = server.image("shop", "v1", &small("linux/amd64", "one"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let client = || {
        let credentials = std::sync::Arc::new(deployctl_oci::DockerConfig::at(path.clone()));
        deployctl_oci::Registry::new(deployctl_oci::RegistryOptions {
            credentials,
            patience: Default::default(),
            certificates: None,
        })
    };
    // `tester:h8sh-pass`, and one that is wrong.
    for (auth, fits) in [("dGVzdGVyOmg4c2gtcGFzcw==", true), ("dGVzdGVyOndyb25n", false)] {
        std::fs::write(&path, format!(r#"{{"auths": {{"{}": {{"auth": "{auth}"}}}}}}"#, server.address())).unwrap();
        match client().resolve(&name(&server, "shop:v1")) {
            Ok(resolved) => assert_eq!((format!("sha256:{}", resolved.top.digest), true), (digest.clone(), fits)),
            Err(trouble) => {
                assert_eq!((trouble.kind, false), (TroubleKind::Denied, fits), "{trouble}");
                assert!(trouble.message.contains("wants credentials that it does not get (401"), "{trouble}");
            }
        }
    }
}
