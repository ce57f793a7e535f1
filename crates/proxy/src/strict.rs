//! Strict framing of HTTP/1 requests, before the HTTP library sees a byte.
//!
//! [`Guard`] follows a client connection: request head, body by its framing, next head. It passes whole heads only, so
//! that whatever is ambiguous (two lengths, two hosts, folded lines, bare line feeds) is refused by one place and never
//! reaches an instance: what we accept, every reader of it understands in the same way. Pure: bytes in, bytes out.

use crate::chunked::{BadChunk, Scanner, Step};
use crate::limits::{FIELDS_MAX, HEAD_BYTES_MAX, TARGET_BYTES_MAX};

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The status to answer.
    pub status: u16,
    /// For the client.
    pub why: &'static str,
}

const fn bad(why: &'static str) -> Reject {
    Reject { status: 400, why }
}

/// How the body of a request is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none, or so many bytes.
    Length(u64),
    /// In chunks.
    Chunked,
}

/// What matters of a request head that is well formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// How its body is framed.
    pub framing: Framing,
    /// Whether it asks to leave HTTP: both `Connection: upgrade` and `Upgrade`, and something else than `h2c`.
    pub upgrade: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Head,
    Length(u64),
    Chunked(Scanner),
    /// An upgrade was asked for; nothing is read until it is known whether it takes place.
    Undecided,
    /// Not HTTP any more.
    Tunnel,
    /// A head was refused; whatever follows is thrown away.
    Refused,
}

/// Follows the requests of one connection.
#[derive(Debug)]
pub struct Guard {
    state: State,
    partial: Vec<u8>,
    heads: u64,
    /// Bytes came before an upgrade was decided.
    late: bool,
}

/// What [`Guard::feed`] found wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A request head: nothing of it was passed on.
    Head(Reject),
    /// A chunk: its request is under way.
    Body(BadChunk),
}

impl Default for Guard {
    fn default() -> Self {
        Self { state: State::Head, partial: Vec::new(), heads: 0, late: false }
    }
}

impl Guard {
    /// How many heads were passed on so far.
    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether a head has begun and is not complete.
    pub fn in_head(&self) -> bool {
        !self.partial.is_empty()
    }

    /// Whether nothing of a request is under way or has begun, and the next bytes are a head.
    pub fn is_between(&self) -> bool {
        matches!(self.state, State::Head) && self.partial.is_empty() && !self.late
    }

    /// Gives back the memory that it does not need now.
    pub fn shrink(&mut self) {
        self.partial.shrink_to_fit();
    }

    /// Whether the body of a request is under way.
    pub fn in_body(&self) -> bool {
        matches!(self.state, State::Length(_) | State::Chunked(_))
    }

    /// Whether nothing should be read now because an upgrade is undecided.
    pub fn undecided(&self) -> bool {
        matches!(self.state, State::Undecided)
    }

    /// Whether whatever comes is thrown away.
    pub fn refused(&self) -> bool {
        matches!(self.state, State::Refused)
    }

    /// Decides an upgrade that was asked for.
    pub fn decide(&mut self, tunnel: bool) {
        if self.undecided() {
            self.state = if tunnel { State::Tunnel } else { State::Head };
        }
    }

    /// Takes `input`, gives to `pass` what the HTTP library may see, in order.
    pub fn feed(&mut self, mut input: &[u8], mut pass: impl FnMut(&[u8])) -> Result<(), Refusal> {
        while !input.is_empty() {
            match &mut self.state {
                State::Tunnel => {
                    pass(input);
                    return Ok(());
                }
                State::Refused => return Ok(()),
                State::Undecided => {
                    self.late = true;
                    self.partial.extend_from_slice(input);
                    return Ok(());
                }
                State::Length(left) => {
                    let taken = (*left).min(input.len() as u64);
                    *left -= taken;
                    let (now, later) = input.split_at(taken as usize);
                    if *left == 0 {
                        self.state = State::Head;
                    }
                    pass(now);
                    input = later;
                }
                State::Chunked(scanner) => {
                    let (Step::Skip(taken) | Step::Data(taken) | Step::Trailer(taken) | Step::End(taken)) =
                        scanner.step(input).map_err(|why| {
                            self.state = State::Refused;
                            Refusal::Body(why)
                        })?;
                    if let State::Chunked(scanner) = &self.state
                        && scanner.done()
                    {
                        self.state = State::Head;
                    }
                    let (now, later) = input.split_at(taken);
                    pass(now);
                    input = later;
                }
                State::Head => input = self.head(input, &mut pass)?,
            }
        }
        Ok(())
    }

    /// Bytes that were kept back while an upgrade was undecided, once it is decided; they are fed again.
    pub fn kept_back(&mut self) -> Vec<u8> {
        if !self.late || self.undecided() {
            return Vec::new();
        }
        self.late = false;
        std::mem::take(&mut self.partial)
    }

    fn head<'a>(&mut self, input: &'a [u8], pass: &mut dyn FnMut(&[u8])) -> Result<&'a [u8], Refusal> {
        let mut input = input;
        if self.partial.is_empty() {
            // Empty lines before a request line are allowed and mean nothing.
            while let Some(rest) = input.strip_prefix(b"\r\n") {
                input = rest;
            }
            if let Some(end) = end_of_head(input, 0) {
                let (head, rest) = input.split_at(end);
                self.accept(head)?;
                pass(head);
                return Ok(rest);
            }
            self.partial.extend_from_slice(input);
        } else {
            let before = self.partial.len().saturating_sub(3);
            self.partial.extend_from_slice(input);
            let empty = self.partial.chunks_exact(2).take_while(|line| line == b"\r\n").count() * 2;
            self.partial.drain(..empty);
            if let Some(end) = end_of_head(&self.partial, before.saturating_sub(empty)) {
                let head = std::mem::take(&mut self.partial);
                self.accept(&head[..end])?;
                pass(&head[..end]);
                return Ok(&input[input.len() - (head.len() - end)..]);
            }
        }
        if self.partial.len() > HEAD_BYTES_MAX {
            return Err(self.refuse(Reject { status: 431, why: "the request head is too large" }));
        }
        Ok(&[])
    }

    fn accept(&mut self, head: &[u8]) -> Result<(), Refusal> {
        match check(head) {
            Ok(Head { upgrade: true, framing: Framing::Length(0) }) => self.state = State::Undecided,
            Ok(Head { framing: Framing::Length(0), .. }) => {}
            Ok(Head { framing: Framing::Length(length), .. }) => self.state = State::Length(length),
            Ok(Head { framing: Framing::Chunked, .. }) => self.state = State::Chunked(Scanner::new()),
            Err(reject) => return Err(self.refuse(reject)),
        }
        self.heads += 1;
        Ok(())
    }

    fn refuse(&mut self, reject: Reject) -> Refusal {
        self.state = State::Refused;
        self.partial = Vec::new();
        Refusal::Head(reject)
    }
}

fn end_of_head(input: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(found) = memchr(b'\n', &input[at..]) {
        let lf = at + found;
        if input[..lf].ends_with(b"\r\n\r") {
            return Some(lf + 1);
        }
        // A bare line feed can end a head for a lenient reader; `check` refuses it, here it must only be seen.
        if lf > 0 && input[..lf].ends_with(b"\n") {
            return Some(lf + 1);
        }
        at = lf + 1;
    }
    None
}

fn memchr(needle: u8, hay: &[u8]) -> Option<usize> {
    hay.iter().position(|byte| *byte == needle)
}

/// Checks a whole request head, its closing empty line included.
pub fn check(head: &[u8]) -> Result<Head, Reject> {
    if head.len() > HEAD_BYTES_MAX {
        return Err(Reject { status: 431, why: "the request head is too large" });
    }
    let mut lines = Lines(head);
    let line = lines.next()?.ok_or(bad("the request line is missing"))?;
    let request = request_line(line)?;
    let mut fields = Fields::default();
    let mut count = 0;
    while let Some(line) = lines.next()? {
        if line.is_empty() {
            break;
        }
        count += 1;
        if count > FIELDS_MAX {
            return Err(Reject { status: 431, why: "the request has too many header fields" });
        }
        fields.add(line)?;
    }
    fields.conclude(&request)
}

struct Lines<'a>(&'a [u8]);

impl<'a> Lines<'a> {
    /// The next line, without its CRLF.
    fn next(&mut self) -> Result<Option<&'a [u8]>, Reject> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let lf = memchr(b'\n', self.0).ok_or(bad("a line of the request head does not end in CRLF"))?;
        let line = self.0[..lf].strip_suffix(b"\r").ok_or(bad("a line of the request head does not end in CRLF"))?;
        self.0 = &self.0[lf + 1..];
        Ok(Some(line))
    }
}

struct RequestLine<'a> {
    /// HTTP/1.1, as opposed to HTTP/1.0.
    one_one: bool,
    /// The host of a target in absolute form.
    authority: Option<&'a [u8]>,
}

fn request_line(line: &[u8]) -> Result<RequestLine<'_>, Reject> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(bad("the request line is not METHOD TARGET VERSION"));
    };
    if method.is_empty() || method.len() > 32 || !method.iter().all(|byte| is_token(*byte)) {
        return Err(bad("the method is malformed"));
    }
    let one_one = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        _ => return Err(Reject { status: 505, why: "only HTTP/1.0, HTTP/1.1 and HTTP/2 are spoken here" }),
    };
    if target.len() > TARGET_BYTES_MAX {
        return Err(Reject { status: 414, why: "the request target is too long" });
    }
    if target.is_empty() || !target.iter().all(|byte| matches!(byte, 0x21..=0x7e) && *byte != b'#') {
        return Err(bad("the request target is malformed"));
    }
    let authority = match target {
        [b'/', ..] => None,
        b"*" if method == b"OPTIONS" => None,
        _ if method == b"CONNECT" => None,
        _ => Some(absolute(target).ok_or(bad("the request target is malformed"))?),
    };
    Ok(RequestLine { one_one, authority })
}

/// The host of `http://HOST/...`.
fn absolute(target: &[u8]) -> Option<&[u8]> {
    let prefix = |scheme: &[u8]| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    let rest = prefix(b"http://").or_else(|| prefix(b"https://"))?;
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    is_host(&rest[..end]).then_some(&rest[..end])
}

#[derive(Default)]
struct Fields<'a> {
    host: Option<&'a [u8]>,
    length: Option<u64>,
    chunked: bool,
    connection_upgrade: bool,
    upgrade: bool,
}

impl<'a> Fields<'a> {
    fn add(&mut self, line: &'a [u8]) -> Result<(), Reject> {
        if matches!(line[0], b' ' | b'\t') {
            return Err(bad("a header line is folded"));
        }
        let colon = line.iter().position(|byte| !is_token(*byte)).filter(|at| *at > 0 && line[*at] == b':');
        let colon = colon.ok_or(bad("a header field name is malformed"))?;
        let (name, value) = (&line[..colon], trim(&line[colon + 1..]));
        if !value.iter().all(|byte| matches!(byte, b'\t' | 0x20..=0x7e | 0x80..)) {
            return Err(bad("a header field value has control characters"));
        }
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                if self.host.replace(value).is_some() {
                    return Err(bad("there is more than one Host"));
                }
                if !is_host(value) {
                    return Err(bad("the Host is malformed"));
                }
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.upgrade = !value.eq_ignore_ascii_case(b"h2c"),
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.connection_upgrade |=
                    value.split(|byte| *byte == b',').any(|option| trim(option).eq_ignore_ascii_case(b"upgrade"));
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let length = number(value).ok_or(bad("the Content-Length is malformed"))?;
                if self.length.replace(length).is_some() {
                    return Err(bad("there is more than one Content-Length"));
                }
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if std::mem::replace(&mut self.chunked, true) {
                    return Err(bad("there is more than one Transfer-Encoding"));
                }
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(bad("the Transfer-Encoding is not plain `chunked`"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn conclude(self, request: &RequestLine<'_>) -> Result<Head, Reject> {
        if self.chunked && self.length.is_some() {
            return Err(bad("there are both Content-Length and Transfer-Encoding"));
        }
        if self.chunked && !request.one_one {
            return Err(bad("HTTP/1.0 has no Transfer-Encoding"));
        }
        match (self.host, request.authority) {
            (None, _) if request.one_one => return Err(bad("the Host is missing")),
            (Some(host), Some(authority)) if !host.eq_ignore_ascii_case(authority) => {
                return Err(bad("the Host is not that of the request target"));
            }
            _ => {}
        }
        let framing = if self.chunked { Framing::Chunked } else { Framing::Length(self.length.unwrap_or(0)) };
        Ok(Head { framing, upgrade: self.upgrade && self.connection_upgrade && request.one_one })
    }
}

fn trim(value: &[u8]) -> &[u8] {
    let start = value.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !matches!(byte, b' ' | b'\t')).map_or(start, |at| at + 1);
    &value[start..end]
}

fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 18 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// Whether `text` is a host with an optional port; no user, no blanks, not empty.
pub(crate) fn is_host(text: &[u8]) -> bool {
    let (name, port) = match text {
        [b'[', ..] => match text.iter().position(|byte| *byte == b']') {
            Some(end) => (&text[1..end], &text[end + 1..]),
            None => return false,
        },
        _ => text.split_at(text.iter().position(|byte| *byte == b':').unwrap_or(text.len())),
    };
    let inside = if text.starts_with(b"[") {
        |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')
    } else {
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
    };
    let port_is_good = port.is_empty()
        || (port[0] == b':' && (2..=6).contains(&port.len()) && port[1..].iter().all(u8::is_ascii_digit));
    !name.is_empty() && name.len() <= 255 && name.iter().all(inside) && port_is_good
}

/// Whether a byte may stand in a method or a field name.
pub(crate) fn is_token(byte: u8) -> bool {
    const TOKEN: [bool; 256] = {
        let mut table = [false; 256];
        let mut at = 0;
        while at < 256 {
            let byte = at as u8;
            table[at] = byte.is_ascii_alphanumeric()
                || matches!(
                    byte,
                    b'!' | b'#'
                        | b'$'
                        | b'%'
                        | b'&'
                        | b'\''
                        | b'*'
                        | b'+'
                        | b'-'
                        | b'.'
                        | b'^'
                        | b'_'
                        | b'`'
                        | b'|'
                        | b'~'
                );
            at += 1;
        }
        table
    };
    TOKEN[usize::from(byte)]
}

#[cfg(test)]
mod tests;
