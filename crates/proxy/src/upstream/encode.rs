//! Request heads for instances, written straight from what the client sent. Pure.

use crate::headers;
use bytes::{BufMut, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;

/// Where a request came from, as instances are told.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// For `X-Forwarded-For`.
    pub(crate) client: HeaderValue,
    /// `http` or `https`.
    pub(crate) proto: &'static str,
    /// The host that was asked for.
    pub(crate) host: HeaderValue,
    /// For `Forwarded`.
    pub(crate) forwarded: HeaderValue,
}

/// How a request body goes to an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    /// In chunks.
    Chunked,
}

/// Writes the head of a request with `target`; `upgrade` is the protocol to change to, if that was asked for.
pub(crate) fn request_head(
    to: &mut BytesMut,
    parts: &Parts,
    target: &str,
    origin: &Origin,
    framing: Framing,
    upgrade: Option<&HeaderValue>,
) {
    to.reserve(512);
    to.put_slice(parts.method.as_str().as_bytes());
    to.put_u8(b' ');
    to.put_slice(target.as_bytes());
    to.put_slice(b" HTTP/1.1\r\nhost: ");
    to.put_slice(origin.host.as_bytes());
    to.put_slice(b"\r\n");
    let named = headers::Named::by(&parts.headers);
    for (name, value) in &parts.headers {
        if headers::goes_on(name) && !named.has(name) && *name != header::COOKIE {
            field(to, name, value);
        }
    }
    cookies(to, &parts.headers);
    let mut own = |name: &str, value: &[u8]| {
        to.put_slice(name.as_bytes());
        to.put_slice(value);
        to.put_slice(b"\r\n");
    };
    own("x-forwarded-for: ", origin.client.as_bytes());
    own("x-forwarded-proto: ", origin.proto.as_bytes());
    own("x-forwarded-host: ", origin.host.as_bytes());
    own("forwarded: ", origin.forwarded.as_bytes());
    if let Some(protocol) = upgrade {
        own("connection: ", b"upgrade");
        own("upgrade: ", protocol.as_bytes());
    }
    match framing {
        Framing::None => {}
        Framing::Length(length) => own("content-length: ", length.to_string().as_bytes()),
        Framing::Chunked => own("transfer-encoding: ", b"chunked"),
    }
    to.put_slice(b"\r\n");
}

/// HTTP/2 clients may send one field per cookie; HTTP/1 has one field for all.
fn cookies(to: &mut BytesMut, headers: &HeaderMap) {
    let mut first = true;
    for value in headers.get_all(header::COOKIE) {
        to.put_slice(if first { b"cookie: " } else { b"; " });
        to.put_slice(value.as_bytes());
        first = false;
    }
    if !first {
        to.put_slice(b"\r\n");
    }
}

fn field(to: &mut BytesMut, name: &HeaderName, value: &HeaderValue) {
    to.put_slice(name.as_str().as_bytes());
    to.put_slice(b": ");
    to.put_slice(value.as_bytes());
    to.put_slice(b"\r\n");
}

/// Writes the trailer section of a chunked body and its end.
pub(crate) fn trailers(to: &mut BytesMut, trailers: &HeaderMap) {
    to.put_slice(b"0\r\n");
    for (name, value) in trailers {
        if headers::may_trail(name) {
            field(to, name, value);
        }
    }
    to.put_slice(b"\r\n");
}
