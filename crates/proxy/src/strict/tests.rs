use super::*;
use proptest::prelude::*;

/// Feeds `pieces`; what was passed and how it ended.
fn feed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, Result<(), Refusal>, Guard) {
    let (mut guard, mut passed, mut result) = (Guard::default(), Vec::new(), Ok(()));
    for piece in pieces {
        if result.is_ok() {
            result = guard.feed(piece, |bytes| passed.extend_from_slice(bytes));
        }
    }
    (passed, result, guard)
}

const GOOD: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /x?y=%20 HTTP/1.1\r\nHOST:a:80\r\nAccept: */*\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nt: 1\r\n\r\n",
    "GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
];

#[test]
fn good_requests_pass_as_they_are_in_pieces_of_any_size() {
    let all = GOOD.concat();
    for size in 1..all.len() {
        let (passed, result, guard) = feed(all.as_bytes().chunks(size));
        assert_eq!(result, Ok(()), "{size}");
        assert_eq!(String::from_utf8_lossy(&passed), all, "{size}");
        assert_eq!((guard.heads(), guard.in_head(), guard.in_body()), (GOOD.len() as u64, false, false));
    }
}

#[test]
fn empty_lines_before_a_request_are_dropped() {
    let text = b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for size in 1..text.len() {
        let (passed, result, _) = feed(text.chunks(size));
        assert_eq!((result, passed.as_slice()), (Ok(()), &text[4..]), "{size}");
    }
}

#[test]
fn nothing_of_a_head_passes_before_it_is_whole() {
    let (passed, result, guard) = feed([b"GET / HTTP/1.1\r\nHost: a\r\n".as_slice()]);
    assert_eq!((passed.len(), result, guard.in_head()), (0, Ok(()), true));
}

#[test]
fn a_head_without_end_is_refused_at_the_limit() {
    let mut guard = Guard::default();
    let mut fed = 0;
    let refusal = loop {
        match guard.feed(&[b'x'; 64], |_| panic!("something passed")) {
            Ok(()) => fed += 64,
            Err(refusal) => break refusal,
        }
    };
    assert!((HEAD_BYTES_MAX - 64..=HEAD_BYTES_MAX).contains(&fed), "{fed}");
    assert_eq!(refusal, Refusal::Head(Reject { status: 431, why: "the request head is too large" }));
    assert!(guard.refused());
}

#[test]
fn an_upgrade_stops_reading_until_it_is_decided() {
    let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let text = [upgrade, "\x01\x02"].concat();
    let (passed, _, mut guard) = feed([text.as_bytes()]);
    assert_eq!(String::from_utf8_lossy(&passed), upgrade);
    assert!(guard.undecided() && guard.kept_back().is_empty());
    guard.decide(true);
    assert_eq!(guard.kept_back(), b"\x01\x02");
    let mut passed = Vec::new();
    guard.feed(b"any\nthing", |bytes| passed.extend_from_slice(bytes)).unwrap();
    assert_eq!(passed, b"any\nthing");
    for no_upgrade in ["Upgrade: websocket\r\n", "Connection: upgrade\r\n", "Connection: upgrade\r\nUpgrade: h2c\r\n"] {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{no_upgrade}\r\n");
        assert!(!feed([text.as_bytes()]).2.undecided(), "{no_upgrade}");
    }
}

#[test]
fn hosts() {
    for (host, good) in [
        ("a", true),
        ("a.example:8080", true),
        ("127.0.0.1", true),
        ("[::1]", true),
        ("[::1]:80", true),
        ("a_b.example", true),
        ("", false),
        (":80", false),
        ("a:", false),
        ("a:80:80", false),
        ("a:999999", false),
        ("a/b", false),
        ("u@a", false),
        ("a b", false),
        ("[::1", false),
        ("[]", false),
        ("a,b", false),
    ] {
        assert_eq!(is_host(host.as_bytes()), good, "{host}");
    }
}

proptest! {
    #[test]
    fn pieces_make_no_difference(number in 0..GOOD.len(), at in 0usize..200, byte: u8, cut in 1usize..200) {
        let mut text = [GOOD[number], GOOD[0]].concat().into_bytes();
        let at = at % text.len();
        text[at] = byte;
        let whole = feed([text.as_slice()]);
        let (first, second) = text.split_at(cut.min(text.len()));
        let parts = feed([first, second]);
        prop_assert_eq!(whole.1, parts.1);
        match whole.1 {
            // What of a bad chunk passes before it is seen depends on the pieces; its request fails either way.
            Err(Refusal::Body(_)) => prop_assert!(parts.0.starts_with(&whole.0)),
            _ => prop_assert_eq!(whole.0, parts.0),
        }
    }

    #[test]
    fn what_is_accepted_others_read_the_same(number in 0..GOOD.len(), changes in prop::collection::vec((0usize..200, any::<u8>()), 0..4)) {
        let mut text = GOOD[number].as_bytes().to_vec();
        for (at, byte) in changes {
            let at = at % text.len();
            text[at] = byte;
        }
        let end = text.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
        if let Some(end) = end && let Ok(head) = check(&text[..end]) {
            let mut fields = [httparse::EMPTY_HEADER; 100];
            let mut request = httparse::Request::new(&mut fields);
            prop_assert_eq!(request.parse(&text[..end]), Ok(httparse::Status::Complete(end)));
            let named = |name: &str| request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name)).count();
            prop_assert!(named("host") <= 1 && named("content-length") + named("transfer-encoding") <= 1);
            prop_assert_eq!(head.framing == Framing::Chunked, named("transfer-encoding") == 1);
        }
    }
}
