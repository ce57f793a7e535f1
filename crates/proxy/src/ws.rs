//! WebSocket frames, as far as a border between them must be found. Pure.

/// A close frame of a server: 1001, going away.
pub(crate) const CLOSE_TO_CLIENT: &[u8] = &[0x88, 0x02, 0x03, 0xe9];
/// The same of a client, masked with zeros.
pub(crate) const CLOSE_TO_SERVER: &[u8] = &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9];

/// Follows the frames of one direction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frames {
    header: [u8; 14],
    have: usize,
    payload: u64,
    closed: bool,
}

impl Frames {
    /// Sees the next bytes.
    pub(crate) fn feed(&mut self, mut input: &[u8]) {
        while !input.is_empty() {
            if self.payload > 0 {
                let taken = self.payload.min(input.len() as u64);
                self.payload -= taken;
                input = &input[taken as usize..];
                continue;
            }
            self.header[self.have] = input[0];
            self.have += 1;
            input = &input[1..];
            if let Some(payload) = self.complete() {
                self.closed |= self.header[0] & 0x0f == 8;
                self.payload = payload;
                self.have = 0;
            }
        }
    }

    /// The length of the payload, once the header is complete.
    fn complete(&self) -> Option<u64> {
        if self.have < 2 {
            return None;
        }
        let extended = match self.header[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if self.header[1] & 0x80 != 0 { 4 } else { 0 };
        if self.have < 2 + extended + mask {
            return None;
        }
        let length = self.header[2..2 + extended].iter().fold(0, |length, byte| length << 8 | u64::from(*byte));
        Some(if extended == 0 { u64::from(self.header[1] & 0x7f) } else { length })
    }

    /// Whether a frame may be put in here.
    pub(crate) fn at_border(&self) -> bool {
        self.have == 0 && self.payload == 0
    }

    /// Whether a close frame went by: nothing may follow it.
    pub(crate) fn closed(&self) -> bool {
        self.closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders() {
        let mut stream = vec![0x81, 0x02, b'h', b'i'];
        stream.extend([0x82, 126, 0x01, 0x00]);
        stream.extend([7; 256]);
        stream.extend([0x82, 0x80 | 127, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4]);
        stream.extend([7; 65536]);
        let borders = [0, 4, 264, stream.len()];
        for piece in [1, 3, 100, stream.len()] {
            let (mut frames, mut at) = (Frames::default(), 0);
            for part in stream.chunks(piece) {
                assert_eq!(frames.at_border(), borders.contains(&at), "{at}");
                frames.feed(part);
                at += part.len();
            }
            assert!(frames.at_border() && !frames.closed());
        }
    }

    #[test]
    fn close_frames_are_seen() {
        for close in [CLOSE_TO_CLIENT, CLOSE_TO_SERVER] {
            let mut frames = Frames::default();
            frames.feed(close);
            assert!(frames.closed() && frames.at_border());
        }
    }
}
