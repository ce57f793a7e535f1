//! A real OCI registry (`docker-registry`) on this machine for one test program, and images to put into it.

mod call;
pub mod faulty;
mod image;
mod referring;
pub mod signer;

pub use image::{Image, digest_of};

use call::{Answer, call};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The user of a registry that asks who one is.
pub const USER: &str = "tester";
/// That user's password.
pub const PASSWORD: &str = "h8sh-pass";
/// The line of the password file for both.
const HTPASSWD: &str = "tester:$2y$05$wAeWjPWU/6T69jeht2elAOZK4jOB8xknw2VZVpENIXOgGE.LlHUZO\n";
const HERE: &str = "127.0.0.1";
const START_MAX: Duration = Duration::from_secs(30);

/// A registry; it ends with the value, and also with the program.
#[derive(Debug)]
pub struct Registry {
    address: String,
    login: Option<String>,
    has_tls: bool,
    keeper: Option<Child>,
    folder: tempfile::TempDir,
}

/// Whom a registry lets in, and how.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Open,
    Closed,
    Tls,
}

impl Registry {
    /// Starts one that speaks TLS alone, with a certificate of its own for 127.0.0.1.
    pub fn with_tls() -> Option<Self> {
        Self::start(Kind::Tls, HERE)
    }

    /// Its certificate, in PEM.
    pub fn certificate(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("cert.pem")).unwrap_or_default()
    }

    /// Starts one that everybody may use; none, with a word about it, where `docker-registry` is not installed.
    pub fn open() -> Option<Self> {
        Self::start(Kind::Open, HERE)
    }

    /// The same on another address of this machine, such as the one that a cluster of its own knows it by.
    pub fn open_at(host: &str) -> Option<Self> {
        Self::start(Kind::Open, host)
    }

    /// Starts one for [`USER`] alone.
    pub fn closed() -> Option<Self> {
        Self::start(Kind::Closed, HERE)
    }

    fn start(kind: Kind, host: &str) -> Option<Self> {
        let path = std::env::var("PATH").unwrap_or_default();
        if !path.split(':').any(|folder| Path::new(folder).join("docker-registry").is_file()) {
            assert_ne!(std::env::var("DEPLOYCTL_LIVE").as_deref(), Ok("all"), "docker-registry is not installed");
            eprintln!("skipped: it needs docker-registry");
            return None;
        }
        for _ in 0..5 {
            if let Some(registry) = Self::try_start(kind, host) {
                return Some(registry);
            }
        }
        panic!("docker-registry does not start");
    }

    fn try_start(kind: Kind, host: &str) -> Option<Self> {
        let folder = tempfile::tempdir().ok()?;
        let port = std::net::TcpListener::bind((host, 0)).ok()?.local_addr().ok()?.port();
        let address = format!("{host}:{port}");
        let at = |name: &str| folder.path().join(name);
        let mut config = json!({
            "version": 0.1, "log": { "level": "error" }, "http": { "addr": address },
            "storage": { "filesystem": { "rootdirectory": at("data") }, "delete": { "enabled": true } },
        });
        if kind == Kind::Closed {
            std::fs::write(at("htpasswd"), HTPASSWD).ok()?;
            config["auth"] = json!({ "htpasswd": { "realm": "test", "path": at("htpasswd") } });
        }
        if kind == Kind::Tls {
            certify(folder.path());
            config["http"]["tls"] = json!({ "certificate": at("cert.pem"), "key": at("key.pem") });
        }
        // JSON is YAML.
        std::fs::write(at("config.yml"), config.to_string()).ok()?;
        let login = (kind == Kind::Closed).then(|| call::basic(USER, PASSWORD));
        let mut registry = Self { address, login, has_tls: kind == Kind::Tls, keeper: None, folder };
        registry.serve().then_some(registry)
    }

    /// Whether it answers in time.
    fn serve(&mut self) -> bool {
        let script = "docker-registry serve config.yml </dev/null >log 2>&1 & cat >/dev/null; kill -9 $!; wait";
        let mut keeper = Command::new("sh");
        keeper.args(["-c", script]).current_dir(self.folder.path());
        self.keeper = keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok();
        let end = Instant::now() + START_MAX;
        while Instant::now() < end {
            let answers = || self.call("GET", "/v2/", &[], b"").is_some_and(|answer| answer.status == 200);
            let listens = || std::net::TcpStream::connect(&self.address).is_ok();
            if if self.has_tls { listens() } else { answers() } {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// Ends it, as a crash would.
    pub fn down(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            // The keeper ends the registry when its input ends.
            drop(keeper.stdin.take());
            let _ = keeper.wait();
        }
    }

    /// Starts it again after [`Registry::down`], at the same address and with what it had.
    pub fn up(&mut self) {
        assert!(self.serve(), "docker-registry does not start again");
    }

    /// `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<Answer> {
        let mut headers = headers.to_vec();
        headers.extend(self.login.as_deref().map(|login| ("authorization", login)));
        call(&self.address, method, path, &headers, body).ok()
    }

    /// Puts bytes into a repository: their descriptor.
    pub fn blob(&self, repository: &str, media_type: &str, bytes: &[u8]) -> Value {
        let digest = digest_of(bytes);
        let begun = self.call("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], b"").expect("an upload");
        let place = begun.header("location").expect("a place");
        let path = place.split_once(self.address.as_str()).map_or(place, |(_, path)| path);
        let kind = [("content-type", "application/octet-stream")];
        let done = self.call("PUT", &format!("{path}&digest={digest}"), &kind, bytes).expect("a blob");
        assert_eq!(done.status, 201, "{}", done.text());
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    }

    /// Puts a manifest under a tag, or its digest: its digest.
    pub fn manifest(&self, repository: &str, tag: &str, manifest: &Value) -> String {
        let bytes = manifest.to_string();
        let kind = manifest["mediaType"].as_str().unwrap_or_default();
        let digest = digest_of(bytes.as_bytes());
        let name = if tag.is_empty() { digest.as_str() } else { tag };
        let path = format!("/v2/{repository}/manifests/{name}");
        let done = self.call("PUT", &path, &[("content-type", kind)], bytes.as_bytes()).expect("a manifest");
        assert_eq!(done.status, 201, "{}", done.text());
        digest
    }

    /// Puts an image under a tag: its digest.
    pub fn image(&self, repository: &str, tag: &str, image: &Image) -> String {
        let config = self.blob(repository, image::CONFIG, image.config.to_string().as_bytes());
        let layers: Vec<Value> = image.layers.iter().map(|layer| self.blob(repository, image::LAYER, layer)).collect();
        let manifest = json!({ "schemaVersion": 2, "mediaType": image::MANIFEST, "config": config, "layers": layers });
        self.manifest(repository, tag, &manifest)
    }

    /// The bytes of a manifest of OCI, as anybody gets them.
    pub fn raw_manifest(&self, repository: &str, name: &str) -> (u16, Vec<u8>) {
        self.manifest_as(repository, name, &format!("{}, {}", image::MANIFEST, image::INDEX))
    }

    /// The same, asked for as these media types.
    pub fn manifest_as(&self, repository: &str, name: &str, accept: &str) -> (u16, Vec<u8>) {
        let path = format!("/v2/{repository}/manifests/{name}");
        let answer = self.call("GET", &path, &[("accept", accept)], b"").expect("an answer");
        (answer.status, answer.body)
    }
}

/// Makes a key and a certificate for 127.0.0.1.
fn certify(folder: &Path) {
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]);
    openssl.args(["-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=registry"]);
    openssl.args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]);
    let made = openssl.current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(made.is_ok_and(|status| status.success()), "openssl makes no certificate");
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.down();
    }
}
