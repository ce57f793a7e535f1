//! One release becomes the next: applied in order, what it has no more taken away.

use crate::cluster::How;
use crate::hooks::{Side, hooked};
use crate::record::{Course, Entry, Phase, Record};
use crate::site::Site;
use deployctl_core::config::{KubernetesConfig, ManifestObject};
use deployctl_core::driver::{Step, Way};
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::Revision;
use deployctl_kubernetes::object::Name;
use deployctl_kubernetes::{applyset, hooks, order};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::{Value, json};

/// So many objects are on their way at once.
const AT_ONCE: usize = 16;

/// An object of a release, named.
pub(crate) struct Wanted<'a> {
    pub(crate) name: Name,
    pub(crate) entry: Entry,
    pub(crate) manifest: &'a ManifestObject,
}

/// The objects of a release; hooks are none.
pub(crate) fn wanted(config: &KubernetesConfig) -> Result<Vec<Wanted<'_>>, Fault> {
    let mut all = everything(config)?;
    all.retain(|wanted| wanted.manifest.object["metadata"]["annotations"][hooks::HOOK].is_null());
    Ok(all)
}

/// All that a release was read from.
pub(crate) fn everything(config: &KubernetesConfig) -> Result<Vec<Wanted<'_>>, Fault> {
    let mut all = Vec::new();
    for manifest in &config.objects {
        let name = Name::of(&manifest.object);
        let name = name.ok_or_else(|| Fault::refused(FaultKind::Bug, format!("{} is no object", manifest.from)))?;
        all.push(Wanted { entry: Entry::of(&name), name, manifest });
    }
    Ok(all)
}

impl Wanted<'_> {
    /// What a person calls it, with its place.
    pub(crate) fn what(&self) -> String {
        format!("{} ({})", self.name, self.manifest.from)
    }
}

impl Site {
    /// Brings the scope to a release, or to none. Safe to repeat, from any state.
    pub(crate) async fn bring(&self, to: Option<(&Revision, &KubernetesConfig)>, way: &Way) -> Result<Step, Fault> {
        let found = self.admitted(way.fence).await?;
        if to.is_none() && found.is_none() {
            return Ok(Step::Done);
        }
        let record = found.unwrap_or_else(|| Record::new(self.state.clone()));
        let revision = to.map(|(revision, _)| revision.clone());
        if record.revision == revision && record.phase == Phase::Applied && record.version.is_some() {
            return Ok(Step::Done);
        }
        let wanted = to.map_or(Ok(Vec::new()), |(_, config)| wanted(config))?;
        let hooks = to.map_or(Ok(Vec::new()), |(_, config)| hooked(config))?;
        let record = match to.is_some_and(|(_, config)| config.adopt) {
            true => self.keep_others(record, &wanted).await?,
            false => record,
        };
        let before = record.clone();
        let record = self.begin(record, revision, &wanted, way).await?;
        let (record, waits) = self.run_hooks(record, &hooks, Side::Before, way).await?;
        if let Some(waits) = waits {
            return Ok(Step::Pending(waits));
        }
        let stages = order::stages(wanted.iter().map(|wanted| (wanted.name.clone(), wanted)));
        for (number, stage) in stages.iter().enumerate() {
            if number > 0 {
                // Whoever was replaced meanwhile stops here.
                self.admitted(way.fence).await?;
            }
            let mut applied: Vec<BoxFuture<'_, Result<(), Fault>>> = Vec::new();
            for (_, wanted) in stage {
                applied.push(self.apply(wanted, &before, way).boxed());
            }
            stream::iter(applied).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
            if let Some(waits) = self.not_established(stage).await? {
                return Ok(Step::Pending(waits));
            }
        }
        self.admitted(way.fence).await?;
        let (left, waits) = self.prune(&record, &wanted, way).await?;
        if let Some(waits) = waits {
            return Ok(Step::Pending(waits));
        }
        // Before the hooks write to the record: what crashed since then counts.
        let since = record.written.clone();
        let (record, waits) = self.run_hooks(record, &hooks, Side::After, way).await?;
        if let Some(waits) = waits {
            return Ok(Step::Pending(waits));
        }
        if wanted.is_empty() {
            self.forget(&record).await?;
        }
        let mut adopted = record.adopted.clone();
        adopted.retain(|adopted| !wanted.is_empty() && left.iter().any(|entry| entry.is_same(&adopted.entry)));
        let phase = Phase::Applied;
        self.write(&Record { inventory: left, phase, since, adopted, handing: false, ..record }).await?;
        Ok(Step::Done)
    }

    /// Writes down what may be there from now on, before any of it is.
    async fn begin(
        &self,
        record: Record,
        revision: Option<Revision>,
        wanted: &[Wanted<'_>],
        way: &Way,
    ) -> Result<Record, Fault> {
        let mut inventory = record.inventory.clone();
        for wanted in wanted {
            if !inventory.iter().any(|known| known.is_same(&wanted.entry)) {
                inventory.push(wanted.entry.clone());
            }
        }
        let fence = record.fence.max(way.fence);
        let mut begun = Record { revision, phase: Phase::Applying, inventory, fence, ..record.clone() };
        if begun.revision != record.revision || record.phase == Phase::Applied {
            begun.course = course(&record, way);
            begun.courses += 1;
            begun.hooks_done.clear();
        }
        if begun == record {
            return Ok(record);
        }
        self.write(&begun).await
    }

    async fn apply(&self, wanted: &Wanted<'_>, before: &Record, way: &Way) -> Result<(), Fault> {
        let what = wanted.what();
        let path = self.path(&wanted.entry, &what).await?;
        let known = before.inventory.iter().any(|known| known.is_same(&wanted.entry));
        let adopted = before.adopted.iter().any(|adopted| adopted.entry.is_same(&wanted.entry));
        if adopted || (known && before.handing) {
            self.take_over(wanted, &path).await?;
        } else if !known {
            let there = self.cluster.find(&path).await.map_err(|trouble| self.fault(trouble, &what))?;
            self.check_ours(there.as_ref(), wanted)?;
        }
        let how = How { force: way.back, dry: false };
        let object = self.object(wanted);
        self.cluster.apply(&path, &object, how).await.map_err(|trouble| self.fault(trouble, &what))?;
        Ok(())
    }

    /// The object as it is applied: part of the scope's set, in its namespace.
    pub(crate) fn object(&self, wanted: &Wanted<'_>) -> Value {
        applyset::with_set(wanted.manifest.object.clone(), &self.set())
    }

    /// What is there must be ours to be changed.
    pub(crate) fn check_ours(&self, there: Option<&Value>, wanted: &Wanted<'_>) -> Result<(), Fault> {
        let Some(why) = there.and_then(|there| applyset::stranger(there, &self.set())) else { return Ok(()) };
        let message = format!("{} is in `{}` already: {why}", wanted.what(), self.namespace);
        Err(Fault::refused(FaultKind::Conflict, message).hint(match there.and_then(applyset::set_of) {
            Some(_) => "give it another name, or take it out of the other app first",
            None => "say `adopt: true` for the app to take over what is there already, or give it another name",
        }))
    }

    /// Definitions of kinds must be known to the server before objects of these kinds are.
    async fn not_established(&self, stage: &[(Name, &Wanted<'_>)]) -> Result<Option<String>, Fault> {
        for (name, wanted) in stage.iter().filter(|(name, _)| name.kind == "CustomResourceDefinition") {
            let there = self.find(&wanted.entry).await?.unwrap_or_default();
            let conditions = there["status"]["conditions"].as_array().into_iter().flatten();
            let is = conditions.filter(|c| c["type"] == "Established").any(|c| c["status"] == "True");
            if !is {
                return Ok(Some(format!("{name} is to be established")));
            }
        }
        Ok(None)
    }

    /// Takes away what the release does not have, and says what stays and what is waited for. Only what is part of the
    /// scope's set is touched, and never what holds data.
    async fn prune(
        &self,
        record: &Record,
        wanted: &[Wanted<'_>],
        way: &Way,
    ) -> Result<(Vec<Entry>, Option<String>), Fault> {
        let (mut left, mut waits) = (Vec::new(), None);
        // In the opposite order: nothing loses what it needs before it is gone itself.
        let mut entries = record.inventory.clone();
        entries.sort_by_key(|entry| std::cmp::Reverse(order::stage(&entry.name())));
        for entry in entries {
            let name = entry.name();
            if let Some(wanted) = wanted.iter().find(|wanted| wanted.entry.is_same(&entry)) {
                left.push(wanted.entry.clone());
                continue;
            }
            let Some(there) = self.find(&entry).await? else { continue };
            if applyset::stranger(&there, &self.set()).is_some() {
                continue;
            }
            let adopted = record.adopted.iter().find(|adopted| adopted.entry.is_same(&entry));
            if let (true, Some(adopted)) = (way.back && wanted.is_empty(), adopted) {
                // The release that took it over is turned back, and there is none before it.
                self.put_back(adopted, &there).await?;
                continue;
            }
            if order::is_kept(name.group(), &name.kind) || says_keep(&there) {
                left.push(entry);
                continue;
            }
            if there["metadata"]["deletionTimestamp"].is_null() {
                self.delete(&entry, &there).await?;
            }
            waits = waits.or_else(|| Some(format!("{name} is to end")));
        }
        Ok((left, waits))
    }

    pub(crate) async fn delete(&self, entry: &Entry, there: &Value) -> Result<(), Fault> {
        let what = entry.name().to_string();
        let path = self.path(entry, &what).await?;
        let preconditions =
            json!({ "uid": there["metadata"]["uid"], "resourceVersion": there["metadata"]["resourceVersion"] });
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground", "preconditions": preconditions,
        });
        match self.cluster.delete(&path, &options).await {
            Err(trouble) if trouble.status() == Some(404) => Ok(()),
            done => done.map_err(|trouble| self.fault(trouble, &what)),
        }
    }
}

/// What the next release is applied as.
fn course(record: &Record, way: &Way) -> Course {
    match (way.back, record.is_new()) {
        (true, _) => Course::Rollback,
        (false, true) => Course::Install,
        (false, false) => Course::Upgrade,
    }
}

/// Whether its chart says that it outlives its release.
pub(crate) fn says_keep(there: &Value) -> bool {
    there["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
}
