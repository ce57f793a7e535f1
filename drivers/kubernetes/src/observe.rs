//! What is true in a scope: its objects, judged, and their pods.

use crate::apply::wanted;
use crate::cluster::{AT_ONCE, MANAGER};
use crate::kinds::{Kind, Listed};
use crate::record::{Entry, Phase, Record};
use crate::site::Site;
use deployctl_core::desired::FULL;
use deployctl_core::driver::Observed;
use deployctl_core::fault::Fault;
use deployctl_core::id::{InstanceId, Revision};
use deployctl_core::instance::{InstanceSeen, InstanceState};
use deployctl_core::release::Releases;
use deployctl_core::time::Millis;
use deployctl_kubernetes::object::Name;
use deployctl_kubernetes::pods::{self, Pod};
use deployctl_kubernetes::verdict::{self, Trouble, Verdict, Word};
use deployctl_kubernetes::{drift, progress, secrets, sides};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The scope's objects and what explains them, as the cluster has them.
pub(crate) struct Scene {
    pub(crate) record: Record,
    pub(crate) objects: Vec<Value>,
    pub(crate) pods: Vec<Value>,
    pub(crate) evidence: Vec<Value>,
}

impl Site {
    /// What is true; nothing where nothing was ever deployed.
    pub(crate) async fn observe(&self, releases: &dyn Releases) -> Result<Observed, Fault> {
        let observed = self.look(releases).await;
        self.watched.answered(observed.is_ok());
        observed
    }

    async fn look(&self, releases: &dyn Releases) -> Result<Observed, Fault> {
        self.watched.looks();
        let Some(record) = self.record().await? else { return Ok(Observed::default()) };
        let Some(revision) = record.revision.clone() else { return Ok(Observed::default()) };
        let kinds = kinds(&record);
        let kept = self.watched.kept(record.version.as_deref(), &kinds).map(|lists| scenes(&record, lists));
        let (course, version) = (record.courses, record.version.as_deref());
        let mut progresses = false;
        let mut judge = |scenes: &[Scene]| {
            let far = scenes.iter().map(|scene| progress::of(&scene.objects)).sum();
            progresses |= self.watched.progressed((course, version), far);
            let answers_for = self.watched.answers_for(course);
            scenes.iter().map(|scene| whole(scene, answers_for)).collect::<Vec<_>>()
        };
        let kept_well = kept.map(|scenes| (judge(&scenes), scenes));
        // What ends a deployment rests on what the API server says now, whatever the watches said.
        let is_failed = |whole: &InstanceState| matches!(whole, InstanceState::Failed { .. });
        let (wholes, scenes) = match kept_well.filter(|(wholes, _)| !wholes.iter().any(is_failed)) {
            Some(found) => found,
            None => {
                let listed = self.lists(&kinds).await?;
                let all = listed.iter().map(|listed| listed.items.values().cloned().collect()).collect();
                self.watched.keep(record.version.clone(), listed);
                let scenes = scenes(&record, all);
                (judge(&scenes), scenes)
            }
        };
        let (mut instances, mut states) = (Vec::new(), BTreeMap::new());
        for (whole, scene) in wholes.into_iter().zip(&scenes) {
            let Some(its) = &scene.record.revision else { continue };
            let whole = match self.with_last_lines(whole, scene).await {
                // While pods come up, patience does not run out.
                InstanceState::Unhealthy { reason } if progresses => InstanceState::Starting { waiting_for: reason },
                whole => whole,
            };
            instances.extend(scene.pods.iter().enumerate().filter_map(|(slot, pod)| self.instance(pod, slot, its)));
            match states.get(its).is_some_and(|known| rank(known) >= rank(&whole)) {
                true => {}
                false => drop(states.insert(its.clone(), whole)),
            }
        }
        let drift = match (states.get(&revision), &scenes[..]) {
            (Some(InstanceState::Ready), [scene]) => self.drift(scene, &revision, releases).await,
            _ => Vec::new(),
        };
        Ok(Observed { instances, wholes: states, drift, shares: shares(&record), ..Observed::default() })
    }

    /// What somebody changed of the objects since they were applied.
    async fn drift(&self, scene: &Scene, revision: &Revision, releases: &dyn Releases) -> Vec<String> {
        // Without the release nothing is known of it; that is said elsewhere.
        let Ok(release) = releases.release(&revision.release).await else { return Vec::new() };
        let entries = scene.objects.iter().filter_map(|object| Some((Entry::of(&Name::of(object)?), object)));
        let entries: Vec<(Entry, &Value)> = entries.collect();
        let objects: BTreeMap<_, _> = entries.iter().map(|(entry, object)| (entry.key(), *object)).collect();
        let mut found = Vec::new();
        for wanted in wanted(&release).unwrap_or_default() {
            let Some(there) = objects.get(&wanted.entry.key()) else { continue };
            let changed = drift::of(&secrets::seen(&wanted.manifest.object), there, MANAGER);
            found.extend(changed.into_iter().map(|change| format!("{}: {change}", wanted.name)));
        }
        found
    }

    /// The scope as the API server has it now: what has the names of the release, and what is beside it.
    pub(crate) async fn scenes(&self, record: &Record) -> Result<Vec<Scene>, Fault> {
        let listed = self.lists(&kinds(record)).await?;
        Ok(scenes(record, listed.into_iter().map(|listed| listed.items.into_values().collect()).collect()))
    }

    /// All of these kinds, in their order.
    pub(crate) async fn lists(&self, kinds: &[Kind]) -> Result<Vec<Listed>, Fault> {
        let mut lists: Vec<BoxFuture<'_, Result<Listed, Fault>>> = Vec::new();
        for kind in kinds {
            lists.push(self.list(kind).map(|done| done.map_err(|trouble| self.fault(trouble, &kind.kind))).boxed());
        }
        stream::iter(lists).buffered(AT_ONCE).try_collect().await
    }

    async fn with_last_lines(&self, whole: InstanceState, scene: &Scene) -> InstanceState {
        match whole {
            InstanceState::Failed { reason, .. } => {
                InstanceState::Failed { reason, last_lines: self.last_lines(scene).await }
            }
            other => other,
        }
    }

    /// What the first pod in trouble printed last.
    async fn last_lines(&self, scene: &Scene) -> Vec<String> {
        let troubled = scene.pods.iter().find(|pod| !matches!(pods::of(pod), Pod::Ready | Pod::Ending | Pod::Ended));
        let Some(name) = troubled.and_then(|pod| pod["metadata"]["name"].as_str()) else { return Vec::new() };
        let release = scene.record.revision.as_ref().map(|revision| &revision.release);
        self.printed_last(name, None, release).await
    }

    fn instance(&self, pod: &Value, slot: usize, revision: &Revision) -> Option<InstanceSeen> {
        let name = pod["metadata"]["name"].as_str()?;
        let state = match pods::of(pod) {
            Pod::Ready => InstanceState::Ready,
            Pod::Starting(waiting_for) => InstanceState::Starting { waiting_for },
            Pod::Troubled(reason) => InstanceState::Unhealthy { reason },
            Pod::Ending => InstanceState::Stopping,
            Pod::Ended => return None,
        };
        let statuses = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
        let restarts: u64 = statuses.filter_map(|status| status["restartCount"].as_u64()).sum();
        Some(InstanceSeen {
            id: instance_id(name)?,
            scope: self.scope.clone(),
            revision: revision.clone(),
            slot: u32::try_from(slot).unwrap_or(u32::MAX),
            state,
            address: None,
            pid: None,
            started_at: pod["status"]["startTime"].as_str().and_then(moment).unwrap_or_default(),
            restarts: u32::try_from(restarts).unwrap_or(u32::MAX),
            container: None,
            drift: None,
        })
    }
}

/// How the release is as a whole, seen by somebody whom the cluster answered for so long, in which nothing came up any more.
pub(crate) fn whole(scene: &Scene, answers_for: Duration) -> InstanceState {
    if scene.record.phase == Phase::Applying {
        return InstanceState::Starting { waiting_for: "its objects are being applied".into() };
    }
    let there: Vec<Entry> = scene.objects.iter().filter_map(Name::of).map(|name| Entry::of(&name)).collect();
    let there: BTreeSet<_> = there.iter().map(Entry::key).collect();
    let mut own = scene.record.inventory.iter().filter(|entry| !scene.record.leaves_alone(entry));
    let missing = own.find(|entry| !there.contains(&entry.key()));
    if let Some(missing) = missing {
        return InstanceState::Unhealthy { reason: format!("{} is gone: somebody deleted it", missing.name()) };
    }
    let mut all = scene.objects.clone();
    all.extend(scene.pods.iter().chain(&scene.evidence).cloned());
    let mut verdicts = match &scene.record.since {
        Some(since) => verdict::of_since(&all, since),
        None => verdict::of(&all),
    };
    verdicts.truncate(scene.objects.len());
    for (verdict, object) in verdicts.iter_mut().zip(&scene.objects) {
        excuse(verdict, object, answers_for);
    }
    let said = |word: Word| {
        let first = verdicts.iter().find(|verdict| verdict.verdict == word)?;
        Some(format!("{}/{}: {}", first.kind, first.name, first.reason))
    };
    if let Some(reason) = said(Word::Failed) {
        return InstanceState::Failed { reason, last_lines: Vec::new() };
    }
    let Some(waiting_for) = said(Word::Progressing) else { return InstanceState::Ready };
    let trouble = verdicts.iter().zip(&scene.objects).find(|(verdict, object)| is_trouble(verdict, object));
    match trouble {
        Some((found, _)) => {
            InstanceState::Unhealthy { reason: format!("{}/{}: {}", found.kind, found.name, found.reason) }
        }
        None => InstanceState::Starting { waiting_for },
    }
}

/// How bad it is, where one revision is there twice.
fn rank(state: &InstanceState) -> u8 {
    match state {
        InstanceState::Gone => 0,
        InstanceState::Ready => 1,
        InstanceState::Starting { .. } | InstanceState::Stopping => 2,
        InstanceState::Unhealthy { .. } => 3,
        InstanceState::Failed { .. } => 4,
    }
}

/// What each of two revisions is given of the traffic, by the record.
fn shares(record: &Record) -> BTreeMap<Revision, u32> {
    let (Some(stable), Some(side)) = (&record.revision, &record.side) else { return BTreeMap::new() };
    match *stable == side.revision {
        true => BTreeMap::new(),
        false => [(side.revision.clone(), side.share), (stable.clone(), FULL - side.share.min(FULL))].into(),
    }
}

/// A workload's time that was up while the cluster could not be asked condemns nothing: from then on there is patience for it.
fn excuse(verdict: &mut Verdict, object: &Value, answers_for: Duration) {
    if verdict.trouble == Trouble::Overdue && !progress::counts(object, answers_for) {
        (verdict.verdict, verdict.trouble) = (Word::Progressing, Trouble::Wrong);
        verdict.reason.push_str(" (some of that time nobody could ask the cluster)");
    }
}

/// Whether something is wrong for which there is patience, and no more. Containers that fail their readiness probes may be slow: how
/// long they may take is for whoever says it, and else as long as there is patience.
fn is_trouble(verdict: &Verdict, object: &Value) -> bool {
    let is_wrong = match verdict.trouble {
        Trouble::None | Trouble::Slow => false,
        Trouble::Unready => !progress::says_deadline(object, MANAGER),
        Trouble::Wrong | Trouble::Overdue => true,
    };
    is_wrong && verdict.verdict == Word::Progressing && progress::is_cause(object)
}

/// What has to be looked at: the scope's own objects, and what is near and explains them.
fn kinds(record: &Record) -> Vec<Kind> {
    let own: BTreeSet<Kind> = record.all().map(Kind::own).collect();
    let near = [
        Kind::near("apps/v1", "ReplicaSet", true),
        Kind::near("batch/v1", "Job", false),
        Kind::near("v1", "Pod", false),
        Kind::near("v1", "Event", false),
    ];
    own.into_iter().chain(near).collect()
}

/// What is there of all that, list by list: what has the names of the release, and then what is beside it, if anything.
fn scenes(record: &Record, lists: Vec<Vec<Value>>) -> Vec<Scene> {
    let (mut objects, mut pods, mut evidence) = (Vec::new(), Vec::new(), Vec::new());
    for (kind, mut list) in kinds(record).iter().zip(lists) {
        match kind.kind.as_str() {
            _ if kind.own => objects.append(&mut list),
            "Pod" => pods = list,
            _ => evidence.append(&mut list),
        }
    }
    let is_left = |object: &Value| Name::of(object).is_some_and(|name| record.leaves_alone(&Entry::of(&name)));
    // What stays of earlier releases is neither right nor wrong, but may explain what is.
    evidence.extend(objects.extract_if(.., |object| is_left(object)));
    pods.sort_by_key(|pod| pod["metadata"]["name"].as_str().unwrap_or_default().to_owned());
    let Some(side) = record.side.as_ref().filter(|side| !side.going) else {
        // What goes is neither whole nor broken.
        objects.retain(|object| record.side.is_none() || object["metadata"]["labels"][sides::SIDE].is_null());
        return vec![scene(record.clone(), objects, &[], (pods, evidence), &|_| true)];
    };
    let is_beside = |object: &&Value| {
        let entry = Name::of(object).map(|name| Entry::of(&name));
        entry.is_some_and(|entry| side.inventory.iter().any(|known| known.is_same(&entry)))
    };
    let mut beside: Vec<Value> = objects.iter().filter(is_beside).cloned().collect();
    objects.retain(|object| object["metadata"]["labels"][sides::SIDE].is_null());
    let mark = side.mark();
    // Some pods of these are of either; each is judged with the release that its template is of.
    let sets: Vec<Value> = objects.iter().filter(|object| side.parts(object)).cloned().collect();
    let with_side: Vec<Value> = sets.iter().filter(|set| sides::has_template_of(set, &mark)).cloned().collect();
    let entries: Vec<Entry> = with_side.iter().filter_map(Name::of).map(|name| Entry::of(&name)).collect();
    let (mut stable, mut of_side) = (record.clone(), record.of_side(side));
    objects.retain(|object| !with_side.contains(object));
    stable.inventory.retain(|entry| !entries.iter().any(|known| known.is_same(entry)));
    of_side.inventory.extend(entries);
    beside.extend(with_side);
    let is_new = |pod: &Value| {
        let set = sets.iter().find(|set| pods::belongs(pod, &uid(set).into_iter().collect::<Vec<_>>(), &[]));
        set.map(|set| sides::is_beside(set, pod, &mark))
    };
    let near = (pods, evidence);
    vec![
        scene(stable, objects, &sets, near.clone(), &|pod| is_new(pod) != Some(true)),
        scene(of_side, beside, &sets, near, &|pod| is_new(pod) != Some(false)),
    ]
}

/// These objects with those of the pods near them, or near those of `sets`, that are theirs; the others explain them.
fn scene(
    record: Record,
    objects: Vec<Value>,
    sets: &[Value],
    (mut pods, mut evidence): (Vec<Value>, Vec<Value>),
    is_its: &dyn Fn(&Value) -> bool,
) -> Scene {
    let owners: Vec<&str> = objects.iter().chain(sets).filter_map(uid).collect();
    pods.retain(|pod| pods::belongs(pod, &owners, &evidence));
    let (own, others): (Vec<Value>, Vec<Value>) = pods.into_iter().partition(is_its);
    evidence.extend(others);
    Scene { pods: own, record, objects, evidence }
}

fn uid(object: &Value) -> Option<&str> {
    object["metadata"]["uid"].as_str()
}

/// The id of a pod: its name, as far as an id may say it.
pub(crate) fn instance_id(pod: &str) -> Option<InstanceId> {
    let plain = pod.replace('.', "-");
    let from = plain.len().saturating_sub(64);
    InstanceId::new(plain.get(from..)?).ok()
}

fn moment(text: &str) -> Option<Millis> {
    let at: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(at.as_millisecond()).ok().map(Millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn listed(record: &Record, objects: &[Value]) -> Vec<Scene> {
        let of = |kind: &Kind| objects.iter().filter(|object| object["kind"] == *kind.kind).cloned().collect();
        scenes(record, kinds(record).iter().map(of).collect())
    }

    #[test]
    fn what_stays_of_an_earlier_release_is_not_judged_and_may_be_gone() {
        let entry = |kind: &str, name: &str| Entry { api_version: "v1".into(), kind: kind.into(), name: name.into() };
        let claim = entry("PersistentVolumeClaim", "data");
        let inventory = vec![entry("ConfigMap", "more"), claim.clone()];
        let own = Record { inventory, version: Some("1".into()), ..Record::new("abc".into()) };
        let left = Record { stays: vec![claim], ..own.clone() };
        let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "more" } });
        let pending = json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "data" },
            "status": { "phase": "Pending" } });
        let judged = |record: &Record, objects: &[Value]| whole(&listed(record, objects)[0], Duration::ZERO);
        let there = [map.clone(), pending];
        assert!(matches!(judged(&own, &there), InstanceState::Starting { .. }));
        assert_eq!(judged(&left, &there), InstanceState::Ready);
        assert!(matches!(judged(&own, &there[..1]), InstanceState::Unhealthy { .. }));
        assert_eq!(judged(&left, &[map]), InstanceState::Ready);
        assert!(matches!(judged(&left, &[]), InstanceState::Unhealthy { .. }), "what is its own is not left alone");
    }

    #[test]
    fn a_deadline_that_ran_out_while_nobody_could_ask_is_trouble_and_no_failure() {
        let condition = |reason: &str| {
            let condition =
                json!({ "type": "Progressing", "status": "False", "reason": reason, "message": "its time was up" });
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "generation": 2 },
                "spec": { "replicas": 1, "progressDeadlineSeconds": 15 },
                "status": { "observedGeneration": 2, "updatedReplicas": 1, "replicas": 1, "conditions": [condition] },
            })
        };
        let judged = |reason: &str, answers_for: u64| {
            let object = condition(reason);
            let mut verdict = verdict::of(std::slice::from_ref(&object)).remove(0);
            excuse(&mut verdict, &object, Duration::from_secs(answers_for));
            (verdict.verdict, is_trouble(&verdict, &object))
        };
        assert_eq!(judged("ProgressDeadlineExceeded", 15), (Word::Failed, false));
        assert_eq!(judged("ProgressDeadlineExceeded", 14), (Word::Progressing, true));
        assert_eq!(judged("ProgressDeadlineExceeded", 0), (Word::Progressing, true));
        assert_eq!(judged("ReplicaSetCreateError", 0), (Word::Failed, false));
    }
}
