//! Values of secrets at rest, and the key of a state: sealed values per release, keyed digests, signed plans.

mod key;
mod sealed;

pub use key::{Key, KeyError};
pub use sealed::{SealError, SealedSecrets};
