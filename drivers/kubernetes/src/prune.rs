//! What a release does not have any more is taken away.

use crate::adopt::Adopted;
use crate::apply::Wanted;
use crate::claims::Claim;
use crate::cluster::AT_ONCE;
use crate::record::{Entry, Record};
use crate::site::Site;
use deployctl_core::driver::Way;
use deployctl_core::fault::Fault;
use deployctl_kubernetes::{applyset, order, secrets};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::Value;

/// What became of an object that the release does not have.
enum Taken {
    /// It is not there, or not ours any more.
    Gone,
    /// It is never taken away.
    Stays,
    /// An earlier release may need it.
    Kept,
    /// It was told to end.
    Ends,
}

/// What is left when the rest was taken away.
#[derive(Default)]
pub(crate) struct Left {
    pub(crate) inventory: Vec<Entry>,
    /// What of that is no part of the release, and is never taken away.
    pub(crate) stays: Vec<Entry>,
    pub(crate) kept: Vec<Entry>,
    /// Claims of StatefulSets that are gone.
    pub(crate) claims: Vec<Claim>,
    /// What is to end first.
    pub(crate) waits: Option<String>,
}

impl Site {
    /// Takes away what the release does not have, and says what stays and what is waited for. Only what is part of the
    /// scope's set is touched, and what holds data only where that is told, when nothing else is left. Secrets of releases stay until no release needs them, or until there
    /// is none.
    pub(crate) async fn prune(&self, record: &Record, wanted: &[Wanted], way: &Way) -> Result<Left, Fault> {
        let is_wanted = |entry: &&Entry| wanted.iter().any(|wanted| wanted.entry.is_same(entry));
        let mut left = Left { claims: record.claims.clone(), ..Left::default() };
        for wanted in wanted.iter().filter(|one| record.inventory.iter().any(|entry| entry.is_same(&one.entry))) {
            left.inventory.push(wanted.entry.clone());
        }
        // In the opposite order: nothing loses what it needs before it is gone itself.
        let mut entries: Vec<&Entry> = record.inventory.iter().filter(|entry| !is_wanted(entry)).collect();
        for entry in record.kept.iter().filter(|entry| !is_wanted(entry)) {
            match record.revision {
                Some(_) => left.kept.push(entry.clone()),
                None if entries.iter().any(|known| known.is_same(entry)) => {}
                None => entries.push(entry),
            }
        }
        entries.sort_by_key(|entry| std::cmp::Reverse(order::stage(&entry.name())));
        let mut taken: Vec<BoxFuture<'_, Result<Taken, Fault>>> = Vec::new();
        for entry in &entries {
            // A release that took it over is turned back, and there is none before it: it becomes what it was.
            let adopted = record.adopted.iter().find(|adopted| adopted.entry.is_same(entry));
            let adopted = adopted.filter(|_| way.back && wanted.is_empty());
            taken.push(self.take_away(entry, adopted, record.revision.is_some()).boxed());
        }
        let taken: Vec<Taken> = stream::iter(taken).buffered(AT_ONCE).try_collect().await?;
        for (entry, taken) in entries.into_iter().zip(taken) {
            match taken {
                Taken::Gone => {}
                Taken::Stays => {
                    left.inventory.push(entry.clone());
                    left.stays.push(entry.clone());
                }
                Taken::Kept if left.kept.iter().any(|known| known.is_same(entry)) => {}
                Taken::Kept => left.kept.push(entry.clone()),
                Taken::Ends => left.waits = left.waits.or_else(|| Some(format!("{} is to end", entry.name()))),
            }
        }
        match way.delete_data && record.revision.is_none() && wanted.is_empty() && left.waits.is_none() {
            true => self.take_data(left).await,
            false => Ok(left),
        }
    }

    /// `keeps`: whether Secrets of releases stay.
    async fn take_away(&self, entry: &Entry, adopted: Option<&Adopted>, keeps: bool) -> Result<Taken, Fault> {
        let name = entry.name();
        let Some(there) = self.find(entry).await? else { return Ok(Taken::Gone) };
        if applyset::stranger(&there, &self.set()).is_some() {
            return Ok(Taken::Gone);
        }
        if let Some(adopted) = adopted {
            self.put_back(adopted, &there).await?;
            return Ok(Taken::Gone);
        }
        if keeps && secrets::is_versioned(&there) {
            return Ok(Taken::Kept);
        }
        if order::is_kept(name.group(), &name.kind) || says_keep(&there) {
            return Ok(Taken::Stays);
        }
        if there["metadata"]["deletionTimestamp"].is_null() {
            self.delete(entry, &there).await?;
        }
        Ok(Taken::Ends)
    }

    pub(crate) async fn delete(&self, entry: &Entry, there: &Value) -> Result<(), Fault> {
        self.still_admitted().await?;
        self.delete_as(entry, there, "Foreground").await
    }
}

/// Whether its chart says that it outlives its release.
pub(crate) fn says_keep(there: &Value) -> bool {
    there["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
}
