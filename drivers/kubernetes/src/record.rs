//! What deployctl keeps of a scope in its namespace: a ConfigMap with the fence, the release and the inventory.

use crate::adopt::Adopted;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::{Fence, Revision, Scope, Sha256Hex};
use deployctl_kubernetes::applyset;
use deployctl_kubernetes::object::{Name, group_of};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const FENCE: &str = "deployctl.io/fence";
pub(crate) const SCOPE: &str = "deployctl.io/scope";
const KEY: &str = "record";

/// An object that is there because of a release.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
}

impl Entry {
    pub(crate) fn of(name: &Name) -> Self {
        Self { api_version: name.api_version.clone(), kind: name.kind.clone(), name: name.name.clone() }
    }

    pub(crate) fn name(&self) -> Name {
        let (api_version, kind) = (self.api_version.clone(), self.kind.clone());
        Name { api_version, kind, namespace: None, name: self.name.clone() }
    }

    /// Whether both mean one object, whatever version of its group they name.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let key = |of: &Self| (group_of(&of.api_version).to_owned(), of.kind.clone(), of.name.clone());
        key(self) == key(other)
    }
}

/// How far a release is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// Some of it may be.
    Applying,
    /// All of it, and what it does not have any more is gone.
    Applied,
}

/// What a release is on its way as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Course {
    /// The first one.
    #[default]
    Install,
    /// Another one.
    Upgrade,
    /// A way back.
    Rollback,
}

/// What is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The state folder that deploys here.
    pub(crate) state: String,
    /// The release that was applied last; none after `down`.
    pub(crate) revision: Option<Revision>,
    pub(crate) phase: Phase,
    /// When that began, by the cluster's clock.
    pub(crate) since: Option<String>,
    /// Everything that is there because of it, or may be.
    pub(crate) inventory: Vec<Entry>,
    /// What of it somebody else made, and was taken over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) adopted: Vec<Adopted>,
    /// Whether it is being handed back, so that not all of it is ours any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) handing: bool,
    /// What the release is applied as, and how many releases were before it.
    #[serde(default)]
    pub(crate) course: Course,
    #[serde(default)]
    pub(crate) courses: u64,
    /// The hooks that ran on this course.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) hooks_done: Vec<String>,
    #[serde(skip)]
    pub(crate) fence: Fence,
    /// The version that it was read as; none if it is not there.
    #[serde(skip)]
    pub(crate) version: Option<String>,
    /// When it was written, by the cluster's clock.
    #[serde(skip)]
    pub(crate) written: Option<String>,
}

/// What the ConfigMap of a scope is called.
pub(crate) fn name(scope: &Scope) -> String {
    let digest = Sha256Hex::of(scope.to_string().as_bytes());
    format!("deployctl-{}-{}", scope.app, &digest.as_str()[..8])
}

/// The set of a scope's objects.
pub(crate) fn set(scope: &Scope, namespace: &str) -> String {
    let digest = Sha256Hex::of(format!("{}.{namespace}.ConfigMap.", name(scope)).as_bytes());
    format!("applyset-{}-v1", URL_SAFE_NO_PAD.encode(hex::decode(digest.as_str()).unwrap_or_default()))
}

impl Record {
    pub(crate) fn new(state: String) -> Self {
        Self {
            state,
            revision: None,
            phase: Phase::Applied,
            since: None,
            inventory: Vec::new(),
            adopted: Vec::new(),
            handing: false,
            course: Course::Install,
            courses: 0,
            hooks_done: Vec::new(),
            fence: Fence(0),
            version: None,
            written: None,
        }
    }

    /// Whether nothing was there before: neither of ours nor of Helm's.
    pub(crate) fn is_new(&self) -> bool {
        self.revision.is_none()
            && self.inventory.is_empty()
            && self.adopted.iter().all(|adopted| adopted.helm.is_none())
    }

    pub(crate) fn read(object: &Value) -> Result<Self, Fault> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let damaged = |why: String| {
            let message = format!("ConfigMap/{name}, where deployctl keeps what it deployed, is damaged: {why}");
            Fault::refused(FaultKind::Platform, message)
                .hint("what runs is not affected; `kubectl get configmap -o yaml` shows it, and who changed it last")
        };
        let text = object["data"][KEY].as_str().ok_or_else(|| damaged("it has no record".into()))?;
        let mut record: Self = serde_json::from_str(text).map_err(|e| damaged(e.to_string()))?;
        let fence = object["metadata"]["annotations"][FENCE].as_str().and_then(|text| text.parse().ok());
        record.fence = Fence(fence.ok_or_else(|| damaged("it has no fence".into()))?);
        record.version = object["metadata"]["resourceVersion"].as_str().map(str::to_owned);
        record.written = written(object);
        Ok(record)
    }

    /// The ConfigMap. With the version that it was read as, so that nobody's writing in between is lost.
    pub(crate) fn object(&self, scope: &Scope, namespace: &str) -> Value {
        let kinds: BTreeSet<String> = self.inventory.iter().map(kind).collect();
        let kinds: Vec<String> = kinds.into_iter().collect();
        let mut metadata = json!({
            "name": name(scope),
            "namespace": namespace,
            "labels": { applyset::ID: set(scope, namespace), "app.kubernetes.io/managed-by": "deployctl" },
            "annotations": {
                applyset::TOOLING: "deployctl/v1",
                applyset::KINDS: kinds.join(","),
                FENCE: self.fence.0.to_string(),
                SCOPE: scope.to_string(),
            },
        });
        if let Some(version) = &self.version {
            metadata["resourceVersion"] = Value::from(version.as_str());
        }
        let text = serde_json::to_string(self).unwrap_or_default();
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": { KEY: text } })
    }

    /// Lets an owner with `fence` of the state `state` act, or says why not.
    pub(crate) fn admit(&self, scope: &Scope, state: &str, fence: Fence) -> Result<(), Fault> {
        if self.state != state {
            let message =
                format!("{scope} is deployed by another deployctl: its state is {}, this one is {state}", self.state);
            return Err(Fault::refused(FaultKind::Conflict, message).hint(format!(
                "deploy from there; if that state is lost, delete the ConfigMap {} and deploy again from here",
                name(scope)
            )));
        }
        if fence < self.fence {
            let message =
                format!("{scope}: the owner with fence {} was replaced by one with {}", fence.0, self.fence.0);
            return Err(Fault::refused(FaultKind::Conflict, message)
                .hint("another engine owns this deployment now; look at `deployctl status`"));
        }
        Ok(())
    }
}

/// When an object was written last.
fn written(object: &Value) -> Option<String> {
    let times = object["metadata"]["managedFields"].as_array()?.iter().filter_map(|entry| entry["time"].as_str());
    times.max().map(str::to_owned)
}

fn kind(entry: &Entry) -> String {
    match group_of(&entry.api_version) {
        "" => entry.kind.clone(),
        group => format!("{}.{group}", entry.kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deployctl_core::id::{AppName, EnvName, ProjectName, RegionName};

    fn scope() -> Scope {
        Scope {
            project: ProjectName::new("shop").unwrap(),
            environment: EnvName::new("dev").unwrap(),
            region: RegionName::default_region(),
            app: AppName::new("api").unwrap(),
        }
    }

    fn entry(api_version: &str, kind: &str) -> Entry {
        Entry { api_version: api_version.into(), kind: kind.into(), name: "web".into() }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = Record {
            revision: Some(Revision { release: Sha256Hex::of(b"x"), nonce: 1 }),
            since: Some("2026-11-21T10:00:00Z".into()),
            inventory: vec![entry("apps/v1", "Deployment"), entry("v1", "Service")],
            fence: Fence(7),
            version: Some("12".into()),
            ..Record::new("abc".into())
        };
        let object = record.object(&scope(), "shop");
        assert_eq!(object["metadata"]["annotations"][applyset::KINDS], "Deployment.apps,Service");
        assert_eq!(Record::read(&object).unwrap(), record);
        let mut damaged = object.clone();
        damaged["data"] = json!({});
        let fault = Record::read(&damaged).unwrap_err();
        assert!(fault.message.ends_with("is damaged: it has no record"), "{fault}");
    }

    #[test]
    fn older_owners_and_other_states_are_refused() {
        let record = Record { fence: Fence(7), ..Record::new("abc".into()) };
        assert_eq!(record.admit(&scope(), "abc", Fence(7)), Ok(()));
        let old = record.admit(&scope(), "abc", Fence(6)).unwrap_err();
        assert_eq!(old.kind, FaultKind::Conflict);
        assert_eq!(old.message, "shop/dev/default/api: the owner with fence 6 was replaced by one with 7");
        let other = record.admit(&scope(), "def", Fence(9)).unwrap_err();
        assert_eq!(
            other.message,
            "shop/dev/default/api is deployed by another deployctl: its state is abc, this one is def"
        );
    }

    #[test]
    fn one_object_is_one_in_every_version_of_its_group() {
        assert!(entry("apps/v1", "Deployment").is_same(&entry("apps/v1beta1", "Deployment")));
        assert!(!entry("v1", "Event").is_same(&entry("events.k8s.io/v1", "Event")));
        let set = set(&scope(), "shop");
        assert!(set.starts_with("applyset-") && set.ends_with("-v1") && set.len() <= 63, "{set}");
    }
}
