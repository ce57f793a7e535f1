//! `restart` and `down`: deployments without a new release.

use crate::Engine;
use crate::prepare::{Standing, changes, said};
use deployctl_core::ask::{Answer, Refused, RefusedKind, Selection, Simple};
use deployctl_core::driver::Data;
use deployctl_core::id::Scope;
use deployctl_core::plan::{Action, Leg};
use deployctl_core::planner::{self, Wish};
use std::sync::Arc;

impl Engine {
    /// Replaces the instances of what is current by new ones, by the app's own strategy.
    pub async fn restart(self: &Arc<Self>, ask: &Simple) -> Result<Answer, Refused> {
        self.simple(ask, Action::Restart, &Wish::Restart, "nothing is current here").await
    }

    /// Stops everything; data and releases stay. Or hands it back: then it runs on, and is not ours any more.
    pub async fn down(self: &Arc<Self>, ask: &Simple) -> Result<Answer, Refused> {
        let action = if ask.hand_back { Action::HandBack } else { Action::Down };
        let nothing =
            if ask.delete_data { "nothing runs here, and there is no data to delete" } else { "nothing runs here" };
        self.simple(ask, action, &Wish::Down { delete_data: ask.delete_data }, nothing).await
    }

    async fn simple(
        self: &Arc<Self>,
        ask: &Simple,
        action: Action,
        wish: &Wish<'_>,
        nothing: &str,
    ) -> Result<Answer, Refused> {
        let _sitting = self.sit().await?;
        let (id, now) = ((self.ports.ids)(), self.ports.clock.now());
        let mut standing = Vec::new();
        for scope in self.selected(&ask.place)? {
            standing.push(self.known(&scope).await?);
        }
        if matches!(wish, Wish::Restart) {
            standing.iter().try_for_each(|here| self.can_restart(here))?;
        }
        if ask.hand_back {
            standing.iter().try_for_each(|here| self.can_hand_back(here))?;
        }
        let mut legs = Vec::new();
        for here in &standing {
            let data = self.data(here, ask, action).await?;
            let is_needed = !here.state.resting.parts.is_empty() || !ask.delete_data || data.iter().any(|one| one.goes);
            let leg = planner::leg(&here.place(), wish, &id, now).filter(|_| is_needed);
            legs.extend(leg.map(|leg| Leg { changes: data.into_iter().map(|one| one.line).collect(), ..leg }));
        }
        let places: Vec<_> = standing.iter().map(Standing::place).collect();
        let Some(plan) = planner::plan(id, action, legs, &places) else {
            return Ok(Answer::Nothing { why: nothing.into() });
        };
        let mut changes = changes(&plan);
        changes.extend(plan.legs.iter().flat_map(said));
        let id = self.open(plan, &ask.by, Vec::new()).await?;
        Ok(Answer::Deployment { id, changes })
    }

    /// What holds data of a place that goes down.
    async fn data(&self, here: &Standing, ask: &Simple, action: Action) -> Result<Vec<Data>, Refused> {
        if action != Action::Down {
            return Ok(Vec::new());
        }
        match self.ports.driver.data(&here.scope, ask.delete_data).await? {
            Some(data) => Ok(data),
            None if !ask.delete_data => Ok(Vec::new()),
            None => {
                let message = format!("{}: only data in a cluster can be deleted with it", here.scope.app);
                Err(Refused::new(RefusedKind::Usage, "strategy-impossible", message)
                    .hint("nothing was changed; without --delete-data it is stopped, and its data stays where it is"))
            }
        }
    }

    /// A target that brings one release to the next by itself must know how it has other instances of the same release.
    fn can_restart(&self, here: &Standing) -> Result<(), Refused> {
        let Some(config) = &here.current else { return Ok(()) };
        if config.target.has_restarts() {
            return Ok(());
        }
        let message =
            format!("{}: it has no Deployment, StatefulSet or DaemonSet, whose pods are made anew", here.scope.app);
        Err(Refused::new(RefusedKind::Usage, "strategy-impossible", message).hint("nothing was changed"))
    }

    /// What we run ourselves ends with us: there is nobody to hand it to.
    fn can_hand_back(&self, here: &Standing) -> Result<(), Refused> {
        let Some(config) = &here.current else { return Ok(()) };
        if self.ports.driver.capabilities(config).by_itself {
            return Ok(());
        }
        let message = format!("{}: only objects of a cluster can be handed back", here.scope.app);
        Err(Refused::new(RefusedKind::Usage, "strategy-impossible", message)
            .hint("nothing was changed; `deployctl down` stops it, and its data stays"))
    }

    /// The scopes of a selection; refused if there is none, or if they belong to several projects.
    pub(crate) fn selected(&self, place: &Selection) -> Result<Vec<Scope>, Refused> {
        let all = self.ledger.known_scopes();
        let found: Vec<Scope> = all.into_iter().map(|(scope, _)| scope).filter(|scope| place.has(scope)).collect();
        if let Some(first) = found.first() {
            return match found.iter().find(|other| other.project != first.project) {
                None => Ok(found),
                Some(other) => Err(ambiguous(first, other)),
            };
        }
        let app = place.app.as_ref().map_or("no app".to_owned(), |app| format!("`{app}`"));
        let env = place.environment.as_ref().map_or("any environment".to_owned(), |env| format!("`{env}`"));
        let message = format!("{app} was never deployed to {env}");
        Err(Refused::new(RefusedKind::Denied, "never-deployed", message)
            .hint("nothing was changed; `deployctl list` shows what runs where"))
    }
}

fn ambiguous(one: &Scope, other: &Scope) -> Refused {
    let message =
        format!("it is not said which project is meant: {} and {} both have this", one.project, other.project);
    Refused::new(RefusedKind::Usage, "ambiguous-project", message)
        .hint("nothing was changed; run it in the project's directory, or name that with --project")
}
