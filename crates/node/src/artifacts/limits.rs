//! How large an artifact may be.

use super::error::{IngestError, IngestKind};
use std::path::Path;
use std::time::Duration;

/// What an artifact may be at most. The defaults are far above what is deployed and far below what fills a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes as it comes.
    pub packed_bytes_max: u64,
    /// Bytes of all its files.
    pub unpacked_bytes_max: u64,
    /// Files, folders and links.
    pub entries_max: u64,
    /// How long a download may take in all.
    pub download_max: Duration,
    /// How long a server may take to accept a connection, and then to begin its answer.
    pub answer_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            packed_bytes_max: 8 << 30,
            unpacked_bytes_max: 16 << 30,
            entries_max: 200_000,
            download_max: Duration::from_secs(30 * 60),
            answer_max: Duration::from_secs(30),
        }
    }
}

impl Limits {
    pub(super) fn too_many(&self, of: &Path) -> IngestError {
        let message = format!("{} has more than {} files, folders and links", of.display(), self.entries_max);
        IngestError::new(IngestKind::Refused, message)
    }
}
