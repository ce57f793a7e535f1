//! Secrets of releases in the cluster: made once, never changed, kept while a release needs them.

use crate::apply::{Wanted, wanted};
use crate::cluster::How;
use crate::kinds::Kind;
use crate::record::{Entry, Phase, Record};
use crate::site::Site;
use deployctl_core::config::{KubernetesConfig, ManifestObject, SecretRef};
use deployctl_core::driver::Step;
use deployctl_core::fault::{Applied, Fault, FaultKind, Retry};
use deployctl_core::id::{Fence, Sha256Hex};
use deployctl_core::instance::SecretValues;
use deployctl_core::release::Release;
use deployctl_kubernetes::{applyset, order, secrets};
use deployctl_sys::crash;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Kinds that may need a Secret; pods, first, have to be seen.
const USERS: &[(&str, &str)] = &[
    ("v1", "Pod"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("apps/v1", "ReplicaSet"),
    ("batch/v1", "Job"),
    ("batch/v1", "CronJob"),
];

/// The objects of a release as they are in the cluster, and notes for people.
pub(crate) fn named(release: &Release, config: &KubernetesConfig) -> Result<(Vec<ManifestObject>, Vec<String>), Fault> {
    let objects = || config.objects.iter().map(|object| &object.object);
    let names = secrets::names(objects(), |reference| release.secrets.get(reference).cloned());
    let names = names.map_err(|reference| {
        Fault::refused(FaultKind::Bug, format!("the release has no digest of the secret `{}`", reference.0))
    })?;
    let all = secrets::versioned(objects(), &names);
    let from = config.objects.iter().map(|object| object.from.clone());
    let objects = from.zip(all.objects).map(|(from, object)| ManifestObject { from, object }).collect();
    Ok((objects, all.notes))
}

impl Site {
    /// Makes a Secret of a release, unless it is there: then it is what it was.
    pub(crate) async fn secret(
        &self,
        wanted: &Wanted,
        values: impl FnOnce() -> Result<SecretValues, Fault>,
    ) -> Result<(), Fault> {
        let what = wanted.what();
        let path = self.path(&wanted.entry, &what).await?;
        let there = self.cluster.find(&path).await.map_err(|trouble| self.fault(trouble, &what))?;
        self.check_ours(there.as_ref(), wanted)?;
        match there {
            Some(there) if !there["metadata"]["deletionTimestamp"].is_null() => {
                Err(Fault::platform(format!("{what} is being deleted; it is made again when it is gone")))
            }
            Some(_) => Ok(()),
            None => {
                let values = values()?;
                self.still_admitted().await?;
                self.make_secret(wanted, &path, &values, false).await?;
                self.still_owns(&wanted.entry).await
            }
        }
    }

    /// What is sent is repeated by nobody, whatever the server answers.
    pub(crate) async fn make_secret(
        &self,
        wanted: &Wanted,
        path: &str,
        values: &SecretValues,
        dry: bool,
    ) -> Result<(), Fault> {
        let what = wanted.what();
        let object = secrets::fill(&self.object(wanted), values).map_err(|reference| not_kept(&what, &reference))?;
        let done = self.cluster.apply(path, &object, How { force: true, dry }).await;
        if !dry {
            crash::point("kubernetes.secret-made");
        }
        done.map(drop).map_err(|trouble| {
            let fault = self.fault(trouble, &what);
            Fault { message: secrets::mask(&fault.message, values), ..fault }
        })
    }

    /// A text without the values of a release's secrets.
    pub(crate) fn hidden(&self, release: &Sha256Hex, text: &str) -> String {
        match (self.secrets)(release) {
            Ok(values) => secrets::mask(text, &values),
            // It has none, or they are not kept any more.
            Err(_) => text.to_owned(),
        }
    }

    /// Whether all Secrets of an earlier release are there or can be made again; those that have to be.
    pub(crate) async fn kept(&self, release: &Release) -> Result<Vec<String>, Fault> {
        let mut again = Vec::new();
        for wanted in wanted(release)?.iter().filter(|wanted| secrets::is_versioned(&wanted.manifest.object)) {
            if self.find(&wanted.entry).await?.is_some() {
                continue;
            }
            let lost = |why: &str| {
                let message = format!(
                    "{} cannot go back to {}: {} was deleted from `{}`, and {why}",
                    release.app, release.version, wanted.name, self.namespace
                );
                Fault::refused(FaultKind::Denied, message).hint(
                    "nothing was changed; deploy the version anew, so that its secrets are read again, or go back to another one",
                )
            };
            let values = (self.secrets)(&release.id()).map_err(|fault| lost(&fault.message))?;
            if let Err(reference) = secrets::fill(&wanted.manifest.object, &values) {
                return Err(lost(&format!("the value of `{}` is not kept any more", reference.0)));
            }
            again.push(format!("create {} again: somebody deleted it", wanted.name));
        }
        Ok(again)
    }

    /// Deletes what of earlier releases is kept and needed by none of these, nor by anything that runs.
    pub(crate) async fn retain(&self, keep: &[Arc<Release>], fence: Fence) -> Result<Step, Fault> {
        let Some(record) = self.admitted(fence).await? else { return Ok(Step::Done) };
        if record.kept.is_empty() || record.phase == Phase::Applying {
            return Ok(Step::Done);
        }
        let mut needed: Vec<Entry> = Vec::new();
        for release in keep {
            needed.extend(wanted(release)?.into_iter().map(|wanted| wanted.entry));
        }
        let (mut kept, old): (Vec<Entry>, Vec<Entry>) =
            record.kept.iter().cloned().partition(|entry| needed.iter().any(|needed| needed.is_same(entry)));
        if old.is_empty() {
            return Ok(Step::Done);
        }
        let Some(used) = self.used().await? else { return Ok(Step::Done) };
        let mut step = Step::Done;
        for entry in old {
            if used.contains(&entry.name) {
                step = Step::Pending(format!("{} is still used", entry.name()));
                kept.push(entry);
                continue;
            }
            let Some(there) = self.find(&entry).await? else { continue };
            if order::is_kept(entry.name().group(), &entry.kind) {
                kept.push(entry);
                continue;
            }
            if applyset::stranger(&there, &self.set()).is_none() {
                self.delete(&entry, &there).await?;
            }
        }
        if kept != record.kept {
            self.write(&Record { kept, ..record }).await?;
        }
        Ok(step)
    }

    /// The names of all that pods, and what makes pods, say; none if it may not be asked.
    async fn used(&self) -> Result<Option<BTreeSet<String>>, Fault> {
        let kinds: Vec<Kind> = USERS.iter().map(|(api_version, kind)| Kind::near(api_version, kind, false)).collect();
        let listed = self.lists(&kinds).await?;
        if listed.first().is_none_or(|pods| pods.path.is_none()) {
            return Ok(None);
        }
        let all: Vec<Value> = listed.into_iter().flat_map(|listed| listed.items.into_values()).collect();
        Ok(Some(secrets::used(&all)))
    }
}

/// That a value is gone.
pub(crate) fn not_kept(what: &str, reference: &SecretRef) -> Fault {
    let message = format!("{what}: the value of `{}` is not kept any more", reference.0);
    let hint = "deploy the version again, so that it is read anew".to_owned();
    let (kind, applied) = (FaultKind::Spec, Applied::No);
    Fault { kind, applied, retry: Retry::Never, message, hint: Some(hint) }
}
