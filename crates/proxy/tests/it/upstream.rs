//! Instances, small and exactly as bad as a test wants.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

/// A request as an instance sees it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) fields: HashMap<String, String>,
    /// The head as it came.
    pub(crate) raw: String,
}

impl Seen {
    pub(crate) fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap()
    }
}

/// The connection that a request came by.
pub(crate) struct Line {
    pub(crate) reader: BufReader<TcpStream>,
    /// How many requests came by it before.
    pub(crate) number: usize,
}

impl Line {
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.reader.get_mut().write_all(bytes.as_ref());
    }

    /// 200 with a body.
    pub(crate) fn ok(&mut self, body: impl AsRef<[u8]>) {
        let body = body.as_ref();
        let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
        answer.extend_from_slice(body);
        self.write(answer);
    }

    pub(crate) fn close(&mut self) {
        let _ = self.reader.get_ref().shutdown(Shutdown::Both);
    }

    /// The body of a request by its framing.
    pub(crate) fn body(&mut self, seen: &Seen) -> Vec<u8> {
        let mut body = Vec::new();
        if let Some(length) = seen.fields.get("content-length") {
            body.resize(length.parse().unwrap(), 0);
            if self.reader.read_exact(&mut body).is_err() {
                body.clear();
            }
        } else if seen.fields.contains_key("transfer-encoding") {
            loop {
                let mut size = String::new();
                if self.reader.read_line(&mut size).unwrap_or(0) == 0 {
                    return body;
                }
                let size = usize::from_str_radix(size.trim(), 16).unwrap();
                if size == 0 {
                    break;
                }
                let start = body.len();
                body.resize(start + size + 2, 0);
                if self.reader.read_exact(&mut body[start..]).is_err() {
                    return body;
                }
                body.truncate(start + size);
            }
            let mut line = String::new();
            while self.reader.read_line(&mut line).unwrap_or(0) > 2 {
                line.clear();
            }
        }
        body
    }
}

/// An instance on a port of its own.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    pub(crate) connections: Arc<AtomicUsize>,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
    over: Arc<AtomicBool>,
}

impl Upstream {
    /// Answers each request by `handle`, which may do anything with the connection.
    pub(crate) fn start(handle: impl Fn(&Seen, &mut Line) + Send + Sync + 'static) -> Self {
        // Free a moment ago; others on this machine open connections.
        let mut tries = (0..100).map(|_| TcpListener::bind(super::support::free_address()));
        let listener = tries.find_map(Result::ok).expect("a free port");
        let address = listener.local_addr().unwrap();
        let upstream = Self { address, connections: Arc::default(), seen: Arc::default(), over: Arc::default() };
        let handle = Arc::new(handle);
        let (connections, seen, over) = (upstream.connections.clone(), upstream.seen.clone(), upstream.over.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { return };
                let _ = stream.set_nodelay(true);
                connections.fetch_add(1, SeqCst);
                let (handle, seen) = (handle.clone(), seen.clone());
                std::thread::spawn(move || {
                    let mut line = Line { reader: BufReader::new(stream), number: 0 };
                    while let Some(request) = read_head(&mut line.reader) {
                        seen.lock().unwrap().push(request.clone());
                        handle(&request, &mut line);
                        line.number += 1;
                    }
                });
            }
        });
        upstream
    }

    /// Answers everything with `name`.
    pub(crate) fn named(name: &'static str) -> Self {
        Self::start(move |seen, line| {
            line.body(seen);
            line.ok(name);
        })
    }

    /// How many requests came.
    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    pub(crate) fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().cloned().expect("a request came")
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.over.store(true, SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn read_head(reader: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut seen = Seen::default();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        seen.raw.push_str(&line);
        let text = line.trim_end();
        if text.is_empty() {
            return Some(seen);
        }
        if seen.line.is_empty() {
            seen.line = text.to_owned();
        } else if let Some((name, value)) = text.split_once(':') {
            seen.fields.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }
}
