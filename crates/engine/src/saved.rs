//! Saved plans: done exactly, or refused.

use crate::Engine;
use crate::ledger::scope_of;
use crate::open::stale;
use crate::prepare::{Prepared, approved};
use deployctl_core::ask::{Deploy, DeployLeg, Refused, RefusedKind, SavedPlan};
use deployctl_core::plan::{Action, Basis, PLAN_FORMAT, Plan};
use deployctl_core::planner::{self, Wish};
use deployctl_core::release::Release;
use deployctl_core::time::Span;

impl Engine {
    /// The plan of a deploy that has nothing to do: it says so as long as that is true.
    pub(crate) async fn nothing(&self, ask: &Deploy) -> Result<Plan, Refused> {
        let mut basis = Vec::new();
        for leg in &ask.legs {
            let seq = self.ledger.scope(&leg.scope).await?.seq;
            basis.push(Basis { stream: leg.scope.stream(), seq });
        }
        let (id, legs) = ((self.ports.ids)(), Vec::new());
        Ok(Plan { format: PLAN_FORMAT, id, action: Action::Deploy, legs, basis, deadline: Span::default() })
    }

    /// A saved plan, exactly. Staleness is looked at first, then the signature.
    pub(crate) async fn saved(&self, ask: &Deploy, text: &str) -> Result<Prepared, Refused> {
        let saved = SavedPlan::parse(text).map_err(|why| altered(&why))?;
        for basis in &saved.plan.basis {
            let scope = scope_of(&basis.stream).map_err(|why| altered(&why.to_string()))?;
            if basis.seq < self.ledger.scope(&scope).await?.seq {
                return Err(stale(&scope));
            }
        }
        if !self.ports.vault.is_ours(&saved.signed_bytes(), &saved.signature) {
            return Err(altered("its signature does not fit"));
        }
        approved(ask)?;
        let mut learned = Vec::new();
        for release in &saved.releases {
            if !ask.legs.iter().any(|leg| is_of(leg, release)) {
                let what =
                    format!("the plan is for {} in {}, not for what was asked", release.app, release.environment);
                return Err(other(what));
            }
        }
        for leg in &ask.legs {
            let planned = saved.releases.iter().find(|release| is_of(leg, release));
            let now = self.release(leg, planned, &mut learned).await?;
            self.check_after(ask.after.as_ref(), leg, &now).await?;
            match planned {
                Some(planned) if *planned == now => {}
                Some(planned) if planned.version != now.version => {
                    let (app, planned) = (&planned.app, &planned.version);
                    return Err(other(format!("the plan brings {app} to {planned}, not to {}", now.version)));
                }
                Some(_) => {
                    let message = format!("the plan is stale: {} would not be the same release now", now.app);
                    return Err(Refused::new(RefusedKind::Conflict, "plan-stale", message)
                        .hint("nothing was changed; make a new plan with `deployctl plan`"));
                }
                None => self.is_left_alone(&saved, leg, &now).await?,
            }
        }
        let plan = (!saved.plan.legs.is_empty()).then_some(saved.plan);
        Ok(Prepared { plan, releases: saved.releases, learned })
    }

    /// What was asked for besides what the plan has must be as it should be already.
    async fn is_left_alone(&self, saved: &SavedPlan, leg: &DeployLeg, release: &Release) -> Result<(), Refused> {
        let here = self.known(&leg.scope).await?;
        let wish = Wish::Deploy { release, migrated: true, spec: None };
        match planner::leg(&here.place(), &wish, &saved.plan.id, self.ports.clock.now()) {
            None => Ok(()),
            Some(_) => Err(other(format!("{} would change too, and the plan does not have it", leg.scope.app))),
        }
    }
}

fn is_of(leg: &DeployLeg, release: &Release) -> bool {
    leg.scope.project == release.project
        && leg.scope.environment == release.environment
        && leg.scope.region == release.region
        && leg.scope.app == release.app
}

fn altered(why: &str) -> Refused {
    Refused::new(RefusedKind::Usage, "plan-altered", format!("the plan file was altered or is of another state: {why}"))
        .hint("nothing was changed; make a new plan with `deployctl plan`")
}

fn other(what: String) -> Refused {
    Refused::new(RefusedKind::Usage, "plan-other", what)
        .hint("nothing was changed; ask for what the plan is for, or make a new plan with `deployctl plan`")
}
