//! Two releases side by side: one has the names, the other one is beside it, and traffic is led to the one or the other.
//!
//! [`due`] says from what the record has what is to be done next; each act writes down what may be there before it is, and is safe to
//! repeat from wherever it stopped.

mod beside;
mod due;
mod lead;
mod make;
mod survey;
mod tend;

pub(crate) use beside::Beside;

use crate::apply::{Wanted, parts};
use crate::record::Record;
use crate::site::Site;
use deployctl_core::desired::{Extent, FULL, Part, Waypoint};
use deployctl_core::driver::{Step, Way};
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::Revision;
use deployctl_core::release::Releases;
use deployctl_kubernetes::object::Name;
use deployctl_kubernetes::sides::{led, led_sets};
use due::{Act, Now, Want, due};
use serde_json::Value;

/// One call does so many acts at most; the next one goes on.
const ACTS_MAX: usize = 12;

/// The way of one scope to a waypoint.
pub(crate) struct Walk<'a> {
    pub(crate) site: &'a Site,
    pub(crate) releases: &'a dyn Releases,
    pub(crate) to: &'a Waypoint,
    pub(crate) way: &'a Way,
}

impl Walk<'_> {
    /// One bounded step. Safe to repeat, from any state.
    pub(crate) async fn step(&self) -> Result<Step, Fault> {
        let done = self.act().await?;
        if self.way.back {
            self.tend().await?;
        }
        Ok(done)
    }

    async fn act(&self) -> Result<Step, Fault> {
        for _ in 0..ACTS_MAX {
            let record = self.site.admitted(self.way.fence).await?;
            let record = record.unwrap_or_else(|| Record::new(self.site.state.clone()));
            let now = Now::of(&record);
            let Some(want) = Want::of(&self.to.desired, &now) else {
                return Err(Fault::refused(
                    FaultKind::Bug,
                    "no more than two releases are beside each other in a cluster",
                ));
            };
            let done = match due(&now, &want) {
                Act::Done => return Ok(Step::Done),
                Act::Bring(revision) => self.bring(&record, &revision).await?,
                Act::Make(revision) => self.make(record, &revision).await?,
                Act::Lead(share, extent) => self.lead(record, share, extent).await?,
                Act::Unmake => self.unmake(record).await?,
            };
            if let Step::Pending(_) = done {
                return Ok(done);
            }
        }
        Ok(Step::Pending("more is to be done".into()))
    }

    /// Leaves only what has the names. For whoever gives everything up.
    pub(crate) async fn alone(&self) -> Result<Step, Fault> {
        let Some(record) = self.site.admitted(self.way.fence).await? else { return Ok(Step::Done) };
        match &record.side {
            None => Ok(Step::Done),
            Some(side) if side.settled() != Some(0) => {
                let extent = side.extent;
                self.lead(record, 0, extent).await
            }
            Some(_) => self.unmake(record).await,
        }
    }

    /// What has the names becomes a release; traffic stays where it is.
    async fn bring(&self, record: &Record, revision: &Revision) -> Result<Step, Fault> {
        let release = self.releases.release(&revision.release).await?;
        let led = match &record.side {
            Some(side) => {
                let (stable, new) = (parts(&release)?.objects, self.wanted(&side.revision).await?);
                all_led(&objects(&stable), &objects(&new), side, side.share)
            }
            None => Vec::new(),
        };
        self.site.bring(Some((revision, &release)), None, &led, self.way).await
    }

    async fn wanted(&self, revision: &Revision) -> Result<Vec<Wanted>, Fault> {
        Ok(parts(&*self.releases.release(&revision.release).await?)?.objects)
    }

    /// What the waypoint says of a revision.
    fn part(&self, revision: &Revision) -> Part {
        let alone = Part { extent: Extent::Auto, share: deployctl_core::desired::Share::Unmanaged };
        self.to.desired.parts.get(revision).copied().unwrap_or(alone)
    }

    /// Whether both are to have traffic at once, by what the waypoint says of one of them.
    fn is_split(&self, revision: &Revision) -> bool {
        is_split(self.part(revision).extent, self.to.desired.weight(revision))
    }
}

/// All objects under names of the stable release that are otherwise while the side has a share: those that lead traffic, and those whose
/// pods are of both. These come last.
fn all_led(stable: &[Value], new: &[Value], side: &Beside, share: u32) -> Vec<Value> {
    let mut all = led(stable, new, &side.sided, &side.mark(), share);
    all.extend(led_sets(stable, new, &side.parted, &side.mark(), share));
    all
}

/// Whether a part of the traffic is meant.
fn is_split(extent: Extent, share: u32) -> bool {
    matches!(extent, Extent::Enough(_)) || (1..FULL).contains(&share)
}

/// The objects as they are in the cluster.
fn objects(wanted: &[Wanted]) -> Vec<Value> {
    wanted.iter().map(|wanted| wanted.manifest.object.clone()).collect()
}

/// The objects with others in place of those of the same names.
pub(crate) fn with(mut wanted: Vec<Wanted>, led: &[Value]) -> Vec<Wanted> {
    for one in &mut wanted {
        let is_it = |object: &&Value| Name::of(object).is_some_and(|name| name.is_same(&one.name));
        if let Some(object) = led.iter().find(is_it) {
            one.manifest.object = object.clone();
        }
    }
    wanted
}
