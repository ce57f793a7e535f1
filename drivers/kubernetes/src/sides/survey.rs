//! What a path with two releases beside each other does, said before; and what cannot be.

use super::beside::mark;
use super::{is_split, objects};
use crate::apply::parts;
use crate::record::Entry;
use crate::site::Site;
use deployctl_core::config::Strategy;
use deployctl_core::desired::{FULL, Gate, Waypoint};
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::release::{Release, Releases};
use deployctl_core::view::percent;
use deployctl_kubernetes::hooks::{self, Moment};
use deployctl_kubernetes::object::Name;
use deployctl_kubernetes::sides::{Means, Sizes, at_a_time, called, divisible, expressible, made, parted, pick};
use std::collections::BTreeSet;

/// Hooks of charts run around a release that is applied at once; beside the old one they would come too late.
pub(super) fn check_hooks(release: &Release) -> Result<(), String> {
    // What cannot be read is told where it is applied.
    let Ok(parts) = parts(release) else { return Ok(()) };
    let all = || parts.hooks.iter().map(|one| (&one.hook, &one.wanted.manifest.object, &one.wanted));
    let due = [Moment::PreUpgrade, Moment::PostUpgrade].into_iter().find_map(|moment| hooks::due(all(), moment).pop());
    match due {
        None => Ok(()),
        Some((_, _, wanted)) => {
            Err(format!("has {}, a hook of a chart, which is not built beside another release", wanted.what()))
        }
    }
}

/// What has traffic as soon as it is there cannot be asked before.
fn check_smoke(release: &Release, by_number: &[&str]) -> Result<(), String> {
    let asked = crate::kubernetes(&release.config).ok().and_then(|config| config.jobs.as_ref());
    match asked.filter(|like| by_number.contains(&like.workload.as_str())) {
        None => Ok(()),
        Some(like) => Err(format!(
            "has a smoke test by `http`, and no pod of {} to ask before it has traffic, which is led by the number of its pods; `run` needs \
             no pod, and an HTTPRoute leads traffic by weights",
            like.workload
        )),
    }
}

/// Whether pods may be replaced in their places while both releases have traffic, or all of it changes sides.
pub(super) fn is_in_place(release: &Release) -> bool {
    release.config.strategy != Strategy::BlueGreen
}

impl Site {
    /// The lines of a plan, for people; refuses what cannot be walked.
    pub(crate) async fn survey(
        &self,
        releases: &dyn Releases,
        to: &Release,
        path: &[Waypoint],
    ) -> Result<Vec<String>, Fault> {
        let id = to.id();
        let beside = path.iter().filter(|waypoint| waypoint.desired.parts.len() > 1);
        let mine = beside.flat_map(|waypoint| {
            let parts = waypoint.desired.parts.iter().filter(|(revision, _)| revision.release == id);
            parts.map(|(revision, part)| (revision, part.extent, waypoint.desired.weight(revision)))
        });
        let mine: Vec<_> = mine.collect();
        let Some((revision, ..)) = mine.first() else { return Ok(Vec::new()) };
        let Some(stable) = self.record().await?.and_then(|record| record.revision) else { return Ok(Vec::new()) };
        let refused = |why: String| {
            Fault::refused(FaultKind::Spec, format!("{}: {} {why}", to.app, to.version))
                .hint("nothing was changed; `strategy: rolling` leaves it to the cluster")
        };
        check_hooks(to).map_err(refused)?;
        let old = objects(&parts(&*releases.release(&stable.release).await?)?.objects);
        let new = objects(&parts(to)?.objects);
        let split = mine.iter().any(|(_, extent, share)| is_split(*extent, *share));
        let beside = |why: String| refused(format!("cannot run beside another release: {why}"));
        let sided = pick(&old, &new, split).map_err(beside)?;
        let sets = parted(&old, &new, is_in_place(to)).map_err(beside)?;
        let shares: BTreeSet<u32> =
            mine.iter().map(|(_, _, share)| *share).filter(|share| (1..FULL).contains(share)).collect();
        let copies = made(&new, &sided, &Sizes::new(), &mark(revision));
        let entries = copies.iter().filter_map(|(copy, _)| Name::of(copy)).map(|name| Entry::of(&name));
        let mut entries: Vec<Entry> = entries.collect();
        // The cluster waits for a pod that never becomes ready also where it is gone back from.
        entries.extend(sets.first().map(|_| Entry {
            api_version: "v1".into(),
            kind: "Pod".into(),
            name: String::new(),
        }));
        self.check_permissions(&[], &entries).await?;
        let by_number = sided.iter().filter(|one| one.means == Means::Ratio).map(|one| &one.name).chain(&sets);
        let asks = path.iter().flat_map(|waypoint| &waypoint.gates).any(|gate| matches!(gate, Gate::Smoke { .. }));
        if asks {
            check_smoke(to, &by_number.map(String::as_str).collect::<Vec<_>>()).map_err(refused)?;
        }
        let mut lines = Vec::new();
        for one in &sided {
            let by = match one.means {
                Means::Route => "traffic by the weights of its routes".to_owned(),
                Means::Switch => "traffic by the selector of its Services".to_owned(),
                Means::Ratio => {
                    let beside = self.replicas("Deployment", &one.name).await?;
                    let counts = ratios(&one.name, beside, &shares).map_err(refused)?;
                    format!("traffic by the number of its pods: {counts}")
                }
            };
            lines.push(format!(
                "run Deployment/{} beside Deployment/{}: {by}",
                called(&one.name, &mark(revision)),
                one.name
            ));
        }
        for name in &sets {
            let of = self.replicas("StatefulSet", name).await?;
            let counts = portions(name, of, &shares).map_err(refused)?;
            let many = at_a_time(&new, name);
            lines.push(format!(
                "replace the pods of StatefulSet/{name} in their places, the highest ordinals first: traffic by their number: {counts}; \
                 {many} at a time does not answer meanwhile, on the way back as well"
            ));
        }
        if lines.is_empty() {
            lines.push("nothing that takes requests has other pods: all is changed at the end, in its place".into());
        }
        Ok(lines)
    }
}

/// How many pods stand for each share, beside so many, in words; else why they cannot.
fn ratios(name: &str, beside: u32, shares: &BTreeSet<u32>) -> Result<String, String> {
    let mut words = Vec::new();
    for share in shares {
        match expressible(beside, *share) {
            Ok(count) => words.push(format!("{count} for {}", percent(*share))),
            Err(near) => {
                return Err(format!(
                    "cannot have {} of the traffic by the number of pods, beside the {beside} of Deployment/{name}: {}; any share takes \
                     an HTTPRoute",
                    percent(*share),
                    nearest(near)
                ));
            }
        }
    }
    Ok(if words.is_empty() { "all at once".into() } else { words.join(", ") })
}

/// The same of the pods of a StatefulSet that has so many.
fn portions(name: &str, of: u32, shares: &BTreeSet<u32>) -> Result<String, String> {
    let mut words = Vec::new();
    for share in shares {
        match divisible(of, *share) {
            Ok(count) => words.push(format!("{count} of {of} for {}", percent(*share))),
            Err(near) => {
                return Err(format!(
                    "cannot have {} of the traffic by the number of pods, of the {of} of StatefulSet/{name}: {}",
                    percent(*share),
                    nearest(near)
                ));
            }
        }
    }
    Ok(if words.is_empty() { format!("all {of}") } else { words.join(", ") })
}

fn nearest(near: Vec<u32>) -> String {
    let near: Vec<String> = near.into_iter().map(percent).collect();
    match near.len() {
        0 => "none can".into(),
        1 => format!("the nearest is {}", near[0]),
        _ => format!("the nearest are {}", near.join(" and ")),
    }
}
