//! The app's own namespace where its manifests have it: made before anything else, since all else is kept in it.

use crate::apply::Wanted;
use crate::claims::Claim;
use crate::cluster::collection;
use crate::prune::says_keep;
use crate::record::{self, SCOPE};
use crate::site::Site;
use crate::trouble::Trouble;
use deployctl_core::config::KubernetesConfig;
use deployctl_core::driver::{Step, Way};
use deployctl_core::fault::Fault;
use deployctl_kubernetes::object::Name;
use deployctl_kubernetes::{applyset, same};
use deployctl_sys::crash;
use serde_json::{Value, json};

/// On a namespace: the set that it was made for.
const MADE_FOR: &str = "deployctl.io/made-for";
/// What is looked for in a namespace before it goes with all that is in it.
const INSIDE: &[(&str, &str)] = &[
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("v1", "Service"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "Pod"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("batch/v1", "Job"),
    ("batch/v1", "CronJob"),
];

/// Whether a release has its namespace among its objects. Manifests have no other one.
fn comes_with(config: &KubernetesConfig) -> bool {
    config.objects.iter().filter_map(|manifest| Name::of(&manifest.object)).any(|name| name.is_namespace())
}

/// Whether one of these is the namespace.
pub(crate) fn is_among(all: &[Wanted]) -> bool {
    all.iter().any(|wanted| wanted.name.is_namespace())
}

impl Site {
    fn space(&self) -> String {
        format!("/api/v1/namespaces/{}", self.namespace)
    }

    /// What has to be there before anything of a release is: its namespace, where it comes with it.
    pub(crate) async fn make_room(&self, config: &KubernetesConfig) -> Result<(), Fault> {
        match comes_with(config) && self.record().await?.is_none() {
            true => self.make_namespace().await,
            false => Ok(()),
        }
    }

    /// Makes the namespace if it is not there. What the manifest says of it is applied later, as of any other object.
    async fn make_namespace(&self) -> Result<(), Fault> {
        let what = format!("Namespace/{}", self.namespace);
        match self.cluster.find(&self.space()).await.map_err(|trouble| self.fault(trouble, &what))? {
            Some(there) if same::ends(&there) => {
                let message =
                    format!("{what} of {} is being deleted, and made anew when it is gone", self.cluster.name());
                Err(Fault::platform(message))
            }
            Some(_) => Ok(()),
            None => {
                let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": {
                    "name": self.namespace, "annotations": { MADE_FOR: self.set() },
                } });
                match self.cluster.create("/api/v1/namespaces", &object).await {
                    // Somebody else was faster: then it is theirs.
                    Err(trouble) if trouble.status() == Some(409) => Ok(()),
                    made => {
                        made.map_err(|trouble| self.fault(trouble, &what))?;
                        crash::point("kubernetes.after-namespace");
                        Ok(())
                    }
                }
            }
        }
    }

    /// Whether nothing is left of a scope without a record, which goes before the namespace that it is in.
    pub(crate) async fn gone(&self, way: &Way) -> Result<Step, Fault> {
        if !way.delete_data {
            return Ok(Step::Done);
        }
        let what = format!("Namespace/{}", self.namespace);
        let there = self.cluster.find(&self.space()).await.map_err(|trouble| self.fault(trouble, &what))?;
        match there.is_some_and(|there| same::ends(&there) && self.is_made_for_it(&there)) {
            true => Ok(Step::Pending(format!("{what} is to end"))),
            false => Ok(Step::Done),
        }
    }

    /// Whether the namespace was made for this app.
    pub(crate) fn is_made_for_it(&self, namespace: &Value) -> bool {
        namespace["metadata"]["annotations"][MADE_FOR] == self.set()
    }

    /// Why the namespace may not go: the first thing in it that is not the app's, or outlives it, or that it cannot be seen. `made` are
    /// the app's, too.
    pub(crate) async fn others_inside(&self, made: &[Claim]) -> Result<Option<String>, Fault> {
        for (api_version, kind) in INSIDE {
            let what = format!("{kind}s of `{}`", self.namespace);
            let api = self.cluster.api(api_version, kind).await.map_err(|trouble| self.fault(trouble, &what))?;
            let Some(api) = api else { continue };
            let list = match self.cluster.names(&collection(api_version, &api, &self.namespace)).await {
                Err(Trouble::Refused(refusal)) if refusal.status == 403 => {
                    return Ok(Some(format!("whether others' {kind}s are in it may not be seen")));
                }
                list => list.map_err(|trouble| self.fault(trouble, &what))?,
            };
            for item in list["items"].as_array().into_iter().flatten() {
                let is_own = self.is_own(item) || made.iter().any(|made| made.is(item));
                let name = item["metadata"]["name"].as_str().unwrap_or_default();
                match (is_own, says_keep(item)) {
                    (true, false) => {}
                    (true, true) => return Ok(Some(format!("{kind}/{name} is in it, which outlives the app"))),
                    (false, _) => return Ok(Some(format!("{kind}/{name} is in it, which is not the app's"))),
                }
            }
        }
        Ok(None)
    }

    /// Whether something in the namespace is the app's, or the cluster's.
    fn is_own(&self, item: &Value) -> bool {
        let metadata = &item["metadata"];
        let is_owned = metadata["ownerReferences"].as_array().is_some_and(|owners| !owners.is_empty());
        metadata["name"] == "kube-root-ca.crt"
            || metadata["name"] == record::name(&self.scope)
            || metadata["annotations"][SCOPE] == self.scope.to_string()
            || applyset::set_of(item) == Some(&self.set())
            || is_owned
    }
}
