//! Who waits for changes of a scope is woken; no change between two waits is lost.

use deployctl_core::id::Scope;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// A wait ends after this time in any case: two who wait for one scope may take each other's wake-up.
const LONGEST: Duration = Duration::from_secs(2);

/// A counter per key that grows with every change.
#[derive(Debug)]
pub struct Hub<K> {
    cells: Mutex<HashMap<K, Cell>>,
}

#[derive(Debug)]
struct Cell {
    changes: watch::Sender<u64>,
    told: u64,
}

impl<K> Default for Hub<K> {
    fn default() -> Self {
        Self { cells: Mutex::default() }
    }
}

/// The hub of scopes.
pub type Scopes = Hub<Scope>;

impl<K: Eq + Hash + Clone> Hub<K> {
    /// Notes a change.
    pub fn bump(&self, key: &K) {
        self.with(key, |cell| cell.changes.send_modify(|count| *count += 1));
    }

    /// Returns when there was a change since the last call returned, or after a while. Cancel-safe.
    pub async fn changed(&self, key: &K) {
        let mut changes = self.with(key, |cell| cell.changes.subscribe());
        let told = self.with(key, |cell| cell.told);
        let _ = tokio::time::timeout(LONGEST, changes.wait_for(|count| *count != told)).await;
        self.with(key, |cell| cell.told = *cell.changes.borrow());
    }

    fn with<R>(&self, key: &K, act: impl FnOnce(&mut Cell) -> R) -> R {
        let mut cells: MutexGuard<'_, _> = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        let cell = cells.entry(key.clone()).or_insert_with(|| Cell { changes: watch::Sender::new(0), told: 0 });
        act(cell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_change_before_the_wait_is_not_lost() {
        let hub: Hub<&str> = Hub::default();
        hub.bump(&"a");
        let begun = tokio::time::Instant::now();
        hub.changed(&"a").await;
        assert_eq!(begun.elapsed(), Duration::ZERO, "told at once of what happened before");
        hub.changed(&"a").await;
        assert_eq!(begun.elapsed(), LONGEST, "nothing happened: the longest wait");
        drop(tokio::time::timeout(Duration::from_millis(1), hub.changed(&"a")).await);
        hub.bump(&"a");
        let begun = tokio::time::Instant::now();
        hub.changed(&"a").await;
        assert_eq!(begun.elapsed(), Duration::ZERO, "a cancelled wait takes nothing away");
    }
}
