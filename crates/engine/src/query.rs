//! Questions: what runs, what happened, what is what.

use crate::ledger::{parse, scope_of};
use crate::{Engine, progress};
use deployctl_core::ask::{Refused, RefusedKind, Selection};
use deployctl_core::driver::Observed;
use deployctl_core::fault::Fault;
use deployctl_core::id::{DeploymentId, Revision, Scope, Sha256Hex, Version};
use deployctl_core::instance::{InstanceState, LogLine, LogQuery};
use deployctl_core::journal::{Entry, Verified};
use deployctl_core::release::Release;
use deployctl_core::scope::{Event, Last, Opened, State};
use deployctl_core::time::Millis;
use deployctl_core::view::{History, Status};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};

/// A release that was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Found {
    /// Its id.
    pub id: Sha256Hex,
    /// The release.
    pub release: Release,
    /// The specification that it was resolved from.
    pub spec: Option<String>,
}

impl Engine {
    /// What runs in the selected scopes. Never fails for a target in trouble: its scopes are `unknown`, with the reason.
    pub async fn status(&self, place: &Selection) -> Result<Vec<Status>, Refused> {
        let scopes: Vec<_> = self.ledger.known_scopes().into_iter().filter(|(scope, _)| place.has(scope)).collect();
        let all = scopes.iter().map(|(scope, fold)| async move {
            self.status_of(scope, &fold.state, self.ports.driver.observe(scope).await).await
        });
        Ok(futures_util::future::join_all(all).await)
    }

    /// The same by health checks that are run now, whatever the last ones said.
    pub async fn health(&self, place: &Selection) -> Result<Vec<Status>, Refused> {
        let scopes: Vec<_> = self.ledger.known_scopes().into_iter().filter(|(scope, _)| place.has(scope)).collect();
        let all = scopes.iter().map(|(scope, fold)| async move {
            let (observed, unasked) = match self.ports.driver.check(scope).await {
                Ok(checkup) => (Ok(checkup.observed), checkup.unasked),
                Err(fault) => (Err(fault), BTreeSet::new()),
            };
            let mut status = self.status_of(scope, &fold.state, observed).await;
            let unasked = |id: &str| unasked.iter().any(|unasked| unasked.as_str() == id);
            for instance in status.instances.iter_mut().filter(|i| i.detail.is_none() && unasked(&i.id)) {
                instance.detail = Some("it runs; it has no health check".into());
            }
            status
        });
        Ok(futures_util::future::join_all(all).await)
    }

    async fn status_of(&self, scope: &Scope, state: &State, observed: Result<Observed, Fault>) -> Status {
        let urls = self.ports.driver.urls(scope).await.unwrap_or_default();
        let (health, detail) = health(state, observed.as_ref());
        let observed = observed.unwrap_or_default();
        let pins = || state.current.iter().chain(&state.stack).chain(&state.recent);
        let mut versions: HashMap<&Revision, String> = pins().map(|p| (&p.revision, p.version.to_string())).collect();
        let open = match &state.open {
            Some(open) => self.ledger.deployment(&open.opened.deployment).await.ok(),
            None => None,
        };
        let legs = open.iter().filter_map(|fold| fold.state.as_ref()).flat_map(|d| &d.plan.legs);
        for side in legs.flat_map(|leg| leg.from.iter().chain(&leg.to)) {
            versions.entry(&side.pin.revision).or_insert_with(|| side.pin.version.to_string());
        }
        let version = |r: &Revision| versions.get(r).cloned().unwrap_or_else(|| r.release.short().to_owned());
        Status {
            project: scope.project.clone(),
            app: scope.app.clone(),
            environment: scope.environment.clone(),
            region: scope.region.clone(),
            version: state.current.as_ref().map(|pin| pin.version.clone()),
            health: health.into(),
            detail,
            deployment: state.current.as_ref().map(|pin| pin.deployment.clone()),
            urls,
            instances: progress::instances(&observed, version),
            drift: drift(&observed),
            running: state.open.as_ref().map(|open| open.opened.deployment.clone()),
            maintenance: state.maintenance,
            since: state.current.as_ref().map(|pin| pin.at),
            last: state.last.as_ref().map(|last| history_of(scope, last)),
            previous: state.undo_target().map(|(_, pin)| pin.version.clone()),
        }
    }

    /// Deployments, newest first, at most `limit`.
    pub async fn history(&self, place: &Selection, limit: usize) -> Result<Vec<History>, Refused> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let prefix = prefix(place);
        let mut found: Vec<History> = Vec::new();
        let mut ends: HashMap<(String, DeploymentId), (Millis, deployctl_core::scope::Closed)> = HashMap::new();
        let mut before = None;
        loop {
            let page = self.ports.journal.newest(&prefix, &["opened", "closed"], before, 500).await?;
            for (_, entry) in &page {
                let scope = scope_of(&entry.stream)?;
                if !place.has(&scope) {
                    continue;
                }
                match parse(entry)? {
                    Event::Closed(closed) => {
                        ends.insert((entry.stream.0.clone(), closed.deployment.clone()), (entry.at, closed));
                    }
                    Event::Opened(opened) => {
                        let end = ends.remove(&(entry.stream.0.clone(), opened.deployment.clone()));
                        found.push(history_entry(&scope, &opened, entry, end));
                        if found.len() >= limit {
                            return Ok(found);
                        }
                    }
                    _ => {}
                }
            }
            match page.last() {
                Some((position, _)) if page.len() == 500 => before = Some(*position),
                _ => return Ok(found),
            }
        }
    }

    /// Every entry of a deployment's stream.
    pub async fn entries(&self, id: &DeploymentId) -> Result<Vec<Entry>, Refused> {
        Ok(self.ledger.entries(id).await?)
    }

    /// The newest entries of all streams, for an audit.
    pub async fn audit(&self, limit: usize) -> Result<Vec<Entry>, Refused> {
        let newest = self.ports.journal.newest("", TYPES, None, limit).await?;
        Ok(newest.into_iter().map(|(_, entry)| entry).collect())
    }

    /// Checks the whole journal, and that no deployment that a scope remembers is missing or cut.
    pub async fn verify(&self, known: Option<&Sha256Hex>) -> Result<Verified, Refused> {
        let verified = self.ports.journal.verify(known).await?;
        for scope in self.ledger.all_scopes().await? {
            let mut after = deployctl_core::journal::Seq(0);
            loop {
                let page = self.ports.journal.read(&scope.stream(), after, 1_000).await?;
                for entry in &page {
                    after = entry.seq;
                    if let Event::Closed(closed) = parse(entry)? {
                        self.check_closed(&scope, &closed).await?;
                    }
                }
                if page.len() < 1_000 {
                    break;
                }
            }
        }
        Ok(verified)
    }

    async fn check_closed(&self, scope: &Scope, closed: &deployctl_core::scope::Closed) -> Result<(), Refused> {
        let head = self.ports.journal.head(&closed.deployment.stream()).await?;
        let Some(head) = head else {
            let message = format!("{scope} remembers deployment {}, whose entries are gone", closed.deployment);
            return Err(Refused::new(RefusedKind::Internal, "journal-altered", message));
        };
        let before = deployctl_core::journal::Seq(head.seq.0.saturating_sub(2));
        let tail = self.ports.journal.read(&closed.deployment.stream(), before, 2).await?;
        if tail.last().is_some_and(|last| last.prev == closed.last) {
            return Ok(());
        }
        let message = format!("the entries of deployment {} do not end as {scope} remembers", closed.deployment);
        Err(Refused::new(RefusedKind::Internal, "journal-altered", message))
    }

    /// A release by what a person calls it: an environment, a version that is retained, a deployment, a release id.
    pub async fn find(&self, place: &Selection, name: &str) -> Result<Found, Refused> {
        for (scope, fold) in self.ledger.known_scopes() {
            let here = Selection { environment: None, ..place.clone() }.has(&scope);
            if here
                && scope.environment.as_str() == name
                && let Some(pin) = &fold.state.current
            {
                return self.found(&pin.revision.release, pin.spec.as_ref()).await;
            }
        }
        let version = Version::new(name).ok();
        for (scope, fold) in self.ledger.known_scopes().into_iter().filter(|(scope, _)| place.has(scope)) {
            let pins = fold.state.current.iter().chain(fold.state.stack.iter().rev()).chain(&fold.state.recent);
            for pin in pins {
                let release = pin.revision.release.as_str();
                if Some(&pin.version) == version.as_ref() || (name.len() >= 8 && release.starts_with(name)) {
                    return self.found(&pin.revision.release, pin.spec.as_ref()).await;
                }
            }
            let _ = scope;
        }
        if let Ok(id) = self.deployment_id(name).await {
            let fold = self.ledger.deployment(&id).await?;
            let legs = fold.state.iter().flat_map(|d| &d.plan.legs).filter(|leg| place.has(&leg.scope));
            if let Some(side) = legs.filter_map(|leg| leg.to.as_ref()).next() {
                return self.found(&side.pin.revision.release, side.pin.spec.as_ref()).await;
            }
        }
        let message = format!("`{name}` is no environment, retained version, deployment or release here");
        Err(Refused::new(RefusedKind::Usage, "unknown-release", message).hint("`deployctl history` lists deployments"))
    }

    async fn found(&self, id: &Sha256Hex, spec: Option<&Sha256Hex>) -> Result<Found, Refused> {
        let release = self.stored(id).await?;
        let spec = match spec {
            Some(digest) => self.ports.blobs.get(digest).await?.and_then(|bytes| String::from_utf8(bytes).ok()),
            None => None,
        };
        Ok(Found { id: id.clone(), release: (*release).clone(), spec })
    }

    /// A deployment by its id or an unambiguous beginning or end of it.
    pub async fn deployment_id(&self, text: &str) -> Result<DeploymentId, Refused> {
        let streams = self.ports.journal.streams("deployment/").await?;
        let ids = streams.iter().filter_map(|s| s.0.strip_prefix("deployment/"));
        let mut found: Vec<&str> =
            ids.filter(|id| *id == text || (text.len() >= 4 && (id.starts_with(text) || id.ends_with(text)))).collect();
        if let Some(exact) = found.iter().find(|id| **id == text) {
            found = vec![exact];
        }
        let unknown = |message| {
            Refused::new(RefusedKind::Usage, "unknown-deployment", message).hint("`deployctl history` lists them")
        };
        match found.as_slice() {
            [id] => DeploymentId::new(*id).map_err(|e| unknown(e.to_string())),
            [] => Err(unknown(format!("no deployment `{text}` is known here"))),
            many => Err(unknown(format!("`{text}` fits {} deployments; write more of it", many.len()))),
        }
    }

    /// Whether a version of an app is known, and by which artifact.
    pub async fn version(&self, scope: &Scope, version: &Version) -> Result<Option<Sha256Hex>, Refused> {
        let (known, _) = self.versions(scope).await?;
        Ok(known.0.get(version).map(|(artifact, _)| artifact.sha256.clone()))
    }

    /// The output of the selected scopes' instances.
    pub fn logs(
        &self,
        place: &Selection,
        query: &LogQuery,
    ) -> Result<BoxStream<'static, Result<LogLine, Refused>>, Refused> {
        let scopes = self.selected(place)?;
        let streams = scopes.iter().map(|scope| self.ports.driver.logs(scope, query.clone()));
        let all = futures_util::stream::select_all(streams);
        Ok(all.map(|line| line.map_err(Refused::from)).boxed())
    }
}

/// Every type of event that a journal has.
const TYPES: &[&str] = &[
    "opened",
    "taken",
    "leg_started",
    "job_started",
    "job_ended",
    "hold_started",
    "reached",
    "turned_back",
    "paused",
    "resumed",
    "migrated",
    "unmigrated",
    "closed",
    "maintenance",
    "version_known",
];

fn prefix(place: &Selection) -> String {
    let mut prefix = "scope/".to_owned();
    let names = [place.project.as_ref().map(|n| n.as_str()), place.environment.as_ref().map(|n| n.as_str())];
    for name in names {
        let Some(name) = name else { break };
        prefix.push_str(name);
        prefix.push('/');
    }
    prefix
}

/// Everything that somebody changed by hand.
fn drift(observed: &Observed) -> Vec<String> {
    let of_instances = observed.instances.iter().filter_map(|i| Some(format!("{}: {}", i.id, i.drift.as_deref()?)));
    observed.drift.iter().cloned().chain(of_instances).collect()
}

/// The health of what is judged as a whole.
fn health_of_whole(whole: Option<&InstanceState>, ready: u32) -> (&'static str, Option<String>) {
    let why = match whole {
        Some(InstanceState::Ready) => return ("healthy", None),
        Some(InstanceState::Starting { waiting_for: why }) => why,
        Some(InstanceState::Unhealthy { reason } | InstanceState::Failed { reason, .. }) => reason,
        Some(InstanceState::Stopping | InstanceState::Gone) | None => return ("down", None),
    };
    (if ready > 0 { "degraded" } else { "down" }, Some(why.clone()))
}

fn health(state: &State, observed: Result<&Observed, &Fault>) -> (&'static str, Option<String>) {
    let observed = match observed {
        Ok(observed) => observed,
        Err(fault) => return ("unknown", Some(fault.message.clone())),
    };
    let Some(pin) = &state.current else { return ("down", None) };
    let extent = state.resting.extent(&pin.revision);
    let (wanted, ready) = (extent.count(), observed.ready(&pin.revision));
    if extent.is_whole() {
        let (health, detail) = health_of_whole(observed.wholes.get(&pin.revision), ready);
        let changed = match &observed.drift[..] {
            [] => None,
            [one] => Some(format!("changed by hand: {one}")),
            [first, more @ ..] => {
                Some(format!("changed by hand: {first}; and {} more: `deployctl status --drift`", more.len()))
            }
        };
        return (health, detail.or(changed));
    }
    // Of a job nothing runs on: it ended well, or it would not be current.
    if state.resting.parts.get(&pin.revision).is_some_and(|part| part.extent.is_nothing()) {
        return ("healthy", None);
    }
    if wanted > 0 && ready >= wanted {
        let changed = observed.drifted(&pin.revision);
        let detail = changed.map(|(id, how)| format!("{id} was changed by hand: {how}; deploy again to replace it"));
        return ("healthy", detail);
    }
    let detail = observed.instances.iter().filter(|i| i.revision == pin.revision).find_map(|i| match &i.state {
        InstanceState::Starting { waiting_for } => Some(format!("{}: {waiting_for}", i.id)),
        InstanceState::Unhealthy { reason } | InstanceState::Failed { reason, .. } => {
            Some(format!("{}: {reason}", i.id))
        }
        _ => None,
    });
    (
        if ready > 0 { "degraded" } else { "down" },
        Some(detail.unwrap_or_else(|| format!("{ready} of {wanted} instances are healthy"))),
    )
}

fn history_of(scope: &Scope, last: &Last) -> History {
    History {
        verdict: last.verdict.word().into(),
        restored: Some(last.restored),
        reason: Some(last.reason.clone()),
        ended_at: Some(last.ended_at),
        ..begun(scope, &last.opened, last.started_at, &last.actor)
    }
}

fn history_entry(
    scope: &Scope,
    opened: &Opened,
    entry: &Entry,
    end: Option<(Millis, deployctl_core::scope::Closed)>,
) -> History {
    let begun = begun(scope, opened, entry.at, &entry.actor);
    match end {
        None => begun,
        Some((at, closed)) => History {
            verdict: closed.verdict.word().into(),
            restored: Some(closed.restored),
            reason: Some(closed.reason),
            ended_at: Some(at),
            ..begun
        },
    }
}

fn begun(scope: &Scope, opened: &Opened, at: Millis, actor: &str) -> History {
    History {
        id: opened.deployment.clone(),
        action: opened.action,
        app: scope.app.clone(),
        environment: scope.environment.clone(),
        region: scope.region.clone(),
        version: opened.version.clone(),
        previous: opened.previous.clone(),
        strategy: opened.strategy.clone(),
        verdict: "running".into(),
        restored: None,
        reason: None,
        note: opened.reason.clone(),
        actor: actor.into(),
        started_at: at,
        ended_at: None,
    }
}
