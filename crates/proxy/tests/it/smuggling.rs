//! What must be refused, and must never reach an instance.

use super::client::Client;
use super::support::Site;
use super::upstream::Upstream;

const BODY: &str = "\r\n\r\n";

/// What is ambiguous or malformed, the status of its refusal and why.
const AMBIGUOUS: &[(&str, u16, &str)] = &[
    ("GET / HTTP/1.1\r\n\r\n", 400, "the Host is missing"),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "there is more than one Host"),
    ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "the Host is malformed"),
    ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400, "the Host is malformed"),
    ("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, "the Host is malformed"),
    ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "the Host is not that of the request target"),
    ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "the request target is malformed"),
    ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "the request target is malformed"),
    ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "the request target is malformed"),
    ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "the request line is not METHOD TARGET VERSION"),
    ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400, "the request line is not METHOD TARGET VERSION"),
    ("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "the method is malformed"),
    ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505, "only HTTP/1.0, HTTP/1.1 and HTTP/2 are spoken here"),
    ("GET /\r\n\r\n", 400, "the request line is not METHOD TARGET VERSION"),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "there are both Content-Length and Transfer-Encoding",
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        400,
        "there are both Content-Length and Transfer-Encoding",
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
        400,
        "there is more than one Content-Length",
    ),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 4\r\n\r\nabcd", 400, "the Content-Length is malformed"),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\nabcd", 400, "the Content-Length is malformed"),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x4\r\n\r\nabcd", 400, "the Content-Length is malformed"),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        400,
        "the Transfer-Encoding is not plain `chunked`",
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "there is more than one Transfer-Encoding",
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        400,
        "the Transfer-Encoding is not plain `chunked`",
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        400,
        "a header field value has control characters",
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        400,
        "a header field name is malformed",
    ),
    (
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "HTTP/1.0 has no Transfer-Encoding",
    ),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400, "a header line is folded"),
    ("GET / HTTP/1.1\r\nHost: a\nX: a\r\n\r\n", 400, "a line of the request head does not end in CRLF"),
    ("GET / HTTP/1.1\nHost: a\n\n", 400, "a line of the request head does not end in CRLF"),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400, "a header field value has control characters"),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400, "a header field value has control characters"),
    ("GET / HTTP/1.1\r\nHost: a\r\n: a\r\n\r\n", 400, "a header field name is malformed"),
    ("GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400, "a header field name is malformed"),
];

#[test]
fn ambiguous_requests_are_refused_and_nothing_of_them_passes() {
    let upstream = Upstream::named("v1");
    let site = Site::simple(&[upstream.address]);
    let huge = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(101));
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(17_000));
    let large = [
        (huge.as_str(), 431, "the request head is too large"),
        (many.as_str(), 431, "the request has too many header fields"),
        (long.as_str(), 414, "the request target is too long"),
    ];
    for (bad, status, why) in AMBIGUOUS.iter().copied().chain(large) {
        let mut client = Client::connect(site.address);
        let answer = client.ask(bad);
        let shown = &bad[..bad.len().min(100)];
        assert_eq!(answer.status, status, "{shown:?}: {}", answer.text());
        assert!(answer.text().trim_end().ends_with(why), "{shown:?}: {}", answer.text());
        assert!(client.at_end(), "{shown:?}: the connection goes on");
    }
    assert_eq!(upstream.count(), 0);
    assert_eq!(Client::connect(site.address).get("/").text(), "v1", "others are served as before");
}

#[test]
fn a_good_request_before_a_bad_one_is_answered_first() {
    let upstream = Upstream::named("v1");
    let site = Site::simple(&[upstream.address]);
    let mut client = Client::connect(site.address);
    let good = "POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let bad = "GET /2 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n";
    let first = client.ask([good, bad, "GET /3 HTTP/1.1\r\nHost: a", BODY].concat());
    assert_eq!((first.status, first.text()), (200, "v1"));
    assert_eq!(client.answer().unwrap().status, 400);
    assert!(client.at_end());
    assert_eq!(upstream.count(), 1, "what follows a refused request is thrown away");
}

#[test]
fn malformed_chunks_are_the_clients_fault() {
    let upstream = Upstream::named("v1");
    let site = Site::simple(&[upstream.address]);
    for chunks in ["3\r\nabcX\r\n", "zz\r\n", "3\nabc\r\n", "-1\r\n", "3\r\nabc\r\n0\r\nbad\nx: y\r\n\r\n"] {
        let mut client = Client::connect(site.address);
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n";
        let answer = client.ask(format!("{head}{chunks}"));
        assert_eq!(answer.status, 400, "{chunks:?}: {}", answer.text());
    }
}

#[test]
fn no_forward_proxy_and_no_h2c() {
    let upstream = Upstream::named("v1");
    let site = Site::simple(&[upstream.address]);
    let answer = Client::connect(site.address).ask("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n");
    assert_eq!((answer.status, answer.text()), (405, "405 Method Not Allowed: this is no forward proxy\n"));
    let mut client = Client::connect(site.address);
    let upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    let answer = client.ask(format!("GET / HTTP/1.1\r\nHost: a\r\n{upgrade}\r\n"));
    assert_eq!((answer.status, answer.text()), (200, "v1"));
    let seen = upstream.last();
    for name in ["upgrade", "connection", "http2-settings"] {
        assert!(!seen.fields.contains_key(name), "{name} passed: {}", seen.raw);
    }
    let answer = client.ask("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(answer.status, 200);
    assert!(!upstream.last().fields.contains_key("upgrade"), "an upgrade without Connection passed");
}
