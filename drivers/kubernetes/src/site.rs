//! One scope in its cluster.

use crate::cluster::{Cluster, collection};
use crate::fenced::Right;
use crate::record::{self, Entry, Record};
use crate::trouble::Trouble;
use crate::watch::Watched;
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::{Fence, Scope};
use deployctl_runner::SecretSource;
use deployctl_sys::crash;
use serde_json::Value;
use std::sync::Arc;

/// A scope where it is.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) namespace: String,
    pub(crate) scope: Scope,
    /// Which state acts here.
    pub(crate) state: String,
    /// By which right.
    pub(crate) right: Right,
    /// What is known of it, and who waits for news of it.
    pub(crate) watched: Arc<Watched>,
    /// The values of the secrets of releases.
    pub(crate) secrets: SecretSource,
}

impl Site {
    /// The set of the scope's objects.
    pub(crate) fn set(&self) -> String {
        record::set(&self.scope, &self.namespace)
    }

    pub(crate) fn fault(&self, trouble: Trouble, what: &str) -> Fault {
        self.cluster.fault(trouble, what)
    }

    fn records(&self) -> String {
        format!("/api/v1/namespaces/{}/configmaps", self.namespace)
    }

    /// What is kept of the scope; none if nothing ever was.
    pub(crate) async fn record(&self) -> Result<Option<Record>, Fault> {
        let name = record::name(&self.scope);
        let found = self.cluster.find(&format!("{}/{name}", self.records())).await;
        let found = found.map_err(|trouble| self.fault(trouble, &format!("ConfigMap/{name}")))?;
        found.map(|object| Record::read(&object)).transpose()
    }

    /// The record, if an owner with this fence may act by it.
    pub(crate) async fn admitted(&self, fence: Fence) -> Result<Option<Record>, Fault> {
        let record = self.record().await?;
        if let Some(record) = &record {
            record.admit(&self.scope, &self.state, fence)?;
        }
        self.right.seen(fence);
        Ok(record)
    }

    /// Writes the record over the one that was read, and returns it as it is then. Whoever wrote in between goes first: then
    /// it is a fault that is tried again.
    pub(crate) async fn write(&self, record: &Record) -> Result<Record, Fault> {
        let object = record.object(&self.scope, &self.namespace);
        let name = record::name(&self.scope);
        crash::point("kubernetes.before-record");
        let written = match record.version {
            Some(_) => self.cluster.replace(&format!("{}/{name}", self.records()), &object).await,
            None => self.cluster.create(&self.records(), &object).await,
        };
        let written = written.map_err(|trouble| match trouble.status() {
            Some(404) => no_namespace(&self.namespace, &self.cluster.name()),
            _ => self.fault(trouble, &format!("ConfigMap/{name}, where deployctl keeps what it deploys")),
        })?;
        crash::point("kubernetes.after-record");
        // Who looked in between has seen the record as it was.
        self.watched.touched();
        Record::read(&written)
    }

    /// Where an object is; a fault if the cluster does not know its kind.
    pub(crate) async fn path(&self, entry: &Entry, what: &str) -> Result<String, Fault> {
        let api =
            self.cluster.api(&entry.api_version, &entry.kind).await.map_err(|trouble| self.fault(trouble, what))?;
        let Some(api) = api else {
            let message =
                format!("{what}: {} knows no kind {} in {}", self.cluster.name(), entry.kind, entry.api_version);
            return Err(Fault::refused(FaultKind::Spec, message).hint(
                "look at `kubectl api-resources`; a definition of one's own comes with its CustomResourceDefinition",
            ));
        };
        Ok(format!("{}/{}", collection(&entry.api_version, &api, &self.namespace), entry.name))
    }

    /// An object as it is; none if it is not there, or of a kind that is not there any more.
    pub(crate) async fn find(&self, entry: &Entry) -> Result<Option<Value>, Fault> {
        let what = entry.name().to_string();
        let known = self.cluster.api(&entry.api_version, &entry.kind).await;
        if known.map_err(|trouble| self.fault(trouble, &what))?.is_none() {
            return Ok(None);
        }
        let path = self.path(entry, &what).await?;
        self.cluster.find(&path).await.map_err(|trouble| self.fault(trouble, &what))
    }
}

/// That the namespace is missing.
pub(crate) fn no_namespace(namespace: &str, cluster: &str) -> Fault {
    let message = format!("there is no namespace `{namespace}` in {cluster}");
    Fault::refused(FaultKind::Spec, message)
        .hint(format!("make it with `kubectl create namespace {namespace}`, or name another one"))
}
