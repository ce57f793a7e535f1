//! A tiny server for the live suites: `GET /version` says what stands in the file `VERSION` of its folder, `/healthz`
//! is well unless a file `BAD` says `sick`; with `exit` in that file it ends at once.
//! `note FILE WORD` is a job: it adds a line with the word and the version that is deployed to the file.
//!
//! It has one thread, so that a suite which counts what deployctl asks the kernel for need not tell the two apart.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

/// A connection that says nothing does not keep the others waiting for longer, unless `--patience` says other milliseconds.
const PATIENCE: u64 = 200;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let value = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
    if let [_, what, file, word] = args.as_slice()
        && what == "note"
    {
        return note(file, word);
    }
    let version = std::fs::read_to_string("VERSION").unwrap_or_default();
    let bad = std::fs::read_to_string("BAD").unwrap_or_default();
    if bad.trim() == "exit" {
        eprintln!("{} is broken", version.trim());
        return ExitCode::FAILURE;
    }
    if let Some(data) = value("--data") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(format!("{data}/starts"));
        let noted = file.and_then(|mut file| file.write_all(format!("{}\n", version.trim()).as_bytes()));
        if let Err(error) = noted {
            eprintln!("{data}: {error}");
            return ExitCode::FAILURE;
        }
    }
    let port: u16 = value("--port").and_then(|port| port.parse().ok()).unwrap_or(0);
    let host = value("--host").map_or("127.0.0.1", String::as_str);
    let listener = match TcpListener::bind((host, port)) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("port {port}: {error}");
            return ExitCode::FAILURE;
        }
    };
    let patience = value("--patience").and_then(|patience| patience.parse().ok()).unwrap_or(PATIENCE);
    for stream in listener.incoming().flatten() {
        let _ = stream.set_read_timeout(Some(Duration::from_millis(patience)));
        let _ = answer(stream, version.trim(), bad.trim() == "sick");
    }
    ExitCode::SUCCESS
}

fn note(file: &str, word: &str) -> ExitCode {
    let version = std::env::var("DEPLOYCTL_VERSION").unwrap_or_default();
    let opened = std::fs::OpenOptions::new().create(true).append(true).open(file);
    match opened.and_then(|mut file| file.write_all(format!("{word} {version}\n").as_bytes())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{file}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn answer(mut stream: TcpStream, version: &str, sick: bool) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = String::new();
    reader.read_line(&mut head)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let (status, body) = match head.split(' ').nth(1) {
        Some("/version") => (200, version),
        Some("/healthz") if sick => (500, "sick"),
        Some("/healthz") => (200, "well"),
        _ => (404, ""),
    };
    let length = body.len();
    stream.write_all(
        format!("HTTP/1.1 {status} Said\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").as_bytes(),
    )
}
