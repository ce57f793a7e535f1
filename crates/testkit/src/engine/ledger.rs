//! The journal as folded state.

use super::Engine;
use crate::journal::Said;
use crate::world::{Reply, Request};
use deployctl_core::deployment::{self, Deployment, evolve::evolve};
use deployctl_core::id::{DeploymentId, Fence, Scope, Sha256Hex};
use deployctl_core::journal::{AppendError, Batch, NewEntry, Seq, Write};
use deployctl_core::scope;
use std::collections::BTreeMap;
use std::rc::Rc;

/// A folded stream and where it stood.
#[derive(Clone, Debug)]
pub(super) struct Fold<T> {
    pub(super) state: T,
    pub(super) seq: Seq,
    pub(super) hash: Option<Sha256Hex>,
}

impl<T: Default> Default for Fold<T> {
    fn default() -> Self {
        Self { state: T::default(), seq: Seq(0), hash: None }
    }
}

/// What was folded so far.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    scopes: BTreeMap<Scope, Rc<Fold<scope::State>>>,
    deployments: BTreeMap<DeploymentId, Rc<Fold<Option<Deployment>>>>,
}

/// What to append.
#[derive(Default)]
pub(super) struct Entries {
    pub(super) deployment: Option<(DeploymentId, Seq, Vec<deployment::Event>)>,
    pub(super) scopes: Vec<(Scope, Seq, Vec<scope::Event>)>,
    pub(super) fences: Vec<(Scope, Fence)>,
}

fn index(seq: Seq) -> usize {
    usize::try_from(seq.0).unwrap_or(usize::MAX)
}

impl Engine {
    pub(super) fn scope(&self, scope: &Scope) -> Rc<Fold<scope::State>> {
        let (world, mut ledger) = (self.world.borrow(), self.ledger.borrow_mut());
        let kept = ledger.scopes.entry(scope.clone()).or_default();
        let lines = world.journal.lines(&scope.stream());
        if lines.len() > index(kept.seq) {
            let mut fold = std::mem::take(Rc::make_mut(kept));
            for line in &lines[index(fold.seq)..] {
                if let Said::Scope(event) = &*line.said {
                    fold.state = scope::evolve(fold.state, event, line.at, &line.actor);
                }
                (fold.seq, fold.hash) = (Seq(fold.seq.0 + 1), Some(line.hash.clone()));
            }
            *kept = Rc::new(fold);
        }
        kept.clone()
    }

    pub(super) fn deployment(&self, id: &DeploymentId) -> Rc<Fold<Option<Deployment>>> {
        let (world, mut ledger) = (self.world.borrow(), self.ledger.borrow_mut());
        let kept = ledger.deployments.entry(id.clone()).or_default();
        let lines = world.journal.lines(&id.stream());
        if lines.len() > index(kept.seq) {
            let mut fold = std::mem::take(Rc::make_mut(kept));
            for line in &lines[index(fold.seq)..] {
                if let Said::Deployment(event) = &*line.said {
                    fold.state = evolve(fold.state.take(), event);
                }
                (fold.seq, fold.hash) = (Seq(fold.seq.0 + 1), Some(line.hash.clone()));
            }
            *kept = Rc::new(fold);
        }
        kept.clone()
    }

    /// Appends everything or nothing.
    pub(super) async fn append(&self, entries: Entries, actor: &str) -> Result<(), AppendError> {
        let at = self.now();
        let new = |event: Result<String, serde_json::Error>| NewEntry {
            at,
            actor: actor.into(),
            event: event.unwrap_or_else(|e| unreachable!("events have string keys only: {e}")),
        };
        let mut writes = Vec::new();
        if let Some((id, expected, events)) = &entries.deployment {
            let entries = events.iter().map(|e| new(serde_json::to_string(e))).collect();
            writes.push(Write { stream: id.stream(), expected: *expected, entries });
        }
        for (scope, expected, events) in &entries.scopes {
            let entries = events.iter().map(|e| new(serde_json::to_string(e))).collect();
            writes.push(Write { stream: scope.stream(), expected: *expected, entries });
        }
        let fences = entries.fences.iter().map(|(scope, fence)| (scope.stream(), *fence)).collect();
        match self.call(Request::Append(Batch { writes, fences })).await {
            Reply::Appended(done) => done.map(drop),
            other => unreachable!("an append is answered with {other:?}"),
        }
    }
}
