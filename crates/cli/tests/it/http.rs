//! One request, over one connection.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// What came back; status 0 if nothing did.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find_map(|(known, value)| known.eq_ignore_ascii_case(name).then(|| value.trim()))
    }
}

pub(crate) fn get(url: &str) -> Answer {
    get_with(url, &[])
}

/// GET of `http://HOST:PORT/PATH` with these header fields besides.
pub(crate) fn get_with(url: &str, headers: &[(&str, &str)]) -> Answer {
    ask(url, headers).unwrap_or_default()
}

fn ask(url: &str, headers: &[(&str, &str)]) -> std::io::Result<Answer> {
    let bad = || std::io::Error::other(format!("`{url}` is no address"));
    let (address, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).ok_or_else(bad)?;
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let host =
        if headers.iter().any(|(name, _)| *name == "host") { String::new() } else { format!("host: {address}\r\n") };
    let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    write!(stream, "GET /{path} HTTP/1.1\r\n{host}{more}connection: close\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Ok(Answer { status, head: head.into(), body: body.into() })
}
