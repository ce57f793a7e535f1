//! Live views of deployments, for those who watch.

use crate::{Engine, lock};
use deployctl_core::ask::{Refused, RefusedKind};
use deployctl_core::deployment::step::Evidence;
use deployctl_core::deployment::{self, Deployment};
use deployctl_core::driver::Observed;
use deployctl_core::id::{DeploymentId, Revision};
use deployctl_core::instance::{InstanceSeen, InstanceState};
use deployctl_core::plan;
use deployctl_core::time::Millis;
use deployctl_core::view;
use tokio::sync::watch;

impl Engine {
    /// Says what a deployment waits for.
    pub(crate) fn note(&self, id: &DeploymentId, waiting: &str) {
        if let Some(live) = lock(&self.live).get(id) {
            live.send_if_modified(|view| {
                let same = view.waiting.as_deref() == Some(waiting);
                view.waiting = Some(waiting.into());
                !same
            });
        }
    }

    /// Shows where a walk stands.
    pub(crate) async fn show(&self, state: &Deployment, evidence: &Evidence) {
        let id = &state.plan.id;
        if lock(&self.live).get(id).is_none() {
            let Ok(entries) = self.ledger.entries(id).await else { return };
            let (at, actor) = entries.first().map(|e| (e.at, e.actor.clone())).unwrap_or_default();
            // Whoever began to watch meanwhile goes on with that view.
            let view = || watch::Sender::new(view_of(state, at, &actor, None));
            lock(&self.live).entry(id.clone()).or_insert_with(view);
        }
        let leg = state.order.iter().copied().find(|leg| state.legs[*leg].waypoint().is_some());
        let urls = match leg {
            Some(leg) => self.ports.driver.urls(&state.plan.legs[leg].scope).await.unwrap_or_default(),
            None => Vec::new(),
        };
        let live = lock(&self.live);
        let Some(sender) = live.get(id) else { return };
        sender.send_if_modified(|old| {
            let mut new = view_of(state, old.started_at, &old.actor, None);
            // What was waited for at another waypoint is no news of this one.
            let stands = |view: &view::Deployment| view.legs.iter().map(|leg| leg.reached).collect::<Vec<_>>();
            if stands(&new) == stands(old) && new.back == old.back {
                new.waiting.clone_from(&old.waiting);
            }
            for (new, old) in new.legs.iter_mut().zip(&old.legs) {
                new.instances.clone_from(&old.instances);
                new.shares.clone_from(&old.shares);
                new.urls.clone_from(&old.urls);
            }
            if let Some(leg) = leg.filter(|_| !evidence.observed.instances.is_empty()) {
                let plan = &state.plan.legs[leg];
                new.legs[leg].instances = instances(&evidence.observed, |r| version_in(plan, r));
                new.legs[leg].shares = shares(&evidence.observed, |r| version_in(plan, r));
                new.legs[leg].urls = urls;
            }
            let changed = new != *old;
            *old = new;
            changed
        });
    }

    /// Shows the verdict and lets the watchers go.
    pub(crate) async fn finish_view(&self, state: &Deployment, closed: &deployment::Closed, at: Millis) {
        let urls = self.urls(state).await;
        if let Some(live) = lock(&self.live).remove(&state.plan.id) {
            live.send_modify(|view| {
                view.closed = Some(closed_view(closed, at));
                view.waiting = None;
                view.leg = None;
                with_urls(view, urls);
            });
        }
    }

    /// Where each leg answers now.
    async fn urls(&self, state: &Deployment) -> Vec<Vec<String>> {
        let all = state.plan.legs.iter().map(|leg| self.ports.driver.urls(&leg.scope));
        futures_util::future::join_all(all).await.into_iter().map(Result::unwrap_or_default).collect()
    }

    /// A view of a deployment that changes as it goes; a last one if it has ended.
    pub async fn watch(&self, id: &DeploymentId) -> Result<watch::Receiver<view::Deployment>, Refused> {
        // The journal first: where another engine walks it, what is shown here may be of a moment ago, and it may have ended since.
        let fold = self.ledger.deployment(id).await?;
        let live = lock(&self.live).get(id).map(watch::Sender::subscribe);
        if let (Some(live), Some(None)) = (live, fold.state.as_ref().map(|state| &state.closed)) {
            return Ok(live);
        }
        let Some(state) = &fold.state else {
            let message = format!("no deployment `{id}` is known here");
            return Err(
                Refused::new(RefusedKind::Usage, "unknown-deployment", message).hint("`deployctl history` lists them")
            );
        };
        let entries = self.ledger.entries(id).await?;
        let (at, actor) = entries.first().map(|e| (e.at, e.actor.clone())).unwrap_or_default();
        let ended = entries.last().map(|e| e.at);
        let mut view = view_of(state, at, &actor, ended);
        with_urls(&mut view, self.urls(state).await);
        if state.closed.is_some() {
            return Ok(watch::Sender::new(view).subscribe());
        }
        // Accepted a moment ago: its walk will find this view and go on with it.
        let receiver = lock(&self.live).entry(id.clone()).or_insert_with(|| watch::Sender::new(view)).subscribe();
        let fold = self.ledger.deployment(id).await?;
        if let Some(closed) = fold.state.as_ref().and_then(|state| state.closed.as_ref()) {
            // Or it ended since it was looked at, and its walk will say nothing more.
            self.finish_view(state, closed, self.ports.clock.now()).await;
        }
        Ok(receiver)
    }
}

fn with_urls(view: &mut view::Deployment, urls: Vec<Vec<String>>) {
    for (leg, urls) in view.legs.iter_mut().zip(urls) {
        leg.urls = urls;
    }
}

fn closed_view(closed: &deployment::Closed, at: Millis) -> view::Closed {
    view::Closed { verdict: closed.verdict, restored: closed.restored, reason: closed.reason.clone(), at }
}

fn view_of(state: &Deployment, started_at: Millis, actor: &str, ended: Option<Millis>) -> view::Deployment {
    let legs = state.plan.legs.iter().zip(&state.legs).map(|(plan, here)| view::Leg {
        app: plan.scope.app.clone(),
        environment: plan.scope.environment.clone(),
        region: plan.scope.region.clone(),
        from: plan.from.as_ref().map(|side| side.pin.version.clone()),
        to: plan.to.as_ref().map(|side| side.pin.version.clone()),
        strategy: plan.strategy().into(),
        reached: here.reached,
        waypoints: here.path.len(),
        towards: here.waypoint().map(|w| view::waypoint_words(&w.desired, |r| version_in(plan, r))),
        instances: Vec::new(),
        shares: std::collections::BTreeMap::new(),
        urls: Vec::new(),
    });
    view::Deployment {
        id: state.plan.id.clone(),
        action: state.plan.action,
        actor: actor.into(),
        note: state.reason.clone(),
        started_at,
        deadline: state.deadline,
        paused: state.paused,
        back: state.back.as_ref().map(|back| back.reason.clone()),
        waiting: None,
        leg: state.order.iter().copied().find(|leg| state.legs[*leg].waypoint().is_some()),
        legs: legs.collect(),
        closed: state.closed.as_ref().map(|closed| closed_view(closed, ended.unwrap_or_default())),
    }
}

/// The version of a revision in a leg; an older one that still ends goes by the start of its release's id.
fn version_in(leg: &plan::Leg, revision: &Revision) -> String {
    let side = [&leg.to, &leg.from].into_iter().flatten().find(|side| side.pin.revision == *revision);
    side.map_or_else(|| revision.release.short().to_owned(), |side| side.pin.version.to_string())
}

/// Instances as people see them.
pub(crate) fn instances(observed: &Observed, version: impl Fn(&Revision) -> String) -> Vec<view::Instance> {
    observed.instances.iter().filter(|i| i.state != InstanceState::Gone).map(|i| instance(i, &version)).collect()
}

fn instance(seen: &InstanceSeen, version: impl Fn(&Revision) -> String) -> view::Instance {
    let detail = match &seen.state {
        InstanceState::Starting { waiting_for } => Some(waiting_for.clone()),
        InstanceState::Unhealthy { reason } | InstanceState::Failed { reason, .. } => Some(reason.clone()),
        InstanceState::Ready | InstanceState::Stopping | InstanceState::Gone => None,
    };
    view::Instance {
        id: seen.id.to_string(),
        version: version(&seen.revision),
        state: seen.state.word().into(),
        detail,
        address: seen.address.clone(),
        pid: seen.pid,
        started_at: seen.started_at,
        restarts: seen.restarts,
        container: seen.container.clone(),
        drift: seen.drift.clone(),
    }
}

fn shares(observed: &Observed, version: impl Fn(&Revision) -> String) -> std::collections::BTreeMap<String, String> {
    observed.shares.iter().map(|(r, share)| (version(r), view::percent(*share))).collect()
}
