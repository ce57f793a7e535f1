//! From what a client asks to a plan: artifacts, versions, releases, policy; and the deployment of it.

use crate::Engine;
use crate::ledger::json;
use deployctl_core::ask::{Answer, Deploy, DeployLeg, Refused, RefusedKind, SavedPlan};
use deployctl_core::config::{AppConfig, Artifact};
use deployctl_core::fault::FaultKind;
use deployctl_core::id::{EnvName, Scope, Sha256Hex};
use deployctl_core::instance::SecretValues;
use deployctl_core::journal::{NewEntry, Seq, Write};
use deployctl_core::plan::{Action, Leg, Plan};
use deployctl_core::planner::{self, Place, Wish};
use deployctl_core::ports::NotTaken;
use deployctl_core::release::Release;
use deployctl_core::scope::State;
use deployctl_core::versions::{self, Known};
use std::sync::Arc;

/// A deploy is prepared so often, at most, when somebody writes to the same streams meanwhile: who deploys the same new
/// version to another environment for one.
const TRIES: usize = 5;

/// What a deploy would do, ready to be opened.
pub(crate) struct Prepared {
    pub(crate) plan: Option<Plan>,
    pub(crate) releases: Vec<Release>,
    pub(crate) learned: Vec<Write>,
    /// What is to be known besides, for people.
    pub(crate) note: Option<String>,
}

/// A scope's state with what the planner needs of it, owned.
pub(crate) struct Standing {
    pub(crate) scope: Scope,
    pub(crate) state: State,
    pub(crate) seq: Seq,
    pub(crate) current: Option<AppConfig>,
    pub(crate) healthy: bool,
    /// What others changed of it by hand, where it goes on like that.
    pub(crate) drift: Vec<String>,
}

impl Standing {
    pub(crate) fn place(&self) -> Place<'_> {
        Place {
            scope: &self.scope,
            state: &self.state,
            seq: self.seq,
            current: self.current.as_ref(),
            healthy: self.healthy,
        }
    }
}

impl Engine {
    /// What a deploy would do: signed, to be kept in a file; without legs if there is nothing to do.
    pub async fn plan(self: &Arc<Self>, ask: &Deploy) -> Result<SavedPlan, Refused> {
        let _collecting = self.collecting.read().await;
        let prepared = self.prepare(ask).await?;
        let plan = match prepared.plan {
            Some(plan) => plan,
            None => self.nothing(ask).await?,
        };
        let mut saved = SavedPlan { plan, releases: prepared.releases, signature: String::new(), note: prepared.note };
        saved.signature = self.ports.vault.sign(&saved.signed_bytes());
        Ok(saved)
    }

    /// Deploys. Returns once the deployment is durably accepted.
    pub async fn deploy(self: &Arc<Self>, ask: &Deploy) -> Result<Answer, Refused> {
        // Before anything goes on: what it needs may be known to who asks again alone.
        if let Some(answer) = self.asked_before(ask).await? {
            return Ok(answer);
        }
        let _sitting = self.sit().await?;
        let mut tries = 1;
        loop {
            match self.deploy_once(ask).await {
                Err(refused) if refused.code == "journal-conflict" && tries < TRIES => tries += 1,
                done => return done,
            }
        }
    }

    async fn deploy_once(self: &Arc<Self>, ask: &Deploy) -> Result<Answer, Refused> {
        let _collecting = self.collecting.read().await;
        if let Some(answer) = self.asked_before(ask).await? {
            return Ok(answer);
        }
        let prepared = match &ask.plan {
            None => self.prepare(ask).await?,
            Some(text) => self.saved(ask, text).await?,
        };
        let Some(plan) = prepared.plan else {
            let note = prepared.note.map_or(String::new(), |note| format!("; {note}"));
            return Ok(Answer::Nothing {
                why: format!("it is current and healthy already; nothing was changed{note}"),
            });
        };
        self.keep_releases(&prepared.releases, ask).await?;
        let changes = changes(&plan);
        let id = self.open(plan, &ask.by, prepared.learned).await?;
        Ok(Answer::Deployment { id, changes })
    }

    async fn prepare(&self, ask: &Deploy) -> Result<Prepared, Refused> {
        approved(ask)?;
        let (mut releases, mut learned, mut known) = (Vec::new(), Vec::new(), Vec::new());
        let (mut costs, mut previews) = (Vec::new(), Vec::new());
        for leg in &ask.legs {
            if let Some(why) = planner::refusal(&leg.config, self.ports.driver.capabilities(&leg.config)) {
                let message = format!("{}: {why}", leg.scope.app);
                return Err(Refused::new(RefusedKind::Usage, "strategy-impossible", message));
            }
            costs.push(self.ports.driver.claim(&leg.scope, &leg.config).await?);
            let release = self.release(leg, None, &mut learned).await?;
            let corrects = self.corrects(ask, leg);
            previews.push(self.ports.driver.preview(&leg.scope, &release, &values(leg), corrects).await?);
            releases.push(release);
            let mut known_here = self.known(&leg.scope).await?;
            known_here.healthy &= !corrects || known_here.drift.is_empty();
            known.push(known_here);
        }
        for (leg, release) in ask.legs.iter().zip(&releases) {
            self.check_after(ask.after.as_ref(), leg, release).await?;
            self.check_dependencies(ask, leg).await?;
        }
        let spec = ask.spec.as_ref().map(|text| Sha256Hex::of(text.as_bytes()));
        let (id, now) = (ask.id.clone().unwrap_or_else(|| (self.ports.ids)()), self.ports.clock.now());
        let mut legs = Vec::new();
        let found = costs.into_iter().zip(previews);
        for (((known, release), leg), (costs, changes)) in known.iter().zip(&releases).zip(&ask.legs).zip(found) {
            let migrated = self.is_migrated(&leg.scope, release);
            let wish = Wish::Deploy { release, migrated, spec: spec.clone() };
            let Some(way) = planner::leg(&known.place(), &wish, &id, now) else { continue };
            let seen = self.with_way(&leg.scope, release, &way.path, changes).await?;
            legs.push(Leg {
                costs,
                changes: seen.said(),
                foreseen: self.foreseen(&seen),
                corrects: self.corrects(ask, leg),
                ..way
            });
        }
        once_per_environment(&mut legs);
        let left = known.iter().filter(|known| !legs.iter().any(|leg| leg.scope == known.scope));
        let note = drift_note(left);
        let changed: Vec<_> =
            known.iter().filter(|k| legs.iter().any(|l| l.scope == k.scope)).map(Standing::place).collect();
        let plan = planner::plan(id, Action::Deploy, legs, &changed);
        let releases = releases
            .into_iter()
            .zip(&ask.legs)
            .filter(|(_, leg)| plan.as_ref().is_some_and(|p| p.legs.iter().any(|l| l.scope == leg.scope)))
            .map(|(release, _)| release)
            .collect();
        Ok(Prepared { plan, releases, learned, note })
    }

    /// Whether what others changed by hand is to be taken back. Where deployctl itself runs what there is, every deployment does so.
    pub(crate) fn corrects(&self, ask: &Deploy, leg: &DeployLeg) -> bool {
        ask.correct_drift && self.ports.driver.capabilities(&leg.config).by_itself
    }

    /// The release that a leg asks for; `planned` is the one that a saved plan of ours has for it.
    pub(crate) async fn release(
        &self,
        leg: &DeployLeg,
        planned: Option<&Release>,
        learned: &mut Vec<Write>,
    ) -> Result<Release, Refused> {
        let (artifact, built_here) = match &leg.artifact {
            None if leg.built_here => (None, true),
            _ => self.artifact(leg, planned, learned).await?,
        };
        let secrets = leg.secrets.iter().map(|(r, value)| (r.clone(), self.ports.vault.digest(r, &value.0))).collect();
        Ok(Release {
            project: leg.scope.project.clone(),
            environment: leg.scope.environment.clone(),
            region: leg.scope.region.clone(),
            app: leg.scope.app.clone(),
            version: leg.version.clone(),
            artifact,
            config: leg.config.clone(),
            secrets,
            built_here,
        })
    }

    /// The artifact of a leg. A source that is there must have what the version names; without one, or where it is gone,
    /// the kept artifact does: that of the known version, or else that of the plan.
    async fn artifact(
        &self,
        leg: &DeployLeg,
        planned: Option<&Release>,
        learned: &mut Vec<Write>,
    ) -> Result<(Option<Artifact>, bool), Refused> {
        let (known, seq) = self.versions(&leg.scope).await?;
        let known = known.0.get(&leg.version).cloned();
        if let Some((artifact, here)) = known.as_ref().filter(|_| leg.known_first)
            && self.ports.artifacts.has(artifact).await?
        {
            return Ok((Some(artifact.clone()), *here));
        }
        let gone = match &leg.artifact {
            None => None,
            Some(source) => match self.ports.artifacts.ingest(source, leg.sha256.as_ref()).await {
                Ok(found) => {
                    if let Some((artifact, _)) = known.as_ref().filter(|(artifact, _)| artifact.sha256 != found.sha256)
                    {
                        return Err(other_bytes(leg, artifact, "its artifact now has", &found.sha256));
                    }
                    let here = known.as_ref().map_or(leg.built_here, |(_, here)| *here);
                    if known.is_none() {
                        self.learn(leg, &found, here, seq, learned);
                    }
                    return Ok((Some(found), here));
                }
                Err(not) if not.is_wrong => return Err(no_artifact(leg, not)),
                Err(not) => Some(not),
            },
        };
        let of_plan = planned.filter(|release| known.is_none() && release.version == leg.version);
        let of_plan = of_plan.and_then(|release| Some((release.artifact.clone()?, release.built_here)));
        let Some((artifact, here)) = known.or_else(|| of_plan.clone()) else {
            return gone.map_or(Ok((None, false)), |not| Err(no_artifact(leg, not)));
        };
        if !self.ports.artifacts.has(&artifact).await? {
            let again = leg.config.source_again(&artifact);
            let had = match again {
                Some(source) => self.ports.artifacts.ingest(&source, Some(&artifact.sha256)).await.is_ok(),
                None => false,
            };
            if !had {
                return Err(gone.map_or_else(|| not_kept(leg, of_plan.is_some()), |not| no_artifact(leg, not)));
            }
        }
        if let Some(wanted) = leg.sha256.as_ref().filter(|wanted| **wanted != artifact.sha256) {
            return Err(other_bytes(leg, &artifact, "the specification says", wanted));
        }
        if of_plan.is_some() {
            self.learn(leg, &artifact, here, seq, learned);
        }
        Ok((Some(artifact), here))
    }

    fn learn(&self, leg: &DeployLeg, found: &Artifact, built_here: bool, seq: Seq, learned: &mut Vec<Write>) {
        let stream = versions::stream(&leg.scope.project, &leg.scope.app);
        if learned.iter().any(|write| write.stream == stream) {
            return;
        }
        let event = versions::Event::VersionKnown { version: leg.version.clone(), artifact: found.clone(), built_here };
        let entry = NewEntry { at: self.ports.clock.now(), actor: "deployctl".into(), event: json(&event) };
        learned.push(Write { stream, expected: seq, entries: vec![entry] });
    }

    /// What is known of an app's versions, and where the stream stands.
    pub(crate) async fn versions(&self, scope: &Scope) -> Result<(Known, Seq), Refused> {
        let stream = versions::stream(&scope.project, &scope.app);
        let (mut known, mut seq) = (Known::default(), Seq(0));
        loop {
            let page = self.ports.journal.read(&stream, seq, 1_000).await?;
            for entry in &page {
                known.evolve(&crate::ledger::parse(entry)?);
                seq = entry.seq;
            }
            if page.len() < 1_000 {
                return Ok((known, seq));
            }
        }
    }

    /// What an app depends on must be there, or come with the same deployment.
    async fn check_dependencies(&self, ask: &Deploy, leg: &DeployLeg) -> Result<(), Refused> {
        for app in &leg.config.depends_on {
            let needed = Scope { app: app.clone(), ..leg.scope.clone() };
            if ask.legs.iter().any(|other| other.scope == needed) {
                continue;
            }
            if self.ledger.scope(&needed).await?.state.current.is_none() {
                let env = &leg.scope.environment;
                let message = format!("{} depends on {app}, which does not run in {env}", leg.scope.app);
                return Err(Refused::new(RefusedKind::Usage, "dependency-missing", message)
                    .hint(format!("nothing was changed; deploy {app} first, or everything together with --all")));
            }
        }
        Ok(())
    }

    /// `after:` of an environment holds for the artifact, whatever its version is called.
    pub(crate) async fn check_after(
        &self,
        after: Option<&EnvName>,
        leg: &DeployLeg,
        release: &Release,
    ) -> Result<(), Refused> {
        let Some(after) = after else { return Ok(()) };
        let wanted = release.artifact.as_ref().map(|a| &a.sha256);
        let passed = self.ledger.known_scopes().into_iter().any(|(scope, fold)| {
            let there = scope.project == leg.scope.project && scope.app == leg.scope.app && scope.environment == *after;
            there
                && fold.state.recent.iter().any(|pin| match wanted {
                    Some(sha256) => pin.artifact.as_ref() == Some(sha256),
                    None => pin.version == leg.version,
                })
        });
        if passed {
            return Ok(());
        }
        let (env, app, version) = (&leg.scope.environment, &leg.scope.app, &leg.version);
        let message =
            format!("{env} takes only what has succeeded in {after}, and {app} {version} has not (by its artifact)");
        Err(Refused::new(RefusedKind::Denied, "not-promoted", message)
            .hint(format!("nothing was changed; deploy it to {after} first: deployctl deploy --env {after} --app {app} --version {version}")))
    }

    pub(crate) fn is_migrated(&self, scope: &Scope, release: &Release) -> bool {
        let Some(_) = &release.config.migrate else { return true };
        let same_place =
            |s: &Scope| s.project == scope.project && s.environment == scope.environment && s.app == scope.app;
        let version = &release.version;
        self.ledger.known_scopes().iter().filter(|(s, _)| same_place(s)).any(|(_, fold)| {
            let pins = fold.state.stack.iter().chain(&fold.state.recent).chain(&fold.state.current);
            let mine: Vec<_> = pins.filter(|p| p.version == *version).map(|p| &p.revision.release).collect();
            fold.state.migrations.iter().any(|(r, _)| *r == release.id() || mine.contains(&r))
        })
    }

    pub(crate) async fn known(&self, scope: &Scope) -> Result<Standing, Refused> {
        let fold = self.ledger.scope(scope).await?;
        let state = fold.state.clone();
        if let Some(open) = &state.open {
            return Err(crate::open::held(scope, open));
        }
        let current = match &state.current {
            Some(pin) => Some(self.stored(&pin.revision.release).await?.config.clone()),
            None => None,
        };
        let (healthy, drift) = match (&state.current, &current) {
            (Some(pin), Some(config)) => {
                let observed = self.ports.driver.observe(scope).await?;
                let extent = config.target.extent(config.instances);
                let healthy = observed.is_ready(&pin.revision, extent) && observed.drifted(&pin.revision).is_none();
                (healthy, observed.drift)
            }
            _ => (true, Vec::new()),
        };
        Ok(Standing { scope: scope.clone(), state, seq: fold.seq, current, healthy, drift })
    }

    /// A release from the blobs.
    pub(crate) async fn stored(&self, id: &Sha256Hex) -> Result<Arc<Release>, Refused> {
        let bytes = self.ports.blobs.get(id).await?;
        let release = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        release.map(Arc::new).ok_or_else(|| {
            let message = format!("the release {} is not kept any more", id.short());
            Refused::new(RefusedKind::Internal, "release-lost", message).hint("deploy a version anew")
        })
    }

    async fn keep_releases(&self, releases: &[Release], ask: &Deploy) -> Result<(), Refused> {
        for release in releases {
            let id = self.ports.blobs.put(release.bytes()).await?;
            let leg = ask.legs.iter().find(|leg| leg.scope.app == release.app && leg.scope.region == release.region);
            if let Some(values) = leg.map(values).filter(|values| !values.0.is_empty()) {
                self.ports.vault.seal(&id, &values).await?;
            }
        }
        if let Some(spec) = &ask.spec {
            self.ports.blobs.put(spec.clone().into_bytes()).await?;
        }
        Ok(())
    }
}

pub(crate) fn values(leg: &DeployLeg) -> SecretValues {
    SecretValues(leg.secrets.iter().map(|(reference, value)| (reference.clone(), value.0.clone())).collect())
}

/// Refuses what somebody must approve: there is nobody to ask.
pub(crate) fn approved(ask: &Deploy) -> Result<(), Refused> {
    if ask.approvals == 0 {
        return Ok(());
    }
    let message = format!("this environment wants {} approvals, and there is no server to give them to", ask.approvals);
    Err(Refused::new(RefusedKind::Denied, "approval-needed", message)
        .hint("nothing was changed; approvals need `deployctl serve`, or take `approvals` out of the environment"))
}

fn other_bytes(leg: &DeployLeg, known: &Artifact, but: &str, found: &Sha256Hex) -> Refused {
    let (app, version) = (&leg.scope.app, &leg.version);
    let message =
        format!("{app} {version} is known as sha256 {}, but {but} sha256 {}", known.sha256.short(), found.short());
    Refused::new(RefusedKind::Usage, "version-changed", message)
        .hint("a version names one artifact for good: give the new bytes a new version; nothing was changed")
}

fn not_kept(leg: &DeployLeg, planned: bool) -> Refused {
    let (of, hint) = match planned {
        true => ("that the plan has for", "make a new plan with `deployctl plan`"),
        false => ("of", "a version that is known is not built again: deploy another one"),
    };
    let message = format!("the artifact {of} {} {} is not kept any more", leg.scope.app, leg.version);
    Refused::new(RefusedKind::Usage, "artifact-missing", message).hint(format!("nothing was changed; {hint}"))
}

fn no_artifact(leg: &DeployLeg, NotTaken { fault, code, .. }: NotTaken) -> Refused {
    let kind = match fault.kind {
        FaultKind::Spec => RefusedKind::Usage,
        FaultKind::Denied => RefusedKind::Denied,
        _ => RefusedKind::Unreachable,
    };
    let message = format!("no artifact for {} {}: {}", leg.scope.app, leg.version, fault.message);
    Refused { hint: fault.hint, ..Refused::new(kind, code, message) }
}

/// A migration runs once per release and environment: with the first region.
fn once_per_environment(legs: &mut [deployctl_core::plan::Leg]) {
    use deployctl_core::desired::{Gate, JobKind};
    let mut seen = std::collections::BTreeSet::new();
    for leg in legs {
        if leg.migration.is_some() && !seen.insert((leg.scope.environment.clone(), leg.scope.app.clone())) {
            leg.migration = None;
            for waypoint in &mut leg.path {
                waypoint.gates.retain(|gate| !matches!(gate, Gate::Job(job) if job.what == JobKind::Migrate));
            }
        }
    }
}

/// What others changed of what is left as it is, and how it is taken back; none if nobody changed anything.
fn drift_note<'a>(left: impl Iterator<Item = &'a Standing>) -> Option<String> {
    let words = |known: &Standing| match known.drift.len() {
        1 => format!("1 thing of {} was changed by hand", known.scope.app),
        count => format!("{count} things of {} were changed by hand", known.scope.app),
    };
    let changed: Vec<String> = left.filter(|known| !known.drift.is_empty()).map(words).collect();
    (!changed.is_empty()).then(|| {
        let changed = changed.join(", ");
        format!("{changed}: `deployctl status --drift` lists it, and `--correct-drift` takes it back")
    })
}

/// What a leg changes, in detail.
pub(crate) fn said(leg: &Leg) -> Vec<String> {
    leg.changes.iter().map(|line| format!("{}: {line}", leg.scope.app)).collect()
}

/// What a plan changes, a line per leg.
pub(crate) fn changes(plan: &Plan) -> Vec<String> {
    let version = |side: &Option<deployctl_core::plan::Side>| {
        side.as_ref().map_or_else(|| "nothing".to_owned(), |side| side.pin.version.to_string())
    };
    let corrects = |leg: &Leg| if leg.corrects { ", what others changed is taken back" } else { "" };
    let words =
        |leg: &Leg| format!("{}: {} -> {}{}", leg.scope.app, version(&leg.from), version(&leg.to), corrects(leg));
    plan.legs.iter().map(words).collect()
}
