//! A command of deployctl, while it runs and when it ended.

use super::world::poll;
use std::io::Read;
use std::process::Child;
use std::time::Duration;

/// A command that ended.
#[derive(Clone, Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn ok(self, what: &str) -> Result<Self, String> {
        if self.code == Some(0) {
            Ok(self)
        } else {
            Err(format!("`{what}` ended with {:?}: {}", self.code, self.err.trim()))
        }
    }
}

/// A command that runs; what it prints is read all the while.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) child: Child,
    out: std::thread::JoinHandle<String>,
    err: std::thread::JoinHandle<String>,
}

impl Running {
    pub(crate) fn new(mut child: Child) -> Self {
        let out = reader(child.stdout.take());
        let err = reader(child.stderr.take());
        Self { child, out, err }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end; kills it if that does not come in time.
    pub(crate) fn finish(mut self, limit: Duration) -> Result<Ran, String> {
        let ended = poll(limit, || self.has_ended().then_some(()));
        if ended.is_none() {
            let _ = self.child.kill();
        }
        let code = self.child.wait().ok().and_then(|status| status.code());
        let text = |thread: std::thread::JoinHandle<String>| thread.join().unwrap_or_default();
        let ran = Ran { code, out: text(self.out), err: text(self.err) };
        if ended.is_some() { Ok(ran) } else { Err(format!("hangs; it said: {}", ran.err.trim())) }
    }
}

fn reader(from: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(mut from) = from {
            let _ = from.read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    })
}
