//! Descriptors that tokio waits on.

use rustix::fd::OwnedFd;
use std::fs::File;
use std::io;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Waits until `fd` is readable. Only for descriptors that are owned and never replaced, such as a pidfd.
#[expect(
    deprecated,
    reason = "the successor is unsafe for types that may lie about their descriptor; OwnedFd does not"
)]
pub(crate) fn owned(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, Interest::READABLE)
}

/// The same for a file, so that it can be read.
#[expect(deprecated, reason = "the successor is unsafe for types that may lie about their descriptor; File does not")]
pub(crate) fn file(fd: File) -> io::Result<AsyncFd<File>> {
    AsyncFd::with_interest(fd, Interest::READABLE)
}
