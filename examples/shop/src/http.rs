//! Heads of HTTP/1.1 requests, read strictly.

/// The largest head that is read, in bytes.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;

/// A request's line and headers, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    text: String,
    body: Framing,
}

/// How long a request's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes.
    Length(u64),
    /// Chunks, up to an empty one.
    Chunked,
}

impl Head {
    /// Checks the bytes up to and with the empty line; an error is what the client is told with status 400.
    pub fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(bytes).map_err(|_| "the head is not text")?.to_owned();
        let mut head = Self { text, body: Framing::Length(0) };
        let mut line = head.request_line().split(' ');
        let (method, target, version) = (line.next(), line.next(), line.next());
        if method.is_none_or(str::is_empty) || target.is_none_or(str::is_empty) || line.next().is_some() {
            return Err("the request line is not METHOD TARGET VERSION");
        }
        if !matches!(version, Some("HTTP/1.1" | "HTTP/1.0")) {
            return Err("the version is not HTTP/1.1 or HTTP/1.0");
        }
        if !head.lines().all(|line| line.split_once(':').is_some_and(|(name, _)| is_token(name))) {
            return Err("a header is not NAME: VALUE");
        }
        head.body = head.framing()?;
        Ok(head)
    }

    /// The method, such as `GET`.
    pub fn method(&self) -> &str {
        self.request_line().split(' ').next().unwrap_or_default()
    }

    /// The path, without the query.
    pub fn path(&self) -> &str {
        self.target().split('?').next().unwrap_or_default()
    }

    /// The number after `name=` in the query.
    pub fn number(&self, name: &str) -> Option<u64> {
        let (_, query) = self.target().split_once('?')?;
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
    }

    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    /// The headers, as they came.
    pub fn headers_text(&self) -> &str {
        self.text.split_once("\r\n").map_or("", |(_, headers)| headers.trim_end())
    }

    /// How the body is framed.
    pub fn framing_of_body(&self) -> Framing {
        self.body
    }

    /// Whether the client goes on using the connection after this request.
    pub fn keeps_alive(&self) -> bool {
        let says = |word: &str| self.values("connection").any(|value| has_word(value, word));
        if self.request_line().ends_with("1.1") { !says("close") } else { says("keep-alive") }
    }

    /// Whether the client asks for a WebSocket.
    pub fn wants_websocket(&self) -> bool {
        self.header("upgrade").is_some_and(|value| has_word(value, "websocket"))
            && self.header("connection").is_some_and(|value| has_word(value, "upgrade"))
    }

    fn framing(&self) -> Result<Framing, &'static str> {
        let mut lengths = self.values("content-length");
        let mut codings = self.values("transfer-encoding");
        match (lengths.next(), codings.next()) {
            (None, None) => Ok(Framing::Length(0)),
            (None, Some(coding)) if coding.eq_ignore_ascii_case("chunked") && codings.next().is_none() => {
                Ok(Framing::Chunked)
            }
            (Some(length), None) if lengths.next().is_none() && length.bytes().all(|b| b.is_ascii_digit()) => {
                length.parse().map(Framing::Length).map_err(|_| "the content length is not a number")
            }
            _ => Err("the body's length is not clear"),
        }
    }

    fn request_line(&self) -> &str {
        self.text.split("\r\n").next().unwrap_or_default()
    }

    fn target(&self) -> &str {
        self.request_line().split(' ').nth(1).unwrap_or_default()
    }

    fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.split("\r\n").skip(1).take_while(|line| !line.is_empty())
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.lines().filter_map(move |line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim_matches([' ', '\t']))
        })
    }
}

fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn has_word(value: &str, word: &str) -> bool {
    value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word))
}

/// The words that go with a status.
pub fn reason(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        426 => "Upgrade Required",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Head, &'static str> {
        Head::parse(text.as_bytes())
    }

    #[test]
    fn reads_a_request() {
        let head = parse("GET /slow?ms=5&n=2 HTTP/1.1\r\nHost: a\r\nX-A:  b \r\n\r\n").unwrap();
        assert_eq!(
            (head.method(), head.path(), head.number("n"), head.header("x-a")),
            ("GET", "/slow", Some(2), Some("b"))
        );
        assert!(head.keeps_alive() && !head.wants_websocket());
        assert!(!parse("GET / HTTP/1.0\r\n\r\n").unwrap().keeps_alive());
        assert!(!parse("GET / HTTP/1.1\r\nConnection: x, Close\r\n\r\n").unwrap().keeps_alive());
    }

    #[test]
    fn frames_bodies_strictly() {
        let framing = |headers: &str| parse(&format!("POST / HTTP/1.1\r\n{headers}\r\n")).map(|h| h.framing_of_body());
        assert_eq!(framing("Content-Length: 12\r\n"), Ok(Framing::Length(12)));
        assert_eq!(framing("Transfer-Encoding: chunked\r\n"), Ok(Framing::Chunked));
        for bad in [
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip\r\n",
        ] {
            assert_eq!(framing(bad), Err("the body's length is not clear"), "{bad}");
        }
        assert_eq!(framing("Content-Length : 1\r\n"), Err("a header is not NAME: VALUE"));
        assert_eq!(framing("a: b\r\n folded\r\n"), Err("a header is not NAME: VALUE"));
    }
}
