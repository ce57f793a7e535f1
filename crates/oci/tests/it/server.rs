//! A registry that does what a test wants, once per request.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is done with one request.
#[derive(Clone, Debug)]
pub(crate) enum Does {
    /// Answers with status, header lines and body.
    Says(u16, String, Vec<u8>),
    /// Announces more bytes than it sends.
    Cut(String, Vec<u8>),
    /// Begins an answer and never goes on.
    Hangs,
    /// Closes the connection.
    Closes,
}

/// Its requests, `METHOD PATH` with `+auth` where there were credentials.
pub(crate) struct Faulty {
    pub(crate) address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Faulty {
    /// Does all of these in turn, and the last one ever after.
    pub(crate) fn new(does: Vec<Does>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (noted, host) = (asked.clone(), address.clone());
        let does = Arc::new(Mutex::new(VecDeque::from(does)));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (noted, does, host) = (noted.clone(), does.clone(), host.clone());
                std::thread::spawn(move || answer(stream, &noted, &does, &host));
            }
        });
        Self { address, asked }
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(mut stream: TcpStream, asked: &Mutex<Vec<String>>, does: &Mutex<VecDeque<Does>>, host: &str) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut head, mut length, mut auth) = (String::new(), 0, "");
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) <= 2 {
            break;
        }
        let lower = line.to_ascii_lowercase();
        length = lower.strip_prefix("content-length:").map_or(length, |text| text.trim().parse().unwrap());
        auth = if lower.starts_with("authorization:") { " +auth" } else { auth };
        head = if head.is_empty() { line } else { head };
    }
    let _ = std::io::copy(&mut reader.take(length), &mut std::io::sink());
    let request: Vec<&str> = head.split(' ').collect();
    asked.lock().unwrap().push(format!("{} {}{auth}", request[0], request.get(1).unwrap_or(&"")));
    let next = {
        let mut does = does.lock().unwrap();
        if does.len() > 1 { does.pop_front() } else { does.front().cloned() }
    };
    let (status, headers, body, more) = match next {
        Some(Does::Says(status, headers, body)) => (status, headers, body, 0),
        Some(Does::Cut(headers, body)) => (200, headers, body, 100),
        Some(Does::Hangs) => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
            std::thread::sleep(Duration::from_secs(60));
            return;
        }
        Some(Does::Closes) | None => return,
    };
    let headers = headers.replace("HOST", host);
    let length = body.len() + more;
    let head = format!("HTTP/1.1 {status} Said\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n");
    let _ = stream.write_all(head.as_bytes());
    if request[0] != "HEAD" {
        let _ = stream.write_all(&body);
    }
}
