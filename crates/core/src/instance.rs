//! The port of targets whose instances we run ourselves: list, start, stop, logs.

use crate::config::AppConfig;
use crate::fault::Fault;
use crate::id::{AppName, Fence, InstanceId, Revision, Scope, Sha256Hex};
use crate::release::Release;
use crate::time::{Millis, Span};
use async_trait::async_trait;
use futures_core::stream::BoxStream;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Values that were bound when a leg started, journaled, and used again by a rollback of that leg.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// `HOST:PORT` of other apps.
    pub addresses: BTreeMap<AppName, String>,
}

/// An instance that should run.
#[derive(Clone, Debug)]
pub struct InstanceSpec {
    /// Its id, see [`crate::id::instance_id`].
    pub id: InstanceId,
    /// Where it belongs.
    pub scope: Scope,
    /// What it is a copy of.
    pub revision: Revision,
    /// Its number among its siblings, from 0.
    pub slot: u32,
    /// What it runs.
    pub release: Arc<Release>,
    /// What was bound.
    pub binding: Binding,
}

/// What is known of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceSeen {
    /// Its id.
    pub id: InstanceId,
    /// Where it belongs.
    pub scope: Scope,
    /// What it is a copy of.
    pub revision: Revision,
    /// Its number among its siblings.
    pub slot: u32,
    /// How it is.
    pub state: InstanceState,
    /// `HOST:PORT` where it answers, if it has a port.
    pub address: Option<String>,
    /// Its process, if it is a local one and runs.
    pub pid: Option<u32>,
    /// When it was started last.
    pub started_at: Millis,
    /// How often it was restarted after exiting by itself.
    pub restarts: u32,
    /// The name of its container, if it is one.
    #[serde(default)]
    pub container: Option<String>,
    /// What somebody changed by hand: it runs on, and the next deployment replaces it.
    #[serde(default)]
    pub drift: Option<String>,
}

/// How an instance is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum InstanceState {
    /// Started, not healthy yet, may still become so. `waiting_for` says what the last check answered.
    Starting {
        /// Such as `GET /healthz: 503`.
        waiting_for: String,
    },
    /// Healthy.
    Ready,
    /// Was healthy, is not now.
    Unhealthy {
        /// What the last check answered.
        reason: String,
    },
    /// Cannot become healthy, or did not within its time: exit, crash loop, missing file, port taken.
    Failed {
        /// What happened.
        reason: String,
        /// The last lines that it printed.
        last_lines: Vec<String>,
    },
    /// Told to stop, not gone yet.
    Stopping,
    /// Gone, by positive evidence; its folder may still be there.
    Gone,
}

impl InstanceState {
    /// One lower-case word, as `status` shows it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Starting { .. } => "starting",
            Self::Ready => "ready",
            Self::Unhealthy { .. } => "unhealthy",
            Self::Failed { .. } => "failed",
            Self::Stopping => "stopping",
            Self::Gone => "gone",
        }
    }
}

/// An instance whose health check was run just now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// How it is by this check.
    pub seen: InstanceSeen,
    /// Whether there is anything to ask it. If not, that it runs is all that can be said.
    pub asked: bool,
}

/// Which lines of output are wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogQuery {
    /// How many of the last lines per instance.
    pub tail: usize,
    /// Go on with new lines until the stream is dropped.
    pub follow: bool,
}

/// A line that an instance printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Who printed it.
    pub instance: InstanceId,
    /// The line, without its end; invalid UTF-8 replaced.
    pub line: String,
}

/// Values of secrets for one release, by reference. Never serialised, never printed.
#[derive(Clone, Default)]
pub struct SecretValues(pub BTreeMap<crate::config::SecretRef, Arc<[u8]>>);

impl std::fmt::Debug for SecretValues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretValues({} masked)", self.0.len())
    }
}

/// Instances that we run ourselves. All calls are short; what takes long goes on by itself and is seen in `list`.
#[async_trait]
pub trait Instances: Send + Sync {
    /// Refuses whoever comes with an older fence to the scope from now on; a conflict if a newer one was here.
    async fn admit(&self, scope: &Scope, fence: Fence) -> Result<(), Fault>;
    /// All instances of a scope that exist or whose end is not proven yet, health included.
    async fn list(&self, scope: &Scope) -> Result<Vec<InstanceSeen>, Fault>;
    /// The same by a check of each that is run now, within the check's own timeout. Changes nothing: neither what `list`
    /// says nor what follows from it.
    async fn check(&self, scope: &Scope) -> Result<Vec<Checked>, Fault> {
        Ok(self.list(scope).await?.into_iter().map(|seen| Checked { seen, asked: true }).collect())
    }
    /// Starts an instance. One that runs already under this id is adopted, not doubled.
    async fn start(&self, spec: &InstanceSpec, fence: Fence) -> Result<(), Fault>;
    /// Begins to stop an instance: it gets `grace` to end by itself, then its whole group is killed.
    async fn stop(&self, scope: &Scope, id: &InstanceId, grace: Span, fence: Fence) -> Result<(), Fault>;
    /// Removes what a gone instance left behind, its output included.
    async fn forget(&self, scope: &Scope, id: &InstanceId, fence: Fence) -> Result<(), Fault>;
    /// Returns when something about the scope's instances may have changed since the last call. Cancel-safe.
    async fn changed(&self, scope: &Scope);
    /// Where an app of `recreate` without a route answers: its address outlives its instances.
    async fn stable_address(&self, scope: &Scope) -> Result<String, Fault>;
    /// Refuses what cannot be run where instances of this configuration would run. Asked before anything is changed;
    /// changes nothing, and contacts nobody.
    async fn can_run(&self, _config: &AppConfig) -> Result<(), Fault> {
        Ok(())
    }
    /// What holds an address now and makes way for a release of this configuration, in a word; none if nothing such does.
    async fn in_the_way(&self, _config: &AppConfig, _address: &str) -> Result<Option<String>, Fault> {
        Ok(None)
    }
    /// Ends what [`Instances::in_the_way`] told of. Returns when it is over.
    async fn make_way(&self, _config: &AppConfig) -> Result<(), Fault> {
        Ok(())
    }
    /// The output of a scope's instances.
    fn logs(&self, scope: &Scope, query: LogQuery) -> BoxStream<'static, Result<LogLine, Fault>>;
    /// The digests of artifacts that instances of any scope use now.
    async fn artifacts_in_use(&self) -> Result<Vec<Sha256Hex>, Fault>;
}
