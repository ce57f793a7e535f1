//! The key of a state, and what it proves.

use deployctl_core::config::SecretRef;
use deployctl_core::id::Sha256Hex;
use deployctl_sys::durable;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// 32 random bytes that stay in one state. Every use has a key of its own derived from it, so that what is made for
/// one use never fits another.
#[derive(Clone)]
pub struct Key(Zeroizing<[u8; 32]>);

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Others may read it.
    #[error("the key {path} has mode {mode:04o}: others may read it", path = .path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is not what a key looks like.
    #[error("the key {path} is not 64 hex digits", path = .path.display())]
    Malformed {
        /// The file, or the reference.
        path: PathBuf,
    },
    /// The disk, or the system's source of randomness.
    #[error("the key {path} cannot be had: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl KeyError {
    /// What a person can do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Exposed { .. } => {
                "run chmod 600 on it; if others may have read it, set new values for the secrets too"
            }
            Self::Malformed { .. } => "restore the key from a backup; without it the sealed secrets cannot be opened",
            Self::Io { .. } => "check that the folder exists and that its owner runs deployctl",
        }
    }
}

/// What a derived key is for; part of its derivation, never change one.
#[derive(Clone, Copy)]
pub(super) enum Use {
    Digest,
    Seal,
    Sign,
}

impl Use {
    fn label(self) -> &'static [u8] {
        match self {
            Self::Digest => b"deployctl secret digest v1",
            Self::Seal => b"deployctl sealed secrets v1",
            Self::Sign => b"deployctl signature v1",
        }
    }
}

impl Key {
    /// The key in the file at `path`; if there is none, a new one is put there, mode 0600. Of several processes that
    /// do so at once, all get the same.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyError> {
        let io = |source| KeyError::Io { path: path.into(), source };
        match File::open(path) {
            Ok(file) => return Self::load(path, file),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(io(e)),
        }
        let text = Self::random_text().map_err(io)?;
        match durable::create_new(path, text.as_bytes(), 0o600) {
            Ok(()) => Self::parse(&text).ok_or_else(|| KeyError::Malformed { path: path.into() }),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Self::load(path, File::open(path).map_err(io)?),
            Err(e) => Err(io(e)),
        }
    }

    /// The key in `text`: 64 hex digits, as in its file. For a key that is given by reference.
    pub fn parse(text: &str) -> Option<Self> {
        let mut key = Self(Zeroizing::new([0; 32]));
        hex::decode_to_slice(text.trim(), key.0.as_mut_slice()).ok()?;
        Some(key)
    }

    fn load(path: &Path, mut file: File) -> Result<Self, KeyError> {
        let io = |source| KeyError::Io { path: path.into(), source };
        let mode = file.metadata().map_err(io)?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Exposed { path: path.into(), mode });
        }
        let mut text = Zeroizing::new(Vec::with_capacity(128));
        Read::by_ref(&mut file).take(100).read_to_end(&mut text).map_err(io)?;
        let parsed = std::str::from_utf8(&text).ok().and_then(Self::parse);
        parsed.ok_or_else(|| KeyError::Malformed { path: path.into() })
    }

    /// A new key as text, to be kept and then read by [`Key::parse`].
    pub fn random_text() -> io::Result<Zeroizing<String>> {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(key.as_mut_slice()).map_err(|e| io::Error::other(e.to_string()))?;
        Ok(Zeroizing::new(format!("{}\n", hex::encode(key.as_slice()))))
    }

    /// A digest of a secret's value that says whether it changed, and tells nothing about it without this key. The
    /// same value under another reference has another digest.
    pub fn digest(&self, reference: &SecretRef, value: &[u8]) -> Sha256Hex {
        let name = reference.0.as_bytes();
        let mac = self.mac(Use::Digest, &[&(name.len() as u64).to_be_bytes(), name, value]);
        Sha256Hex::new(hex::encode(mac.finalize().into_bytes()))
            .unwrap_or_else(|e| unreachable!("32 bytes are 64 hex digits: {e}"))
    }

    /// A signature of `bytes`, in hex.
    pub fn sign(&self, bytes: &[u8]) -> String {
        hex::encode(self.mac(Use::Sign, &[bytes]).finalize().into_bytes())
    }

    /// Whether `signature` is that of `bytes`; takes as long for one that is nearly right as for any other.
    pub fn verify(&self, bytes: &[u8], signature: &str) -> bool {
        hex::decode(signature).is_ok_and(|s| self.mac(Use::Sign, &[bytes]).verify_slice(&s).is_ok())
    }

    /// The key for one use.
    pub(super) fn derive(&self, what: Use) -> Zeroizing<[u8; 32]> {
        let mut mac = hmac(&*self.0);
        mac.update(what.label());
        Zeroizing::new(mac.finalize().into_bytes().into())
    }

    fn mac(&self, what: Use, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = hmac(&*self.derive(what));
        parts.iter().for_each(|part| mac.update(part));
        mac
    }
}

fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).unwrap_or_else(|e| unreachable!("HMAC takes keys of any length: {e}"))
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(masked)")
    }
}
