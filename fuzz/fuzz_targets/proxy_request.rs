//! Requests as the data plane takes them: whatever the bytes and however they come in pieces, what passes the guard is
//! read by the HTTP library as exactly the requests that the guard counted, in the same order and with the same bodies.
//!
//! `cargo +nightly fuzz run proxy_request -- -max_total_time=60 -max_len=4096`
#![no_main]

use deployctl_proxy::strict::{Guard, Refusal, check};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use libfuzzer_sys::fuzz_target;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What the guard passed of `pieces`, and how it ended.
fn guarded<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, Option<Refusal>, u64, bool) {
    let (mut guard, mut passed, mut refusal) = (Guard::default(), Vec::new(), None);
    for piece in pieces {
        if refusal.is_none() {
            refusal = guard.feed(piece, |bytes| passed.extend_from_slice(bytes)).err();
        }
    }
    (passed, refusal, guard.heads(), guard.undecided())
}

/// The requests that the HTTP library reads, `METHOD TARGET` each, and whether it found anything wrong.
async fn read(passed: &[u8]) -> (Vec<String>, bool) {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let broken = Rc::new(Cell::new(false));
    let (mut client, server) = tokio::io::duplex(1 << 20);
    let service = hyper::service::service_fn(|request: Request<Incoming>| {
        let (seen, broken) = (seen.clone(), broken.clone());
        async move {
            seen.borrow_mut().push(format!("{} {}", request.method(), request.uri()));
            broken.set(broken.get() | request.into_body().collect().await.is_err());
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(server), service);
    let talking = async {
        let _ = client.write_all(passed).await;
        let _ = client.shutdown().await;
        let mut answers = Vec::new();
        let _ = client.read_to_end(&mut answers).await;
        answers
    };
    let (served, _) = tokio::join!(serving, talking);
    let seen = seen.borrow().clone();
    (seen, served.is_err() || broken.get())
}

fuzz_target!(|bytes: &[u8]| {
    let Some((cut, bytes)) = bytes.split_first() else { return };
    let whole = guarded([bytes]);
    let parts = guarded(bytes.chunks(usize::from(*cut).max(1)));
    assert_eq!((&whole.1, whole.2, whole.3), (&parts.1, parts.2, parts.3), "pieces make a difference");
    if !matches!(whole.1, Some(Refusal::Body(_))) {
        assert_eq!(whole.0, parts.0, "pieces make a difference");
    }
    let (passed, refusal, heads, undecided) = whole;
    if let Some(end) = passed.windows(4).position(|window| window == b"\r\n\r\n") {
        assert!(check(&passed[..end + 4]).is_ok(), "a head passed that is refused");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (seen, wrong) = runtime.block_on(read(&passed));
    assert!(seen.len() as u64 <= heads, "{heads} heads passed, {seen:?} were read");
    // The library may be stricter still and end the connection, or end it as it was asked to; it may not read more.
    if (seen.len() as u64) < heads && !wrong && refusal.is_none() && !undecided {
        let text = String::from_utf8_lossy(&passed).to_ascii_lowercase();
        assert!(text.contains("connection:") || text.contains("http/1.0"), "{heads} heads passed, only {seen:?} were read");
    }
});
