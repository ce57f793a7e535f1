//! Whether we may do what a deployment does: asked before anything is begun that would stop half-way for it.

use crate::apply::Wanted;
use crate::record::Entry;
use crate::site::Site;
use crate::trouble::Trouble;
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_kubernetes::order;
use deployctl_kubernetes::permission::{self, Need};
use k8s_openapi::Resource;
use k8s_openapi::api::authorization::v1::{SelfSubjectAccessReview, SelfSubjectRulesReview};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const REVIEWS: &str = "/apis/authorization.k8s.io/v1";
/// What is done to objects of a release.
const OF_OBJECTS: &[&str] = &["get", "list", "create", "patch"];
/// What is done to the record.
const OF_RECORD: &[&str] = &["get", "create", "update"];

/// What is needed in the namespace, and of what is in none.
#[derive(Default)]
struct Needs {
    inside: BTreeSet<Need>,
    outside: BTreeSet<Need>,
}

impl Site {
    /// Refuses, by name, all that is needed for these objects and is not allowed: to apply those of `wanted`, and to delete those
    /// of `before`. One question answers most of it.
    pub(crate) async fn check_permissions(&self, wanted: &[Wanted], before: &[Entry]) -> Result<(), Fault> {
        let record = Entry { api_version: "v1".into(), kind: "ConfigMap".into(), name: String::new() };
        let mut needs = Needs::default();
        if before.is_empty() {
            self.need(&mut needs, &record, OF_RECORD).await?;
        }
        for wanted in wanted {
            self.need(&mut needs, &wanted.entry, OF_OBJECTS).await?;
        }
        for entry in before.iter().filter(|entry| !order::is_kept(entry.name().group(), &entry.kind)) {
            self.need(&mut needs, entry, &["delete"]).await?;
        }
        self.check(needs).await
    }

    /// The same for one thing in the namespace.
    pub(crate) async fn check_need(&self, need: Need) -> Result<(), Fault> {
        self.check(Needs { inside: [need].into(), ..Needs::default() }).await
    }

    /// The same for deleting these, whatever they hold.
    pub(crate) async fn check_deletions(&self, entries: impl Iterator<Item = &Entry>) -> Result<(), Fault> {
        let mut needs = Needs::default();
        for entry in entries {
            self.need(&mut needs, entry, &["delete"]).await?;
        }
        self.check(needs).await
    }

    async fn check(&self, Needs { inside, outside }: Needs) -> Result<(), Fault> {
        let mut missing = Vec::new();
        let inside: Vec<Need> = inside.into_iter().collect();
        if !inside.is_empty() {
            for need in permission::open(&self.rules().await?, &inside) {
                if !self.may(need, Some(&self.namespace)).await? {
                    missing.push(need.clone());
                }
            }
        }
        // The rules of a namespace say nothing of what is in none.
        for need in outside {
            if !self.may(&need, None).await? {
                missing.push(need);
            }
        }
        let Some(first) = missing.first() else { return Ok(()) };
        let (name, namespace) = (self.cluster.name(), &self.namespace);
        let message = format!("{name} does not allow in `{namespace}`: {}", permission::words(&missing));
        let asked = match first.resource.split_once('/') {
            Some((resource, part)) => format!("{} {resource} --subresource={part}", first.verb),
            None => format!("{} {}", first.verb, first.resource),
        };
        Err(Fault::refused(FaultKind::Denied, message)
            .hint(format!("`kubectl auth can-i {asked} -n {namespace}` says the same; ask who runs the cluster")))
    }

    /// Kinds that the cluster does not know are told of elsewhere.
    async fn need(&self, needs: &mut Needs, entry: &Entry, verbs: &[&str]) -> Result<(), Fault> {
        let api = self.cluster.api(&entry.api_version, &entry.kind).await;
        let api = api.map_err(|trouble| self.fault(trouble, &format!("permissions for a {}", entry.kind)))?;
        let group = entry.name().group().to_owned();
        let need = |api: &crate::cluster::Api, verb: &str| Need {
            resource: api.plural.clone(),
            group: group.clone(),
            verb: verb.into(),
        };
        let is_inside = api.as_ref().is_some_and(|api| api.namespaced);
        let needs = if is_inside { &mut needs.inside } else { &mut needs.outside };
        needs.extend(api.iter().flat_map(|api| verbs.iter().map(move |verb| (api, verb))).map(|(api, v)| need(api, v)));
        Ok(())
    }

    /// The rules that the server lists for us. Where it lists none, each need is asked for.
    async fn rules(&self) -> Result<Value, Fault> {
        let review = json!({
            "apiVersion": SelfSubjectRulesReview::API_VERSION, "kind": SelfSubjectRulesReview::KIND,
            "spec": { "namespace": self.namespace },
        });
        match self.cluster.create(&format!("{REVIEWS}/selfsubjectrulesreviews"), &review).await {
            Err(Trouble::Refused(refusal)) if matches!(refusal.status, 403 | 404 | 422) => Ok(Value::Null),
            done => done.map_err(|trouble| self.fault(trouble, "permissions")),
        }
    }

    async fn may(&self, need: &Need, namespace: Option<&str>) -> Result<bool, Fault> {
        let Need { resource, group, verb } = need;
        let (resource, part) = resource.split_once('/').unwrap_or((resource, ""));
        let attributes = json!({
            "namespace": namespace, "verb": verb, "group": group, "resource": resource, "subresource": part,
        });
        let review = json!({
            "apiVersion": SelfSubjectAccessReview::API_VERSION, "kind": SelfSubjectAccessReview::KIND,
            "spec": { "resourceAttributes": attributes },
        });
        let answer = self.cluster.create(&format!("{REVIEWS}/selfsubjectaccessreviews"), &review).await;
        let answer = answer.map_err(|trouble| self.fault(trouble, &format!("permission to {need}")))?;
        Ok(answer["status"]["allowed"] == Value::Bool(true))
    }
}
