//! Going back: to what was current before, or to a retained version.

use crate::Engine;
use crate::prepare::{Standing, changes, said};
use deployctl_core::ask::{Answer, Refused, RefusedKind, Rollback};
use deployctl_core::config::AppConfig;
use deployctl_core::deployment::command::Command;
use deployctl_core::fault::FaultKind;
use deployctl_core::id::{AppName, DeploymentId, Scope, Sha256Hex};
use deployctl_core::plan::{Action, Leg, Pin};
use deployctl_core::planner::{self, Wish};
use deployctl_core::release::Release;
use deployctl_core::scope::State;
use deployctl_core::strategy::{has_beside, in_place};
use deployctl_core::time::Millis;
use std::sync::Arc;

/// Where a scope goes back to.
struct Target {
    keep: usize,
    pin: Pin,
    undo: Vec<Sha256Hex>,
}

impl Engine {
    /// Goes back. A deployment that is under way in any of the scopes is cancelled instead, which turns it back.
    pub async fn rollback(self: &Arc<Self>, ask: &Rollback) -> Result<Answer, Refused> {
        if let Some(answer) = self.known_already(ask.id.as_ref()).await? {
            return Ok(answer);
        }
        let _sitting = self.sit().await?;
        if let Some(answer) = self.known_already(ask.id.as_ref()).await? {
            return Ok(answer);
        }
        let scopes = self.selected(&ask.place)?;
        for scope in &scopes {
            let fold = self.ledger.scope(scope).await?;
            if let Some(from) = &ask.from
                && fold.state.current.as_ref().map(|pin| &pin.version) != Some(from)
            {
                let now = fold.state.current.as_ref().map_or("nothing".to_owned(), |pin| pin.version.to_string());
                let message = format!("{} in {} is at {now}, not at {from}", scope.app, scope.environment);
                return Err(Refused::new(RefusedKind::Denied, "not-current", message).hint("nothing was changed"));
            }
            if let Some(open) = &fold.state.open {
                let id = open.opened.deployment.clone();
                return self.turn_back_running(&id, ask).await;
            }
        }
        let group = |named: &AppName| scopes.iter().any(|scope| scope.app != *named);
        let several = ask.place.app.as_ref().is_none_or(group) || ask.version.is_none() && scopes.len() > 1;
        let scopes = if several { self.last_together(scopes).await? } else { scopes };
        let (id, now) = (ask.id.clone().unwrap_or_else(|| (self.ports.ids)()), self.ports.clock.now());
        let (mut legs, mut standing, mut why) = (Vec::<Leg>::new(), Vec::new(), None);
        for scope in scopes {
            let here = self.known(&scope).await?;
            match self.target(&here, ask)? {
                Err(nothing) => why = Some(nothing),
                Ok(target) => {
                    legs.extend(self.way_to(&here, target, &id, now).await?);
                    standing.push(here);
                }
            }
        }
        // What came up first goes back last.
        legs.reverse();
        let places: Vec<_> = standing.iter().map(Standing::place).collect();
        let Some(plan) = planner::plan(id, Action::Rollback, legs, &places) else {
            return Ok(Answer::Nothing { why: why.unwrap_or_else(|| "there is nothing to undo".into()) });
        };
        let mut changes = changes(&plan);
        changes.extend(plan.legs.iter().flat_map(said));
        let id = self.open(plan, &ask.by, Vec::new()).await?;
        Ok(Answer::Deployment { id, changes })
    }

    /// The leg of a scope that goes back; none if it is there already.
    async fn way_to(
        &self,
        here: &Standing,
        target: Target,
        id: &DeploymentId,
        now: Millis,
    ) -> Result<Option<Leg>, Refused> {
        let release = self.stored(&target.pin.revision.release).await?;
        self.check_kept(&release).await?;
        let mut changes = self.ports.driver.kept(&here.scope, &release).await?;
        let undo = self.with_undo(target.undo).await?;
        let by = |config: &AppConfig| {
            let wish = Wish::Rollback { pin: &target.pin, config, keep: target.keep, undo: undo.clone() };
            planner::leg(&here.place(), &wish, id, now)
        };
        let Some(mut leg) = by(&release.config) else { return Ok(None) };
        match self.ports.driver.survey(&here.scope, &release, &leg.path).await {
            // However it came, there is a way back to it.
            Err(fault) if fault.kind == FaultKind::Spec && has_beside(&leg.path) => {
                let app = format!("{}: ", here.scope.app);
                let why = fault.message.strip_prefix(&app).unwrap_or(&fault.message);
                changes.push(format!("goes back in its place: {why}"));
                leg = by(&in_place(&release.config)).unwrap_or(leg);
            }
            said => changes.extend(said?),
        }
        Ok(Some(Leg { changes, ..leg }))
    }

    /// What a release runs is there, or can be had again now: nothing is begun that would stop half-way for it.
    async fn check_kept(&self, release: &Release) -> Result<(), Refused> {
        let Some(artifact) = &release.artifact else { return Ok(()) };
        let artifacts = &self.ports.artifacts;
        if artifacts.has(artifact).await? {
            return Ok(());
        }
        let (version, app) = (&release.version, &release.app);
        let lost = format!("{app} cannot go back to {version}: what it runs is not kept any more");
        let why = match release.config.source_again(artifact) {
            None => lost,
            Some(source) => match artifacts.ingest(&source, Some(&artifact.sha256)).await {
                Ok(_) => return Ok(()),
                Err(not) => format!("{lost}, and {}", not.fault.message),
            },
        };
        Err(Refused::new(RefusedKind::Denied, "artifact-missing", why)
            .hint("nothing was changed; go back to another version with --version, or deploy one anew"))
    }

    async fn turn_back_running(self: &Arc<Self>, id: &DeploymentId, ask: &Rollback) -> Result<Answer, Refused> {
        let fold = self.ledger.deployment(id).await?;
        let changes = fold.state.as_ref().map(|d| changes(&d.plan)).unwrap_or_default();
        match self.steer(id, Command::Cancel, &ask.by).await {
            Ok(()) => {}
            Err(refused) if refused.code == "goes-back" => {}
            Err(refused) => return Err(refused),
        }
        let changes = changes.into_iter().map(|change| format!("{change} is cancelled and turned back")).collect();
        Ok(Answer::Deployment { id: id.clone(), changes })
    }

    /// Those of the releases whose migration can be undone; older releases work with what the others did.
    async fn with_undo(&self, releases: Vec<Sha256Hex>) -> Result<Vec<Sha256Hex>, Refused> {
        let mut undo = Vec::new();
        for id in releases {
            let release = self.stored(&id).await?;
            if release.config.migrate.as_ref().is_some_and(|migrate| migrate.undo.is_some()) {
                undo.push(id);
            }
        }
        Ok(undo)
    }

    /// For `--all` and for several regions: the scopes that the newest deployment in effect changed.
    async fn last_together(&self, scopes: Vec<Scope>) -> Result<Vec<Scope>, Refused> {
        let mut states = Vec::new();
        for scope in scopes {
            let fold = self.ledger.scope(&scope).await?;
            states.push((scope, fold));
        }
        let newest = states.iter().filter_map(|(_, fold)| fold.state.last.as_ref()).max_by_key(|last| last.ended_at);
        let Some(newest) = newest.map(|last| last.opened.deployment.clone()) else { return Ok(Vec::new()) };
        let together = |state: &State| state.last.as_ref().is_some_and(|last| last.opened.deployment == newest);
        Ok(states.into_iter().filter(|(_, fold)| together(&fold.state)).map(|(scope, _)| scope).collect())
    }

    /// Where to; or why there is nothing to do.
    fn target(&self, here: &Standing, ask: &Rollback) -> Result<Result<Target, String>, Refused> {
        let (scope, state) = (&here.scope, &here.state);
        let place = format!("{} in {}", scope.app, scope.environment);
        let found = match &ask.version {
            Some(version) => {
                let current = state.current.as_ref().is_some_and(|pin| pin.version == *version);
                if current && state.is_whole() {
                    return Ok(Err(format!("{place} is at {version} already; nothing was changed")));
                }
                state.retained(version).ok_or_else(|| not_retained(&place, version.as_str(), state))?
            }
            None if state.last_was_turned_back() => {
                return Ok(Err(format!(
                    "the last deployment of {place} was turned back already: nothing is left to undo"
                )));
            }
            None => state.undo_target().ok_or_else(|| {
                let message = format!("{place} has nothing to go back to: no earlier release succeeded here");
                Refused::new(RefusedKind::Denied, "nothing-before", message)
                    .hint("nothing was changed; `deployctl history` lists what ran, `deployctl down` stops it")
            })?,
        };
        let (keep, pin) = (found.0, found.1.clone());
        let left = state.migrations_above(keep);
        if let Some((release, _)) = left.iter().find(|(_, irreversible)| *irreversible)
            && !ask.across_migration
        {
            let message = format!(
                "going back to {} of {place} leaves data behind that the migration of release {} changed for good",
                pin.version,
                release.short()
            );
            return Err(Refused::new(RefusedKind::Denied, "across-migration", message).hint(
                "nothing was changed; if the older release works with the migrated data, say --across-migration",
            ));
        }
        let undo =
            left.into_iter().filter(|(_, irreversible)| !irreversible).map(|(release, _)| release.clone()).collect();
        Ok(Ok(Target { keep, pin, undo }))
    }
}

fn not_retained(place: &str, version: &str, state: &State) -> Refused {
    let kept: Vec<_> = state.recent.iter().map(|pin| pin.version.to_string()).collect();
    let message = format!("{version} is not among the retained releases of {place}");
    let hint = if kept.is_empty() { "none is retained".to_owned() } else { format!("retained: {}", kept.join(", ")) };
    Refused::new(RefusedKind::Denied, "not-retained", message).hint(hint)
}
