//! What is true in a scope: its objects, judged, and their pods.

use crate::cluster::collection;
use crate::record::{Entry, Phase, Record};
use crate::site::Site;
use crate::trouble::Trouble;
use deployctl_core::driver::Observed;
use deployctl_core::fault::Fault;
use deployctl_core::id::{InstanceId, Revision};
use deployctl_core::instance::{InstanceSeen, InstanceState};
use deployctl_core::time::Millis;
use deployctl_kubernetes::applyset::PART_OF;
use deployctl_kubernetes::object::Name;
use deployctl_kubernetes::pods::{self, Pod};
use deployctl_kubernetes::verdict::{self, Word};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::Value;
use std::collections::BTreeSet;

const AT_ONCE: usize = 16;
/// So many lines of a pod that fails are repeated.
const LAST_LINES: usize = 10;

/// The scope's objects and what explains them, as the cluster has them.
pub(crate) struct Scene {
    pub(crate) record: Record,
    pub(crate) objects: Vec<Value>,
    pub(crate) pods: Vec<Value>,
    evidence: Vec<Value>,
}

impl Site {
    /// What is true; nothing where nothing was ever deployed.
    pub(crate) async fn observe(&self) -> Result<Observed, Fault> {
        let Some(scene) = self.scene().await? else { return Ok(Observed::default()) };
        let Some(revision) = scene.record.revision.clone() else {
            return Ok(Observed::default());
        };
        let whole = self.whole(&scene).await;
        let instances = scene.pods.iter().enumerate().filter_map(|(slot, pod)| self.instance(pod, slot, &revision));
        let instances = instances.collect();
        Ok(Observed { instances, wholes: [(revision, whole)].into(), ..Observed::default() })
    }

    pub(crate) async fn scene(&self) -> Result<Option<Scene>, Fault> {
        let Some(record) = self.record().await? else { return Ok(None) };
        let kinds: BTreeSet<(String, String)> =
            record.inventory.iter().map(|entry| (entry.api_version.clone(), entry.kind.clone())).collect();
        let lists = kinds.into_iter().map(|(api_version, kind)| self.list_of(api_version, kind));
        let lists: Vec<Vec<Value>> = stream::iter(lists).buffer_unordered(AT_ONCE).try_collect().await?;
        let objects: Vec<Value> = lists.into_iter().flatten().collect();
        let mut evidence = self.nearby("apps/v1", "ReplicaSet", "").await?;
        evidence.append(&mut self.nearby("batch/v1", "Job", "").await?);
        let owners: Vec<&str> = objects.iter().filter_map(|object| object["metadata"]["uid"].as_str()).collect();
        let mut pods = self.nearby("v1", "Pod", "").await?;
        pods.retain(|pod| pods::belongs(pod, &owners, &evidence));
        pods.sort_by_key(|pod| pod["metadata"]["name"].as_str().unwrap_or_default().to_owned());
        evidence.append(&mut self.nearby("v1", "Event", "?limit=500").await?);
        Ok(Some(Scene { record, objects, pods, evidence }))
    }

    /// The scope's objects of a kind; none if the cluster does not know it any more.
    async fn list_of(&self, api_version: String, kind: String) -> Result<Vec<Value>, Fault> {
        let selector = format!("?labelSelector={}%3D{}", PART_OF.replace('/', "%2F"), self.set());
        self.list(&api_version, &kind, &selector).await.map_err(|trouble| self.fault(trouble, &kind))
    }

    /// What is in the namespace of a kind that explains objects. What may not be looked at explains nothing.
    async fn nearby(&self, api_version: &str, kind: &str, query: &str) -> Result<Vec<Value>, Fault> {
        match self.list(api_version, kind, query).await {
            Err(Trouble::Refused(refusal)) if refusal.status == 403 => Ok(Vec::new()),
            done => done.map_err(|trouble| self.fault(trouble, kind)),
        }
    }

    async fn list(&self, api_version: &str, kind: &str, query: &str) -> Result<Vec<Value>, Trouble> {
        let Some(api) = self.cluster.api(api_version, kind).await? else { return Ok(Vec::new()) };
        let path = format!("{}{query}", collection(api_version, &api, &self.namespace));
        let Some(mut list) = self.cluster.find(&path).await? else { return Ok(Vec::new()) };
        let items = list["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
        // In a list the items do not say what they are.
        let said = items.into_iter().map(|mut item| {
            item["apiVersion"] = Value::from(api_version);
            item["kind"] = Value::from(kind);
            item
        });
        Ok(said.collect())
    }

    /// How the release is as a whole.
    async fn whole(&self, scene: &Scene) -> InstanceState {
        if scene.record.phase == Phase::Applying {
            return InstanceState::Starting { waiting_for: "its objects are being applied".into() };
        }
        let there: Vec<Entry> = scene.objects.iter().filter_map(Name::of).map(|name| Entry::of(&name)).collect();
        let missing = scene.record.inventory.iter().find(|entry| !there.iter().any(|known| known.is_same(entry)));
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
        let said = |word: Word| {
            let first = verdicts.iter().find(|verdict| verdict.verdict == word)?;
            Some(format!("{}/{}: {}", first.kind, first.name, first.reason))
        };
        if let Some(reason) = said(Word::Failed) {
            let last_lines = self.last_lines(scene).await;
            return InstanceState::Failed { reason, last_lines };
        }
        let Some(waiting_for) = said(Word::Progressing) else { return InstanceState::Ready };
        // One that only is not ready yet may be slow; how long that may take is its Deployment's to say.
        match scene.pods.iter().any(|pod| matches!(pods::of(pod), Pod::Troubled(_))) {
            true => InstanceState::Unhealthy { reason: waiting_for },
            false => InstanceState::Starting { waiting_for },
        }
    }

    /// What the first pod in trouble printed last.
    async fn last_lines(&self, scene: &Scene) -> Vec<String> {
        let troubled = scene.pods.iter().find(|pod| !matches!(pods::of(pod), Pod::Ready | Pod::Ending | Pod::Ended));
        let Some(name) = troubled.and_then(|pod| pod["metadata"]["name"].as_str()) else { return Vec::new() };
        let path = format!("/api/v1/namespaces/{}/pods/{name}/log?tailLines={LAST_LINES}", self.namespace);
        // What cannot be had explains nothing; the reason stands without it.
        let text = self.cluster.text(&path).await.unwrap_or_default();
        text.lines().map(str::to_owned).collect()
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
