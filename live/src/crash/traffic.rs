//! Requests that come in while something crashes.

use super::world::get;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Clients that ask, one request after the other, until they are told to stop.
#[derive(Debug)]
pub(crate) struct Traffic {
    over: Arc<AtomicBool>,
    asks: JoinHandle<(usize, Vec<String>)>,
}

impl Traffic {
    /// Asks `address` for its version from now on, with a pause between two requests. Another answer than one of `versions` is as
    /// bad as none; if none are named, any is good.
    pub(crate) fn begin(address: String, pause: Duration, versions: Vec<String>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let told = over.clone();
        let asks = std::thread::spawn(move || {
            let (mut asked, mut lost) = (0, Vec::new());
            while !told.load(Ordering::Relaxed) {
                asked += 1;
                match get(&address, "/version") {
                    Ok((200, said)) if versions.is_empty() || versions.contains(&said) => {}
                    other => lost.push(format!("{other:?}")),
                }
                std::thread::sleep(pause);
            }
            (asked, lost)
        });
        Self { over, asks }
    }

    /// Stops, and says what was lost.
    pub(crate) fn end(self) -> Result<(), String> {
        self.over.store(true, Ordering::Relaxed);
        let (asked, lost) = self.asks.join().map_err(|_| "who asks panicked")?;
        match lost.first() {
            None => Ok(()),
            Some(first) => Err(format!("{} of {asked} requests were lost: {first}", lost.len())),
        }
    }
}
