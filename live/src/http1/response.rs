//! Heads of answers.

/// What an answer's head says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) framing: Framing,
    /// Whether the connection ends after this answer.
    pub(crate) close: bool,
    /// The value of Sec-WebSocket-Accept.
    pub(crate) websocket_accept: Option<String>,
}

/// How long the body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    UntilEnd,
}

impl Head {
    /// Reads the bytes up to and with the empty line.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let (old, rest) = match (first.strip_prefix("HTTP/1.1 "), first.strip_prefix("HTTP/1.0 ")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(format!("`{first}` is not HTTP/1.1")),
        };
        let status =
            rest.get(..3).and_then(|code| code.parse().ok()).ok_or_else(|| format!("`{first}` has no status"))?;
        let mut head = Self { status, framing: Framing::UntilEnd, close: old, websocket_accept: None };
        if status < 200 || status == 204 || status == 304 {
            head.framing = Framing::Length(0);
        }
        for line in lines.take_while(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').ok_or_else(|| format!("`{line}` is no header"))?;
            head.header(&name.to_ascii_lowercase(), value.trim())?;
        }
        head.close |= head.framing == Framing::UntilEnd;
        Ok(head)
    }

    fn header(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "content-length" if self.framing == Framing::UntilEnd => {
                self.framing = Framing::Length(value.parse().map_err(|_| format!("content-length: {value}"))?);
            }
            "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => self.framing = Framing::Chunked,
            "connection" => {
                let says = |word: &str| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word));
                self.close = says("close") || self.close && !says("keep-alive");
            }
            "sec-websocket-accept" => self.websocket_accept = Some(value.to_owned()),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let parse = |text: &str| Head::parse(text.as_bytes()).map(|h| (h.status, h.framing, h.close));
        assert_eq!(parse("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), Ok((200, Framing::Length(5), false)));
        assert_eq!(
            parse("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nConnection: x, Close\r\n\r\n"),
            Ok((200, Framing::Chunked, true))
        );
        assert_eq!(parse("HTTP/1.0 200 OK\r\n\r\n"), Ok((200, Framing::UntilEnd, true)));
        assert_eq!(parse("HTTP/1.1 204 No\r\n\r\n"), Ok((204, Framing::Length(0), false)));
        assert_eq!(parse("HTTP/2 200\r\n\r\n"), Err("`HTTP/2 200` is not HTTP/1.1".into()));
        assert_eq!(parse("HTTP/1.1 200 OK\r\nnonsense\r\n\r\n"), Err("`nonsense` is no header".into()));
    }
}
