//! What is no registry: it answers with the status that stands in the name of an image, as a registry in trouble does.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

/// `ADDRESS/s503/x` is answered with 503.
pub(super) struct Broken {
    address: String,
}

impl Broken {
    /// It answers until the program ends.
    pub(super) fn start(host: &str) -> Self {
        let listener = TcpListener::bind((host, 0)).expect("an address");
        let address = listener.local_addr().expect("an address").to_string();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || answer(stream));
            }
        });
        Self { address }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }
}

fn answer(mut stream: TcpStream) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let first = lines.next()?.ok()?;
    lines.map_while(Result::ok).find(String::is_empty)?;
    let status = first.split("/s").nth(1).and_then(|rest| rest.get(..3)).unwrap_or("500");
    let words = match status {
        "401" => "Unauthorized",
        "429" => "Too Many Requests",
        "503" => "Service Unavailable",
        _ => "Internal Server Error",
    };
    stream
        .write_all(format!("HTTP/1.1 {status} {words}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes())
        .ok()
}
