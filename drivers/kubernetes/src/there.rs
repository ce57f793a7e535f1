//! What is there of the objects of a release before it is applied: by a list for each kind, not by a question for each object.

use crate::apply::Wanted;
use crate::kinds::{Kind, Listed};
use crate::record::Entry;
use crate::site::Site;
use deployctl_core::fault::Fault;
use deployctl_kubernetes::same;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// So many that are not known are asked for one by one; of more all names of their kind are listed.
const FEW: usize = 4;

/// What is there.
#[derive(Default)]
pub(crate) struct There {
    own: BTreeMap<(String, String), Listed>,
    /// All names of a kind, whoever has them.
    names: BTreeMap<(String, String), Listed>,
    /// What may be made anew.
    replaces: Vec<Entry>,
}

fn key(entry: &Entry) -> (String, String) {
    (entry.api_version.clone(), entry.kind.clone())
}

impl There {
    /// The scope's own object.
    pub(crate) fn own(&self, entry: &Entry) -> Option<&Value> {
        self.own.get(&key(entry))?.items.get(&entry.name)
    }

    /// Whether it is certain that nobody has an object of this name.
    pub(crate) fn is_free(&self, entry: &Entry) -> bool {
        self.names
            .get(&key(entry))
            .is_some_and(|listed| listed.path.is_some() && !listed.items.contains_key(&entry.name))
    }

    /// With these, which may be made anew.
    pub(crate) fn replacing(self, replaces: Vec<Entry>) -> Self {
        Self { replaces, ..self }
    }

    /// Whether it may be deleted and made anew.
    pub(crate) fn may_replace(&self, entry: &Entry) -> bool {
        self.replaces.iter().any(|known| known.is_same(entry))
    }

    /// Whether applying this would change nothing.
    pub(crate) fn is_done(&self, entry: &Entry, object: &Value) -> bool {
        self.own(entry).is_some_and(|there| same::is_as_applied(object, there))
    }
}

impl Site {
    /// Looks for what is there of these. Kinds that the cluster does not know have nothing.
    pub(crate) async fn there(&self, wanted: &[Wanted]) -> Result<There, Fault> {
        let kinds: BTreeSet<Kind> = wanted.iter().map(|wanted| Kind::own(&wanted.entry)).collect();
        let own = self.lists(&kinds.into_iter().collect::<Vec<_>>()).await?;
        let own: BTreeMap<_, _> = own.into_iter().map(listed).collect();
        let there = There { own, ..There::default() };
        let mut unknown: BTreeMap<(String, String), usize> = BTreeMap::new();
        for wanted in wanted.iter().filter(|wanted| there.own(&wanted.entry).is_none()) {
            *unknown.entry(key(&wanted.entry)).or_default() += 1;
        }
        let many = unknown.into_iter().filter(|(_, count)| *count > FEW);
        let kinds: Vec<Kind> = many.map(|((api_version, kind), _)| Kind::near(&api_version, &kind, true)).collect();
        let names = self.lists(&kinds).await?.into_iter().map(listed).collect();
        Ok(There { names, ..there })
    }
}

fn listed(listed: Listed) -> ((String, String), Listed) {
    ((listed.kind.api_version.clone(), listed.kind.kind.clone()), listed)
}
