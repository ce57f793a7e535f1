//! A WebSocket whose messages come back.

use crate::arrivals::request_to;
use crate::http1::{Http1, judged};
use crate::load::Context;
use crate::outcome::{Answer, Kind, Loss, Lost};
use std::rc::Rc;
use std::time::Instant;
use tokio::time::timeout;

/// The nonce and the answer to it of RFC 6455; nobody here guesses.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const MASK: [u8; 4] = [7, 70, 11, 113];
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Opens a WebSocket, uses it for its life, and closes it; or the other side does.
pub(crate) async fn session(context: Rc<Context>) -> Result<Answer, Lost> {
    let mut connection = Http1::connect(&context.load.target, context.load.timeout).await?;
    let answer = open(&context, &mut connection).await?;
    if answer.status != 101 {
        return judged(answer);
    }
    let opened = Instant::now();
    let mut messages = 0u64;
    let mut closing = false;
    while !closing {
        closing = opened.elapsed() >= context.load.held.websocket_life || context.stopping();
        let message = messages.to_string();
        let sent = match closing {
            true => frame(CLOSE, &1000u16.to_be_bytes()),
            false => frame(TEXT, message.as_bytes()),
        };
        // What has arrived is read first: it may be a close frame. So is what arrived before sending failed.
        let waits = connection.readable();
        let unsent = if waits { None } else { connection.send(&sent).await.err() };
        match came(&context, &mut connection, &message, waits).await {
            Ok(Came::Back) => messages += 1,
            Ok(Came::Sign) => {
                closing = false;
                continue;
            }
            Ok(Came::Close(status)) => {
                closed(&context, &mut connection, closing && !waits, status).await;
                break;
            }
            Err(lost) if lost.loss == Loss::NoClose => {
                let unsent = unsent.map(|e| format!("; sending: {e}")).unwrap_or_default();
                return Err(Lost::new(Loss::NoClose, format!("after {messages} messages: {}{unsent}", lost.detail)));
            }
            Err(lost) => return Err(lost),
        }
        context.rest(context.load.held.websocket_pause).await;
    }
    Ok(answer)
}

/// What the other side sent.
enum Came {
    /// The message.
    Back,
    /// A close frame, with this status.
    Close(u16),
    /// A ping or a pong, while nothing else was waited for.
    Sign,
}

/// Waits until `message` comes back, or for a close frame; for any frame if `waits`, since nothing was sent then.
async fn came(context: &Context, connection: &mut Http1, message: &str, waits: bool) -> Result<Came, Lost> {
    let late = |_| Err(Lost::new(Loss::Timeout, "no message came back within the timeout"));
    loop {
        let (opcode, data) = timeout(context.load.timeout, next(connection)).await.unwrap_or_else(late)?;
        match opcode {
            CLOSE => {
                let status = data.get(..2).map_or(1005, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
                return Ok(Came::Close(status));
            }
            PING => connection.send(&frame(PONG, &data)).await.map_err(|e| Lost::new(Loss::NoClose, e))?,
            PONG => {}
            TEXT if !waits && data == message.as_bytes() => return Ok(Came::Back),
            _ => {
                let text = String::from_utf8_lossy(&data).into_owned();
                return Err(Lost::new(Loss::Malformed, format!("`{message}` came back as `{text}`")));
            }
        }
        if waits {
            return Ok(Came::Sign);
        }
    }
}

async fn open(context: &Context, connection: &mut Http1) -> Result<Answer, Lost> {
    let headers = format!(
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
    );
    let request = request_to(context, "GET", &context.load.paths.websocket, &headers);
    let late = |_| Err(Lost::new(Loss::Timeout, "no WebSocket within the timeout"));
    let head = timeout(context.load.timeout, connection.begin(&request)).await.unwrap_or_else(late)?;
    let mut answer = Answer { status: head.status, body: Vec::new(), length: 0 };
    match head.status {
        101 if head.websocket_accept.as_deref() == Some(ACCEPT) => {}
        101 => return Err(Lost::new(Loss::Malformed, "Sec-WebSocket-Accept is wrong")),
        _ => connection.body(&head, |piece| answer.take(piece)).await?,
    }
    Ok(answer)
}

/// The other side's close frame has come: answers it, if it was not an answer itself.
async fn closed(context: &Context, connection: &mut Http1, closing: bool, status: u16) {
    if !closing || status != 1000 {
        context.tally.note(Kind::Websocket, |seen| *seen.closed_with.entry(status).or_default() += 1);
        let _ = connection.send(&frame(CLOSE, &status.to_be_bytes())).await;
    }
}

/// The next frame; an end without one is a loss.
async fn next(connection: &mut Http1) -> Result<(u8, Vec<u8>), Lost> {
    let ended = |lost: Lost| Lost::new(Loss::NoClose, lost.detail);
    let start = exactly(connection, 2).await.map_err(ended)?;
    let length = match start[1] {
        126 => exactly(connection, 2).await.map_err(ended)?.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)),
        127 => exactly(connection, 8).await.map_err(ended)?.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)),
        short @ 0..126 => u64::from(short),
        _ => return Err(Lost::new(Loss::Malformed, "a server's frame is masked")),
    };
    let data = exactly(connection, length.min(1 << 20)).await.map_err(ended)?;
    Ok((start[0] & 0xf, data))
}

async fn exactly(connection: &mut Http1, length: u64) -> Result<Vec<u8>, Lost> {
    let mut bytes = Vec::new();
    connection.pass(length, &mut |piece| bytes.extend_from_slice(piece)).await?;
    Ok(bytes)
}

/// A client's frame of less than 126 bytes.
fn frame(opcode: u8, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80 | opcode, 0x80 | data.len().min(125) as u8];
    bytes.extend_from_slice(&MASK);
    bytes.extend(data.iter().take(125).zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}
