//! Answers that are more than one text.

use crate::{Api, connection_header, refuse};
use shop::conn::Conn;
use shop::http::{Framing, Head};
use std::io::{self, Write};
use std::time::Duration;

const PIECE: [u8; 16 * 1024] = [b'x'; 16 * 1024];

/// Server-sent events, `n` of them, `ms` apart; the last one is called `end`. Ends early, in order, when the server stops.
pub(crate) fn events(api: &Api, conn: &Conn, head: &Head) -> io::Result<()> {
    let pause = Duration::from_millis(head.number("ms").unwrap_or(1000).clamp(1, 60_000));
    let count = head.number("n").unwrap_or(10);
    let last = connection_header(conn, head);
    conn.send(
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n\
             Transfer-Encoding: chunked\r\n{last}\r\n"
        )
        .as_bytes(),
    )?;
    for number in 1..=count {
        if rest(conn, pause) {
            chunk(conn, "event: stop\ndata: the server stops\n\n")?;
            return conn.send(b"0\r\n\r\n");
        }
        let name = if number == count { "end" } else { "tick" };
        chunk(conn, &format!("event: {name}\ndata: {number} {}\n\n", api.release.version))?;
    }
    conn.send(b"0\r\n\r\n")
}

/// Sends the body back while it comes in, framed as it came.
pub(crate) fn echo(conn: &mut Conn, head: &Head) -> io::Result<()> {
    let last = connection_header(conn, head);
    let framing = head.framing_of_body();
    let length = match framing {
        Framing::Length(length) => format!("Content-Length: {length}"),
        Framing::Chunked => "Transfer-Encoding: chunked".into(),
    };
    if head.header("expect").is_some_and(|expects| expects.eq_ignore_ascii_case("100-continue")) {
        conn.send(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    conn.send(
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n{length}\r\n{last}\r\n").as_bytes(),
    )?;
    conn.body(framing, |mut stream, piece| match framing {
        Framing::Length(_) => stream.write_all(piece),
        Framing::Chunked => {
            stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
            stream.write_all(piece)?;
            stream.write_all(b"\r\n")
        }
    })?;
    if framing == Framing::Chunked { conn.send(b"0\r\n\r\n") } else { Ok(()) }
}

/// So many bytes.
pub(crate) fn bytes(conn: &Conn, head: &Head, count: u64) -> io::Result<()> {
    let last = connection_header(conn, head);
    let mut first =
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {count}\r\n{last}\r\n")
            .into_bytes();
    let mut left = count;
    loop {
        let now = left.min(PIECE.len() as u64);
        first.extend_from_slice(&PIECE[..usize::try_from(now).unwrap_or_default()]);
        conn.send(&first)?;
        first.clear();
        left -= now;
        if left == 0 {
            return Ok(());
        }
    }
}

/// A WebSocket that sends every message back.
pub(crate) fn websocket(conn: &mut Conn, head: &Head) -> io::Result<()> {
    let Some(accept) = shop::websocket::accept(head) else {
        return refuse(conn, 400, "Sec-WebSocket-Key is missing");
    };
    conn.send(accept.as_bytes())?;
    shop::websocket::echo(conn)
}

fn chunk(conn: &Conn, text: &str) -> io::Result<()> {
    conn.send(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes())
}

/// Pauses; true as soon as the server is about to stop.
fn rest(conn: &Conn, pause: Duration) -> bool {
    let step = Duration::from_millis(100);
    let mut left = pause;
    while left > Duration::ZERO && !conn.stopping() {
        std::thread::sleep(left.min(step));
        left = left.saturating_sub(step);
    }
    conn.stopping()
}
