//! Answer heads of instances, read strictly. Pure.

use super::Failure;
use crate::headers;
use crate::limits::{ANSWER_FIELDS_MAX, ANSWER_HEAD_BYTES_MAX};
use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use std::mem::MaybeUninit;

/// How an answer's body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// So many bytes, or none.
    Length(u64),
    /// In chunks.
    Chunked,
    /// Until the connection ends.
    Close,
}

/// The head of an answer; fields of one connection only are taken out, but for those of an upgrade.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) framing: Framing,
    /// Whether the connection can be used again afterwards.
    pub(crate) keep: bool,
}

#[derive(Clone, Copy, Default)]
struct Span {
    name: (u16, u16),
    value: (u16, u16),
}

/// Takes a whole head from the front of `input`; none if it is not complete yet. `method` is the request's.
pub(crate) fn take(input: &mut BytesMut, method: &Method) -> Result<Option<Answer>, Failure> {
    if input.is_empty() {
        return Ok(None);
    }
    let mut spans = [Span::default(); ANSWER_FIELDS_MAX];
    let window = &input[..input.len().min(ANSWER_HEAD_BYTES_MAX)];
    let mut fields = [const { MaybeUninit::uninit() }; ANSWER_FIELDS_MAX];
    let mut head = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut head, window, &mut fields);
    let length = match parsed {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if input.len() >= ANSWER_HEAD_BYTES_MAX => {
            return Err(Failure::Malformed("its head is too large"));
        }
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Failure::Malformed("it has too many header fields")),
        Err(_) => return Err(Failure::Malformed("its head is not HTTP/1")),
    };
    let (code, one_one) = (head.code.unwrap_or(0), head.version == Some(1));
    let count = head.headers.len();
    let start = window.as_ptr() as usize;
    // The window is shorter than 64 KiB, so offsets fit.
    let span = |part: &[u8]| {
        let from = (part.as_ptr() as usize).wrapping_sub(start) as u16;
        (from, from.wrapping_add(part.len() as u16))
    };
    for (to, field) in spans.iter_mut().zip(head.headers.iter()) {
        *to = Span { name: span(field.name.as_bytes()), value: span(field.value) };
    }
    let bytes = input.split_to(length).freeze();
    let status = StatusCode::from_u16(code).map_err(|_| Failure::Malformed("its status is not one"))?;
    read(&bytes, &spans[..count], status, one_one, method).map(Some)
}

fn read(bytes: &Bytes, spans: &[Span], status: StatusCode, one_one: bool, method: &Method) -> Result<Answer, Failure> {
    let upgrade = status == StatusCode::SWITCHING_PROTOCOLS;
    let (mut length, mut chunked, mut close, mut keep_alive) = (None, false, false, false);
    let mut map = HeaderMap::with_capacity(spans.len() + 2);
    for span in spans {
        let name = HeaderName::from_bytes(&bytes[span.name.0.into()..span.name.1.into()])
            .map_err(|_| Failure::Malformed("a header field name is malformed"))?;
        let value = bytes.slice(usize::from(span.value.0)..usize::from(span.value.1));
        if name == header::CONTENT_LENGTH {
            let number = plain_number(&value).ok_or(Failure::Malformed("its Content-Length is malformed"))?;
            if length.replace(number).is_some_and(|before| before != number) {
                return Err(Failure::Malformed("it has two Content-Lengths"));
            }
            continue;
        }
        if name == header::TRANSFER_ENCODING {
            if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Failure::Malformed("its Transfer-Encoding is not plain `chunked`"));
            }
            chunked = true;
            continue;
        }
        if name == header::CONNECTION {
            for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                close |= option.eq_ignore_ascii_case(b"close");
                keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            }
        }
        let value = HeaderValue::from_maybe_shared(value)
            .map_err(|_| Failure::Malformed("a header field value is malformed"))?;
        map.try_append(name, value).map_err(|_| Failure::Malformed("it has too many header fields"))?;
    }
    if map.contains_key(header::CONNECTION) || map.contains_key("keep-alive") || map.contains_key(header::UPGRADE) {
        let protocol = map.get(header::UPGRADE).cloned();
        headers::strip_hop_by_hop(&mut map);
        if let Some(protocol) = protocol.filter(|_| upgrade) {
            map.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            map.insert(header::UPGRADE, protocol);
        }
    }
    let framing = framing(status, method, length, chunked);
    if let Some(length) = length.filter(|_| !chunked && !upgrade) {
        map.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    let keep = !close && (one_one || keep_alive) && framing != Framing::Close && !(chunked && length.is_some());
    Ok(Answer { status, headers: map, framing, keep })
}

fn framing(status: StatusCode, method: &Method, length: Option<u64>, chunked: bool) -> Framing {
    let bodiless = status.is_informational() || matches!(status.as_u16(), 204 | 304) || *method == Method::HEAD;
    match (bodiless, chunked, length) {
        (true, ..) => Framing::Length(0),
        (_, true, _) => Framing::Chunked,
        (_, _, Some(length)) => Framing::Length(length),
        _ => Framing::Close,
    }
}

fn plain_number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 18 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, method: Method) -> Result<Option<(Answer, usize)>, String> {
        let mut input = BytesMut::from(text);
        let answer = take(&mut input, &method).map_err(|e| e.to_string())?;
        Ok(answer.map(|answer| (answer, input.len())))
    }

    #[test]
    fn framings() {
        for (head, method, framing, keep) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", Method::GET, Framing::Length(3), true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", Method::HEAD, Framing::Length(0), true),
            ("HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", Method::GET, Framing::Length(0), true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", Method::GET, Framing::Chunked, true),
            ("HTTP/1.1 200 OK\r\n\r\n", Method::GET, Framing::Close, false),
            (
                "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n",
                Method::GET,
                Framing::Length(0),
                false,
            ),
            ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", Method::GET, Framing::Length(0), false),
            (
                "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
                Method::GET,
                Framing::Length(0),
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
                Method::GET,
                Framing::Length(3),
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
                Method::GET,
                Framing::Chunked,
                false,
            ),
        ] {
            let (answer, left) = parse(&format!("{head}abc"), method.clone()).unwrap().unwrap();
            assert_eq!((answer.framing, answer.keep, left), (framing, keep, 3), "{method} {head}");
            let gone = ["connection", "transfer-encoding"];
            assert!(gone.iter().all(|name| !answer.headers.contains_key(*name)), "{:?}", answer.headers);
        }
    }

    #[test]
    fn incomplete_and_improper_heads() {
        assert!(parse("", Method::GET).unwrap().is_none());
        assert!(parse("HTTP/1.1 200 OK\r\nContent-", Method::GET).unwrap().is_none());
        let large = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(ANSWER_HEAD_BYTES_MAX));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(ANSWER_FIELDS_MAX + 1));
        for (bad, why) in [
            ("SSH-2.0\r\n\r\n", "its head is not HTTP/1"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "it has two Content-Lengths"),
            ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "its Content-Length is malformed"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "its Transfer-Encoding is not plain `chunked`"),
            ("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", "its head is not HTTP/1"),
            ("HTTP/1.1 099 OK\r\n\r\n", "its status is not one"),
            (large.as_str(), "its head is too large"),
            (many.as_str(), "it has too many header fields"),
        ] {
            let error = parse(bad, Method::GET).unwrap_err();
            assert_eq!(error, format!("not a proper answer: {why}"), "{}", &bad[..bad.len().min(60)]);
        }
    }
}
