//! Hands what was asked for to a Job in the cluster, and looks at how that does.

use crate::cluster::Cluster;
use crate::trouble::Trouble;
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_kubernetes::carry::{Carry, Stands, stands};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A Job that is told to go is waited for so long.
const GONE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(300);

/// A namespace of a cluster where deployctl runs as a Job.
pub struct Carrier {
    cluster: Cluster,
    namespace: String,
}

impl Carrier {
    /// In `namespace` of the cluster of a context; of the cluster that this runs in if there is none.
    pub fn new(context: Option<String>, namespace: String) -> Self {
        Self { cluster: Cluster::new(context, None), namespace }
    }

    /// Makes the Job, and then what it waits for: the request. Killed in between, its pod never begins.
    pub async fn begin(&self, carry: &Carry<'_>, request: &[u8]) -> Result<(), Fault> {
        self.has_account(carry.account).await?;
        let what = format!("Job/{}", carry.name);
        let job = self.made(&self.jobs(), carry.name, &carry.job()).await;
        let job = job.map_err(|trouble| self.cluster.fault(trouble, &what))?;
        let uid = job["metadata"]["uid"].as_str().unwrap_or_default();
        let secret = self.made(&self.secrets(), carry.name, &carry.request(uid, request)).await;
        if let Err(trouble) = secret {
            let fault = self.cluster.fault(trouble, &format!("Secret/{}", carry.name));
            self.call_off(carry.name).await?;
            return Err(fault);
        }
        Ok(())
    }

    /// How the Job stands; none if it is gone.
    pub async fn look(&self, name: &str) -> Result<Option<Stands>, Fault> {
        let fault = |trouble| self.cluster.fault(trouble, &format!("Job/{name}"));
        let Some(job) = self.cluster.find(&format!("{}/{name}", self.jobs())).await.map_err(fault)? else {
            return Ok(None);
        };
        let pods = self.list(&format!("pods?labelSelector=batch.kubernetes.io%2Fjob-name%3D{name}")).await;
        let pods = pods.map_err(fault)?;
        let events = match pods.is_empty() {
            // Without the permission for it the reason stays unknown.
            true => self.list(&format!("events?fieldSelector=involvedObject.name%3D{name}")).await.unwrap_or_default(),
            false => Vec::new(),
        };
        Ok(Some(stands(&job, &pods, &events)))
    }

    /// Removes the request of a Job that needs it no more. If that cannot be, it goes with the Job.
    pub async fn done(&self, name: &str) {
        let _ = self.cluster.delete(&format!("{}/{name}", self.secrets()), &json!({})).await;
    }

    /// Removes a Job with its pods and its request; returns when nothing of it runs.
    pub async fn call_off(&self, name: &str) -> Result<(), Fault> {
        let path = format!("{}/{name}", self.jobs());
        let fault = |trouble| self.cluster.fault(trouble, &format!("Job/{name}, which is to be removed"));
        let options = json!({ "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground" });
        match self.cluster.delete(&path, &options).await {
            Err(trouble) if trouble.status() != Some(404) => return Err(fault(trouble)),
            _ => {}
        }
        let end = Instant::now() + GONE;
        while self.cluster.find(&path).await.map_err(fault)?.is_some() {
            if Instant::now() > end {
                return Err(Fault::platform(format!("Job/{name} is told to go, and is still there")));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Whether there is such an account; if that may not be asked, the Job will tell.
    async fn has_account(&self, account: &str) -> Result<(), Fault> {
        let path = format!("/api/v1/namespaces/{}/serviceaccounts/{account}", self.namespace);
        match self.cluster.find(&path).await {
            Ok(None) => {
                let message = format!("there is no service account `{account}` in the namespace `{}`", self.namespace);
                Err(Fault::refused(FaultKind::Spec, message).hint(format!(
                    "nothing was changed; `kubectl apply -n {} -f rbac.yaml` makes one (docs/deploy/rbac.yaml), or name another by \
                     `in_cluster: {{ service_account: NAME }}`",
                    self.namespace
                )))
            }
            Err(trouble) if trouble.status() != Some(403) => {
                Err(self.cluster.fault(trouble, &format!("ServiceAccount/{account}")))
            }
            _ => Ok(()),
        }
    }

    fn jobs(&self) -> String {
        format!("/apis/batch/v1/namespaces/{}/jobs", self.namespace)
    }

    fn secrets(&self) -> String {
        format!("/api/v1/namespaces/{}/secrets", self.namespace)
    }

    /// Makes an object of a name that nobody else has: one that is there was made by a request whose answer was lost.
    async fn made(&self, path: &str, name: &str, object: &Value) -> Result<Value, Trouble> {
        match self.cluster.create(path, object).await {
            Err(trouble) if trouble.status() == Some(409) || matches!(trouble, Trouble::Lost(_)) => {
                self.cluster.find(&format!("{path}/{name}")).await?.ok_or(trouble)
            }
            done => done,
        }
    }

    async fn list(&self, what: &str) -> Result<Vec<Value>, Trouble> {
        let mut list = self.cluster.get(&format!("/api/v1/namespaces/{}/{what}", self.namespace)).await?;
        Ok(list["items"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }
}
