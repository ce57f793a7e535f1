//! A side is made, as large as it is to be, and goes again.

use super::{Beside, Walk, beside, objects};
use crate::apply::Wanted;
use crate::cluster::AT_ONCE;
use crate::record::{Entry, Phase, Record};
use deployctl_core::config::ManifestObject;
use deployctl_core::desired::Extent;
use deployctl_core::driver::Step;
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::Revision;
use deployctl_kubernetes::object::Name;
use deployctl_kubernetes::sides::{Parted, Sided, Sizes, config_of, made, parted, pick, size};
use deployctl_kubernetes::{applyset, order, secrets};
use deployctl_sys::crash;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::Value;

/// What pods need under its own name, and what does not disturb those of the release before.
const NEEDS: &[&str] = &["ServiceAccount", "Role", "RoleBinding", "PersistentVolumeClaim"];

impl Walk<'_> {
    /// Makes the side of a revision, as the record says or as it is begun now.
    pub(super) async fn make(&self, record: Record, revision: &Revision) -> Result<Step, Fault> {
        let new = self.wanted(revision).await?;
        let record = match &record.side {
            Some(side) if side.revision == *revision => record,
            _ => self.begin(record, revision, &new).await?,
        };
        let Some(side) = record.side.clone() else { return Ok(Step::Done) };
        let mut all = copies(&new, &side);
        all.extend(new.into_iter().filter(|one| {
            secrets::is_versioned(&one.manifest.object) || side.inventory.iter().any(|entry| entry.is_same(&one.entry))
        }));
        let there = self.site.there(&all).await?;
        let known = Record { side: None, ..record.clone() };
        for (number, stage) in order::stages(all.iter().map(|one| (one.name.clone(), one))).iter().enumerate() {
            if number > 0 {
                self.site.admitted(self.way.fence).await?;
            }
            let mut applied: Vec<BoxFuture<'_, Result<(), Fault>>> = Vec::new();
            for (_, one) in stage {
                applied.push(match secrets::is_versioned(&one.manifest.object) {
                    true => self.site.secret(one, || (self.site.secrets)(&revision.release)).boxed(),
                    false => self.site.apply(one, &known, &there, true).boxed(),
                });
            }
            stream::iter(applied).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
            crash::point("kubernetes.after-side-stage");
        }
        let since = record.written.clone();
        let side = Beside { phase: Phase::Applied, since, ..side };
        self.site.write(&Record { side: Some(side), ..record }).await?;
        Ok(Step::Done)
    }

    /// Decides what the side is, and writes down what may be there from now on.
    async fn begin(&self, record: Record, revision: &Revision, new: &[Wanted]) -> Result<Record, Fault> {
        let release = self.releases.release(&revision.release).await?;
        let refused = |why: String| Fault::refused(FaultKind::Spec, format!("{} {why}", release.version));
        super::survey::check_hooks(&release).map_err(refused)?;
        let old = match &record.revision {
            Some(stable) => objects(&self.wanted(stable).await?),
            None => Vec::new(),
        };
        let sided = pick(&old, &objects(new), self.is_split(revision)).map_err(refused)?;
        // On a way back there is no other way.
        let in_place = self.way.back || super::survey::is_in_place(&release);
        let names = parted(&old, &objects(new), in_place).map_err(refused)?;
        let config = config_of(&objects(new), &names);
        let mut parted = Vec::new();
        for name in &names {
            parted.push(Parted::at(name, self.site.replicas("StatefulSet", name).await?, 0));
        }
        let extent = self.part(revision).extent;
        let sizes = self.sizes(&sided, new, extent, 0).await?;
        let (inventory, phase) = (Vec::new(), Phase::Applying);
        let (revision, since, share, towards) = (revision.clone(), None, 0, None);
        let going = false;
        let mut side =
            Beside { revision, sided, sizes, parted, inventory, phase, since, share, extent, towards, going };
        side.inventory = copies(new, &side).into_iter().map(|copy| copy.entry).collect();
        let is_new = |one: &&Wanted| !record.has(&one.entry);
        let is_read = |one: &Wanted| one.name.kind == "ConfigMap" && config.contains(&one.name.name);
        let is_need = |one: &&Wanted| NEEDS.contains(&one.name.kind.as_str()) || is_read(one);
        let needs = new.iter().filter(is_new).filter(is_need);
        side.inventory.extend(needs.map(|one| one.entry.clone()));
        let mut kept = record.kept.clone();
        let values = new.iter().filter(is_new).filter(|one| secrets::is_versioned(&one.manifest.object));
        kept.extend(values.map(|one| one.entry.clone()));
        let fence = record.fence.max(self.way.fence);
        self.site.write(&Record { side: Some(side), kept, fence, ..record }).await
    }

    /// How many pods each Deployment of a side is to have, by how many there are now under the names.
    pub(super) async fn sizes(
        &self,
        sided: &[Sided],
        new: &[Wanted],
        extent: Extent,
        share: u32,
    ) -> Result<Sizes, Fault> {
        let new = objects(new);
        let mut sizes = Sizes::new();
        for one in sided {
            let beside = self.site.replicas("Deployment", &one.name).await?;
            sizes.insert(one.name.clone(), size(one, &new, beside, extent, share));
        }
        Ok(sizes)
    }

    /// Takes the side away.
    pub(super) async fn unmake(&self, record: Record) -> Result<Step, Fault> {
        let Some(side) = record.side.clone() else { return Ok(Step::Done) };
        let fence = record.fence.max(self.way.fence);
        // Before any of it goes: nobody takes it for whole from now on, nor for broken.
        let record = match side.going {
            true => record,
            false => {
                let going = Beside { going: true, ..side.clone() };
                self.site.write(&Record { side: Some(going), fence, ..record }).await?
            }
        };
        let mut inventory = record.inventory.clone();
        let mut waits = None;
        let mut entries: Vec<&Entry> = side.inventory.iter().collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(order::stage(&entry.name())));
        for entry in entries {
            if record.inventory.iter().any(|known| known.is_same(entry)) {
                continue;
            }
            let Some(there) = self.site.find(entry).await? else { continue };
            if applyset::stranger(&there, &self.site.set()).is_some() {
                continue;
            }
            if order::is_kept(entry.name().group(), &entry.kind) {
                inventory.push(entry.clone());
                continue;
            }
            if there["metadata"]["deletionTimestamp"].is_null() {
                self.site.delete(entry, &there).await?;
            }
            waits = waits.or_else(|| Some(format!("{} is to end", entry.name())));
        }
        if let Some(waits) = waits {
            return Ok(Step::Pending(waits));
        }
        self.site.write(&Record { side: None, inventory, fence, ..record }).await?;
        Ok(Step::Done)
    }
}

impl crate::site::Site {
    /// How many pods a workload is to have now; one if it does not say.
    pub(super) async fn replicas(&self, kind: &str, name: &str) -> Result<u32, Fault> {
        let entry = Entry { api_version: "apps/v1".into(), kind: kind.into(), name: name.into() };
        let there = self.find(&entry).await?.unwrap_or_default();
        Ok(there["spec"]["replicas"].as_u64().map_or(1, |count| u32::try_from(count).unwrap_or(u32::MAX)))
    }

    /// Nothing is beside any more, and what was goes with everything else.
    pub(crate) async fn fold_side(&self, way: &deployctl_core::driver::Way) -> Result<(), Fault> {
        let Some(record) = self.admitted(way.fence).await? else { return Ok(()) };
        let Some(side) = record.side.clone() else { return Ok(()) };
        let mut inventory = record.inventory.clone();
        let is_new = |entry: &&Entry| !record.inventory.iter().any(|known| known.is_same(entry));
        inventory.extend(side.inventory.iter().filter(is_new).cloned());
        let (phase, fence) = (Phase::Applying, record.fence.max(way.fence));
        self.write(&Record { side: None, inventory, phase, fence, ..record }).await.map(drop)
    }
}

/// The objects of a side under its names.
fn copies(new: &[Wanted], side: &Beside) -> Vec<Wanted> {
    let made = made(&objects(new), &side.sided, &side.sizes, &beside::mark(&side.revision));
    let copy = |(object, of): (Value, Value)| {
        let name = Name::of(&object)?;
        let from = new.iter().find(|one| one.manifest.object == of).map(|one| one.manifest.from.clone());
        let manifest = ManifestObject { from: from.unwrap_or_default(), object };
        Some(Wanted { entry: Entry::of(&name), name, manifest })
    };
    made.into_iter().filter_map(copy).collect()
}
