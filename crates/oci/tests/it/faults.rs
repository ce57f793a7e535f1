//! What a registry can do wrong: whose fault it is, whether it is asked again, and that nothing is believed.

use crate::server::{Does, Faulty};
use crate::world::Waits;
use deployctl_live::registry::{Image, digest_of};
use deployctl_oci::{
    CopyOptions, Credentials, Login, Patience, Reference, Registry, RegistryOptions, Trouble, TroubleKind,
};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

const MANIFEST: &str = "content-type: application/vnd.oci.image.manifest.v1+json\r\n";

/// Sends the same password to whoever asks for one.
struct Trusting;

impl Credentials for Trusting {
    fn login(&self, _: &str) -> Result<Login, Trouble> {
        Ok(Login::Password { user: "a".into(), password: "h8sh-h8sh".into() })
    }
}

fn client() -> (Registry, Waits) {
    let waits = Waits::default();
    let note = waits.clone();
    let patience = Patience {
        attempts_max: 3,
        answer_max: Duration::from_millis(300),
        stall_max: Duration::from_millis(300),
        wait: Arc::new(move |pause| note.lock().unwrap().push(pause.as_millis())),
        ..Patience::default()
    };
    (Registry::new(RegistryOptions { credentials: Arc::new(Trusting), patience, certificates: None }), waits)
}

fn shop(server: &Faulty) -> Reference {
    format!("{}/shop:v1", server.address).parse().unwrap()
}

/// The manifest of a small image.
fn manifest() -> Vec<u8> {
    let image = Image::new("linux/amd64", &json!({}), vec![]);
    let config = image.config.to_string();
    let config = json!({ "mediaType": "application/x", "digest": digest_of(config.as_bytes()), "size": config.len() });
    let kind = "application/vnd.oci.image.manifest.v1+json";
    json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": [] }).to_string().into_bytes()
}

fn says(status: u16, headers: &str) -> Does {
    Does::Says(status, headers.into(), br#"{"errors":[{"code":"X","message":"in its words"}]}"#.to_vec())
}

#[test]
fn trouble_that_passes_is_asked_again_and_its_wish_is_heard() {
    let good = Does::Says(200, MANIFEST.into(), manifest());
    let server = Faulty::new(vec![says(503, ""), says(429, "retry-after: 3\r\n"), good]);
    let (client, waits) = client();
    client.manifest(&shop(&server)).unwrap();
    assert_eq!(*waits.lock().unwrap(), [500, 3_000]);
    assert_eq!(server.asked().len(), 3);
}

#[test]
fn each_kind_of_trouble_is_told_apart() {
    for (status, headers, kind, words, times) in [
        (403, "", TroubleKind::Denied, "does not allow it (403", 1),
        (404, "", TroubleKind::Missing, "does not have it (404", 1),
        (405, "", TroubleKind::Wrong, "answers what is not understood (405", 1),
        (429, "", TroubleKind::Busy, "has too many requests (429", 3),
        (500, "", TroubleKind::Busy, "is in trouble (500", 3),
        (429, "retry-after: 9000\r\n", TroubleKind::Busy, "has too many requests (429", 1),
    ] {
        let server = Faulty::new(vec![says(status, headers)]);
        let trouble = client().0.manifest(&shop(&server)).unwrap_err();
        assert_eq!(trouble.kind, kind, "{trouble}");
        assert!(trouble.message.contains(words) && trouble.message.contains(", in its words)"), "{trouble}");
        assert!(trouble.message.starts_with(&format!("the image {}/shop:v1: ", server.address)), "{trouble}");
        assert_eq!(server.asked().len(), times, "{trouble}");
    }
    let later = Faulty::new(vec![says(429, "retry-after: 9000\r\n")]);
    let hint = client().0.manifest(&shop(&later)).unwrap_err().hint;
    assert_eq!(hint.as_deref(), Some("the registry wants to be asked again in 9000 s"));
}

#[test]
fn one_that_is_away_slow_or_breaks_off_is_unreachable() {
    let nobody = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let trouble = client().0.manifest(&format!("{nobody}/shop:v1").parse().unwrap()).unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Unreachable);
    assert!(trouble.message.starts_with(&format!("the registry {nobody} cannot be reached: ")), "{trouble}");
    assert!(trouble.message.ends_with("(asked 3 times)"), "{trouble}");
    let cut = Does::Cut(MANIFEST.into(), manifest());
    for (does, words) in
        [(Does::Hangs, "it does not answer in time"), (Does::Closes, "cannot be reached"), (cut, "broke off")]
    {
        let server = Faulty::new(vec![does]);
        let trouble = client().0.manifest(&shop(&server)).unwrap_err();
        assert_eq!(trouble.kind, TroubleKind::Unreachable, "{trouble}");
        assert!(trouble.message.contains(words), "{trouble}");
        assert_eq!(server.asked().len(), 3);
    }
}

#[test]
fn bytes_that_are_not_those_of_the_digest_are_not_used() {
    let bytes = manifest();
    let digest = digest_of(&bytes);
    let other = [&bytes[..], b" "].concat();
    let lies =
        Faulty::new(vec![Does::Says(200, format!("{MANIFEST}docker-content-digest: {digest}\r\n"), other.clone())]);
    let trouble = client().0.manifest(&shop(&lies)).unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Wrong);
    let words = format!("has other bytes than its digest says: {} instead of {digest}", digest_of(&other));
    assert!(trouble.message.ends_with(&words), "{trouble}");
    let wrong = Faulty::new(vec![Does::Says(200, MANIFEST.into(), other)]);
    let pinned: Reference = format!("{}/shop@{digest}", wrong.address).parse().unwrap();
    assert!(client().0.manifest(&pinned).unwrap_err().message.ends_with(&words));
    // A head that claims another digest than was asked for.
    let head = Faulty::new(vec![Does::Says(200, format!("docker-content-digest: {}\r\n", digest_of(b"x")), vec![])]);
    let pinned: Reference = format!("{}/shop@{digest}", head.address).parse().unwrap();
    assert_eq!(client().0.digest(&pinned).unwrap_err().kind, TroubleKind::Wrong);
}

#[test]
fn a_blob_that_is_altered_on_the_way_is_not_put_anywhere() {
    let config = Image::new("linux/amd64", &json!({}), vec![]).config.to_string();
    let (bytes, blob) = (manifest(), config.replace("amd64", "arm64").into_bytes());
    let from = Faulty::new(vec![Does::Says(200, MANIFEST.into(), bytes), Does::Says(200, String::new(), blob)]);
    let accepts = "location: http://HOST/v2/there/blobs/uploads/1\r\n";
    let to = Faulty::new(vec![says(404, ""), says(404, ""), says(404, ""), says(202, accepts)]);
    let target: Reference = format!("{}/there:v1", to.address).parse().unwrap();
    let options = CopyOptions { referrers: false, replace: false };
    let trouble = client().0.copy(&shop(&from), &target, options).unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Wrong, "{trouble}");
    assert!(trouble.message.contains("has other bytes than its digest says"), "{trouble}");
    assert!(
        !to.asked().iter().any(|asked| asked.contains("/manifests/") && asked.starts_with("PUT")),
        "{:?}",
        to.asked()
    );
}

#[test]
fn answers_without_end_are_not_read_to_their_end() {
    let server = Faulty::new(vec![Does::Says(200, MANIFEST.into(), vec![b' '; 5 << 20])]);
    let trouble = client().0.manifest(&shop(&server)).unwrap_err();
    assert!(trouble.message.ends_with("has more than 4194304 bytes"), "{trouble}");
    let circle = Faulty::new(vec![Does::Says(307, "location: http://HOST/v2/again\r\n".into(), vec![])]);
    let trouble = client().0.manifest(&shop(&circle)).unwrap_err();
    assert!(trouble.message.ends_with("leads from one address to another without end"), "{trouble}");
    assert_eq!(circle.asked().len(), 6);
}

#[test]
fn credentials_go_to_nobody_else() {
    // A token server that wants the password in the clear, elsewhere.
    let realm = "www-authenticate: Bearer realm=\"http://auth.example/token\",service=\"x\"\r\n";
    let server = Faulty::new(vec![says(401, realm)]);
    let trouble = client().0.manifest(&shop(&server)).unwrap_err();
    assert_eq!(trouble.message, "http://auth.example/token is not protected by TLS, and is not on this machine");
    // A redirect to another host does not take them along.
    let elsewhere = Faulty::new(vec![Does::Says(200, MANIFEST.into(), manifest())]);
    let leads = format!("location: http://{}/bytes\r\n", elsewhere.address);
    let basic = says(401, "www-authenticate: Basic realm=\"x\"\r\n");
    let server = Faulty::new(vec![basic.clone(), says(307, &leads)]);
    client().0.manifest(&shop(&server)).unwrap();
    assert_eq!(server.asked(), ["GET /v2/shop/manifests/v1", "GET /v2/shop/manifests/v1 +auth"]);
    assert_eq!(elsewhere.asked(), ["GET /bytes"]);
    // Refused credentials are not sent again and again.
    let server = Faulty::new(vec![basic]);
    let trouble = client().0.manifest(&shop(&server)).unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Denied);
    assert!(!trouble.message.contains("h8sh") && !format!("{trouble:?}").contains("h8sh"));
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn a_token_is_fetched_once_and_used() {
    let token = Does::Says(200, String::new(), br#"{"token":"t"}"#.to_vec());
    let realm =
        "www-authenticate: Bearer realm=\"http://HOST/token?x=1\",service=\"r\",scope=\"repository:shop:pull\"\r\n";
    let good = Does::Says(200, MANIFEST.into(), manifest());
    let server = Faulty::new(vec![says(401, realm), token, good]);
    let (client, _) = client();
    client.manifest(&shop(&server)).unwrap();
    client.manifest(&shop(&server)).unwrap();
    let wanted = [
        "GET /v2/shop/manifests/v1",
        "GET /token?x=1&service=r&scope=repository%3Ashop%3Apull +auth",
        "GET /v2/shop/manifests/v1 +auth",
        "GET /v2/shop/manifests/v1 +auth",
    ];
    assert_eq!(server.asked(), wanted);
}
