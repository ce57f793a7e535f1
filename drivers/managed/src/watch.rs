//! One wait for changes of the data plane, shared by all who keep a scope: each wait costs the data plane a connection.

use deployctl_core::id::Scope;
use deployctl_core::route::Router;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Counts changes of the data plane, and what each scope was told of them.
#[derive(Default)]
pub(crate) struct Watch {
    changes: Arc<AtomicU64>,
    told: Mutex<HashMap<Scope, u64>>,
    /// Ends when the last of those who wait goes away.
    waiting: Mutex<Option<WeakShared<BoxFuture<'static, ()>>>>,
}

impl Watch {
    /// Returns when something may have changed in the data plane since the last call for this scope. Cancel-safe.
    pub(crate) async fn changed(&self, router: &Arc<dyn Router>, scope: &Scope) {
        if !self.is_new(scope) {
            self.wait(router).await;
            self.is_new(scope);
        }
    }

    /// Whether there were changes that the scope was not told of. It is now.
    fn is_new(&self, scope: &Scope) -> bool {
        let now = self.changes.load(Ordering::SeqCst);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match told.get_mut(scope) {
            Some(told) => std::mem::replace(told, now) != now,
            None => {
                told.insert(scope.clone(), now);
                false
            }
        }
    }

    fn wait(&self, router: &Arc<dyn Router>) -> Shared<BoxFuture<'static, ()>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(others) = waiting.as_ref().and_then(WeakShared::upgrade).filter(|wait| wait.peek().is_none()) {
            return others;
        }
        let (router, changes) = (router.clone(), self.changes.clone());
        let wait = async move {
            router.changed().await;
            changes.fetch_add(1, Ordering::SeqCst);
        };
        let wait = wait.boxed().shared();
        *waiting = wait.downgrade();
        wait
    }
}
