//! What deployctl keeps of a scope in its namespace: a ConfigMap with the fence, the release and the inventory.

use crate::adopt::Adopted;
use crate::claims::Claim;
use crate::sides::Beside;
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

    /// What tells it from every other object of the scope.
    pub(crate) fn key(&self) -> (&str, &str, &str) {
        (group_of(&self.api_version), &self.kind, &self.name)
    }

    /// Whether both mean one object, whatever version of its group they name.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.key() == other.key()
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
    /// None comes after it.
    Removal,
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
    /// What of it the release does not have any more, and no deployment ever takes away: claims with their data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) stays: Vec<Entry>,
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
    /// The release that goes, until nothing of it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) leaves: Option<Revision>,
    /// The hooks that ran on this course.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) hooks_done: Vec<String>,
    /// The release that runs beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) side: Option<Beside>,
    /// What may be deleted and made anew: as the release says, and on a way back as the one said that is undone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) replaces: Vec<Entry>,
    /// The restart that its pods are of, and the one before, to which a way back from it leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) restarted: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) restarted_before: Option<u64>,
    /// Everything that is there because of earlier releases, which may need it again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) kept: Vec<Entry>,
    /// Claims of StatefulSets that are gone, or go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) claims: Vec<Claim>,
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
            restarted: None,
            restarted_before: None,
            stays: Vec::new(),
            kept: Vec::new(),
            claims: Vec::new(),
            adopted: Vec::new(),
            handing: false,
            course: Course::Install,
            courses: 0,
            leaves: None,
            hooks_done: Vec::new(),
            side: None,
            replaces: Vec::new(),
            fence: Fence(0),
            version: None,
            written: None,
        }
    }

    /// Whether an object is there because of a release, or may be.
    pub(crate) fn has(&self, entry: &Entry) -> bool {
        self.all().any(|known| known.is_same(entry))
    }

    /// Whether it is there because of an earlier release alone, and stays.
    pub(crate) fn leaves_alone(&self, entry: &Entry) -> bool {
        self.stays.iter().any(|known| known.is_same(entry))
    }

    /// All that is there because of a release, or may be.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Entry> {
        let beside = self.side.iter().flat_map(|side| &side.inventory);
        self.inventory.iter().chain(&self.kept).chain(beside)
    }

    /// The record as what is beside has it.
    pub(crate) fn of_side(&self, side: &Beside) -> Self {
        Self {
            revision: Some(side.revision.clone()),
            phase: side.phase,
            since: side.since.clone(),
            inventory: side.inventory.clone(),
            stays: Vec::new(),
            side: None,
            ..self.clone()
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
        let kinds: BTreeSet<String> = self.all().map(kind).collect();
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
            kept: vec![entry("v1", "Secret")],
            fence: Fence(7),
            version: Some("12".into()),
            ..Record::new("abc".into())
        };
        let object = record.object(&scope(), "shop");
        assert_eq!(object["metadata"]["annotations"][applyset::KINDS], "Deployment.apps,Secret,Service");
        assert_eq!(Record::read(&object).unwrap(), record);
        let mut damaged = object.clone();
        damaged["data"] = json!({});
        let fault = Record::read(&damaged).unwrap_err();
        assert!(fault.message.ends_with("is damaged: it has no record"), "{fault}");
    }

    #[test]
    fn a_record_that_somebody_damaged_is_told_or_does_no_harm() {
        let record = Record {
            revision: Some(Revision { release: Sha256Hex::of(b"x"), nonce: 1 }),
            inventory: vec![entry("apps/v1", "Deployment")],
            fence: Fence(7),
            ..Record::new("abc".into())
        };
        let object = record.object(&scope(), "shop");
        let text = object["data"][KEY].as_str().unwrap();
        let (mut told, mut harmless) = (0, 0);
        for at in 0..text.len() {
            for damage in ["", "0", "\"", "{", "]", "\u{0}", "é", "null"] {
                for rest in [&text[at + 1..], ""] {
                    let mut damaged = object.clone();
                    damaged["data"][KEY] = Value::from(format!("{}{damage}{rest}", &text[..at]));
                    match Record::read(&damaged) {
                        Err(fault) => {
                            assert!(fault.message.contains("is damaged: "), "{fault}");
                            told += 1;
                        }
                        Ok(read) => {
                            // What is read is written as it is read: nothing is made of it that was not there.
                            let again = Record::read(&read.object(&scope(), "shop")).unwrap();
                            assert_eq!(
                                (again, read.fence),
                                (Record { version: None, written: None, ..read }, Fence(7))
                            );
                            harmless += 1;
                        }
                    }
                }
            }
        }
        assert!(told > 1_000 && harmless > 0, "{told} {harmless}");
        for fence in [Value::Null, Value::from(""), Value::from("-1"), Value::from("7 "), Value::from(7)] {
            let mut damaged = object.clone();
            damaged["metadata"]["annotations"][FENCE] = fence;
            assert!(Record::read(&damaged).unwrap_err().message.ends_with("is damaged: it has no fence"));
        }
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
