//! SIGTERM and SIGINT as something that can be waited for.
#![allow(unsafe_code)]

use std::io::Read;
use std::os::fd::IntoRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

unsafe extern "C" {
    fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
    fn write(fd: i32, data: *const u8, length: usize) -> isize;
}

static WAKE: AtomicI32 = AtomicI32::new(-1);

extern "C" fn wake(_number: i32) {
    // SAFETY: `write` may be called in a signal handler; it reads one byte of a constant; the descriptor is never closed.
    unsafe { write(WAKE.load(Ordering::Relaxed), b"!".as_ptr(), 1) };
}

/// The request to stop, once made by a signal.
pub struct Stop(UnixStream);

impl Stop {
    /// From now on, SIGTERM and SIGINT no longer end the process but end [`Stop::wait`].
    pub fn on_signals() -> std::io::Result<Self> {
        let (wait, wake_up) = UnixStream::pair()?;
        wake_up.set_nonblocking(true)?;
        WAKE.store(wake_up.into_raw_fd(), Ordering::Relaxed);
        // SAFETY: `wake` is a handler of the right type that only does what a handler may do.
        unsafe {
            signal(SIGTERM, wake);
            signal(SIGINT, wake);
        }
        Ok(Self(wait))
    }

    /// Waits for the signal, for `limit` at most if there is one; says whether it came.
    pub fn wait(&mut self, limit: Option<Duration>) -> bool {
        self.0.set_read_timeout(limit).is_ok() && matches!(self.0.read(&mut [0]), Ok(1))
    }
}
