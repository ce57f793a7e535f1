//! `--in-cluster`: what was asked for is done by deployctl as a Job in the state's namespace, which outlives this command.
//!
//! All that needs this machine is done here: what the Job gets is what an engine here would have got. The deployment has its name
//! before there is one, so whoever asks again, here or in a pod that replaces another, does not begin a second one.

use super::{Context, Stage};
use crate::args::{InCluster, Waiting};
use crate::fail::Failure;
use crate::output::{err, one_line};
use crate::{asking, follow, project};
use deployctl_api::client::Client;
use deployctl_api::{Query, paths};
use deployctl_core::ask::{Answer, Deploy, Refused, RefusedKind, Rollback};
use deployctl_core::config::TargetConfig;
use deployctl_core::fault::Retry;
use deployctl_core::id::DeploymentId;
use deployctl_core::view;
use deployctl_driver_kubernetes::Carrier;
use deployctl_kubernetes::carry::{Carry, REQUEST_BYTES_MAX, Stands};
use serde::Serialize;
use serde_json::{Value, json};
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

/// Which requests this build understands.
const FORMAT: u64 = 1;
/// No request is larger when it is unpacked.
const UNPACKED_BYTES_MAX: u64 = 64 << 20;
/// A Job that cannot begin, and a cluster that does not answer, are waited for so long.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(500);
/// The account of docs/deploy/rbac.yaml.
const ACCOUNT: &str = "deployctl";

/// Where the Job is to run, and as what.
pub(crate) struct Errand {
    carrier: Carrier,
    context: Option<String>,
    namespace: String,
    state: String,
    image: String,
    account: String,
    id: DeploymentId,
}

/// What a Job is asked for.
enum Asked {
    Deploy(Deploy),
    Rollback(Rollback),
}

impl Errand {
    /// What is needed for a Job, if one is wanted. `id`: what the deployment is called already, by a saved plan.
    pub(crate) fn of(context: &Context, args: &InCluster, id: Option<DeploymentId>) -> Result<Option<Self>, Failure> {
        if !args.in_cluster {
            return Ok(None);
        }
        let Some(place) = &context.state.cluster else {
            let message = "--in-cluster needs a state in the cluster, which the Job and everybody else can reach";
            return Err(Refused::new(RefusedKind::Usage, "bad-usage", message)
                .hint(
                    "nothing was changed; say --state kubernetes://CONTEXT/NAMESPACE, or `state:` in the specification",
                )
                .into());
        };
        let said = project::in_cluster(context.project());
        let Some(image) = args.in_cluster_image.clone().or(said.image) else {
            let message = "--in-cluster needs to know the image of deployctl that the cluster is to run";
            return Err(Refused::new(RefusedKind::Usage, "bad-usage", message)
                .hint("nothing was changed; say --in-cluster-image IMAGE, or `in_cluster: { image: IMAGE }` in the specification")
                .into());
        };
        let id = match id {
            Some(id) => id,
            None => DeploymentId::new(uuid::Uuid::now_v7().to_string())
                .map_err(|e| Failure::usage("internal", format!("no id: {e}")))?,
        };
        Ok(Some(Self {
            carrier: Carrier::new(place.context.clone(), place.namespace.clone()),
            context: place.context.clone(),
            namespace: place.namespace.clone(),
            state: place.to_string(),
            image,
            account: said.service_account.unwrap_or_else(|| ACCOUNT.to_owned()),
            id,
        }))
    }

    /// Deploys. Everything is in the Job's own cluster: it has a way to no other.
    pub(crate) async fn deploy(self, context: &Context, ask: Deploy, waiting: &Waiting) -> Result<(), Failure> {
        for leg in &ask.legs {
            let there = match &leg.config.target {
                TargetConfig::Kubernetes(config) if config.context == self.context => continue,
                TargetConfig::Kubernetes(config) => match &config.context {
                    Some(context) => format!("in the cluster `{context}`"),
                    None => "in the cluster that deployctl runs in".into(),
                },
                TargetConfig::Process(_) | TargetConfig::Docker(_) => "on this machine".into(),
            };
            let message = format!("{} runs {there}, and the Job would run in {}", leg.scope.app, self.cluster());
            return Err(Refused::new(RefusedKind::Usage, "bad-usage", message)
                .hint("nothing was changed; deploy it without --in-cluster, or with a state in its own cluster")
                .into());
        }
        let ask = Deploy { id: Some(self.id.clone()), ..ask };
        self.carry(context, &Asked::Deploy(ask), waiting).await
    }

    /// Goes back.
    pub(crate) async fn rollback(self, context: &Context, ask: Rollback, waiting: &Waiting) -> Result<(), Failure> {
        let ask = Rollback { id: Some(self.id.clone()), ..ask };
        self.carry(context, &Asked::Rollback(ask), waiting).await
    }

    fn cluster(&self) -> String {
        self.context.as_ref().map_or("its own cluster".into(), |context| format!("`{context}`"))
    }

    fn name(&self) -> String {
        format!("deployctl-{}", self.id)
    }

    async fn carry(&self, context: &Context, asked: &Asked, waiting: &Waiting) -> Result<(), Failure> {
        if self.is_known(context).await? {
            let message = format!("the plan is stale: it was done already, as deployment {}", self.id);
            return Err(Refused::new(RefusedKind::Conflict, "plan-stale", message)
                .hint("nothing was changed; make a new plan with `deployctl plan`")
                .into());
        }
        let request = packed(asked, waiting)?;
        let (name, actor) = (self.name(), asking::user());
        let carry = Carry {
            name: &name,
            image: &self.image,
            account: &self.account,
            state: &self.state,
            context: self.context.as_deref(),
            actor: &actor,
        };
        context.stands(Stage::Asked);
        self.carrier.begin(&carry, &request).await.map_err(Refused::from)?;
        err(&format!(
            "Job/{name} in `{}` of {} does it, whatever becomes of this command",
            self.namespace,
            self.cluster()
        ));
        let begun = self.until_begun(context).await;
        context.stands(Stage::Before);
        if !begun? {
            self.carrier.done(&name).await;
            return follow::answer(context, Answer::Nothing { why: asked.nothing().into() }, waiting).await;
        }
        // It is known by its name: what is asked again is only followed. If the Job is lost, the engine here can go on with it.
        let mut engine = context.engine().await?;
        let answer: Answer = asked.again(&mut engine).await?;
        drop(engine);
        let done = follow::answer(context, answer, waiting).await;
        if !waiting.detach {
            self.carrier.done(&name).await;
        }
        done
    }

    /// Whether the deployment is in the journal.
    async fn is_known(&self, context: &Context) -> Result<bool, Failure> {
        let path = paths::with_id(paths::DEPLOYMENT, self.id.as_str());
        let found: Result<view::Deployment, Refused> = context.engine().await?.get(&path, &Query::default()).await;
        match found {
            Ok(_) => Ok(true),
            Err(refused) if refused.code == "unknown-deployment" => Ok(false),
            Err(refused) => Err(refused.into()),
        }
    }

    /// Waits until the Job has begun the deployment; false if it ended well without one. What it says instead is said here.
    async fn until_begun(&self, context: &Context) -> Result<bool, Failure> {
        let (mut since, mut told): (Option<Instant>, Option<String>) = (None, None);
        loop {
            // Looked at before the journal is: what ended without a deployment never had one.
            let stands = self.looked().await?;
            if self.is_known(context).await? {
                return Ok(true);
            }
            let why = match stands {
                Some(Stands::Ended(exit, said)) => return self.ended(exit, &said),
                None => return Err(self.gave_up("somebody deleted it").into()),
                Some(Stands::Again(said)) => {
                    let refused = self.gave_up(&said);
                    return self.call_off(context, refused).await;
                }
                Some(Stands::Runs) => None,
                Some(Stands::Waits(why)) => Some(why),
            };
            match &why {
                None => since = None,
                Some(reason) => {
                    let since = *since.get_or_insert_with(Instant::now);
                    if reason.is_some() && *reason != told {
                        err(&format!("  waits: {}", one_line(reason.as_deref().unwrap_or_default())));
                        told.clone_from(reason);
                    }
                    if since.elapsed() > PATIENCE {
                        let refused = self.gave_up(reason.as_deref().unwrap_or("its pod did not begin"));
                        return self.call_off(context, refused).await;
                    }
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// How the Job stands, through a moment in which the cluster does not say.
    async fn looked(&self) -> Result<Option<Stands>, Failure> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.carrier.look(&self.name()).await {
                Err(fault) if !matches!(fault.retry, Retry::Never) && Instant::now() < end => {
                    tokio::time::sleep(LOOK).await
                }
                done => return Ok(done.map_err(Refused::from)?),
            }
        }
    }

    /// The Job has ended, and there is no deployment: it said why.
    fn ended(&self, exit: Option<i64>, said: &str) -> Result<bool, Failure> {
        match exit.and_then(|exit| u8::try_from(exit).ok()) {
            Some(0) => Ok(false),
            Some(exit @ 1..=5) => {
                err(&one_line(said));
                Err(Failure::Said(exit))
            }
            _ => Err(self.gave_up(said).into()),
        }
    }

    /// Removes a Job that does not come to anything; unless the deployment began meanwhile, which then goes on here.
    async fn call_off(&self, context: &Context, refused: Refused) -> Result<bool, Failure> {
        self.carrier.call_off(&self.name()).await.map_err(Refused::from)?;
        if self.is_known(context).await? { Ok(true) } else { Err(refused.into()) }
    }

    fn gave_up(&self, why: &str) -> Refused {
        let message = format!(
            "Job/{} in `{}` of {} began no deployment: {}",
            self.name(),
            self.namespace,
            self.cluster(),
            one_line(why)
        );
        Refused::new(RefusedKind::Unreachable, "in-cluster-failed", message)
            .hint("nothing was changed; see to the image, the service account and its role (docs/deploy/rbac.yaml), and try again")
    }
}

impl Asked {
    /// What it means that the Job ended well, and there is no deployment by that name.
    fn nothing(&self) -> &'static str {
        match self {
            Self::Deploy(_) => "it is current and healthy already; nothing was changed",
            Self::Rollback(_) => {
                "nothing was left to undo, or what was under way was turned back: `deployctl history` tells"
            }
        }
    }

    async fn again(&self, engine: &mut Client) -> Result<Answer, Refused> {
        match self {
            Self::Deploy(ask) => engine.post(paths::DEPLOY, ask).await,
            Self::Rollback(ask) => engine.post(paths::ROLLBACK, ask).await,
        }
    }
}

fn packed(asked: &Asked, waiting: &Waiting) -> Result<Vec<u8>, Failure> {
    let said = match asked {
        Asked::Deploy(ask) => json!({ "deploy": value(ask)? }),
        Asked::Rollback(ask) => json!({ "rollback": value(ask)? }),
    };
    let wait_ms = waiting.wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
    let text = json!({ "format": FORMAT, "wait_ms": wait_ms, "asked": said }).to_string();
    let bytes = zstd::encode_all(text.as_bytes(), 0).map_err(|e| Failure::usage("internal", e.to_string()))?;
    if bytes.len() > REQUEST_BYTES_MAX {
        let message = format!(
            "what the Job is to do takes {} bytes, and a Secret of a cluster takes {REQUEST_BYTES_MAX}",
            bytes.len()
        );
        return Err(Refused::new(RefusedKind::Usage, "bad-usage", message)
            .hint("nothing was changed; deploy the apps one by one with --app, or without --in-cluster")
            .into());
    }
    Ok(bytes)
}

fn value(ask: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(ask).map_err(|e| Failure::usage("internal", e.to_string()))
}

/// What `kubernetes carry` does, in the Job: asks the engine there for it, and follows it to its end.
pub(crate) async fn carried(context: &Context, file: &Path) -> Result<(), Failure> {
    let (asked, wait) = unpacked(file)?;
    let waiting = Waiting { wait, detach: false, reason: None, json_log: false };
    let answer = follow::until_free(context, &waiting, |mut engine| {
        let asked = &asked;
        async move { asked.again(&mut engine).await }
    })
    .await?;
    follow::answer(context, answer, &waiting).await
}

fn unpacked(file: &Path) -> Result<(Asked, Option<Duration>), Failure> {
    let bad = |why: String| {
        let message = format!("{} is no request of --in-cluster: {why}", file.display());
        Failure::from(Refused::new(RefusedKind::Usage, "bad-usage", message).hint(
            "nothing was changed; the image must have the same version of deployctl as the command that made the Job",
        ))
    };
    let mut text = Vec::new();
    let read = std::fs::File::open(file).and_then(zstd::stream::read::Decoder::new);
    read.and_then(|from| from.take(UNPACKED_BYTES_MAX).read_to_end(&mut text)).map_err(|e| bad(e.to_string()))?;
    let mut said: Value = serde_json::from_slice(&text).map_err(|e| bad(e.to_string()))?;
    if said["format"] != FORMAT {
        return Err(bad(format!(
            "it is of format {}, and this is deployctl {}",
            said["format"],
            env!("CARGO_PKG_VERSION")
        )));
    }
    let wait = said["wait_ms"].as_u64().map(Duration::from_millis);
    let (deploy, rollback) = (said["asked"]["deploy"].take(), said["asked"]["rollback"].take());
    let asked = match deploy.is_null() {
        false => serde_json::from_value(deploy).map(Asked::Deploy),
        true => serde_json::from_value(rollback).map(Asked::Rollback),
    };
    Ok((asked.map_err(|e| bad(e.to_string()))?, wait))
}

#[cfg(test)]
mod tests {
    use super::*;
    use deployctl_core::ask::{By, Selection};

    #[test]
    fn a_request_is_read_as_it_was_packed_and_another_ones_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("request");
        let id = DeploymentId::new("0199-1").unwrap();
        let by = By { actor: "alice@here".into(), reason: None };
        let ask = Rollback {
            place: Selection::default(),
            version: None,
            from: None,
            across_migration: false,
            by,
            id: Some(id.clone()),
        };
        let waiting = Waiting { wait: Some(Duration::from_secs(90)), detach: false, reason: None, json_log: false };
        std::fs::write(&file, packed(&Asked::Rollback(ask), &waiting).unwrap()).unwrap();
        let (asked, wait) = unpacked(&file).unwrap();
        assert!(matches!(asked, Asked::Rollback(ask) if ask.id == Some(id)));
        assert_eq!(wait, Some(Duration::from_secs(90)));
        for bad in [&b"no zstd"[..], &zstd::encode_all(&br#"{"format":2}"#[..], 0).unwrap()] {
            std::fs::write(&file, bad).unwrap();
            let Err(Failure::Refused(refused)) = unpacked(&file) else { panic!("{bad:?}") };
            assert!(refused.message.contains("is no request of --in-cluster"), "{}", refused.message);
        }
    }
}
