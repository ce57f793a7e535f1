//! What engines ask of journal and target, and what they are answered.

use crate::target::Service;
use deployctl_core::desired::JobGate;
use deployctl_core::fault::Fault;
use deployctl_core::id::{Fence, InstanceId, JobId, OwnerId, Revision, Scope};
use deployctl_core::instance::InstanceSeen;
use deployctl_core::job::JobState;
use deployctl_core::journal::{AppendError, Batch, Head};
use deployctl_core::route::SideStats;
use std::collections::BTreeMap;

/// A message.
#[derive(Clone, Debug)]
pub enum Request {
    /// Append to the journal.
    Append(Batch),
    /// Move the own renewal counter.
    Beat(OwnerId),
    /// Refuse older fences in a scope from now on.
    Admit(Scope, Fence),
    /// The instances of a scope.
    List(Scope),
    /// What is published for a scope.
    Table(Scope),
    /// What goes on in the data plane.
    Traffic(Scope),
    /// Late values of a scope.
    Bind(Scope),
    /// Start an instance.
    Start(Scope, Revision, u32, Fence),
    /// Stop an instance.
    Stop(Scope, InstanceId, Fence),
    /// Clear a gone instance away.
    Forget(Scope, InstanceId, Fence),
    /// Publish what is routed, as this generation.
    Publish(Scope, Option<Service>, u64, Fence),
    /// Start a job or find it.
    Job(Scope, JobId, JobGate, Fence),
    /// End a job.
    Kill(Scope, JobId, Fence),
    /// Make a smoke test of a revision.
    Smoke(Scope, Revision),
}

/// An answer.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Of the journal.
    Appended(Result<Vec<Head>, AppendError>),
    /// It could not be done.
    Fault(Fault),
    /// It is done.
    Done,
    /// The instances.
    Instances(Vec<InstanceSeen>),
    /// What is published, as which generation.
    Table(Option<Service>, u64),
    /// The lowest generation that a proxy works by, requests in flight, and counters.
    Traffic(u64, BTreeMap<InstanceId, u64>, BTreeMap<Revision, SideStats>),
    /// How a job is.
    Job(JobState),
    /// What is wrong, by a smoke test.
    Smoke(Result<(), String>),
}

/// What befalls an engine at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// It is killed, and the call never leaves.
    CrashBefore,
    /// It is killed when the call is done, before it hears of it.
    CrashAfter,
    /// It is killed, and the call arrives late.
    CrashLate,
    /// It is stopped for so long and then goes on as if nothing had been.
    Pause(u64),
}

impl Request {
    /// The scope whose target it concerns; none for the journal.
    pub fn scope(&self) -> Option<&Scope> {
        match self {
            Self::Append(_) | Self::Beat(_) => None,
            Self::Admit(s, _) | Self::List(s) | Self::Table(s) | Self::Traffic(s) | Self::Bind(s) => Some(s),
            Self::Start(s, ..) | Self::Stop(s, ..) | Self::Forget(s, ..) | Self::Publish(s, ..) => Some(s),
            Self::Job(s, ..) | Self::Kill(s, ..) | Self::Smoke(s, ..) => Some(s),
        }
    }

    /// What the sender hears if the message or its answer was lost.
    pub fn lost(&self, why: &str) -> Reply {
        match self {
            Self::Append(_) => Reply::Appended(Err(AppendError::Unknown(why.into()))),
            _ => Reply::Fault(Fault::platform(why)),
        }
    }
}

/// For people who read what happened.
impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(scope) = self.scope() {
            write!(f, "{}: ", scope.app)?;
        }
        let name = |r: &Revision| format!("{}.{}", r.release.short(), r.nonce);
        match self {
            Self::Append(batch) => {
                let writes = batch.writes.iter().map(|w| format!("{} after {}", w.stream, w.expected.0));
                write!(f, "append {}", writes.collect::<Vec<_>>().join(", "))
            }
            Self::Beat(owner) => write!(f, "beat of {owner}"),
            Self::Admit(_, fence) => write!(f, "admit {}", fence.0),
            Self::List(_) => write!(f, "list"),
            Self::Table(_) => write!(f, "table"),
            Self::Traffic(_) => write!(f, "traffic"),
            Self::Bind(_) => write!(f, "bind"),
            Self::Start(_, revision, slot, fence) => write!(f, "start {}/{slot} by {}", name(revision), fence.0),
            Self::Stop(_, id, fence) => write!(f, "stop {id} by {}", fence.0),
            Self::Forget(_, id, fence) => write!(f, "forget {id} by {}", fence.0),
            Self::Publish(_, service, generation, fence) => {
                write!(f, "publish {generation} {} by {}", routes(service.as_ref()), fence.0)
            }
            Self::Job(_, _, gate, fence) => write!(f, "{} by {}", gate.what, fence.0),
            Self::Kill(_, id, fence) => write!(f, "kill {id} by {}", fence.0),
            Self::Smoke(_, revision) => write!(f, "smoke test of {}", name(revision)),
        }
    }
}

fn routes(service: Option<&Service>) -> String {
    let Some(service) = service else { return "no service".into() };
    let side = |(revision, side): (&Revision, &deployctl_core::ops::Side)| {
        let members: Vec<_> = side.members.iter().map(InstanceId::as_str).collect();
        format!("{}.{} @ {}: {}", revision.release.short(), revision.nonce, side.weight, members.join(" "))
    };
    format!("[{}]", service.iter().map(side).collect::<Vec<_>>().join(", "))
}

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Appended(Ok(_)) | Self::Done => write!(f, "done"),
            Self::Appended(Err(error)) => write!(f, "{error}"),
            Self::Fault(fault) => write!(f, "fault: {fault}"),
            Self::Instances(all) => {
                let one = |i: &InstanceSeen| format!("{} {} {}", i.revision.release.short(), i.id, i.state.word());
                write!(f, "[{}]", all.iter().map(one).collect::<Vec<_>>().join(", "))
            }
            Self::Table(service, generation) => write!(f, "{generation} {}", routes(service.as_ref())),
            Self::Traffic(generation, in_flight, _) => {
                let busy = in_flight.iter().filter(|(_, n)| **n > 0).map(|(id, n)| format!("{id} {n}"));
                write!(f, "{generation} at least, in flight [{}]", busy.collect::<Vec<_>>().join(", "))
            }
            Self::Job(state) => write!(f, "{state:?}"),
            Self::Smoke(said) => write!(f, "{said:?}"),
        }
    }
}
