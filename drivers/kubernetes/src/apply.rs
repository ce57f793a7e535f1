//! One release becomes the next: applied in order, what it has no more taken away.

use crate::cluster::{AT_ONCE, How};
use crate::hooks::{Hooked, Side};
use crate::kubernetes;
use crate::prune::Left;
use crate::record::{Course, Entry, Phase, Record};
use crate::sides;
use crate::site::Site;
use crate::there::There;
use deployctl_core::config::ManifestObject;
use deployctl_core::driver::{Step, Way};
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::{Revision, Sha256Hex};
use deployctl_core::release::Release;
use deployctl_kubernetes::object::Name;
use deployctl_kubernetes::{account, applyset, hooks, order, restart, same, secrets};
use deployctl_sys::crash;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::Value;

/// An object of a release, named.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub(crate) name: Name,
    pub(crate) entry: Entry,
    pub(crate) manifest: ManifestObject,
}

/// What a release is, Secrets by the names that they have in the cluster.
#[derive(Default)]
pub(crate) struct Parts {
    /// The objects that stay.
    pub(crate) objects: Vec<Wanted>,
    /// What runs before and after they are applied.
    pub(crate) hooks: Vec<Hooked>,
    /// For people.
    pub(crate) notes: Vec<String>,
}

/// The objects of a release that stay.
pub(crate) fn wanted(release: &Release) -> Result<Vec<Wanted>, Fault> {
    Ok(parts(release)?.objects)
}

/// All that a release is.
pub(crate) fn parts(release: &Release) -> Result<Parts, Fault> {
    let (objects, notes) = crate::secrets::named(release, kubernetes(&release.config)?)?;
    let mut parts = Parts { notes, ..Parts::default() };
    for manifest in objects {
        let name = Name::of(&manifest.object);
        let name = name.ok_or_else(|| Fault::refused(FaultKind::Bug, format!("{} is no object", manifest.from)))?;
        let wanted = Wanted { entry: Entry::of(&name), name, manifest };
        let hook = hooks::of(&wanted.manifest.object);
        match hook.map_err(|why| Fault::refused(FaultKind::Bug, format!("{}: {why}", wanted.what())))? {
            Some(hook) => parts.hooks.push(Hooked { wanted, hook }),
            None => parts.objects.push(wanted),
        }
    }
    Ok(parts)
}

impl Wanted {
    /// What a person calls it, with its place.
    pub(crate) fn what(&self) -> String {
        format!("{} ({})", self.name, self.manifest.from)
    }

    /// With pods of this restart.
    pub(crate) fn restarted(mut self, restart: Option<u64>) -> Self {
        self.manifest.object = restart::marked(self.manifest.object, restart);
        self
    }
}

impl Site {
    /// Brings the scope to a release, or to none, which `leaves` then; `led` are its objects that lead traffic elsewhere meanwhile. Safe
    /// to repeat, from any state.
    pub(crate) async fn bring(
        &self,
        to: Option<(&Revision, &Release)>,
        leaves: Option<&Release>,
        led: &[Value],
        way: &Way,
    ) -> Result<Step, Fault> {
        let found = self.admitted(way.fence).await?;
        if to.is_none() && found.is_none() {
            return self.gone(way).await;
        }
        let record = found.unwrap_or_else(|| Record::new(self.state.clone()));
        let revision = to.map(|(revision, _)| revision.clone());
        let has_data = to.is_none() && way.delete_data && !(record.inventory.is_empty() && record.claims.is_empty());
        if record.revision == revision && record.phase == Phase::Applied && record.version.is_some() && !has_data {
            return Ok(Step::Done);
        }
        let all = |release: Option<&Release>| release.map_or(Ok(Parts::default()), parts);
        let (objects, hooks) =
            (all(to.map(|(_, release)| release))?.objects, all(to.map_or(leaves, |(_, release)| Some(release)))?.hooks);
        let wanted = sides::with(objects, led);
        let adopts = to.map_or(Ok(false), |(_, release)| Ok::<_, Fault>(kubernetes(&release.config)?.adopt))?;
        let record = if adopts { self.keep_others(record, &wanted).await? } else { record };
        let before = record.clone();
        let record = self.begin(record, revision, (&wanted[..], asked(to, &wanted)?), way).await?;
        let wanted: Vec<Wanted> = wanted.into_iter().map(|wanted| wanted.restarted(record.restarted)).collect();
        // Whoever had the right before this may not write any more: what is seen from now on is what there is.
        let there = self.there(&wanted).await?.replacing(record.replaces.clone());
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
                applied.push(match &record.revision {
                    Some(revision) if secrets::is_versioned(&wanted.manifest.object) => {
                        self.secret(wanted, || (self.secrets)(&revision.release)).boxed()
                    }
                    _ => self.apply(wanted, &before, &there, way.back || way.corrects).boxed(),
                });
            }
            stream::iter(applied).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
            crash::point("kubernetes.after-stage");
            if let Some(waits) = self.not_established(stage).await? {
                return Ok(Step::Pending(waits));
            }
        }
        self.admitted(way.fence).await?;
        crash::point("kubernetes.before-prune");
        let Left { inventory, stays, kept, claims, waits } = self.prune(&record, &wanted, way).await?;
        crash::point("kubernetes.after-prune");
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
        adopted.retain(|adopted| !wanted.is_empty() && inventory.iter().any(|entry| entry.is_same(&adopted.entry)));
        let phase = Phase::Applied;
        let done =
            Record { inventory, stays, kept, claims, phase, since, adopted, handing: false, leaves: None, ..record };
        self.write(&done).await?;
        Ok(Step::Done)
    }

    /// Writes down what may be there from now on, before any of it is.
    async fn begin(
        &self,
        record: Record,
        revision: Option<Revision>,
        (wanted, mut replaces): (&[Wanted], Vec<Entry>),
        way: &Way,
    ) -> Result<Record, Fault> {
        if way.back {
            replaces
                .extend(record.replaces.iter().filter(|entry| !replaces.contains(entry)).cloned().collect::<Vec<_>>());
        }
        let goes = |entry: &&Entry| !wanted.iter().any(|wanted| wanted.entry.is_same(entry));
        // Nothing else knows of them when their StatefulSet is gone.
        let made = self.claims_of(&record.inventory.iter().filter(goes).collect::<Vec<_>>()).await?;
        let mut claims = record.claims.clone();
        claims.extend(made.into_iter().filter(|made| !record.claims.contains(made)));
        let mut inventory = record.inventory.clone();
        for wanted in wanted {
            if !inventory.iter().any(|known| known.is_same(&wanted.entry)) {
                inventory.push(wanted.entry.clone());
            }
        }
        let fence = record.fence.max(way.fence);
        let goes = revision.is_none() && !way.back;
        let leaves = record.revision.as_ref().or(record.leaves.as_ref()).filter(|_| goes).cloned();
        let mut begun =
            Record { revision, phase: Phase::Applying, inventory, claims, fence, replaces, leaves, ..record.clone() };
        if begun.revision != record.revision || record.phase == Phase::Applied {
            begun.course = course(&record, begun.revision.as_ref(), way);
            begun.courses += 1;
            begun.hooks_done.clear();
        }
        if begun.revision != record.revision {
            restarts(&mut begun, way);
        }
        if begun == record {
            return Ok(record);
        }
        self.write(&begun).await
    }

    /// Applies an object, unless it is there as it would be then. `before` is the record as it was, `there` what was seen since.
    pub(crate) async fn apply(
        &self,
        wanted: &Wanted,
        before: &Record,
        there: &There,
        force: bool,
    ) -> Result<(), Fault> {
        let (what, object) = (wanted.what(), self.object(wanted));
        let known = before.has(&wanted.entry);
        let adopted = before.adopted.iter().any(|adopted| adopted.entry.is_same(&wanted.entry));
        let is_taken = adopted || (known && before.handing);
        if !is_taken && there.is_done(&wanted.entry, &object) {
            return Ok(());
        }
        let path = self.path(&wanted.entry, &what).await?;
        let known = known || there.own(&wanted.entry).is_some();
        if is_taken {
            self.take_over(wanted, &path).await?;
        } else if !known && !there.is_free(&wanted.entry) {
            let there = self.cluster.find(&path).await.map_err(|trouble| self.fault(trouble, &what))?;
            self.check_ours(there.as_ref(), wanted)?;
        }
        let (how, mut seen) = (How { force, dry: false }, there.own(&wanted.entry).filter(|_| !is_taken));
        let is_kept = order::is_kept(wanted.name.group(), &wanted.name.kind);
        if !is_kept && seen.is_some_and(same::ends) {
            // It would go with what is applied to it.
            self.clear(&wanted.entry, &object).await?;
            seen = None;
        }
        self.still_admitted().await?;
        let done = match self.over(&path, &object, seen, how).await {
            Err(trouble) if trouble.is_fixed() && there.may_replace(&wanted.entry) => {
                self.clear(&wanted.entry, &object).await?;
                self.cluster.apply(&path, &object, how).await.map(drop)
            }
            done => done,
        };
        done.map_err(|trouble| self.fault(trouble, &what))?;
        crash::point("kubernetes.applied");
        if seen.is_none() && !is_taken { self.still_owns(&wanted.entry).await } else { Ok(()) }
    }

    /// The object as it is applied: part of the scope's set, in its namespace, with a mark that tells it again.
    pub(crate) fn object(&self, wanted: &Wanted) -> Value {
        let object = applyset::with_set(account::by_both_names(wanted.manifest.object.clone()), &self.set());
        same::marked(object, |object| Sha256Hex::of(object.to_string().as_bytes()).as_str()[..32].to_owned())
    }

    /// What is there must be ours to be changed.
    pub(crate) fn check_ours(&self, there: Option<&Value>, wanted: &Wanted) -> Result<(), Fault> {
        let Some(why) = there.and_then(|there| applyset::stranger(there, &self.set())) else { return Ok(()) };
        if wanted.name.is_namespace() && there.and_then(applyset::set_of).is_none() {
            // It is there for whoever is in it: what the manifest says of it is set, and that is all.
            return Ok(());
        }
        let message = format!("{} is in `{}` already: {why}", wanted.what(), self.namespace);
        Err(Fault::refused(FaultKind::Conflict, message).hint(match there.and_then(applyset::set_of) {
            Some(_) => "give it another name, or take it out of the other app first",
            None => "say `adopt: true` for the app to take over what is there already, or give it another name",
        }))
    }

    /// Definitions of kinds must be known to the server before objects of these kinds are.
    async fn not_established(&self, stage: &[(Name, &Wanted)]) -> Result<Option<String>, Fault> {
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
}

/// What a release says may be made anew.
fn asked(to: Option<(&Revision, &Release)>, wanted: &[Wanted]) -> Result<Vec<Entry>, Fault> {
    let Some((_, release)) = to else { return Ok(Vec::new()) };
    let names = &kubernetes(&release.config)?.replace;
    let asked = wanted.iter().filter(|wanted| names.contains(&wanted.name.to_string()));
    Ok(asked.map(|wanted| wanted.entry.clone()).collect())
}

/// Which restart the pods of what begins are of: that of before, so that nothing is made anew for it, unless it is one itself.
fn restarts(begun: &mut Record, way: &Way) {
    match (&begun.revision, way.restart, way.back) {
        (None, ..) => (begun.restarted, begun.restarted_before) = (None, None),
        (Some(_), true, false) => {
            (begun.restarted, begun.restarted_before) = (Some(begun.courses), begun.restarted);
        }
        (Some(_), true, true) => begun.restarted = begun.restarted_before,
        (Some(_), false, _) => {}
    }
}

/// What the next release is applied as.
fn course(record: &Record, to: Option<&Revision>, way: &Way) -> Course {
    match (way.back, to) {
        (true, _) => Course::Rollback,
        (false, None) => Course::Removal,
        (false, Some(_)) if record.is_new() => Course::Install,
        (false, Some(_)) => Course::Upgrade,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deployctl_core::config::{AppConfig, Hooks, KubernetesConfig, SecretRef, Strategy, TargetConfig};
    use deployctl_core::id::RegionName;
    use deployctl_core::time::Span;
    use serde_json::json;

    fn release(objects: Vec<Value>) -> Release {
        let objects = objects.into_iter().map(|object| ManifestObject { from: "web.yaml:1".into(), object });
        let target = KubernetesConfig {
            context: None,
            namespace: "shop".into(),
            patience: Span::secs(60),
            adopt: false,
            replace: Vec::new(),
            jobs: None,
            smoke_port: None,
            objects: objects.collect(),
        };
        let config = AppConfig {
            target: TargetConfig::Kubernetes(target),
            instances: 1,
            strategy: Strategy::BlueGreen,
            depends_on: Vec::new(),
            route: None,
            health: None,
            smoke: Vec::new(),
            migrate: None,
            hooks: Hooks::default(),
            drain: Span::secs(1),
            deadline: Span::secs(60),
            bake: Span::default(),
        };
        Release {
            project: "shop".parse().unwrap(),
            environment: "dev".parse().unwrap(),
            region: RegionName::default_region(),
            app: "api".parse().unwrap(),
            version: "v1".parse().unwrap(),
            artifact: None,
            config,
            secrets: [(SecretRef("env:DB".into()), Sha256Hex::of(b"x"))].into(),
            built_here: false,
        }
    }

    #[test]
    fn pods_are_made_anew_by_a_restart_alone_and_those_of_before_are_gone_back_to() {
        let revision = |nonce| Some(Revision { release: Sha256Hex::of(b"x"), nonce });
        let (restart, back) = (Way { restart: true, ..Way::default() }, Way { back: true, ..Way::default() });
        let after = |record: &Record, way: &Way| {
            let mut begun = Record { courses: record.courses + 1, ..record.clone() };
            restarts(&mut begun, way);
            begun
        };
        let first = Record { revision: revision(0), courses: 1, ..Record::new("x".into()) };
        let of = |record: &Record| (record.restarted, record.restarted_before);
        assert_eq!(of(&after(&first, &Way::default())), (None, None), "an app that was never restarted has no mark");
        let once = after(&first, &restart);
        assert_eq!(of(&once), (Some(2), None));
        assert_eq!(of(&after(&once, &Way::default())), (Some(2), None), "another release restarts nothing");
        assert_eq!(of(&after(&once, &back)), (Some(2), None));
        let twice = after(&once, &restart);
        assert_eq!(of(&twice), (Some(3), Some(2)));
        assert_eq!(of(&after(&twice, &Way { back: true, ..restart.clone() })), (Some(2), Some(2)), "a bad restart");
        assert_eq!(of(&after(&Record { revision: None, ..twice }, &Way::default())), (None, None));
    }

    #[test]
    fn hooks_are_no_objects_and_refer_to_secrets_by_their_names_in_the_cluster() {
        let pod = |name: &str, annotations: Value| {
            json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "annotations": annotations },
                "spec": { "containers": [{ "name": "x", "envFrom": [{ "secretRef": { "name": "db" } }] }] } })
        };
        let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "db" },
            "data": { "password": { "secret": "env:DB" } } });
        let hook = pod("migrate", json!({ "helm.sh/hook": "pre-upgrade" }));
        let parts = parts(&release(vec![secret, pod("web", json!({})), hook])).unwrap();
        let names: Vec<String> = parts.objects.iter().map(|wanted| wanted.name.to_string()).collect();
        let [called, web] = &names[..] else { panic!("{names:?}") };
        assert!(called.starts_with("Secret/db-") && web == "Pod/web", "{names:?}");
        assert!(secrets::is_versioned(&parts.objects[0].manifest.object));
        let called = called.trim_start_matches("Secret/");
        for object in [&parts.objects[1].manifest.object, &parts.hooks[0].wanted.manifest.object] {
            assert_eq!(object["spec"]["containers"][0]["envFrom"][0]["secretRef"]["name"], called);
        }
    }
}
