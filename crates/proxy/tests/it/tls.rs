//! TLS: which certificate, which protocol, and when certificates change.

use super::client::Answer;
use super::support::{Site, free_address, service, side};
use super::upstream::Upstream;
use deployctl_core::config::TlsFiles;
use deployctl_core::fault::FaultKind;
use deployctl_core::route::Listener;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

fn pem(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/pem").join(name)
}

fn files(name: &str) -> TlsFiles {
    let text = |end: &str| pem(&format!("{name}.{end}")).display().to_string();
    TlsFiles { certificate: text("pem"), key: text("key") }
}

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Connects with trust in one certificate alone.
fn connect(address: SocketAddr, name: &str, trusted: &str, alpn: &[&str]) -> std::io::Result<Tls> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pem(&format!("{trusted}.pem"))).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut stream =
        StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), TcpStream::connect(address)?);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

fn ask(stream: &mut Tls, host: &str) -> Answer {
    write!(stream, "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    Answer { status: head[9..12].parse().unwrap(), body: body.into(), ..Answer::default() }
}

fn site(upstream: &Upstream) -> Site {
    let mut shop = service("shop", vec![side("v1", 1, &[upstream.address])]);
    shop.route.hosts = vec!["shop.example".into(), "*.shop.example".into()];
    shop.route.tls = Some(files("shop"));
    let mut other = service("other", vec![side("v1", 1, &[upstream.address])]);
    other.route.hosts = vec!["other.example".into()];
    other.route.tls = Some(files("other"));
    let site = Site::new();
    let listener = Listener { tls: true, ..site.listener() };
    site.change(|table| {
        table.listeners = vec![listener];
        table.services = vec![shop, other];
    })
    .unwrap();
    site
}

#[test]
fn each_name_gets_its_certificate() {
    let upstream = Upstream::named("v1");
    let site = site(&upstream);
    for (name, certificate) in [("shop.example", "shop"), ("a.shop.example", "shop"), ("other.example", "other")] {
        let mut stream = connect(site.address, name, certificate, &[]).unwrap();
        assert_eq!(ask(&mut stream, name).body, b"v1", "{name}");
        assert_eq!(upstream.last().fields["x-forwarded-proto"], "https");
    }
    assert!(connect(site.address, "shop.example", "other", &[]).is_err(), "the wrong certificate is trusted");
}

#[test]
fn the_protocol_is_negotiated() {
    let upstream = Upstream::named("v1");
    let site = site(&upstream);
    for (offered, chosen) in [(&["h2", "http/1.1"][..], "h2"), (&["http/1.1"], "http/1.1")] {
        let stream = connect(site.address, "shop.example", "shop", offered).unwrap();
        assert_eq!(stream.conn.alpn_protocol(), Some(chosen.as_bytes()), "{offered:?}");
    }
    let mut stream = connect(site.address, "shop.example", "shop", &["h2"]).unwrap();
    // The preface and empty settings; the server's settings come first.
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).unwrap();
    assert_eq!(frame[3], 4, "a SETTINGS frame");
}

#[test]
fn new_certificates_come_with_a_table() {
    let upstream = Upstream::named("v1");
    let site = site(&upstream);
    assert!(connect(site.address, "shop.example", "shop", &[]).is_ok());
    site.service(|service| service.route.tls = Some(files("other")));
    assert!(connect(site.address, "shop.example", "shop", &[]).is_err(), "the old certificate is still in use");
    let mut bad = files("shop");
    bad.key = files("other").key;
    let fault = site.change(|table| table.services[0].route.tls = Some(bad)).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Spec);
    let start = format!("certificates for {}: certificate and key: ", site.address);
    assert!(fault.message.starts_with(&start), "{}", fault.message);
    assert!(connect(site.address, "other.example", "other", &[]).is_ok(), "a table that was refused changed something");
}

#[test]
fn plain_http_is_sent_to_the_port_that_speaks_tls() {
    let upstream = Upstream::named("v1");
    let site = site(&upstream);
    let plain = free_address();
    site.change(|table| {
        table.services[0].route.https_only = true;
        table.listeners.push(Listener { address: plain.to_string(), tls: false, ..table.listeners[0].clone() });
    })
    .unwrap();
    let answer = super::client::get(plain, "/x?y");
    let location = format!("https://shop.example:{}/x?y", site.address.port());
    assert_eq!((answer.status, answer.field("location")), (308, location.as_str()));
    let mut stream = connect(site.address, "shop.example", "shop", &[]).unwrap();
    assert_eq!(ask(&mut stream, "shop.example").body, b"v1");
}

#[test]
fn an_upgrade_of_the_proxy_keeps_tls() {
    let upstream = Upstream::named("v1");
    let site = site(&upstream);
    let mut kept = connect(site.address, "shop.example", "shop", &[]).unwrap();
    site.block(site.router.upgrade(&super::support::binary())).unwrap();
    assert_eq!(ask(&mut kept, "shop.example").body, b"v1");
    let mut fresh = connect(site.address, "shop.example", "shop", &[]).unwrap();
    assert_eq!(ask(&mut fresh, "shop.example").body, b"v1");
}

#[test]
fn a_connection_that_was_idle_for_a_while_takes_requests_again() {
    let upstream = Upstream::named("v1");
    let site = site(&upstream);
    let mut stream = connect(site.address, "shop.example", "shop", &["http/1.1"]).unwrap();
    for _ in 0..3 {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"v1") {
            let mut part = [0; 1024];
            let count = stream.read(&mut part).unwrap();
            assert!(count > 0, "it ended after {answer:?}");
            answer.extend_from_slice(&part[..count]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
        std::thread::sleep(std::time::Duration::from_millis(250));
    }
    assert_eq!(ask(&mut stream, "shop.example").body, b"v1");
}
