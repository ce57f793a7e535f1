//! All objects of a kind in a namespace, as far as they are wanted: listed, and as what they can be watched from there on.

use crate::cluster::{BARE, BARE_LIST, collection};
use crate::record::Entry;
use crate::site::Site;
use crate::trouble::Trouble;
use deployctl_kubernetes::applyset::PART_OF;
use serde_json::Value;
use std::collections::BTreeMap;

/// Where there are more, nothing is kept of them: they are listed each time.
pub(crate) const KEPT_MAX: usize = 10_000;

/// Which objects are wanted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kind {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    /// Those of the scope's set alone.
    pub(crate) own: bool,
    /// Without what they say and how they are: names, labels, annotations, owners.
    pub(crate) bare: bool,
}

/// What was listed.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) kind: Kind,
    /// Where it is; none if the cluster does not know the kind, or does not let us look.
    pub(crate) path: Option<String>,
    pub(crate) items: BTreeMap<String, Value>,
    /// As of when: what changes later can be watched from here on.
    pub(crate) version: String,
}

impl Kind {
    /// The scope's own objects of the kind of an entry.
    pub(crate) fn own(entry: &Entry) -> Self {
        Self { api_version: entry.api_version.clone(), kind: entry.kind.clone(), own: true, bare: false }
    }

    /// All of a kind that are near.
    pub(crate) fn near(api_version: &str, kind: &str, bare: bool) -> Self {
        Self { api_version: api_version.into(), kind: kind.into(), own: false, bare }
    }

    /// What the API server is to print. Values of Secrets are never read back.
    pub(crate) fn accept(&self, list: bool) -> &'static str {
        let is_secret = self.api_version == "v1" && self.kind == "Secret";
        match (self.bare || is_secret, list) {
            (false, _) => "application/json",
            (true, true) => BARE_LIST,
            (true, false) => BARE,
        }
    }

    /// An object of this kind as it is kept: in a list it does not say what it is, and who set which field explains nothing.
    pub(crate) fn kept(&self, mut object: Value) -> Option<(String, Value)> {
        object["apiVersion"] = Value::from(self.api_version.as_str());
        object["kind"] = Value::from(self.kind.as_str());
        let metadata = object["metadata"].as_object_mut()?;
        if !self.own {
            metadata.remove("managedFields");
        }
        let name = metadata.get("name")?.as_str()?.to_owned();
        Some((name, object))
    }

    fn query(&self, set: &str) -> String {
        match self.own {
            true => format!("labelSelector={}%3D{set}", PART_OF.replace('/', "%2F")),
            false => String::new(),
        }
    }
}

impl Site {
    /// Lists all of a kind: what is true in the cluster now, not in a copy of it. What is near and may not be looked at is
    /// not there.
    pub(crate) async fn list(&self, kind: &Kind) -> Result<Listed, Trouble> {
        let mut listed = Listed { kind: kind.clone(), path: None, items: BTreeMap::new(), version: String::new() };
        let Some(api) = self.cluster.api(&kind.api_version, &kind.kind).await? else { return Ok(listed) };
        let path = format!("{}?{}", collection(&kind.api_version, &api, &self.namespace), kind.query(&self.set()));
        let found = match self.cluster.find_as(&path, kind.accept(true)).await {
            Err(Trouble::Refused(refusal)) if refusal.status == 403 && !kind.own => return Ok(listed),
            found => found?,
        };
        let Some(mut found) = found else { return Ok(listed) };
        listed.version = found["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
        listed.path = Some(path);
        let items = found["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
        listed.items = items.into_iter().filter_map(|item| kind.kept(item)).collect();
        Ok(listed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_object_of_a_list_says_what_it_is_and_not_who_set_it() {
        let item = json!({ "metadata": { "name": "web", "managedFields": [1] } });
        let (name, kept) = Kind::near("v1", "Pod", false).kept(item.clone()).unwrap();
        assert_eq!(name, "web");
        assert_eq!(kept, json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "web" } }));
        assert_eq!(Kind::near("v1", "Pod", false).kept(json!({ "metadata": {} })), None);
        let entry = Entry { api_version: "v1".into(), kind: "Service".into(), name: "x".into() };
        let own = Kind::own(&entry);
        let secrets = Kind::own(&Entry { kind: "Secret".into(), ..entry });
        assert_eq!((secrets.accept(true), secrets.accept(false)), (BARE_LIST, BARE));
        assert_eq!(own.accept(true), "application/json");
        assert_eq!(own.kept(item).unwrap().1["metadata"]["managedFields"], json!([1]));
        assert_eq!(own.query("one"), "labelSelector=applyset.kubernetes.io%2Fpart-of%3Done");
    }
}
