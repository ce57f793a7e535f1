//! The server's side of a WebSocket that echoes.

use crate::conn::Conn;
use crate::http::Head;
use crate::sha1::{base64, sha1};
use std::io;

const MESSAGE_BYTES_MAX: u64 = 1 << 20;

/// The answer that opens a WebSocket, if the request is one for it.
pub fn accept(head: &Head) -> Option<String> {
    let key = head.header("sec-websocket-key").filter(|_| head.wants_websocket())?;
    let accept = base64(&sha1(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes()));
    Some(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    ))
}

/// Sends every message back until the client closes, or until the server stops: then with status 1001.
pub fn echo(conn: &mut Conn) -> io::Result<()> {
    loop {
        conn.set_idle();
        let frame = match read_frame(conn) {
            Err(_) if conn.stopping() => return conn.send(&frame(0x8, &1001u16.to_be_bytes())),
            frame => frame?,
        };
        match frame.0 & 0xf {
            0x8 => return conn.send(&self::frame(0x8, &frame.1)),
            0x9 => conn.send(&self::frame(0xa, &frame.1))?,
            0xa => {}
            _ => conn.send(&raw_frame(frame.0, &frame.1))?,
        }
    }
}

fn read_frame(conn: &mut Conn) -> io::Result<(u8, Vec<u8>)> {
    let start = conn.exactly(2)?;
    if start[1] & 0x80 == 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a client's frame is not masked"));
    }
    let length = match start[1] & 0x7f {
        126 => conn.exactly(2)?.iter().fold(0, |n, b| n << 8 | u64::from(*b)),
        127 => conn.exactly(8)?.iter().fold(0, |n, b| n << 8 | u64::from(*b)),
        short => u64::from(short),
    };
    if length > MESSAGE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too long"));
    }
    let mask = conn.exactly(4)?;
    let mut data = conn.exactly(usize::try_from(length).unwrap_or_default())?;
    for (byte, mask) in data.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Ok((start[0], data))
}

fn frame(opcode: u8, data: &[u8]) -> Vec<u8> {
    raw_frame(0x80 | opcode, data)
}

fn raw_frame(first: u8, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match (u8::try_from(data.len()), u16::try_from(data.len())) {
        (Ok(short @ 0..=125), _) => bytes.push(short),
        (_, Ok(medium)) => {
            bytes.push(126);
            bytes.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            bytes.push(127);
            bytes.extend_from_slice(&(data.len() as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(data);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_the_handshake_of_rfc_6455() {
        let head = "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let answer = accept(&Head::parse(head.as_bytes()).unwrap()).unwrap();
        assert!(answer.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{answer}");
    }

    #[test]
    fn frames_of_each_length() {
        for (length, header) in [(5, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            assert_eq!(frame(1, &vec![0; length]).len(), length + header, "{length}");
        }
    }
}
