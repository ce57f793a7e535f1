//! Public keys that signatures are checked with.

use crate::trouble::{Trouble, TroubleKind};
use ring::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey, VerificationAlgorithm};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;

const BYTES_MAX: usize = 64 << 10;
/// A key of ECDSA on P-256 is this, in DER, and the 65 bytes of an uncompressed point.
const P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// A key of Ed25519 is this, in DER, and its 32 bytes.
const ED: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A public key: ECDSA on P-256 (that of `cosign generate-key-pair`), or Ed25519.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    kind: Kind,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    P256,
    Ed25519,
}

impl PublicKey {
    /// Reads a key in PEM, `-----BEGIN PUBLIC KEY-----`.
    pub fn parse(pem: &[u8]) -> Result<Self, Trouble> {
        let bad = |why: &str| {
            Trouble::new(TroubleKind::Usage, format!("this is no public key that signatures can be checked with: {why}"))
                .hint("it begins with -----BEGIN PUBLIC KEY----- and is of ECDSA P-256 or Ed25519, as `cosign public-key` prints it")
        };
        if pem.len() > BYTES_MAX {
            return Err(bad("it is too long"));
        }
        let der =
            SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| bad("there is no PUBLIC KEY in PEM in it"))?;
        let of = |prefix: &[u8], length: usize| {
            der.strip_prefix(prefix).filter(|key| key.len() == length).map(<[u8]>::to_vec)
        };
        match (of(P256, 65), of(ED, 32)) {
            (Some(bytes), _) if bytes.first() == Some(&4) => Ok(Self { kind: Kind::P256, bytes }),
            (_, Some(bytes)) => Ok(Self { kind: Kind::Ed25519, bytes }),
            _ => Err(bad("it is of another kind, such as RSA or another curve")),
        }
    }

    /// Whether this key made `signature` over `message`.
    pub fn made(&self, signature: &[u8], message: &[u8]) -> bool {
        let algorithm: &'static dyn VerificationAlgorithm = match self.kind {
            Kind::P256 => &ECDSA_P256_SHA256_ASN1,
            Kind::Ed25519 => &ED25519,
        };
        UnparsedPublicKey::new(algorithm, &self.bytes).verify(message, signature).is_ok()
    }
}
