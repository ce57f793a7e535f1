//! What a deployment would change, and whether it can: asked of the server, which checks and changes nothing.

use crate::apply::{Wanted, says_keep, wanted};
use crate::cluster::How;
use crate::hooks::{self, Side, hooked};
use crate::record::{Course, Record};
use crate::site::{Site, no_namespace};
use crate::trouble::Trouble;
use deployctl_core::config::KubernetesConfig;
use deployctl_core::fault::Fault;
use deployctl_kubernetes::{applyset, diff, order};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use k8s_openapi::Resource;
use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use serde_json::{Value, json};

const AT_ONCE: usize = 16;
/// So many fields of an object are told; of more only how many.
const FIELDS: usize = 6;

impl Site {
    /// The changes, a line each. Refuses what the cluster would refuse.
    pub(crate) async fn preview(&self, config: &KubernetesConfig) -> Result<Vec<String>, Fault> {
        self.check_place().await?;
        let record = self.record().await?;
        if let Some(record) = &record {
            record.admit(&self.scope, &self.state, record.fence)?;
        }
        let all = wanted(config)?;
        let defined = defined(&all);
        let mut lines: Vec<BoxFuture<'_, Result<Option<String>, Fault>>> = Vec::new();
        for wanted in &all {
            lines.push(self.change(wanted, &defined, config.adopt && !is_known(record.as_ref(), wanted)).boxed());
        }
        let lines: Vec<Option<String>> = stream::iter(lines).buffered(AT_ONCE).try_collect().await?;
        let mut lines: Vec<String> = lines.into_iter().flatten().collect();
        lines.append(&mut hook_lines(record.as_ref(), config)?);
        if config.adopt {
            lines.append(&mut self.preview_helm(&all).await?);
        }
        for entry in record.iter().flat_map(|record| &record.inventory) {
            if all.iter().any(|wanted| wanted.entry.is_same(entry)) {
                continue;
            }
            let name = entry.name();
            let there = self.find(entry).await?;
            let Some(there) = there.filter(|there| applyset::stranger(there, &self.set()).is_none()) else { continue };
            lines.push(match order::is_kept(name.group(), &name.kind) || says_keep(&there) {
                true => format!("keep {name}: the release does not have it, and it is never deleted by a deployment"),
                false => {
                    self.check_may("delete", entry).await?;
                    format!("delete {name}")
                }
            });
        }
        Ok(lines)
    }

    async fn check_place(&self) -> Result<(), Fault> {
        let name = self.cluster.name();
        match self.cluster.find(&format!("/api/v1/namespaces/{}", self.namespace)).await {
            Ok(Some(namespace)) if !namespace["metadata"]["deletionTimestamp"].is_null() => {
                let message = format!("the namespace `{}` of {name} is being deleted", self.namespace);
                return Err(Fault::platform(message).hint("wait until it is gone, and make it anew"));
            }
            Ok(Some(_)) => {}
            Ok(None) => return Err(no_namespace(&self.namespace, &name)),
            // Who may not look at namespaces may still deploy into one.
            Err(Trouble::Refused(refusal)) if refusal.status == 403 => {}
            Err(trouble) => return Err(self.fault(trouble, &format!("the namespace `{}`", self.namespace))),
        }
        let record = crate::record::Entry { api_version: "v1".into(), kind: "ConfigMap".into(), name: String::new() };
        for verb in ["get", "create", "update"] {
            self.check_may(verb, &record).await?;
        }
        Ok(())
    }

    /// Asks the cluster whether we may, before anything is begun that would stop half-way for it.
    async fn check_may(&self, verb: &str, entry: &crate::record::Entry) -> Result<(), Fault> {
        let what = format!("permission to {verb} a {}", entry.kind);
        let api =
            self.cluster.api(&entry.api_version, &entry.kind).await.map_err(|trouble| self.fault(trouble, &what))?;
        let Some(api) = api else { return Ok(()) };
        let group = entry.name().group().to_owned();
        let attributes = json!({ "namespace": self.namespace, "verb": verb, "group": group, "resource": api.plural });
        let review = json!({
            "apiVersion": SelfSubjectAccessReview::API_VERSION, "kind": SelfSubjectAccessReview::KIND,
            "spec": { "resourceAttributes": attributes },
        });
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let answer = self.cluster.create(path, &review).await.map_err(|trouble| self.fault(trouble, &what))?;
        if answer["status"]["allowed"] == Value::Bool(true) {
            return Ok(());
        }
        let (plural, namespace) = (&api.plural, &self.namespace);
        let message = format!("{} does not allow to {verb} {plural} in `{namespace}`", self.cluster.name());
        Err(Fault::refused(deployctl_core::fault::FaultKind::Denied, message).hint(format!(
            "`kubectl auth can-i {verb} {plural} -n {namespace}` says the same; ask who runs the cluster"
        )))
    }

    /// What happens to one object; none if nothing does.
    async fn change(
        &self,
        wanted: &Wanted<'_>,
        defined: &[(String, String)],
        adopt: bool,
    ) -> Result<Option<String>, Fault> {
        let (what, name) = (wanted.what(), &wanted.name);
        if defined.contains(&(name.group().to_owned(), name.kind.clone())) {
            let known = self.cluster.api(&name.api_version, &name.kind).await;
            if known.map_err(|trouble| self.fault(trouble, &what))?.is_none() {
                return Ok(Some(format!("create {name} (not checked: its kind comes with it)")));
            }
        }
        let path = self.path(&wanted.entry, &what).await?;
        let there = self.cluster.find(&path).await.map_err(|trouble| self.fault(trouble, &what))?;
        if let (true, Some(there)) = (adopt, &there)
            && applyset::stranger(there, &self.set()).is_some()
        {
            return self.preview_taking(wanted, &path, there).await.map(Some);
        }
        self.check_ours(there.as_ref(), wanted)?;
        let how = How { force: false, dry: true };
        let then = self.cluster.apply(&path, &self.object(wanted), how).await;
        let then = then.map_err(|trouble| self.fault(trouble, &what))?;
        let Some(there) = there else { return Ok(Some(format!("create {name}"))) };
        let mut fields = diff::changes(&there, &then);
        if fields.is_empty() {
            return Ok(None);
        }
        let more = fields.len().saturating_sub(FIELDS);
        fields.truncate(FIELDS);
        let more = if more > 0 { format!("; and {more} fields more") } else { String::new() };
        Ok(Some(format!("change {name}: {}{more}", fields.join("; "))))
    }
}

/// The hooks that run, a line each.
fn hook_lines(record: Option<&Record>, config: &KubernetesConfig) -> Result<Vec<String>, Fault> {
    let course = if record.is_none_or(Record::is_new) { Course::Install } else { Course::Upgrade };
    let all = hooked(config)?;
    let mut lines = Vec::new();
    for (side, word) in [(Side::Before, "before"), (Side::After, "after")] {
        let moment = hooks::moment(course, side);
        let due = hooks::due(&all, moment).into_iter();
        lines.extend(due.map(|one| format!("run {} {word} its objects are applied ({moment} hook)", one.wanted.name)));
    }
    Ok(lines)
}

fn is_known(record: Option<&Record>, wanted: &Wanted<'_>) -> bool {
    record.is_some_and(|record| record.inventory.iter().any(|known| known.is_same(&wanted.entry)))
}

/// The kinds that the release itself defines: group and kind.
fn defined(all: &[Wanted<'_>]) -> Vec<(String, String)> {
    let definitions = all.iter().filter(|wanted| wanted.name.kind == "CustomResourceDefinition");
    let named = definitions.filter_map(|wanted| {
        let spec = &wanted.manifest.object["spec"];
        Some((spec["group"].as_str()?.to_owned(), spec["names"]["kind"].as_str()?.to_owned()))
    });
    named.collect()
}
