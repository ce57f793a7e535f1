//! Versioned objects in a namespace: ConfigMaps or Secrets, written by compare-and-swap over their `resourceVersion`.

use crate::cluster::Cluster;
use crate::site::no_namespace;
use crate::trouble::Trouble;
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use deployctl_core::fault::FaultKind;
use deployctl_core::objects::{Object, ObjectError, ObjectVersion, Objects};
use serde_json::{Value, json};
use std::fmt;

/// By which the objects of a state are found.
const LABEL: &str = "deployctl.io/state";
const KEY: &str = "object";
/// What every name begins with.
const PREFIX: &str = "deployctl-state-";
/// A list is asked for in pages of so many.
const PAGE: usize = 500;

/// What the objects are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Whoever may see the namespace may read them.
    ConfigMaps,
    /// For keys.
    Secrets,
}

/// [`Objects`] in a namespace of a cluster.
pub struct NamespaceObjects {
    cluster: Cluster,
    namespace: String,
    kept: Kept,
}

impl fmt::Debug for NamespaceObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {} in {}", self.kept, self.namespace, self.cluster.name())
    }
}

impl NamespaceObjects {
    /// The objects in `namespace` of the cluster of a context; of the cluster that this runs in if there is none.
    pub fn new(context: Option<String>, namespace: String, kept: Kept) -> Self {
        Self { cluster: Cluster::new(context, None), namespace, kept }
    }

    fn all(&self) -> String {
        let plural = match self.kept {
            Kept::ConfigMaps => "configmaps",
            Kept::Secrets => "secrets",
        };
        format!("/api/v1/namespaces/{}/{plural}", self.namespace)
    }

    fn one(&self, name: &str) -> String {
        format!("{}/{PREFIX}{name}", self.all())
    }

    fn object(&self, name: &str, bytes: &[u8], over: Option<&ObjectVersion>, fixed: bool) -> Value {
        let mut metadata = json!({
            "name": format!("{PREFIX}{name}"), "namespace": self.namespace,
            "labels": { LABEL: "object", "app.kubernetes.io/managed-by": "deployctl" },
        });
        if let Some(version) = over {
            metadata["resourceVersion"] = Value::from(version.0.as_str());
        }
        let (kind, field) = match self.kept {
            Kept::ConfigMaps => ("ConfigMap", "binaryData"),
            Kept::Secrets => ("Secret", "data"),
        };
        json!({
            "apiVersion": "v1", "kind": kind, "metadata": metadata, "immutable": fixed,
            field: { KEY: STANDARD.encode(bytes) },
        })
    }

    /// What a request that changes nothing came to.
    fn unread(&self, trouble: Trouble) -> ObjectError {
        let passing = !matches!(&trouble, Trouble::Refused(refusal) if !refusal.may_pass());
        self.said(trouble, passing)
    }

    fn said(&self, trouble: Trouble, passing: bool) -> ObjectError {
        let is_spec = matches!(&trouble, Trouble::Unusable(fault) if fault.kind == FaultKind::Spec);
        let fault = self.cluster.fault(trouble, &format!("the state in the namespace `{}`", self.namespace));
        let words = match fault.hint {
            Some(hint) => format!("{}; {hint}", fault.message),
            None => fault.message,
        };
        if passing && !is_spec { ObjectError::Away(words) } else { ObjectError::Refused(words) }
    }

    /// What became of a write.
    fn unwritten(&self, trouble: Trouble, is_new: bool) -> ObjectError {
        match &trouble {
            // Nobody took the request.
            Trouble::Lost(why) if why.contains("Connection refused") => self.said(trouble, true),
            Trouble::Lost(why) => ObjectError::Unknown(why.clone()),
            // It was not asked.
            Trouble::Unusable(_) => self.said(trouble, true),
            Trouble::Refused(refusal) => match (refusal.status, is_new) {
                (409, true) if !refusal.message.ends_with("already exists") => self.said(trouble, true),
                (409, _) | (404, false) => ObjectError::Changed,
                (404, true) => ObjectError::Refused(no_namespace(&self.namespace, &self.cluster.name()).to_string()),
                (401 | 429, _) => self.said(trouble, true),
                _ if refusal.may_pass() => ObjectError::Unknown(refusal.message.clone()),
                _ => self.said(trouble, false),
            },
        }
    }

    async fn page(&self, after: &str) -> Result<Value, Trouble> {
        let path = format!("{}?labelSelector={LABEL}&limit={PAGE}&continue={after}", self.all());
        self.cluster.names(&path).await
    }
}

fn version_of(object: &Value) -> ObjectVersion {
    ObjectVersion(object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned())
}

#[async_trait]
impl Objects for NamespaceObjects {
    async fn get(&self, name: &str) -> Result<Option<Object>, ObjectError> {
        let found = self.cluster.find_own(&self.one(name)).await.map_err(|trouble| self.unread(trouble))?;
        let Some(found) = found else { return Ok(None) };
        let text = found["binaryData"][KEY].as_str().or_else(|| found["data"][KEY].as_str()).unwrap_or_default();
        let bytes =
            STANDARD.decode(text).map_err(|e| ObjectError::Refused(format!("{PREFIX}{name} is damaged: {e}")))?;
        Ok(Some(Object { bytes, version: version_of(&found) }))
    }

    async fn create(&self, name: &str, bytes: &[u8]) -> Result<(), ObjectError> {
        let object = self.object(name, bytes, None, true);
        self.cluster.create(&self.all(), &object).await.map(drop).map_err(|trouble| self.unwritten(trouble, true))
    }

    async fn replace(
        &self,
        name: &str,
        bytes: &[u8],
        over: Option<&ObjectVersion>,
    ) -> Result<ObjectVersion, ObjectError> {
        let object = self.object(name, bytes, over, false);
        let written = match over {
            Some(_) => self.cluster.replace(&self.one(name), &object).await,
            None => self.cluster.create(&self.all(), &object).await,
        };
        written.map(|object| version_of(&object)).map_err(|trouble| self.unwritten(trouble, over.is_none()))
    }

    async fn delete(&self, name: &str) -> Result<(), ObjectError> {
        match self.cluster.delete(&self.one(name), &json!({})).await {
            Ok(()) => Ok(()),
            Err(trouble) if trouble.status() == Some(404) => Ok(()),
            Err(trouble) => Err(self.unwritten(trouble, false)),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, ObjectError> {
        let mut names = Vec::new();
        let mut after = String::new();
        loop {
            let page = self.page(&after).await.map_err(|trouble| self.unread(trouble))?;
            let items = page["items"].as_array().into_iter().flatten();
            let ours = items.filter_map(|item| item["metadata"]["name"].as_str()?.strip_prefix(PREFIX));
            names.extend(ours.filter(|name| name.starts_with(prefix)).map(str::to_owned));
            match page["metadata"]["continue"].as_str() {
                Some(more) if !more.is_empty() => more.clone_into(&mut after),
                _ => return Ok(names),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trouble::Refusal;

    fn objects() -> NamespaceObjects {
        NamespaceObjects::new(Some("prod".into()), "shop".into(), Kept::ConfigMaps)
    }

    fn refused(status: u16, message: &str) -> Trouble {
        Trouble::Refused(Refusal::read(status, json!({ "message": message }).to_string().as_bytes(), None))
    }

    #[test]
    fn what_became_of_a_write_is_told_apart() {
        let objects = objects();
        let taken = "configmaps \"deployctl-state-seat\" already exists";
        assert_eq!(objects.unwritten(refused(409, taken), true), ObjectError::Changed);
        assert_eq!(objects.unwritten(refused(409, "the object has been modified"), false), ObjectError::Changed);
        assert_eq!(objects.unwritten(refused(404, "not found"), false), ObjectError::Changed);
        // Two who are counted against one quota at the same time: nothing was made.
        let quota = objects.unwritten(refused(409, "cannot be fulfilled on resourcequotas"), true);
        assert!(matches!(quota, ObjectError::Away(_)), "{quota:?}");
        let none = objects.unwritten(refused(404, "namespaces \"shop\" not found"), true);
        assert!(
            matches!(&none, ObjectError::Refused(why) if why.starts_with("there is no namespace `shop`")),
            "{none:?}"
        );
        for status in [408, 500, 503, 504] {
            assert!(matches!(objects.unwritten(refused(status, "etcd"), false), ObjectError::Unknown(_)), "{status}");
        }
        for status in [401, 429] {
            assert!(matches!(objects.unwritten(refused(status, "x"), false), ObjectError::Away(_)), "{status}");
        }
        let lost = |why: &str| Trouble::Lost(why.into());
        assert!(matches!(objects.unwritten(lost("broken pipe"), false), ObjectError::Unknown(_)));
        assert!(matches!(objects.unwritten(lost("Connection refused (os error 111)"), false), ObjectError::Away(_)));
        let denied = objects.unwritten(refused(403, "configmaps is forbidden"), false);
        let words = "the state in the namespace `shop`: `prod` does not allow it: configmaps is forbidden";
        assert!(matches!(&denied, ObjectError::Refused(why) if why.starts_with(words)), "{denied:?}");
    }

    #[test]
    fn an_object_says_what_it_is_and_over_which_version_it_is_written() {
        let version = ObjectVersion("12".into());
        let object = objects().object("seat", b"x", Some(&version), false);
        assert_eq!(object["metadata"]["name"], "deployctl-state-seat");
        assert_eq!(
            (&object["metadata"]["resourceVersion"], &object["binaryData"]["object"]),
            (&json!("12"), &json!("eA=="))
        );
        let secret = NamespaceObjects::new(None, "shop".into(), Kept::Secrets).object("key", b"x", None, true);
        assert_eq!(
            (&secret["kind"], &secret["immutable"], &secret["data"]["object"]),
            (&json!("Secret"), &json!(true), &json!("eA=="))
        );
    }
}
