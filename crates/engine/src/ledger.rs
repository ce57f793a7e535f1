//! The journal as folded state: reads through a cache, appends with compare-and-swap.

use crate::lock;
use deployctl_core::ask::Refused;
use deployctl_core::deployment::{self, Deployment};
use deployctl_core::id::{DeploymentId, Fence, Scope, Sha256Hex};
use deployctl_core::journal::{
    AppendError, Batch, Entry, Head, Journal, NewEntry, ReadError, Seq, Snapshot, StreamId, Write,
};
use deployctl_core::scope;
use deployctl_core::time::Millis;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// A folded stream and where it stood.
#[derive(Clone, Debug)]
pub(crate) struct Fold<T> {
    pub(crate) state: T,
    pub(crate) seq: Seq,
    pub(crate) hash: Option<Sha256Hex>,
}

/// What to append: events of one deployment and of some scopes.
#[derive(Default)]
pub(crate) struct Entries {
    pub(crate) deployment: Option<(DeploymentId, Seq, Vec<deployment::Event>)>,
    pub(crate) scopes: Vec<(Scope, Seq, Vec<scope::Event>)>,
    /// Other streams, as they are.
    pub(crate) other: Vec<Write>,
    pub(crate) fences: Vec<(Scope, Fence)>,
}

pub(crate) struct Ledger {
    journal: Arc<dyn Journal>,
    scopes: Mutex<HashMap<Scope, Arc<Fold<scope::State>>>>,
    deployments: Mutex<HashMap<DeploymentId, Arc<Fold<Option<Deployment>>>>>,
}

/// How many entries are read at a time.
const PAGE: usize = 1_000;

/// A scope is kept as a snapshot every so many entries.
const SNAPSHOT_EVERY: u64 = 64;

impl Ledger {
    pub(crate) fn new(journal: Arc<dyn Journal>) -> Self {
        Self { journal, scopes: Mutex::default(), deployments: Mutex::default() }
    }

    /// Every scope that ever had an entry.
    pub(crate) async fn all_scopes(&self) -> Result<Vec<Scope>, ReadError> {
        let streams = self.journal.streams("scope/").await?;
        streams.iter().map(scope_of).collect()
    }

    /// Scopes folded so far; after [`Ledger::all_scopes`] was walked once, all that there are.
    pub(crate) fn known_scopes(&self) -> Vec<(Scope, Arc<Fold<scope::State>>)> {
        let mut all: Vec<_> = lock(&self.scopes).iter().map(|(s, f)| (s.clone(), f.clone())).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    pub(crate) fn is_idle(&self) -> bool {
        let busy = |f: &Arc<Fold<scope::State>>| {
            f.state.open.is_some() || f.state.resting.base.is_some() || !f.state.resting.parts.is_empty()
        };
        !lock(&self.scopes).values().any(busy)
    }

    /// The deployments that are under way.
    pub(crate) fn open(&self) -> Vec<DeploymentId> {
        let mut open: Vec<DeploymentId> = Vec::new();
        for (_, fold) in self.known_scopes() {
            let id = fold.state.open.as_ref().map(|open| open.opened.deployment.clone());
            open.extend(id.filter(|id| !open.contains(id)));
        }
        open
    }

    /// Takes in what others wrote, and nothing that is older than what is known.
    pub(crate) async fn renew(&self) -> Result<(), ReadError> {
        for scope in self.all_scopes().await? {
            let stands = self.journal.head(&scope.stream()).await?.map(|head| head.seq);
            let known = lock(&self.scopes).get(&scope).map(|fold| fold.seq);
            if known != stands {
                let fold = Arc::new(self.fold_scope(&scope).await?);
                let mut scopes = lock(&self.scopes);
                if scopes.get(&scope).is_none_or(|known| known.seq < fold.seq) {
                    scopes.insert(scope, fold);
                }
            }
        }
        lock(&self.deployments).clear();
        Ok(())
    }

    pub(crate) async fn scope(&self, scope: &Scope) -> Result<Arc<Fold<scope::State>>, ReadError> {
        loop {
            if let Some(fold) = lock(&self.scopes).get(scope) {
                return Ok(fold.clone());
            }
            let fold = Arc::new(self.fold_scope(scope).await?);
            let fold = lock(&self.scopes).entry(scope.clone()).or_insert(fold).clone();
            if !self.is_behind(&scope.stream(), fold.seq).await? {
                return Ok(fold);
            }
            lock(&self.scopes).remove(scope);
        }
    }

    /// Whether a fold that was put into the cache lacks what was appended while it was read: that found nothing there
    /// to be folded into. What is appended after it is there, finds it.
    async fn is_behind(&self, stream: &StreamId, seq: Seq) -> Result<bool, ReadError> {
        Ok(self.journal.head(stream).await?.is_some_and(|head| head.seq > seq))
    }

    async fn fold_scope(&self, scope: &Scope) -> Result<Fold<scope::State>, ReadError> {
        let stream = scope.stream();
        let kept = self.journal.snapshot(&stream).await?;
        let kept = kept.and_then(|s| Some((serde_json::from_slice(&s.state).ok()?, s.head)));
        let mut fold = match kept {
            Some((state, head)) => Fold { state, seq: head.seq, hash: Some(head.hash) },
            None => Fold { state: scope::State::default(), seq: Seq(0), hash: None },
        };
        loop {
            let page = self.journal.read(&stream, fold.seq, PAGE).await?;
            for entry in &page {
                let event = parse(entry)?;
                fold.state = scope::evolve(std::mem::take(&mut fold.state), &event, entry.at, &entry.actor);
                (fold.seq, fold.hash) = (entry.seq, Some(entry.hash.clone()));
            }
            if page.len() < PAGE {
                return Ok(fold);
            }
        }
    }

    pub(crate) async fn deployment(&self, id: &DeploymentId) -> Result<Arc<Fold<Option<Deployment>>>, ReadError> {
        loop {
            if let Some(fold) = lock(&self.deployments).get(id) {
                return Ok(fold.clone());
            }
            let fold = Arc::new(self.fold_deployment(id).await?);
            if fold.state.as_ref().is_none_or(|d| d.closed.is_some()) {
                return Ok(fold);
            }
            let fold = lock(&self.deployments).entry(id.clone()).or_insert(fold).clone();
            if !self.is_behind(&id.stream(), fold.seq).await? {
                return Ok(fold);
            }
            lock(&self.deployments).remove(id);
        }
    }

    async fn fold_deployment(&self, id: &DeploymentId) -> Result<Fold<Option<Deployment>>, ReadError> {
        let mut fold = Fold { state: None, seq: Seq(0), hash: None };
        loop {
            let page = self.journal.read(&id.stream(), fold.seq, PAGE).await?;
            for entry in &page {
                fold.state = deployment::evolve::evolve(fold.state.take(), &parse(entry)?);
                (fold.seq, fold.hash) = (entry.seq, Some(entry.hash.clone()));
            }
            if page.len() < PAGE {
                return Ok(fold);
            }
        }
    }

    /// The raw entries of a deployment.
    pub(crate) async fn entries(&self, id: &DeploymentId) -> Result<Vec<Entry>, ReadError> {
        self.journal.read(&id.stream(), Seq(0), usize::MAX >> 1).await
    }

    /// Appends everything or nothing. After `Conflict` the next read sees the newer state.
    pub(crate) async fn append(&self, entries: Entries, at: Millis, actor: &str) -> Result<(), AppendError> {
        let new = |event: String| NewEntry { at, actor: actor.into(), event };
        let mut writes = Vec::new();
        if let Some((id, expected, events)) = &entries.deployment {
            let entries = events.iter().map(|e| new(json(e))).collect();
            writes.push(Write { stream: id.stream(), expected: *expected, entries });
        }
        for (scope, expected, events) in &entries.scopes {
            let entries = events.iter().map(|e| new(json(e))).collect();
            writes.push(Write { stream: scope.stream(), expected: *expected, entries });
        }
        writes.extend(entries.other.iter().cloned());
        let fences = entries.fences.iter().map(|(scope, fence)| (scope.stream(), *fence)).collect();
        match self.journal.append(Batch { writes, fences }).await {
            Ok(heads) => {
                self.fold_in(&entries, heads, at, actor).await;
                Ok(())
            }
            Err(error) => {
                self.forget(&entries);
                Err(error)
            }
        }
    }

    async fn fold_in(&self, entries: &Entries, heads: Vec<Head>, at: Millis, actor: &str) {
        let mut heads = heads.into_iter();
        if let (Some((id, _, events)), Some(head)) =
            (&entries.deployment, entries.deployment.as_ref().and_then(|_| heads.next()))
        {
            let mut all = lock(&self.deployments);
            let expected = entries.deployment.as_ref().map_or(Seq(0), |(_, seq, _)| *seq);
            let before = all.get(id).filter(|fold| fold.seq == expected).and_then(|fold| fold.state.clone());
            // Forgotten meanwhile by another writer who lost: it is read anew, not made of its last events alone.
            let is_lost = before.is_none() && expected != Seq(0);
            let state = events.iter().fold(before, deployment::evolve::evolve);
            if is_lost || state.as_ref().is_some_and(|d| d.closed.is_some()) {
                all.remove(id);
            } else {
                all.insert(id.clone(), Arc::new(Fold { state, seq: head.seq, hash: Some(head.hash) }));
            }
        }
        for ((scope, expected, events), head) in entries.scopes.iter().zip(heads) {
            let before = lock(&self.scopes).get(scope).filter(|f| f.seq == *expected).map(|f| f.state.clone());
            if before.is_none() && *expected != Seq(0) {
                lock(&self.scopes).remove(scope);
                continue;
            }
            let before = before.unwrap_or_default();
            let state = events.iter().fold(before, |state, event| scope::evolve(state, event, at, actor));
            let due = head.seq.0 / SNAPSHOT_EVERY != (head.seq.0 - events.len() as u64) / SNAPSHOT_EVERY;
            if due && let Ok(bytes) = serde_json::to_vec(&state) {
                // Losing a snapshot costs time at the next start, nothing else.
                let snapshot = Snapshot { head: head.clone(), state: bytes };
                let _ = self.journal.save_snapshot(&scope.stream(), snapshot).await;
            }
            let fold = Fold { state, seq: head.seq, hash: Some(head.hash) };
            lock(&self.scopes).insert(scope.clone(), Arc::new(fold));
        }
    }

    fn forget(&self, entries: &Entries) {
        if let Some((id, _, _)) = &entries.deployment {
            lock(&self.deployments).remove(id);
        }
        for (scope, _, _) in &entries.scopes {
            lock(&self.scopes).remove(scope);
        }
    }

    /// Reads forgotten scopes back in, so that [`Ledger::known_scopes`] is complete again.
    pub(crate) async fn refresh(&self) -> Result<(), Refused> {
        for scope in self.all_scopes().await? {
            self.scope(&scope).await?;
        }
        Ok(())
    }
}

pub(crate) fn json(event: &impl serde::Serialize) -> String {
    serde_json::to_string(event).unwrap_or_else(|e| unreachable!("events have string keys only: {e}"))
}

pub(crate) fn parse<T: serde::de::DeserializeOwned>(entry: &Entry) -> Result<T, ReadError> {
    serde_json::from_str(&entry.event).map_err(|e| {
        ReadError::Failed(format!(
            "entry {} of {} is of a form that this build does not know: {e}",
            entry.seq.0, entry.stream
        ))
    })
}

pub(crate) fn scope_of(stream: &StreamId) -> Result<Scope, ReadError> {
    let bad = || ReadError::Altered(format!("`{stream}` is no stream of a scope"));
    let mut parts = stream.0.strip_prefix("scope/").ok_or_else(bad)?.split('/');
    let mut next = || parts.next().ok_or_else(bad);
    Ok(Scope {
        project: next()?.parse().map_err(|_| bad())?,
        environment: next()?.parse().map_err(|_| bad())?,
        region: next()?.parse().map_err(|_| bad())?,
        app: next()?.parse().map_err(|_| bad())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use deployctl_core::id::{OwnerId, Sha256Hex};
    use deployctl_core::journal::Verified;
    use deployctl_store::MemoryJournal;
    use std::sync::OnceLock;

    #[tokio::test]
    async fn a_deployment_that_was_forgotten_while_it_was_written_is_read_anew() {
        let ledger = Ledger::new(Arc::new(MemoryJournal::default()));
        let id = DeploymentId::new("d-1").unwrap();
        let entries =
            Entries { deployment: Some((id.clone(), Seq(3), vec![deployment::Event::Paused])), ..Entries::default() };
        ledger.forget(&entries);
        let head = Head { seq: Seq(4), hash: Sha256Hex::of(b"4") };
        ledger.fold_in(&entries, vec![head], Millis(0), "somebody").await;
        assert!(
            !lock(&ledger.deployments).contains_key(&id),
            "its walk would take it for one that is unknown, and end"
        );
    }

    #[tokio::test]
    async fn what_is_appended_while_a_scope_is_read_is_seen() {
        let journal = Arc::new(Interrupted::default());
        let ledger = Arc::new(Ledger::new(journal.clone()));
        let maintained = |on| scope::Event::Maintenance { on };
        let scope: Scope = scope_of(&StreamId("scope/shop/dev/default/api".into())).unwrap();
        let append = |seq, on| {
            let entries =
                Entries { scopes: vec![(scope.clone(), Seq(seq), vec![maintained(on)])], ..Entries::default() };
            let ledger = ledger.clone();
            async move { ledger.append(entries, Millis(0), "somebody").await.unwrap() }
        };
        append(0, true).await;
        lock(&ledger.scopes).clear();
        journal.meanwhile.set(Mutex::new(Some(Box::pin(append(1, false))))).ok().unwrap();
        let seen = ledger.scope(&scope).await.unwrap();
        assert_eq!((seen.seq, seen.state.maintenance), (Seq(2), false), "it would be believed until the next append");
        assert_eq!(ledger.scope(&scope).await.unwrap().seq, Seq(2));
    }

    type Meanwhile = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

    /// A journal in memory; something happens while it is read for the first time.
    #[derive(Default)]
    struct Interrupted {
        inner: MemoryJournal,
        meanwhile: OnceLock<Mutex<Option<Meanwhile>>>,
    }

    #[async_trait]
    impl Journal for Interrupted {
        async fn append(&self, batch: Batch) -> Result<Vec<Head>, AppendError> {
            self.inner.append(batch).await
        }
        async fn read(&self, stream: &StreamId, after: Seq, limit: usize) -> Result<Vec<Entry>, ReadError> {
            let page = self.inner.read(stream, after, limit).await;
            let meanwhile = self.meanwhile.get().and_then(|meanwhile| lock(meanwhile).take());
            if let Some(meanwhile) = meanwhile {
                meanwhile.await;
            }
            page
        }
        async fn newest(
            &self,
            prefix: &str,
            types: &[&str],
            before: Option<u64>,
            limit: usize,
        ) -> Result<Vec<(u64, Entry)>, ReadError> {
            self.inner.newest(prefix, types, before, limit).await
        }
        async fn head(&self, stream: &StreamId) -> Result<Option<Head>, ReadError> {
            self.inner.head(stream).await
        }
        async fn streams(&self, prefix: &str) -> Result<Vec<StreamId>, ReadError> {
            self.inner.streams(prefix).await
        }
        async fn verify(&self, known: Option<&Sha256Hex>) -> Result<Verified, ReadError> {
            self.inner.verify(known).await
        }
        async fn fence(&self, stream: &StreamId) -> Result<Fence, ReadError> {
            self.inner.fence(stream).await
        }
        async fn save_snapshot(&self, stream: &StreamId, snapshot: Snapshot) -> Result<(), AppendError> {
            self.inner.save_snapshot(stream, snapshot).await
        }
        async fn snapshot(&self, stream: &StreamId) -> Result<Option<Snapshot>, ReadError> {
            self.inner.snapshot(stream).await
        }
        async fn beat(&self, owner: &OwnerId) -> Result<(), AppendError> {
            self.inner.beat(owner).await
        }
        async fn beats(&self, owner: &OwnerId) -> Result<Option<u64>, ReadError> {
            self.inner.beats(owner).await
        }
    }
}
