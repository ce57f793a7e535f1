//! Hooks of charts: run at their moment, once per course of a release, and awaited.

use crate::apply::Wanted;
use crate::record::{Course, Record};
use crate::secrets::not_kept;
use crate::site::Site;
use crate::trouble::Trouble;
use deployctl_core::driver::Way;
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::Sha256Hex;
use deployctl_core::instance::SecretValues;
use deployctl_kubernetes::hooks::{self, Deletion, Hook, Moment, Stand};
use deployctl_kubernetes::secrets;
use serde_json::{Value, json};

/// On a hook's object: whose it is.
const HOOK_OF: &str = "deployctl.io/hook-of";
/// On a hook's object: the run that it was made for.
const RUN: &str = "deployctl.io/hook-run";

/// A hook of a release.
pub(crate) struct Hooked {
    pub(crate) wanted: Wanted,
    pub(crate) hook: Hook,
}

/// Before or after the objects are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Before,
    After,
}

/// Which moment that is.
pub(crate) fn moment(course: Course, side: Side) -> Moment {
    match (course, side) {
        (Course::Install, Side::Before) => Moment::PreInstall,
        (Course::Install, Side::After) => Moment::PostInstall,
        (Course::Upgrade, Side::Before) => Moment::PreUpgrade,
        (Course::Upgrade, Side::After) => Moment::PostUpgrade,
        (Course::Rollback, Side::Before) => Moment::PreRollback,
        (Course::Rollback, Side::After) => Moment::PostRollback,
        (Course::Removal, Side::Before) => Moment::PreDelete,
        (Course::Removal, Side::After) => Moment::PostDelete,
    }
}

/// The ones that are due, in their order.
pub(crate) fn due(all: &[Hooked], moment: Moment) -> Vec<&Hooked> {
    let with = all.iter().map(|one| (&one.hook, &one.wanted.manifest.object, one));
    hooks::due(with, moment).into_iter().map(|(_, _, one)| one).collect()
}

impl Site {
    /// Runs what is due and did not run yet, one after the other; says what is waited for. What is done is written down, so
    /// that nothing runs twice, whoever goes on.
    pub(crate) async fn run_hooks(
        &self,
        mut record: Record,
        all: &[Hooked],
        side: Side,
        way: &Way,
    ) -> Result<(Record, Option<String>), Fault> {
        let moment = moment(record.course, side);
        for one in due(all, moment) {
            let id = format!("{moment} {}", one.wanted.name);
            if record.hooks_done.contains(&id) {
                continue;
            }
            self.admitted(way.fence).await?;
            let run = format!("{} {moment}", record.courses);
            let revision = record.revision.as_ref().or(record.leaves.as_ref());
            let release = revision.map(|revision| &revision.release);
            if let Some(waits) = self.run_hook(one, moment, &run, release).await? {
                return Ok((record, Some(waits)));
            }
            record.hooks_done.push(id);
            record = self.write(&record).await?;
            if one.hook.deletion.contains(&Deletion::Succeeded)
                && let Some(there) = self.find(&one.wanted.entry).await?
            {
                self.delete(&one.wanted.entry, &there).await?;
            }
        }
        Ok((record, None))
    }

    /// What is waited for; nothing when it is done.
    async fn run_hook(
        &self,
        one: &Hooked,
        moment: Moment,
        run: &str,
        release: Option<&Sha256Hex>,
    ) -> Result<Option<String>, Fault> {
        let what = format!("{}, a {moment} hook", one.wanted.what());
        let Some(there) = self.find(&one.wanted.entry).await? else {
            return self.begin_hook(one, run, &what, release).await;
        };
        if there["metadata"]["annotations"][RUN] != run {
            let known = there["metadata"]["labels"][HOOK_OF] == self.set();
            if !known && there["metadata"]["annotations"][hooks::HOOK].is_null() {
                let message = format!("{what}, is in `{}` already, and somebody else made it", self.namespace);
                return Err(
                    Fault::refused(FaultKind::Conflict, message).hint("give it another name, or delete it by hand")
                );
            }
            if there["metadata"]["deletionTimestamp"].is_null() {
                self.delete(&one.wanted.entry, &there).await?;
            }
            return Ok(Some(format!("{} of the last time is to end", one.wanted.name)));
        }
        match hooks::stand(&there) {
            Stand::Done => Ok(None),
            Stand::Runs => Ok(Some(format!("{} ({moment} hook) is to complete", one.wanted.name))),
            Stand::Failed(why) => {
                let words = self.last_words(&one.wanted.name.name, release).await;
                if one.hook.deletion.contains(&Deletion::Failed) {
                    self.delete(&one.wanted.entry, &there).await?;
                }
                let words = if words.is_empty() { words } else { format!("; it printed: {words}") };
                Err(Fault::refused(FaultKind::Spec, format!("{what}, failed: {why}{words}")))
            }
        }
    }

    async fn begin_hook(
        &self,
        one: &Hooked,
        run: &str,
        what: &str,
        release: Option<&Sha256Hex>,
    ) -> Result<Option<String>, Fault> {
        let mut object = one.wanted.manifest.object.clone();
        for (map, key, value) in [("labels", HOOK_OF, self.set()), ("annotations", RUN, run.to_owned())] {
            if !object["metadata"][map].is_object() {
                object["metadata"][map] = json!({});
            }
            object["metadata"][map][key] = Value::from(value);
        }
        let mut values = SecretValues::default();
        if let (true, Some(release)) = (secrets::is_versioned(&object), release) {
            values = (self.secrets)(release)?;
            object = secrets::fill(&object, &values).map_err(|reference| not_kept(what, &reference))?;
        }
        let path = self.path(&one.wanted.entry, what).await?;
        let collection = path.rsplit_once('/').map_or(path.as_str(), |(collection, _)| collection);
        match self.cluster.create(collection, &object).await {
            Ok(made) if hooks::stand(&made) == Stand::Done => Ok(None),
            // Or somebody was faster: looked at again, it is decided anew.
            Ok(_) => Ok(Some(format!("{} is to complete", one.wanted.name))),
            Err(Trouble::Refused(refusal)) if refusal.status == 409 => {
                Ok(Some(format!("{} is there", one.wanted.name)))
            }
            Err(trouble) => {
                let fault = self.fault(trouble, what);
                Err(Fault { message: secrets::mask(&fault.message, &values), ..fault })
            }
        }
    }

    /// What the newest pod of a job printed last; nothing if that cannot be told.
    async fn last_words(&self, job: &str, release: Option<&Sha256Hex>) -> String {
        let pods = format!("/api/v1/namespaces/{}/pods", self.namespace);
        let list = self.cluster.get(&format!("{pods}?labelSelector=batch.kubernetes.io%2Fjob-name%3D{job}")).await;
        let list = list.unwrap_or_default();
        let made = |pod: &&Value| pod["metadata"]["creationTimestamp"].as_str().unwrap_or_default().to_owned();
        let newest = list["items"].as_array().into_iter().flatten().max_by_key(made);
        let name = newest.map_or(job, |pod| pod["metadata"]["name"].as_str().unwrap_or(job));
        let lines = self.printed_last(name, None, release).await;
        lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" | ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_course_has_its_moments() {
        let said = |course| [moment(course, Side::Before).to_string(), moment(course, Side::After).to_string()];
        assert_eq!(said(Course::Install), ["pre-install", "post-install"]);
        assert_eq!(said(Course::Upgrade), ["pre-upgrade", "post-upgrade"]);
        assert_eq!(said(Course::Rollback), ["pre-rollback", "post-rollback"]);
        assert_eq!(said(Course::Removal), ["pre-delete", "post-delete"]);
    }
}
