//! Versioned objects: small bytes by name, written by compare-and-swap. What a journal can live on where there is no disk that
//! lasts: a namespace of a cluster, an object store.

use async_trait::async_trait;
use std::fmt;

/// No object is larger than this: what a cluster takes, with room for its own words.
pub const OBJECT_BYTES_MAX: usize = 900 << 10;

/// What an object was when it was read. Says nothing by itself; equal ones are the same write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectVersion(pub String);

/// An object as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// What is in it.
    pub bytes: Vec<u8>,
    /// As which version.
    pub version: ObjectVersion,
}

/// Why an operation has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// It is not as it was expected: another wrote it, or it is there already, or it is gone. Nothing was written.
    #[error("somebody else wrote it in between")]
    Changed,
    /// It may have been written, now or in a moment: read it again.
    #[error("whether it was written is unknown: {0}")]
    Unknown(String),
    /// Nothing was written, and trying again may help.
    #[error("{0}")]
    Away(String),
    /// Nothing was written, and trying again does not help.
    #[error("{0}")]
    Refused(String),
}

/// Objects by name. Names have small letters, digits, `-` and `.`; reading and writing one name is linear, a list may be old.
#[async_trait]
pub trait Objects: Send + Sync + fmt::Debug {
    /// The object of a name; none if there is none.
    async fn get(&self, name: &str) -> Result<Option<Object>, ObjectError>;
    /// Writes a new object that never changes; [`ObjectError::Changed`] if the name is taken.
    async fn create(&self, name: &str, bytes: &[u8]) -> Result<(), ObjectError>;
    /// Writes an object over the version that was read, or a new one that may change where there was none.
    async fn replace(
        &self,
        name: &str,
        bytes: &[u8],
        over: Option<&ObjectVersion>,
    ) -> Result<ObjectVersion, ObjectError>;
    /// Removes an object; that it is not there is fine.
    async fn delete(&self, name: &str) -> Result<(), ObjectError>;
    /// The names that begin with `prefix`. Some may be gone meanwhile, and new ones missing.
    async fn list(&self, prefix: &str) -> Result<Vec<String>, ObjectError>;
}
