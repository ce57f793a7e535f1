//! Saved plans: done exactly, or refused.

use crate::Engine;
use crate::ledger::scope_of;
use crate::open::{moved, stale};
use crate::prepare::{Prepared, approved, values};
use deployctl_core::ask::{Deploy, DeployLeg, Refused, RefusedKind, SavedPlan};
use deployctl_core::desired::Waypoint;
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::Scope;
use deployctl_core::plan::{Action, Basis, Leg, PLAN_FORMAT, Plan};
use deployctl_core::planner::{self, Wish};
use deployctl_core::preview::{self, Change, Foreseen, Line, Preview};
use deployctl_core::release::Release;
use deployctl_core::time::Span;

/// So many digits of a digest tell one change from another.
const DIGITS: usize = 16;

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
                Some(planned) if *planned == now => self.is_as_foreseen(&saved.plan, leg, &now).await?,
                Some(planned) if planned.version != now.version => {
                    let (app, planned) = (&planned.app, &planned.version);
                    return Err(other(format!("the plan brings {app} to {planned}, not to {}", now.version)));
                }
                Some(_) => return Err(moved(format!("{} would not be the same release now", now.app))),
                None => self.is_left_alone(&saved, leg, &now).await?,
            }
        }
        if saved.plan.legs.iter().any(|leg| !leg.corrects && self.would_correct(ask, leg)) {
            return Err(other("the plan does not take back what others changed".into()));
        }
        let plan = (!saved.plan.legs.is_empty()).then_some(saved.plan);
        Ok(Prepared { plan, releases: saved.releases, learned, note: None })
    }

    /// Whether a leg of a plan takes back what others changed, if it is made by what is asked now.
    fn would_correct(&self, ask: &Deploy, planned: &Leg) -> bool {
        ask.legs.iter().filter(|leg| leg.scope == planned.scope).any(|leg| self.corrects(ask, leg))
    }

    /// What a target says that a release would change, with how it is walked to.
    pub(crate) async fn with_way(
        &self,
        scope: &Scope,
        release: &Release,
        path: &[Waypoint],
        changes: Preview,
    ) -> Result<Preview, Fault> {
        let way = self.ports.driver.survey(scope, release, path).await?.into_iter();
        let lines = way.map(|text| Line::change("the way there", text)).chain(changes.lines).collect();
        Ok(Preview { lines, ..changes })
    }

    /// The changes as a plan keeps them: they tell nothing without the state's key.
    pub(crate) fn foreseen(&self, seen: &Preview) -> Option<Vec<Foreseen>> {
        let digest = |change: &Change| self.ports.vault.sign(format!("{}\n{}", change.of, change.exactly).as_bytes());
        seen.foreseen(|change| digest(change).chars().take(DIGITS).collect())
    }

    /// The target would still be changed just as the plan says. Plans of earlier builds do not have what this needs.
    async fn is_as_foreseen(&self, plan: &Plan, leg: &DeployLeg, release: &Release) -> Result<(), Refused> {
        let Some(planned) = plan.legs.iter().find(|planned| planned.scope == leg.scope) else { return Ok(()) };
        let Some(then) = &planned.foreseen else { return Ok(()) };
        let seen = async {
            let changes = self.ports.driver.preview(&leg.scope, release, &values(leg), planned.corrects).await?;
            self.with_way(&leg.scope, release, &planned.path, changes).await
        };
        let (app, environment) = (&leg.scope.app, &leg.scope.environment);
        let seen = seen.await.map_err(|fault| match fault.kind {
            // It could be done when the plan was made.
            FaultKind::Conflict | FaultKind::Spec => {
                moved(format!("{app} in {environment} cannot be deployed like this any more: {}", fault.message))
            }
            _ => fault.into(),
        })?;
        let now = self.foreseen(&seen).unwrap_or_default();
        let Some(of) = preview::differs(then, &now) else { return Ok(()) };
        let now = seen.of(of).map_or_else(|| "nothing of it would change".to_owned(), str::to_owned);
        Err(moved(format!(
            "somebody changed what {app} in {environment} finds: of {of} it would do otherwise now: {now}"
        )))
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
