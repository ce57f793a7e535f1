//! The target: instances, a data plane of two proxies, and jobs, each minding the fence.

mod data_plane;
mod instances;
mod jobs;

pub use data_plane::{Loaded, Service};
pub use instances::Instance;
pub use jobs::{Job, JobNow};

use crate::journal::Said;
use crate::world::{Reply, Request, Time, World};
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::{Fence, InstanceId, JobId, Revision, Scope};
use deployctl_core::route::SideStats;
use std::collections::BTreeMap;

/// What is in a scope.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// The highest fence that acted here.
    pub fence: Fence,
    /// Instances.
    pub instances: BTreeMap<InstanceId, Instance>,
    /// What is published, durably.
    pub service: Option<Service>,
    /// The number of that publication.
    pub generation: u64,
    /// What each proxy works by.
    pub proxies: [Loaded; 2],
    /// Jobs that ever ran.
    pub jobs: BTreeMap<JobId, Job>,
    /// Requests counted.
    pub stats: BTreeMap<Revision, SideStats>,
    /// Moves with every change.
    pub version: u64,
}

/// What goes on by itself.
#[derive(Clone, Debug)]
pub enum Turn {
    /// An instance goes on, if it is still in this run.
    Instance(InstanceId, u64, instances::Becomes),
    /// A proxy loads what is published, if who told it to still lives.
    Load(usize, usize, u64),
    /// A request comes, and others after it.
    Arrives,
    /// A request comes, at a bad moment.
    Extra,
    /// A request is answered.
    Answered(InstanceId),
    /// A job ends, if it is still in this run.
    Job(JobId, u64, jobs::Ends),
}

impl World {
    /// Does what a message asks for; the answer, and how much later than at once it is given.
    pub fn execute(&mut self, request: &Request, life: usize) -> (Reply, Time) {
        let done = match request {
            Request::Append(batch) => return (Reply::Appended(self.append(batch)), 0),
            Request::Beat(owner) => {
                self.journal.beat(owner);
                Ok(Reply::Done)
            }
            Request::Admit(scope, fence) => self.admit(scope, *fence).map(|()| Reply::Done),
            Request::List(scope) => Ok(Reply::Instances(self.list(scope))),
            Request::Table(scope) => Ok(self.table(scope)),
            Request::Traffic(scope) => Ok(self.traffic(scope)),
            Request::Bind(_) => Ok(Reply::Done),
            Request::Start(scope, revision, slot, fence) => {
                self.admit(scope, *fence).and_then(|()| self.start(scope, revision, *slot))
            }
            Request::Stop(scope, id, fence) => self.admit(scope, *fence).and_then(|()| self.stop(scope, id)),
            Request::Forget(scope, id, fence) => self.admit(scope, *fence).and_then(|()| self.forget(scope, id)),
            Request::Publish(scope, service, generation, fence) => {
                let done = self.admit(scope, *fence);
                return match done.and_then(|()| self.publish(scope, service.as_ref(), *generation, life)) {
                    Ok(delay) => (Reply::Done, delay),
                    Err(fault) => (Reply::Fault(fault), 0),
                };
            }
            Request::Job(scope, id, gate, fence) => {
                self.admit(scope, *fence).and_then(|()| self.run_job(scope, id, gate))
            }
            Request::Kill(scope, id, fence) => self.admit(scope, *fence).and_then(|()| self.kill_job(scope, id)),
            Request::Smoke(scope, revision) => Ok(self.smoke(scope, revision)),
        };
        (done.unwrap_or_else(Reply::Fault), 0)
    }

    /// The place of a scope.
    pub fn place(&mut self, scope: &Scope) -> &mut Place {
        self.places.entry(scope.clone()).or_default()
    }

    fn admit(&mut self, scope: &Scope, fence: Fence) -> Result<(), Fault> {
        let unfenced = self.broken.target_unfenced;
        let place = self.place(scope);
        if fence < place.fence && !unfenced {
            let message = format!("the owner with fence {} was replaced by one with {}", fence.0, place.fence.0);
            return Err(Fault::refused(FaultKind::Conflict, message));
        }
        place.fence = fence.max(place.fence);
        self.acted(scope, fence);
        Ok(())
    }

    fn append(
        &mut self,
        batch: &deployctl_core::journal::Batch,
    ) -> Result<Vec<deployctl_core::journal::Head>, deployctl_core::journal::AppendError> {
        let heads = self.journal.append(batch)?;
        self.wrote(&batch.fences);
        for write in &batch.writes {
            let lines = self.journal.lines(&write.stream);
            let new = lines[lines.len() - write.entries.len()..].iter();
            let new: Vec<_> = new.map(|line| (line.said.clone(), line.at)).collect();
            for (said, at) in new {
                self.say(|| match &*said {
                    Said::Deployment(event) => format!("  {} {}", write.stream, short(event)),
                    Said::Scope(event) => format!("  {} {}", write.stream, short(event)),
                });
                self.heard(&write.stream, &said, at);
            }
        }
        let scopes: Vec<Scope> = self.places.keys().cloned().collect();
        for scope in scopes {
            self.changed(&scope);
        }
        Ok(heads)
    }

    /// The target goes on by itself.
    pub fn turn(&mut self, scope: &Scope, turn: Turn) {
        match turn {
            Turn::Instance(id, run, becomes) => self.becomes(scope, &id, run, becomes),
            Turn::Load(proxy, life, generation) => self.load(scope, proxy, life, generation),
            Turn::Arrives => self.arrive(scope),
            Turn::Extra => self.arrives(scope),
            Turn::Answered(id) => self.request_done(scope, &id),
            Turn::Job(id, run, ends) => self.job_ends(scope, &id, run, ends),
        }
    }
}

fn short(event: &impl std::fmt::Debug) -> String {
    let text = format!("{event:?}");
    text.chars().take(300).collect()
}
