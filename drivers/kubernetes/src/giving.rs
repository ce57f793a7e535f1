//! Objects given up: handed back to the tool that they came from, or put back as they were.

use crate::adopt::{Adopted, key};
use crate::apply::Wanted;
use crate::cluster::MANAGER;
use crate::record::{self, Entry, Phase, Record};
use crate::site::Site;
use deployctl_core::driver::{Step, Way};
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_kubernetes::applyset;
use deployctl_kubernetes::ownership::{self, Owner};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// What the cluster writes, and refuses to be told.
const OWN: &[&str] = &["managedFields", "creationTimestamp", "generation", "selfLink", "deletionTimestamp"];

impl Site {
    /// Leaves all objects as they are, and takes off what is deployctl's: its label, its ownership of fields, its record.
    /// Safe to repeat, from any state.
    pub(crate) async fn hand_back(&self, wanted: &[Wanted], way: &Way) -> Result<Step, Fault> {
        let Some(record) = self.admitted(way.fence).await? else { return Ok(Step::Done) };
        // From now on what is known is not all of it ours any more, for whoever turns back.
        let begun = Record { phase: Phase::Applying, handing: true, fence: record.fence.max(way.fence), ..record };
        let record = self.write(&begun).await?;
        for entry in record.inventory.iter().chain(&record.kept) {
            self.admitted(way.fence).await?;
            let wanted = wanted.iter().find(|wanted| wanted.entry.is_same(entry));
            self.hand_over(entry, wanted, &record).await?;
        }
        self.forget(&record).await?;
        let name = record::name(&self.scope);
        self.remove(&format!("{}/{name}", self.maps()), &format!("ConfigMap/{name}")).await?;
        Ok(Step::Done)
    }

    async fn hand_over(&self, entry: &Entry, wanted: Option<&Wanted>, record: &Record) -> Result<(), Fault> {
        let Some(there) = self.find(entry).await? else { return Ok(()) };
        if applyset::stranger(&there, &self.set()).is_some() {
            return Ok(());
        }
        let adopted = record.adopted.iter().find(|adopted| adopted.entry.is_same(entry));
        let owner = owner(adopted, record);
        let helm =
            adopted.map_or_else(|| record.adopted.iter().find_map(|one| one.helm.clone()), |one| one.helm.clone());
        let mut gone = marks(&there);
        gone.push(applyset::PART_OF.to_owned());
        let nothing = |map: &str| -> Map<String, Value> {
            let there = there["metadata"][map].as_object().into_iter().flatten().map(|(key, _)| key);
            there.filter(|key| gone.contains(key)).map(|key| (key.clone(), Value::Null)).collect()
        };
        let (mut labels, mut annotations) = (nothing("labels"), nothing("annotations"));
        if let Some(release) = helm {
            labels.insert(ownership::MANAGED_BY.to_owned(), "Helm".into());
            for (key, value) in ownership::HELM.iter().zip([release, self.namespace.clone()]) {
                annotations.insert((*key).to_owned(), value.into());
            }
        }
        let keeps = owner.operation == "Update" && owner.words() == "kubectl" && entry.kind != "Secret";
        if let (true, Some(wanted)) = (keeps, wanted) {
            annotations.insert(ownership::LAST_APPLIED.to_owned(), self.last_applied(&wanted.manifest.object).into());
        }
        let gone: Vec<&str> = gone.iter().map(String::as_str).collect();
        let managed = ownership::handed_back(&there, MANAGER, &owner, &gone);
        let patch = json!({ "metadata": {
            "resourceVersion": there["metadata"]["resourceVersion"],
            "managedFields": managed, "labels": labels, "annotations": annotations,
        } });
        let what = entry.name().to_string();
        let path = self.path(entry, &what).await?;
        let done = self.cluster.merge(&path, &patch, &owner.manager).await;
        done.map(drop).map_err(|trouble| self.fault(trouble, &what))
    }

    /// What `kubectl apply` would have kept, had it applied this.
    fn last_applied(&self, object: &Value) -> String {
        let mut object = object.clone();
        object["metadata"]["namespace"] = Value::from(self.namespace.as_str());
        if !object["metadata"]["annotations"].is_object() {
            object["metadata"]["annotations"] = json!({});
        }
        format!("{object}\n")
    }

    /// Makes an object again what it was before it was taken over.
    pub(crate) async fn put_back(&self, adopted: &Adopted, there: &Value) -> Result<(), Fault> {
        let what = adopted.entry.name().to_string();
        let kept = self.cluster.find(&format!("{}/{}", self.maps(), adopted.kept)).await;
        let kept = kept.map_err(|trouble| self.fault(trouble, &what))?.unwrap_or_default();
        let before =
            kept["data"][key(&adopted.entry)].as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
        let Some(before) = before else {
            let message =
                format!("{what} was taken over, and what it was before is gone from ConfigMap/{}", adopted.kept);
            return Err(
                Fault::refused(FaultKind::Platform, message).hint("apply it by hand, with the tool it came from")
            );
        };
        let path = self.path(&adopted.entry, &what).await?;
        let mut object = before.clone();
        if let Some(metadata) = object["metadata"].as_object_mut() {
            OWN.iter().for_each(|key| drop(metadata.remove(*key)));
            metadata.insert("resourceVersion".into(), there["metadata"]["resourceVersion"].clone());
            metadata.insert("uid".into(), there["metadata"]["uid"].clone());
        }
        if let Some(object) = object.as_object_mut() {
            object.remove("status");
        }
        // Ours until all of it is as it was.
        let object = applyset::with_set(object, &self.set());
        let done = self.cluster.replace(&path, &object).await.map_err(|trouble| self.fault(trouble, &what))?;
        let patch = json!({ "metadata": {
            "resourceVersion": done["metadata"]["resourceVersion"],
            "managedFields": before["metadata"]["managedFields"],
            "labels": { applyset::PART_OF: null },
        } });
        let done = self.cluster.merge(&path, &patch, MANAGER).await;
        done.map(drop).map_err(|trouble| self.fault(trouble, &what))
    }

    /// Takes away what was kept of objects that are not ours any more.
    pub(crate) async fn forget(&self, record: &Record) -> Result<(), Fault> {
        for name in record.maps() {
            self.remove(&format!("{}/{name}", self.maps()), &format!("ConfigMap/{name}")).await?;
        }
        Ok(())
    }

    async fn remove(&self, path: &str, what: &str) -> Result<(), Fault> {
        let options = json!({ "apiVersion": "v1", "kind": "DeleteOptions" });
        match self.cluster.delete(path, &options).await {
            Err(trouble) if trouble.status() == Some(404) => Ok(()),
            done => done.map_err(|trouble| self.fault(trouble, what)),
        }
    }
}

impl Record {
    /// The ConfigMaps with what was taken over.
    pub(crate) fn maps(&self) -> BTreeSet<&str> {
        self.adopted.iter().map(|adopted| adopted.kept.as_str()).collect()
    }
}

/// The labels and annotations that only deployctl sets.
fn marks(object: &Value) -> Vec<String> {
    let maps = ["labels", "annotations"].into_iter().filter_map(|map| object["metadata"][map].as_object());
    maps.flatten().map(|(key, _)| key.clone()).filter(|key| key.starts_with("deployctl.io/")).collect()
}

/// Who gets an object: whoever had it; else whoever had the others; else `kubectl apply`.
fn owner(adopted: Option<&Adopted>, record: &Record) -> Owner {
    let first = || record.adopted.iter().find_map(|adopted| adopted.owner.clone());
    let usual = || Owner { manager: "kubectl-client-side-apply".into(), operation: "Update".into() };
    adopted.and_then(|adopted| adopted.owner.clone()).or_else(first).unwrap_or_else(usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_what_only_deployctl_sets() {
        let object = json!({ "metadata": {
            "labels": { "app": "web", "deployctl.io/of": "x" }, "annotations": { "deployctl.io/mark": "y", "note": "z" },
        } });
        assert_eq!(marks(&object), ["deployctl.io/of", "deployctl.io/mark"]);
        assert_eq!(marks(&json!({})), Vec::<String>::new());
    }

    #[test]
    fn an_object_goes_to_whoever_had_it_or_the_others() {
        let helm = Owner { manager: "helm".into(), operation: "Apply".into() };
        let entry = |name: &str| Entry { api_version: "v1".into(), kind: "Service".into(), name: name.into() };
        let adopted = |name: &str, owner: Option<Owner>| Adopted {
            entry: entry(name),
            owner,
            helm: None,
            kept: "deployctl-x-before-0".into(),
        };
        let none = Record::new("state".into());
        assert_eq!(owner(None, &none).manager, "kubectl-client-side-apply");
        let record = Record { adopted: vec![adopted("a", None), adopted("b", Some(helm.clone()))], ..none };
        assert_eq!(owner(None, &record), helm);
        assert_eq!(owner(record.adopted.first(), &record), helm);
        assert_eq!(record.maps().into_iter().collect::<Vec<_>>(), ["deployctl-x-before-0"]);
    }
}
