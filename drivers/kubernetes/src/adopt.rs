//! Objects that somebody made with another tool: what they were is kept, then their fields become ours.

use crate::apply::Wanted;
use crate::cluster::{AT_ONCE, How, MANAGER};
use crate::record::{self, Entry, Record};
use crate::site::Site;
use crate::trouble::Trouble;
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::preview::{Change, Line};
use deployctl_kubernetes::ownership::{self, Owner};
use deployctl_kubernetes::{applyset, diff};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// A ConfigMap holds not much more than a megabyte.
const KEPT_BYTES_MAX: usize = 700 << 10;
/// So many fields of an object are told; of more only how many.
const FIELDS: usize = 8;

/// An object that was taken over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Adopted {
    pub(crate) entry: Entry,
    /// Who applied it before, where that is a tool that is known.
    pub(crate) owner: Option<Owner>,
    /// Helm's release that it is of.
    pub(crate) helm: Option<String>,
    /// The ConfigMap that has it as it was.
    pub(crate) kept: String,
}

/// The key of an object in such a ConfigMap.
pub(crate) fn key(entry: &Entry) -> String {
    format!("{}.{}", entry.kind, entry.name).replace(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '-', "_")
}

impl Site {
    /// Finds the objects of others under the names of the release, and keeps what they are. Changes none of them.
    pub(crate) async fn keep_others(&self, record: Record, wanted: &[Wanted]) -> Result<Record, Fault> {
        let unknown = |wanted: &&Wanted| !record.has(&wanted.entry);
        let looks = wanted.iter().filter(unknown).map(|wanted| async move {
            let there = self.find(&wanted.entry).await?;
            self.check_may_take(there.as_ref(), wanted)?;
            let others = there.filter(|there| applyset::set_of(there).is_none());
            Ok::<_, Fault>(others.map(|there| (wanted.entry.clone(), there)))
        });
        let looks: Vec<_> = looks.collect();
        let found: Vec<Option<(Entry, Value)>> = stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
        let mut record = record;
        let mut maps: Vec<(String, usize, Map<String, Value>)> = Vec::new();
        for (entry, there) in found.into_iter().flatten() {
            let text = there.to_string();
            if maps.last().is_none_or(|(_, bytes, _)| bytes + text.len() > KEPT_BYTES_MAX) {
                let number = record.maps().len() + maps.len();
                maps.push((format!("{}-before-{number}", record::name(&self.scope)), 0, Map::new()));
            }
            let owner = ownership::taken_over(&there, MANAGER).owner;
            let helm = helm_release(&there);
            if let Some((name, bytes, map)) = maps.last_mut() {
                *bytes += text.len();
                map.insert(key(&entry), Value::from(text));
                record.adopted.push(Adopted { entry, owner, helm, kept: name.clone() });
            }
        }
        for (name, _, data) in maps {
            self.keep(&name, data).await?;
        }
        Ok(record)
    }

    async fn keep(&self, name: &str, data: Map<String, Value>) -> Result<(), Fault> {
        let metadata = json!({
            "name": name, "namespace": self.namespace,
            "labels": { "app.kubernetes.io/managed-by": "deployctl" },
            "annotations": { record::SCOPE: self.scope.to_string() },
        });
        let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data });
        let made = match self.cluster.create(&self.maps(), &map).await {
            // Of a try that did not come further.
            Err(trouble) if trouble.status() == Some(409) => {
                self.cluster.replace(&format!("{}/{name}", self.maps()), &map).await
            }
            made => made,
        };
        let what = format!("ConfigMap/{name}, where deployctl keeps what it takes over");
        made.map(drop).map_err(|trouble| self.fault(trouble, &what))
    }

    /// Where ConfigMaps of the namespace are.
    pub(crate) fn maps(&self) -> String {
        format!("/api/v1/namespaces/{}/configmaps", self.namespace)
    }

    /// What may not be taken over, whoever asks: what belongs to another set, and what holds secrets.
    fn check_may_take(&self, there: Option<&Value>, wanted: &Wanted) -> Result<(), Fault> {
        let Some(there) = there else { return Ok(()) };
        if applyset::set_of(there).is_some() {
            return self.check_ours(Some(there), wanted);
        }
        if wanted.name.kind == "Secret" && wanted.name.group().is_empty() {
            let message =
                format!("{} is in `{}` already, and Secrets are not taken over", wanted.what(), self.namespace);
            return Err(Fault::refused(FaultKind::Conflict, message).hint("give it another name, or delete it by hand"));
        }
        Ok(())
    }

    /// Makes the fields of an object ours, if it is not part of the set yet. What a release leaves out disappears then.
    pub(crate) async fn take_over(&self, wanted: &Wanted, path: &str) -> Result<(), Fault> {
        let what = wanted.what();
        let there = self.cluster.find(path).await.map_err(|trouble| self.fault(trouble, &what))?;
        let Some(there) = there else { return Ok(()) };
        self.check_may_take(Some(&there), wanted)?;
        if applyset::set_of(&there).is_some() {
            return Ok(());
        }
        let taken = ownership::taken_over(&there, MANAGER);
        let patch = json!({ "metadata": {
            "resourceVersion": there["metadata"]["resourceVersion"], "managedFields": taken.managed,
        } });
        let done = self.cluster.merge(path, &patch, MANAGER).await;
        done.map(drop).map_err(|trouble| self.fault(trouble, &what))
    }

    /// What taking an object over does, for people; refuses what would be refused then.
    pub(crate) async fn preview_taking(&self, wanted: &Wanted, path: &str, there: &Value) -> Result<Line, Fault> {
        self.check_may_take(Some(there), wanted)?;
        let (what, object) = (wanted.what(), self.object(wanted));
        let asked = self.cluster.apply(path, &object, How { force: false, dry: true }).await;
        let then = match asked {
            Err(Trouble::Refused(refusal)) if refusal.only_conflicts_with(ownership::is_tool_name) => {
                self.cluster.apply(path, &object, How { force: true, dry: true }).await
            }
            Err(Trouble::Refused(refusal)) => {
                Err(Trouble::Refused(refusal.without_conflicts_of(ownership::is_tool_name)))
            }
            other => other,
        };
        let then = then.map_err(|trouble| self.fault(trouble, &what))?;
        let owner = ownership::taken_over(there, MANAGER).owner;
        let from = owner.map_or_else(String::new, |owner| format!(" from {}", owner.words()));
        let (before, name) = (labelled(there), wanted.name.to_string());
        let (mut changes, exactly) = (diff::changes(&before, &then), diff::exactly(&before, &then));
        for line in self.goes(path, &object, there, &then).await {
            if !changes.contains(&line) {
                changes.push(line);
            }
        }
        let exactly = format!("take over{from}\n{exactly}\n{}", changes.join("\n"));
        let more = changes.len().saturating_sub(FIELDS);
        changes.truncate(FIELDS);
        let more = if more > 0 { format!("; and {more} fields more") } else { String::new() };
        let text = match changes.is_empty() {
            true => format!("take over {name}{from}"),
            false => format!("take over {name}{from}: {}{more}", changes.join("; ")),
        };
        Ok(Line { text, change: Some(Change { of: name, exactly }) })
    }

    /// What disappears because the tool had set it and the release does not, as the changes that this makes.
    async fn goes(&self, path: &str, object: &Value, there: &Value, then: &Value) -> Vec<String> {
        let lost = ownership::lost(there, then, MANAGER);
        if lost.is_empty() {
            return lost;
        }
        // What tools had set includes the server's defaults, which come again: so the server is asked what would be left.
        let mut object = object.clone();
        object["metadata"]["resourceVersion"] = there["metadata"]["resourceVersion"].clone();
        match self.cluster.replace(&format!("{path}?dryRun=All"), &object).await {
            Ok(left) => diff::changes(&labelled(there), &left).into_iter().filter(|line| is_of(line, &lost)).collect(),
            Err(_) => lost.into_iter().map(|path| format!("{path}: goes, or gets its default")).collect(),
        }
    }

    /// Helm's releases whose objects are taken over, a line each.
    pub(crate) async fn preview_helm(&self, all: &[Wanted]) -> Result<Vec<String>, Fault> {
        let mut names = BTreeSet::new();
        for wanted in all {
            let there = self.find(&wanted.entry).await?.filter(|there| applyset::set_of(there).is_none());
            names.extend(there.and_then(|there| helm_release(&there)));
        }
        let mut lines = Vec::new();
        for name in names {
            // Who may not look at Secrets is not told the number.
            let path =
                format!("/api/v1/namespaces/{}/secrets?labelSelector=owner%3Dhelm,name%3D{name}", self.namespace);
            let list = self.cluster.get(&path).await.unwrap_or_default();
            let records = list["items"].as_array().into_iter().flatten();
            let revision =
                records.filter_map(|item| item["metadata"]["labels"]["version"].as_str()?.parse::<u32>().ok());
            let revision = revision.max().map_or_else(String::new, |number| format!(" (revision {number})"));
            lines.push(format!(
                "take over Helm's release {name}{revision}: Helm's record of it stays, so do not run `helm upgrade` until it is handed back"
            ));
        }
        Ok(lines)
    }
}

/// With labels and annotations, so that ours are not told as a change.
fn labelled(object: &Value) -> Value {
    let mut object = object.clone();
    for map in ["labels", "annotations"] {
        if object["metadata"][map].is_null() {
            object["metadata"][map] = json!({});
        }
    }
    object
}

/// Whether a change is of one of these fields, whatever tells the items of a list apart.
fn is_of(line: &str, fields: &[String]) -> bool {
    let plain = |path: &str| {
        let mut pieces = path.split('[');
        let first = pieces.next().unwrap_or_default().to_owned();
        pieces.fold(first, |all, piece| all + "[" + piece.split_once(']').map_or("", |(_, rest)| rest))
    };
    let changed = plain(line.split(": ").next().unwrap_or_default());
    fields.iter().map(|field| plain(field)).any(|field| {
        let below = |outer: &str, inner: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        below(&field, &changed) || below(&changed, &field)
    })
}

/// Helm's release that an object says it is of.
fn helm_release(there: &Value) -> Option<String> {
    there["metadata"]["annotations"][ownership::HELM[0]].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_those_of_fields_that_disappear() {
        let lost = ["spec.ports[80,TCP].protocol".to_owned(), "data.motd".into(), "spec.tls".into()];
        assert!(is_of("data.motd: (a value) -> nothing", &lost) && is_of("spec.ports[0].protocol: UDP -> TCP", &lost));
        assert!(is_of("spec.tls[web].host: a -> nothing", &lost));
        assert!(!is_of("data.motd2: x -> nothing", &lost) && !is_of("spec.ports[0].port: 1 -> 2", &lost));
    }

    #[test]
    fn keys_of_kept_objects_are_keys_of_a_config_map() {
        let entry = Entry { api_version: "v1".into(), kind: "ClusterRole".into(), name: "system:web/x".into() };
        assert_eq!(key(&entry), "ClusterRole.system_web_x");
    }
}
