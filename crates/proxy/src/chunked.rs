//! The chunked transfer coding as a scanner over pieces of any size. Strict: CRLF only, no stray bytes, bounded sizes.
//! It moves no bytes; it says which of them are content. The same scanner guards requests and reads answers.

use crate::limits::TRAILER_BYTES_MAX;
use crate::strict::is_token;

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// So many bytes of framing; skip them.
    Skip(usize),
    /// So many bytes of content.
    Data(usize),
    /// So many bytes of the trailer section, its closing empty line included.
    Trailer(usize),
    /// So many bytes of framing, and the body is at its end.
    End(usize),
}

/// Why a chunked body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadChunk(pub(crate) &'static str);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size { value: u64, digits: u8 },
    Extension { value: u64, length: usize },
    SizeLf { value: u64 },
    Data(u64),
    DataCr,
    DataLf,
    Trailer { length: usize, line: usize, name: bool, cr: bool },
    Done,
}

/// Scans one chunked body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scanner(State);

impl Scanner {
    pub(crate) fn new() -> Self {
        Self(State::Size { value: 0, digits: 0 })
    }

    /// What the beginning of `input` is; `input` is not empty and the body not at its end. Never takes more than is there.
    pub(crate) fn step(&mut self, input: &[u8]) -> Result<Step, BadChunk> {
        match self.0 {
            State::Data(left) => {
                let taken = left.min(input.len() as u64);
                self.0 = if taken == left { State::DataCr } else { State::Data(left - taken) };
                Ok(Step::Data(taken as usize))
            }
            State::Trailer { .. } => self.trailer(input),
            State::Done => Err(BadChunk("bytes after the end of the chunked body")),
            _ => self.framing(input),
        }
    }

    fn framing(&mut self, input: &[u8]) -> Result<Step, BadChunk> {
        for (at, &byte) in input.iter().enumerate() {
            self.0 = match (self.0, byte) {
                (State::Size { value, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if digits < 15 => {
                    let digit = char::from(byte).to_digit(16).unwrap_or(0);
                    State::Size { value: value << 4 | u64::from(digit), digits: digits + 1 }
                }
                (State::Size { value, digits: 1.. }, b';') => State::Extension { value, length: 0 },
                (State::Size { value, digits: 1.. }, b'\r') => State::SizeLf { value },
                (State::Extension { value, .. }, b'\r') => State::SizeLf { value },
                (State::Extension { value, length }, b'\t' | b' '..=b'~' | 0x80..) if length < TRAILER_BYTES_MAX => {
                    State::Extension { value, length: length + 1 }
                }
                (State::SizeLf { value: 0 }, b'\n') => State::Trailer { length: 0, line: 0, name: true, cr: false },
                (State::SizeLf { value }, b'\n') => State::Data(value),
                (State::DataCr, b'\r') => State::DataLf,
                (State::DataLf, b'\n') => State::Size { value: 0, digits: 0 },
                (State::Size { .. }, _) => return Err(BadChunk("a chunk size is not a plain hexadecimal number")),
                (State::Extension { .. }, _) => return Err(BadChunk("a chunk extension is malformed or too long")),
                _ => return Err(BadChunk("a chunk does not end in CRLF")),
            };
            if matches!(self.0, State::Data(_) | State::Trailer { .. }) {
                return Ok(Step::Skip(at + 1));
            }
        }
        Ok(Step::Skip(input.len()))
    }

    fn trailer(&mut self, input: &[u8]) -> Result<Step, BadChunk> {
        let State::Trailer { mut length, mut line, mut name, mut cr } = self.0 else { return Ok(Step::Skip(0)) };
        for (at, &byte) in input.iter().enumerate() {
            length += 1;
            match (cr, byte) {
                (true, b'\n') if line == 0 => {
                    self.0 = State::Done;
                    return Ok(if length == 2 { Step::End(at + 1) } else { Step::Trailer(at + 1) });
                }
                (true, b'\n') => (line, name, cr) = (0, true, false),
                (true, _) | (false, b'\n') => return Err(BadChunk("a trailer line does not end in CRLF")),
                (false, b'\r') if line == 0 || !name => cr = true,
                (false, b':') if name && line > 0 => (line, name) = (line + 1, false),
                (false, _) if name && is_token(byte) => line += 1,
                (false, b'\t' | 0x20..=0x7e | 0x80..) if !name => line += 1,
                (false, _) => return Err(BadChunk("a trailer field is malformed")),
            }
            if length > TRAILER_BYTES_MAX {
                return Err(BadChunk("the trailer section is too long"));
            }
        }
        self.0 = State::Trailer { length, line, name, cr };
        Ok(Step::Trailer(input.len()))
    }

    /// Whether the whole body was seen.
    pub(crate) fn done(&self) -> bool {
        self.0 == State::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Content, trailer bytes and what was left over.
    fn scan(mut input: &[u8], piece: usize) -> Result<(Vec<u8>, Vec<u8>, usize), BadChunk> {
        let (mut scanner, mut content, mut trailer) = (Scanner::new(), Vec::new(), Vec::new());
        while !input.is_empty() && !scanner.done() {
            let part = &input[..piece.min(input.len())];
            let taken = match scanner.step(part)? {
                Step::Skip(n) | Step::End(n) => n,
                Step::Data(n) => {
                    content.extend_from_slice(&part[..n]);
                    n
                }
                Step::Trailer(n) => {
                    trailer.extend_from_slice(&part[..n]);
                    n
                }
            };
            input = &input[taken..];
        }
        Ok((content, trailer, input.len()))
    }

    #[test]
    fn bodies_in_pieces_of_any_size() {
        let body = b"5;a=b\r\nhello\r\n00B\r\n, big world\r\n0\r\nx-sum: 1\r\n\r\nGET";
        for piece in 1..body.len() {
            let (content, trailer, left) = scan(body, piece).unwrap();
            assert_eq!(content, b"hello, big world", "{piece}");
            assert_eq!(trailer, b"x-sum: 1\r\n\r\n", "{piece}");
            assert_eq!(left, 3, "{piece}");
        }
        assert_eq!(scan(b"0\r\n\r\n", 9).unwrap(), (vec![], vec![], 0));
    }

    #[test]
    fn bad_bodies() {
        for (bad, why) in [
            (&b"5\nhello\r\n"[..], "a chunk size is not a plain hexadecimal number"),
            (b"-5\r\n", "a chunk size is not a plain hexadecimal number"),
            (b"0x5\r\n", "a chunk size is not a plain hexadecimal number"),
            (b"\r\n", "a chunk size is not a plain hexadecimal number"),
            (b"1 \r\n", "a chunk size is not a plain hexadecimal number"),
            (b"1111111111111111\r\n", "a chunk size is not a plain hexadecimal number"),
            (b"1;a\nb\r\n", "a chunk extension is malformed or too long"),
            (b"1\rX", "a chunk does not end in CRLF"),
            (b"1\r\nab\r\n", "a chunk does not end in CRLF"),
            (b"1\r\na\n", "a chunk does not end in CRLF"),
            (b"0\r\na: b\nc: d\r\n\r\n", "a trailer line does not end in CRLF"),
            (b"0\r\n a: b\r\n\r\n", "a trailer field is malformed"),
            (b"0\r\na b: c\r\n\r\n", "a trailer field is malformed"),
            (b"0\r\n\xff: c\r\n\r\n", "a trailer field is malformed"),
            (b"0\r\n: c\r\n\r\n", "a trailer field is malformed"),
            (b"0\r\nab\r\n\r\n", "a trailer field is malformed"),
            (b"0\r\na: b\0\r\n\r\n", "a trailer field is malformed"),
        ] {
            assert_eq!(scan(bad, 100).unwrap_err().to_string(), why, "{}", String::from_utf8_lossy(bad));
        }
    }
}
