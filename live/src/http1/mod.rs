//! HTTP/1.1, written for this: the proxy under test uses a library that must not also be its judge.

mod response;

pub(crate) use response::{Framing, Head};

use crate::outcome::{Answer, Loss, Lost};
use crate::wire::{Target, Wire};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// A connection that speaks HTTP/1.1.
pub(crate) struct Http1 {
    wire: Wire,
    buffer: Vec<u8>,
    /// Whether the other side said that the connection ends after the last answer.
    pub(crate) last: bool,
}

impl Http1 {
    pub(crate) async fn connect(target: &Target, limit: Duration) -> Result<Self, Lost> {
        let wire = Wire::connect(target, "http/1.1", limit).await?;
        Ok(Self { wire, buffer: Vec::with_capacity(4096), last: false })
    }

    /// Whether this idle connection has been ended by the other side.
    pub(crate) async fn ended(&mut self) -> bool {
        !self.buffer.is_empty() || self.wire.ended().await
    }

    /// Whether there is something to read, be it the end.
    pub(crate) fn readable(&self) -> bool {
        !self.buffer.is_empty() || self.wire.readable()
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn exchange(&mut self, request: &[u8], limit: Duration) -> Result<Answer, Lost> {
        timeout(limit, async {
            let head = self.begin(request).await?;
            let mut answer = Answer { status: head.status, body: Vec::new(), length: 0 };
            self.body(&head, |piece| answer.take(piece)).await?;
            judged(answer)
        })
        .await
        .unwrap_or_else(|_| Err(Lost::new(Loss::Timeout, format!("no complete answer within {limit:?}"))))
    }

    /// Sends a request and reads the answer's head.
    pub(crate) async fn begin(&mut self, request: &[u8]) -> Result<Head, Lost> {
        if let Err(e) = self.send(request).await {
            return Err(Lost::new(Loss::Unsent, e));
        }
        loop {
            let head = self.head().await?;
            if head.status >= 200 || head.status == 101 {
                self.last = head.close;
                return Ok(head);
            }
        }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.wire.write_all(bytes).await?;
        self.wire.flush().await
    }

    async fn head(&mut self) -> Result<Head, Lost> {
        loop {
            if let Some(length) = find(&self.buffer, b"\r\n\r\n") {
                let head = Head::parse(&self.buffer[..length + 4]);
                self.buffer.drain(..length + 4);
                return head.map_err(|why| Lost::new(Loss::Malformed, why));
            }
            let nothing_yet = self.buffer.is_empty();
            if let Err(why) = self.fill().await {
                let loss = if nothing_yet { Loss::NoAnswer } else { Loss::Truncated };
                return Err(Lost::new(loss, why));
            }
        }
    }

    /// Reads the body that `head` announces.
    pub(crate) async fn body(&mut self, head: &Head, mut piece: impl FnMut(&[u8])) -> Result<(), Lost> {
        match head.framing {
            Framing::Length(length) => self.pass(length, &mut piece).await,
            Framing::Chunked => self.chunks(&mut piece).await,
            Framing::UntilEnd => loop {
                piece(&self.buffer);
                self.buffer.clear();
                match self.fill().await {
                    Ok(()) => {}
                    Err(why) if why == END => return Ok(()),
                    Err(why) => return Err(Lost::new(Loss::Truncated, why)),
                }
            },
        }
    }

    async fn chunks(&mut self, piece: &mut impl FnMut(&[u8])) -> Result<(), Lost> {
        loop {
            let line = self.line().await?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16)
                .map_err(|_| Lost::new(Loss::Malformed, format!("the chunk size `{line}`")))?;
            self.pass(size, piece).await?;
            if size == 0 {
                while !self.line().await?.is_empty() {}
                return Ok(());
            }
            if !self.line().await?.is_empty() {
                return Err(Lost::new(Loss::Malformed, "a chunk longer than its size"));
            }
        }
    }

    async fn line(&mut self) -> Result<String, Lost> {
        loop {
            if let Some(length) = find(&self.buffer, b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..length]).into_owned();
                self.buffer.drain(..length + 2);
                return Ok(line);
            }
            self.fill().await.map_err(|why| Lost::new(Loss::Truncated, why))?;
        }
    }

    /// Reads exactly so many bytes.
    pub(crate) async fn pass(&mut self, mut left: u64, piece: &mut impl FnMut(&[u8])) -> Result<(), Lost> {
        while left > 0 {
            if self.buffer.is_empty() {
                let missing = |why| Lost::new(Loss::Truncated, format!("{why}, {left} bytes short"));
                self.fill().await.map_err(missing)?;
            }
            let now = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            piece(&self.buffer[..now]);
            self.buffer.drain(..now);
            left -= now as u64;
        }
        Ok(())
    }

    async fn fill(&mut self) -> Result<(), String> {
        match self.wire.read_buf(&mut self.buffer).await {
            Ok(0) => Err(END.into()),
            Ok(_) => Ok(()),
            Err(e) => Err(e.to_string()),
        }
    }
}

const END: &str = "the connection was closed";

/// An answer in the proxy's own words is none.
pub(crate) fn judged(answer: Answer) -> Result<Answer, Lost> {
    match answer.status {
        502..=504 => {
            let body = String::from_utf8_lossy(&answer.body).trim().to_owned();
            Err(Lost::new(Loss::GatewayStatus, format!("{} {body}", answer.status)))
        }
        _ => Ok(answer),
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
