//! Values of secrets, one sealed file per release.

use super::key::{Key, Use};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use deployctl_core::config::SecretRef;
use deployctl_core::id::Sha256Hex;
use deployctl_core::instance::SecretValues;
use deployctl_sys::durable;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// How a sealed file begins; then 24 bytes of nonce, then the ciphertext.
const MAGIC: &[u8; 8] = b"DPLYSEA1";
const NONCE: usize = 24;
const SUFFIX: &str = ".sealed";

/// Values of secrets per retained release, so that a restart or a rollback needs no source: XChaCha20-Poly1305 under
/// a random nonce, bound to the release, mode 0600, durable.
pub struct SealedSecrets {
    folder: PathBuf,
    cipher: XChaCha20Poly1305,
}

/// Why values cannot be sealed or opened. Never shows any of them.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The file does not open under this key for this release.
    #[error("the sealed secrets {path} were altered, or sealed by another key or for another release", path = .path.display())]
    Altered {
        /// The file.
        path: PathBuf,
    },
    /// The disk, or the system's source of randomness.
    #[error("the sealed secrets {path}: {source}", path = .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl SealError {
    /// What a person can do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Altered { .. } => {
                "restore the file and the key of the state from one backup, or deploy again with the secrets at hand"
            }
            Self::Io { .. } => "look at the disk and at the owner of the state directory, then try again",
        }
    }
}

impl SealedSecrets {
    /// Opens `folder` under `key`; makes it if it is missing, and sweeps what a crash left half written.
    pub fn open(folder: &Path, key: &Key) -> Result<Self, SealError> {
        let make = || durable::create_folders(folder, 0o700).and_then(|()| durable::sweep(folder));
        make().map_err(|source| SealError::Io { path: folder.into(), source })?;
        let cipher = XChaCha20Poly1305::new((&*key.derive(Use::Seal)).into());
        Ok(Self { folder: folder.into(), cipher })
    }

    /// Keeps the values of a release, durably; those kept before are replaced.
    pub fn put(&self, release: &Sha256Hex, values: &SecretValues) -> Result<(), SealError> {
        let path = self.path(release);
        let io = |source| SealError::Io { path: path.clone(), source };
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(|e| io(io::Error::other(e.to_string())))?;
        let plain = encode(values);
        let payload = Payload { msg: &plain, aad: &bound_to(release) };
        let sealed = self.cipher.encrypt(XNonce::from_slice(&nonce), payload);
        let sealed = sealed.map_err(|_| io(io::Error::other("the values are too long to be sealed")))?;
        let file = [MAGIC.as_slice(), &nonce, &sealed].concat();
        durable::replace(&path, &file, 0o600).map_err(io)
    }

    /// The values of a release; none if none are kept.
    pub fn get(&self, release: &Sha256Hex) -> Result<Option<SecretValues>, SealError> {
        let path = self.path(release);
        let file = match fs::read(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(SealError::Io { path, source }),
        };
        match self.unseal(release, &file) {
            Some(values) => Ok(Some(values)),
            None => Err(SealError::Altered { path }),
        }
    }

    fn unseal(&self, release: &Sha256Hex, file: &[u8]) -> Option<SecretValues> {
        let (nonce, sealed) = file.strip_prefix(MAGIC)?.split_at_checked(NONCE)?;
        let payload = Payload { msg: sealed, aad: &bound_to(release) };
        let plain = Zeroizing::new(self.cipher.decrypt(XNonce::from_slice(nonce), payload).ok()?);
        decode(&plain)
    }

    /// Forgets the values of all releases but `keep`; returns how many were dropped.
    pub fn retain(&self, keep: &[Sha256Hex]) -> Result<usize, SealError> {
        let io = |source| SealError::Io { path: self.folder.clone(), source };
        let mut dropped = 0;
        for entry in fs::read_dir(&self.folder).map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            let release = name.to_str().and_then(|n| Sha256Hex::new(n.strip_suffix(SUFFIX)?).ok());
            let Some(release) = release.filter(|release| !keep.contains(release)) else { continue };
            durable::remove(&self.path(&release)).map_err(io)?;
            dropped += 1;
        }
        Ok(dropped)
    }

    fn path(&self, release: &Sha256Hex) -> PathBuf {
        self.folder.join(format!("{release}{SUFFIX}"))
    }
}

fn bound_to(release: &Sha256Hex) -> Vec<u8> {
    [MAGIC.as_slice(), release.as_str().as_bytes()].concat()
}

/// References and values in turn, each after its length.
fn encode(values: &SecretValues) -> Zeroizing<Vec<u8>> {
    let parts = || values.0.iter().flat_map(|(reference, value)| [reference.0.as_bytes(), value]);
    // At its full length from the start: growing would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(parts().map(|part| part.len() + 8).sum()));
    for part in parts() {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

fn decode(mut bytes: &[u8]) -> Option<SecretValues> {
    let mut values = BTreeMap::new();
    while !bytes.is_empty() {
        let (reference, rest) = part(bytes)?;
        let (value, rest) = part(rest)?;
        values.insert(SecretRef(String::from_utf8(reference.to_vec()).ok()?), Arc::from(value));
        bytes = rest;
    }
    Some(SecretValues(values))
}

fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    rest.split_at_checked(usize::try_from(u64::from_be_bytes(*length)).ok()?)
}
