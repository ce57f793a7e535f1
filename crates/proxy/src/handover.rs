//! Listening sockets and the lock, from one process to the next, over a Unix socket.

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Descriptors in one message; the kernel takes up to 253.
const AT_ONCE: usize = 64;

/// Sends `fds`; `to` must block.
pub(crate) fn send(to: impl AsFd, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    for some in fds.chunks(AT_ONCE) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(some)) {
            return Err(io::Error::other("descriptors do not fit a message"));
        }
        sendmsg(&to, &[IoSlice::new(b"f")], &mut control, SendFlags::NOSIGNAL)?;
    }
    Ok(())
}

/// Receives `count` descriptors; `from` must block.
pub(crate) fn receive(from: impl AsFd, count: usize) -> io::Result<Vec<OwnedFd>> {
    let mut fds = Vec::new();
    while fds.len() < count {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let message = recvmsg(&from, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
        if message.bytes == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the predecessor ended during the hand-over"));
        }
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(some) = message {
                fds.extend(some);
            }
        }
    }
    Ok(fds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    #[test]
    fn descriptors_arrive_in_order() {
        let (a, b) = UnixStream::pair().unwrap();
        let pairs: Vec<_> = (0..70).map(|_| UnixStream::pair().unwrap()).collect();
        let fds: Vec<_> = pairs.iter().map(|(near, _)| near.as_fd()).collect();
        send(&a, &fds).unwrap();
        let got = receive(&b, 70).unwrap();
        for (number, (fd, (_, far))) in got.into_iter().zip(&pairs).enumerate() {
            UnixStream::from(fd).write_all(&[number as u8]).unwrap();
            let mut byte = [0];
            (&mut &*far).read_exact(&mut byte).unwrap();
            assert_eq!(byte[0], number as u8);
        }
        drop(a);
        assert_eq!(receive(&b, 1).unwrap_err().to_string(), "the predecessor ended during the hand-over");
    }
}
