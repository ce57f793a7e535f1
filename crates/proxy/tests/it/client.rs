//! A client that says exactly what a test wants.

use super::support::PATIENCE;
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// An answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

/// A connection of a client.
pub(crate) struct Client {
    pub(crate) reader: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap()
    }

    pub(crate) fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes.as_ref())
    }

    /// The head of an answer.
    pub(crate) fn head(&mut self) -> io::Result<Answer> {
        let mut answer = Answer::default();
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end();
            if line.is_empty() && answer.status != 100 {
                return Ok(answer);
            }
            if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
                answer.status = rest[..3].parse().unwrap();
            } else if let Some((name, value)) = line.split_once(": ") {
                answer.fields.insert(name.to_ascii_lowercase(), value.to_owned());
            }
        }
    }

    /// One chunk of a body; none at its end.
    pub(crate) fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut size = String::new();
        self.reader.read_line(&mut size)?;
        let size = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
        let mut chunk = vec![0; size];
        self.reader.read_exact(&mut chunk)?;
        if size > 0 {
            self.reader.read_exact(&mut [0; 2])?;
            return Ok(Some(chunk));
        }
        Ok(None)
    }

    /// The lines of a trailer section.
    pub(crate) fn trailer(&mut self) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line)?;
            if line.trim_end().is_empty() {
                return Ok(lines);
            }
            lines.push(line.trim_end().to_owned());
        }
    }

    /// A whole answer.
    pub(crate) fn answer(&mut self) -> io::Result<Answer> {
        let mut answer = self.head()?;
        if let Some(length) = answer.fields.get("content-length") {
            answer.body.resize(length.parse().unwrap(), 0);
            self.reader.read_exact(&mut answer.body)?;
        } else if answer.field("transfer-encoding") == "chunked" {
            while let Some(chunk) = self.chunk()? {
                answer.body.extend(chunk);
            }
            self.trailer()?;
        } else if !matches!(answer.status, 204 | 304) {
            self.reader.read_to_end(&mut answer.body)?;
        }
        Ok(answer)
    }

    pub(crate) fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Answer {
        self.send(bytes).unwrap();
        self.answer().unwrap()
    }

    pub(crate) fn get(&mut self, target: &str) -> Answer {
        self.ask(format!("GET {target} HTTP/1.1\r\nHost: shop.example\r\n\r\n"))
    }

    /// Whether the proxy ended the connection, as soon as anything comes; says what came instead.
    pub(crate) fn at_end(&mut self) -> bool {
        let came = loop {
            match self.reader.read(&mut [0]) {
                // A machine that is frozen for a moment interrupts a read that has a timeout (signal(7)).
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                came => break came,
            }
        };
        let ended = matches!(came, Ok(0));
        if !ended {
            eprintln!("no end of the connection, but {came:?}");
        }
        ended
    }
}

/// One request on a connection of its own.
pub(crate) fn get(address: SocketAddr, target: &str) -> Answer {
    Client::connect(address).get(target)
}

/// The same with more header lines, each with its CRLF.
pub(crate) fn get_with(address: SocketAddr, target: &str, fields: &str) -> Answer {
    Client::connect(address).ask(format!("GET {target} HTTP/1.1\r\nHost: shop.example\r\n{fields}\r\n"))
}
