//! Bodies: read in bounds, and compared with what they should be.

use crate::trouble::{Trouble, TroubleKind};
use deployctl_core::id::Sha256Hex;
use sha2::{Digest, Sha256};
use std::io::{self, Read};

/// Passes bytes on, and ends well only if they have the size and the digest that they should have.
pub struct Checked<R> {
    from: R,
    what: String,
    digest: Sha256Hex,
    left: u64,
    hash: Sha256,
    is_checked: bool,
}

impl<R: Read> Checked<R> {
    pub(crate) fn new(from: R, what: String, digest: Sha256Hex, size: u64) -> Self {
        Self { from, what, digest, left: size, hash: Sha256::new(), is_checked: false }
    }

    fn finish(&mut self) -> io::Result<()> {
        let found = hex::encode(std::mem::take(&mut self.hash).finalize());
        if found == self.digest.as_str() {
            return Ok(());
        }
        Err(carry(mismatch(&self.what, &self.digest, &found)))
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = self.from.read(buffer).map_err(|error| carry(from_io(&self.what, error)))?;
        match u64::try_from(count).ok().and_then(|count| self.left.checked_sub(count)) {
            Some(left) => self.left = left,
            None => return Err(carry(sized(&self.what, "more"))),
        }
        self.hash.update(&buffer[..count]);
        if count == 0 && self.left > 0 {
            // Most likely the connection broke off; the next one may not.
            let message = format!("{} ended {} bytes too early", self.what, self.left);
            return Err(carry(Trouble::new(TroubleKind::Unreachable, message)));
        }
        // With the last byte, not after it: who knows the size does not ask for more.
        if self.left == 0 && !self.is_checked {
            self.is_checked = true;
            self.finish()?;
        }
        Ok(count)
    }
}

/// What bytes are that are not those of the digest.
pub(crate) fn mismatch(what: &str, wanted: &Sha256Hex, found: &str) -> Trouble {
    let message = format!("{what} has other bytes than its digest says: sha256:{found} instead of sha256:{wanted}");
    Trouble::new(TroubleKind::Wrong, message)
        .hint("the registry, or something between, altered or lost them; nothing was used. Push the image again")
}

fn sized(what: &str, how: &str) -> Trouble {
    Trouble::new(TroubleKind::Wrong, format!("{what} has {how} bytes than its manifest says"))
}

/// Trouble as an error of reading, to be taken out again by [`from_io`].
fn carry(trouble: Trouble) -> io::Error {
    io::Error::other(trouble)
}

/// What an error of reading means.
pub(crate) fn from_io(what: &str, error: io::Error) -> Trouble {
    if error.get_ref().is_some_and(|inner| inner.is::<Trouble>())
        && let Some(Ok(trouble)) = error.into_inner().map(|inner| inner.downcast::<Trouble>())
    {
        return *trouble;
    }
    Trouble::new(TroubleKind::Unreachable, format!("{what} broke off"))
}

/// All of a body that has at most `bytes_max`.
pub(crate) fn whole(from: impl Read, what: &str, bytes_max: u64) -> Result<Vec<u8>, Trouble> {
    let mut bytes = Vec::new();
    from.take(bytes_max + 1).read_to_end(&mut bytes).map_err(|error| from_io(what, error))?;
    if bytes.len() as u64 > bytes_max {
        return Err(Trouble::new(TroubleKind::Wrong, format!("{what} has more than {bytes_max} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_compared_with_what_they_should_be() {
        let read = |bytes: &[u8], size: u64| {
            let digest = Sha256Hex::of(b"right");
            whole(Checked::new(bytes, "a blob".into(), digest, size), "a blob", 100).map_err(|trouble| trouble.message)
        };
        assert_eq!(read(b"right", 5).unwrap(), b"right");
        assert_eq!(read(b"right", 6).unwrap_err(), "a blob ended 1 bytes too early");
        assert_eq!(read(b"right", 4).unwrap_err(), "a blob has more bytes than its manifest says");
        assert!(
            read(b"wrong", 5).unwrap_err().starts_with("a blob has other bytes than its digest says: sha256:8810ad")
        );
        let long = whole(&[0; 101][..], "an answer", 100).unwrap_err();
        assert_eq!(long.message, "an answer has more than 100 bytes");
    }
}
