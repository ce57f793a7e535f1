//! What a deployment would change, and whether it can: asked of the server, which checks and changes nothing.

use crate::apply::{Parts, Wanted, parts};
use crate::cluster::{AT_ONCE, How, MANAGER};
use crate::hooks::{self, Hooked, Side};
use crate::kubernetes;
use crate::namespace;
use crate::prune::says_keep;
use crate::record::{Course, Record};
use crate::site::{Site, no_namespace};
use crate::smoke;
use crate::there::There;
use crate::trouble::Trouble;
use deployctl_core::config::KubernetesConfig;
use deployctl_core::fault::Fault;
use deployctl_core::instance::SecretValues;
use deployctl_core::preview::{Change, Line, Preview};
use deployctl_core::release::Release;
use deployctl_kubernetes::drift::{self, Change as Drift};
use deployctl_kubernetes::object::Name;
use deployctl_kubernetes::{applyset, diff, lint, order, replace, secrets};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::{Value, json};

/// So many fields of an object are told; of more only how many.
const FIELDS: usize = 6;
/// So many things to mind are told; of more only how many.
const ADVICE: usize = 10;

/// By what it is told what happens to an object.
struct Seen<'a> {
    /// The kinds that the release itself defines.
    defined: &'a [(String, String)],
    there: &'a There,
    /// Whether the namespace is there.
    has_place: bool,
    /// The values of the release's secrets.
    values: &'a SecretValues,
    /// Whether it is taken over if somebody else made it.
    adopt: bool,
    /// Whether it is made anew where something changes that cannot change in place.
    replaces: bool,
    /// Whether what others changed is taken back, and then whether it is the release that is there which is applied again.
    corrects: Option<bool>,
}

impl Site {
    /// The changes, a line each. Refuses what the cluster would refuse.
    pub(crate) async fn preview(
        &self,
        release: &Release,
        values: &SecretValues,
        corrects: bool,
    ) -> Result<Preview, Fault> {
        let config = kubernetes(&release.config)?;
        let Parts { objects: all, hooks, notes } = parts(release)?;
        let has_place = self.check_place(namespace::is_among(&all)).await?;
        self.check_permissions(&all, &[]).await?;
        if config.smoke_port.is_some() {
            self.check_need(smoke::need()).await?;
        }
        let record = self.record().await?;
        let restarted = record.as_ref().and_then(|record| record.restarted);
        let all: Vec<Wanted> = all.into_iter().map(|wanted| wanted.restarted(restarted)).collect();
        if let Some(record) = &record {
            record.admit(&self.scope, &self.state, record.fence)?;
            self.check_permissions(&[], &record.inventory).await?;
        }
        let (defined, there) = (defined(&all), self.there(&all).await?);
        let current = record.as_ref().and_then(|record| record.revision.as_ref());
        let corrects = corrects.then(|| current.is_some_and(|revision| revision.release == release.id()));
        let mut lines: Vec<BoxFuture<'_, Result<Vec<Line>, Fault>>> = Vec::new();
        for wanted in &all {
            let adopt = config.adopt && !record.as_ref().is_some_and(|record| record.has(&wanted.entry));
            let replaces = config.replace.contains(&wanted.name.to_string());
            let seen = Seen { defined: &defined, there: &there, has_place, values, adopt, replaces, corrects };
            lines.push(self.change(wanted, seen).boxed());
        }
        let lines: Vec<Vec<Line>> = stream::iter(lines).buffered(AT_ONCE).try_collect().await?;
        let mut lines: Vec<Line> = lines.into_iter().flatten().collect();
        lines.append(&mut hook_lines(record.as_ref(), &hooks));
        if config.adopt {
            lines.extend(self.preview_helm(&all).await?.into_iter().map(Line::note));
        }
        lines.append(&mut self.leaving(record.as_ref(), &all).await?);
        lines.extend(notes.into_iter().map(|note| Line::note(format!("note: {note}"))));
        lines.extend(advice(config).into_iter().map(Line::note));
        Ok(Preview { lines, is_exact: true })
    }

    /// What happens to what the release does not have any more.
    async fn leaving(&self, record: Option<&Record>, all: &[Wanted]) -> Result<Vec<Line>, Fault> {
        let mut lines = Vec::new();
        for entry in record.into_iter().flat_map(|record| &record.inventory) {
            if all.iter().any(|wanted| wanted.entry.is_same(entry)) {
                continue;
            }
            let name = entry.name();
            let there = self.find(entry).await?;
            let Some(there) = there.filter(|there| applyset::stranger(there, &self.set()).is_none()) else { continue };
            if secrets::is_versioned(&there) {
                lines.push(Line::note(format!("keep {name} while a release needs it that is retained")));
                continue;
            }
            lines.push(match order::is_kept(name.group(), &name.kind) || says_keep(&there) {
                true => Line::note(format!(
                    "keep {name}: the release does not have it, and it is never deleted by a deployment"
                )),
                false => Line::change(name.to_string(), format!("delete {name}")),
            });
            for made in self.claims_of(&[entry]).await? {
                let claim = made.entry().name();
                lines.push(Line::note(format!("keep {claim}, which {name} made: no deployment ever deletes it")));
            }
        }
        Ok(lines)
    }

    /// Whether the namespace is there; refused if it is not, and does not `come` with the release.
    async fn check_place(&self, comes: bool) -> Result<bool, Fault> {
        let name = self.cluster.name();
        match self.cluster.find(&format!("/api/v1/namespaces/{}", self.namespace)).await {
            Ok(Some(namespace)) if !namespace["metadata"]["deletionTimestamp"].is_null() => {
                let message = format!("the namespace `{}` of {name} is being deleted", self.namespace);
                Err(Fault::platform(message).hint("wait until it is gone, and make it anew"))
            }
            Ok(Some(_)) => Ok(true),
            Ok(None) if comes => Ok(false),
            Ok(None) => Err(no_namespace(&self.namespace, &name)),
            // Who may not look at namespaces may still deploy into one.
            Err(Trouble::Refused(refusal)) if refusal.status == 403 => Ok(true),
            Err(trouble) => Err(self.fault(trouble, &format!("the namespace `{}`", self.namespace))),
        }
    }

    /// What happens to one object; nothing if nothing does.
    async fn change(
        &self,
        wanted: &Wanted,
        Seen { defined, there, has_place, values, adopt, replaces, corrects }: Seen<'_>,
    ) -> Result<Vec<Line>, Fault> {
        let (what, name, object) = (wanted.what(), &wanted.name, self.object(wanted));
        let line = |text: String| vec![Line::change(name.to_string(), text)];
        if there.is_done(&wanted.entry, &object) {
            return Ok(Vec::new());
        }
        if defined.contains(&(name.group().to_owned(), name.kind.clone())) {
            let known = self.cluster.api(&name.api_version, &name.kind).await;
            if known.map_err(|trouble| self.fault(trouble, &what))?.is_none() {
                return Ok(line(format!("create {name} (not checked: its kind comes with it)")));
            }
        }
        let path = self.path(&wanted.entry, &what).await?;
        if !has_place && path.contains("/namespaces/") && !name.is_namespace() {
            return Ok(line(format!("create {name} (not checked: its namespace comes with it)")));
        }
        let there = match there.own(&wanted.entry) {
            Some(own) => Some(own.clone()),
            None if there.is_free(&wanted.entry) => None,
            None => self.cluster.find(&path).await.map_err(|trouble| self.fault(trouble, &what))?,
        };
        if let (true, Some(there)) = (adopt, &there)
            && applyset::stranger(there, &self.set()).is_some()
        {
            return self.preview_taking(wanted, &path, there).await.map(|line| vec![line]);
        }
        self.check_ours(there.as_ref(), wanted)?;
        if secrets::is_versioned(&wanted.manifest.object) {
            if there.is_none() {
                self.make_secret(wanted, &path, values, true).await?;
            }
            return Ok(if there.is_none() { line(format!("create {name}")) } else { Vec::new() });
        }
        let how = How { force: corrects.is_some(), dry: true };
        let then = self.cluster.apply(&path, &object, how).await;
        let then = match (then, &there) {
            (Err(trouble), Some(there)) if replaces && trouble.is_fixed() => {
                let cost = replace::cost(there, &object);
                return Ok(line(format!("replace {name}: it is deleted and made anew, {cost}; {}", said(&trouble))));
            }
            (then, _) => then.map_err(|trouble| self.fault(trouble, &what))?,
        };
        let Some(there) = there else { return Ok(line(format!("create {name}"))) };
        // Of a Secret that others fill nothing is read but what it is called.
        let seen = |object: &Value| match secrets::is_secret(&wanted.manifest.object) {
            true => json!({ "metadata": object["metadata"] }),
            false => object.clone(),
        };
        let drift = corrects.map_or_else(Vec::new, |same| taken_back(wanted, &there, same));
        let (there, then) = (seen(&there), seen(&then));
        let mut lines: Vec<Line> =
            told(name, diff::changes(&there, &then), &drift).into_iter().map(Line::note).collect();
        if let Some(first) = lines.first_mut() {
            first.change = Some(Change { of: name.to_string(), exactly: diff::exactly(&there, &then) });
        }
        Ok(lines)
    }
}

/// What others changed and is taken back. Of another release than the one that is there, what nobody has may merely be new.
fn taken_back(wanted: &Wanted, there: &Value, same: bool) -> Vec<Drift> {
    let mut all = drift::changes(&secrets::seen(&wanted.manifest.object), there, MANAGER);
    all.retain(|change| same || !change.by.is_empty());
    all
}

/// What happens to an object that is there: what is taken back, a line each, and what changes besides.
fn told(name: &Name, mut fields: Vec<String>, drift: &[Drift]) -> Vec<String> {
    let mut lines: Vec<String> =
        drift.iter().map(|change| format!("correct {name}: {}", change.taken_back())).collect();
    fields.retain(|field| {
        let path = field.split(": ").next().unwrap_or_default();
        !drift.iter().any(|change| change.covers(path))
    });
    if !fields.is_empty() {
        let more = fields.len().saturating_sub(FIELDS);
        fields.truncate(FIELDS);
        let more = if more > 0 { format!("; and {more} fields more") } else { String::new() };
        lines.push(format!("change {name}: {}{more}", fields.join("; ")));
    }
    lines
}

/// The server's own words, no more of them than a person reads.
fn said(trouble: &Trouble) -> String {
    const MOST: usize = 300;
    let line = trouble.said().split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// The hooks that run, a line each.
fn hook_lines(record: Option<&Record>, all: &[Hooked]) -> Vec<Line> {
    let course = if record.is_none_or(Record::is_new) { Course::Install } else { Course::Upgrade };
    let mut lines = Vec::new();
    for (side, word) in [(Side::Before, "before"), (Side::After, "after")] {
        let moment = hooks::moment(course, side);
        let due = hooks::due(all, moment).into_iter();
        lines.extend(due.map(|one| {
            let name = one.wanted.name.to_string();
            let text = format!("run {name} {word} its objects are applied ({moment} hook)");
            Line::change(name, text)
        }));
    }
    lines
}

/// What is to be minded of a release, a line each.
fn advice(config: &KubernetesConfig) -> Vec<String> {
    let objects: Vec<Value> = config.objects.iter().map(|manifest| manifest.object.clone()).collect();
    let all = lint::of(&objects);
    let more = all.len().saturating_sub(ADVICE);
    let lines = all.into_iter().take(ADVICE).map(|advice| format!("mind {}: {}", advice.name, advice.message));
    lines.chain((more > 0).then(|| format!("mind {more} things more"))).collect()
}

/// The kinds that the release itself defines: group and kind.
fn defined(all: &[Wanted]) -> Vec<(String, String)> {
    let definitions = all.iter().filter(|wanted| wanted.name.kind == "CustomResourceDefinition");
    let named = definitions.filter_map(|wanted| {
        let spec = &wanted.manifest.object["spec"];
        Some((spec["group"].as_str()?.to_owned(), spec["names"]["kind"].as_str()?.to_owned()))
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_back_is_told_field_by_field_and_not_twice() {
        let name = Name::of(&json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" } }));
        let name = name.expect("a name");
        let change = |path: &str, by: &[&str]| Drift {
            path: path.into(),
            now: "3".into(),
            applied: "2".into(),
            by: by.iter().map(|by| (*by).to_owned()).collect(),
        };
        let drift = [change("spec.replicas", &["kubectl (scale)"]), change("metadata.labels.tier", &[])];
        let fields = || ["metadata.labels.tier: 3 -> 2", "spec.paused: true -> false", "spec.replicas: 3 -> 2"];
        let fields = || fields().map(str::to_owned).to_vec();
        assert_eq!(
            told(&name, fields(), &drift),
            [
                "correct Deployment/web: spec.replicas: 3 -> 2, over the change by kubectl (scale)",
                "correct Deployment/web: metadata.labels.tier: 3 -> 2, over the change by somebody",
                "change Deployment/web: spec.paused: true -> false",
            ]
        );
        let many = (1..=8).map(|number| format!("spec.x{number}: 1 -> 2")).collect();
        assert!(told(&name, many, &[])[0].ends_with("spec.x6: 1 -> 2; and 2 fields more"));
        assert_eq!(told(&name, Vec::new(), &[]), Vec::<String>::new());
    }
}
