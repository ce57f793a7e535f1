//! The maintenance page, on or off.

use crate::Engine;
use crate::ledger::Entries;
use deployctl_core::ask::{Maintenance, Refused};
use deployctl_core::scope::Event;
use std::sync::Arc;

impl Engine {
    /// Turns the maintenance page on or off; it is in effect when this returns, unless the target is in trouble, which
    /// the keeper then goes on mending.
    pub async fn maintenance(self: &Arc<Self>, ask: &Maintenance) -> Result<Vec<String>, Refused> {
        let _sitting = self.sit().await?;
        let mut changed = Vec::new();
        for scope in self.selected(&ask.place)? {
            let fold = self.ledger.scope(&scope).await?;
            if fold.state.maintenance == ask.on {
                continue;
            }
            let entries = Entries {
                scopes: vec![(scope.clone(), fold.seq, vec![Event::Maintenance { on: ask.on }])],
                fences: vec![(scope.clone(), fold.state.fence)],
                ..Entries::default()
            };
            self.ledger.append(entries, self.ports.clock.now(), &ask.by.actor).await?;
            self.keep_now(&scope).await;
            self.wake_keeper(&scope);
            changed.push(scope.app.to_string());
        }
        Ok(changed)
    }
}
