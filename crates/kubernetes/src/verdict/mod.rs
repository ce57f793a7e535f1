//! Whether objects are right, will be, or never can be.
//!
//! [`of`] judges a *set* of objects together: replica sets, pods and events explain those that own them, and a ConfigMap
//! in the set says that a pod which missed it will find it. What is not in the set is not assumed: the fewer objects,
//! the less is said, never the wrong thing.

mod cause;
mod cluster;
mod container;
mod custom;
mod deployment;
mod finding;
mod gateway;
mod input;
mod job;
mod pod;
mod read;
mod scaling;
mod service;
mod set;
mod stateful;
mod storage;
mod workload;

pub use input::{BYTES_MAX, parse};

use finding::Finding;
use serde_json::{Value, json};
use set::Set;
use std::fmt;

/// What is to be thought of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Word {
    /// It is what its specification asks for, by the word of its controller about this very generation.
    Ready,
    /// Not yet. Nothing that is known forbids that it becomes right by itself, or when something else in the cluster does.
    Progressing,
    /// Without a change of what was applied it never becomes right.
    Failed,
    /// It does not say: nothing in it is known to mean one or the other.
    Unknown,
}

impl Word {
    /// In lower case, as it is printed.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Progressing => "progressing",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What is wrong with something that is not right yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trouble {
    /// Nothing.
    None,
    /// Perhaps nothing: containers run and have not begun yet, as far as they say.
    Slow,
    /// Containers run, have begun, and answer their readiness probes badly: they may be slow, or never become ready.
    Unready,
    /// Something that heals only if something changes, be it by itself.
    Wrong,
    /// It has failed because its time was up, by the cluster's own clock, and nothing else says so: it would still become right. What that
    /// is worth is known to who could look all that time: [`crate::progress::counts`].
    Overdue,
}

/// The verdict on one object, and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// As in the object.
    pub api_version: String,
    /// As in the object.
    pub kind: String,
    /// None for what belongs to no namespace.
    pub namespace: Option<String>,
    /// As in the object.
    pub name: String,
    /// The verdict.
    pub verdict: Word,
    /// Why, for a person: one line, with the words of the cluster where it has any. Never empty.
    pub reason: String,
    /// Whether something is wrong, as long as it is not right. Not printed.
    pub trouble: Trouble,
}

impl Verdict {
    /// As it is printed.
    pub fn json(&self) -> Value {
        let Self { api_version, kind, namespace, name, verdict, reason, trouble: _ } = self;
        json!({
            "api_version": api_version, "kind": kind, "namespace": namespace, "name": name, "verdict": verdict.word(),
            "reason": reason,
        })
    }
}

/// The verdicts on all objects, in their order, but for events: those are evidence about others.
///
/// An object is whatever the API server answers for `GET`: with `apiVersion`, `kind`, `metadata`, `spec` and `status`.
/// Lists are not looked into. What is no object at all gets [`Word::Unknown`].
pub fn of(objects: &[Value]) -> Vec<Verdict> {
    judge(&Set::new(objects, None))
}

/// The same for a deployment that began at `since`, a time as the cluster writes it (RFC 3339, UTC, whole seconds): crashes
/// and events from before are not mentioned as reasons.
pub fn of_since(objects: &[Value], since: &str) -> Vec<Verdict> {
    judge(&Set::new(objects, Some(since)))
}

fn judge(set: &Set<'_>) -> Vec<Verdict> {
    let judged = set.objects().iter().filter(|object| read::kind(object) != "Event");
    judged.map(|object| verdict(set, object)).collect()
}

fn verdict(set: &Set<'_>, object: &Value) -> Verdict {
    let found = finding(set, object);
    Verdict {
        api_version: read::text(object, "/apiVersion").to_owned(),
        kind: read::kind(object).to_owned(),
        namespace: Some(read::namespace(object)).filter(|name| !name.is_empty()).map(str::to_owned),
        name: read::name(object).to_owned(),
        verdict: found.word,
        trouble: found.trouble,
        reason: one_line(&found.reason),
    }
}

/// API groups of Kubernetes itself whose kinds, as far as no rule is below, have no state: they are right by being there.
const STATELESS: &[&str] = &[
    "",
    "admissionregistration.k8s.io",
    "apps",
    "autoscaling",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "rbac.authorization.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
];
const GATEWAY: &str = "gateway.networking.k8s.io";

fn finding(set: &Set<'_>, object: &Value) -> Finding {
    let (group, kind) = (read::group(object), read::kind(object));
    if kind.is_empty() || read::name(object).is_empty() {
        return Finding::unknown("it has no kind or no name: it is no object of Kubernetes");
    }
    if (group, kind) == ("", "Namespace") {
        return cluster::judge_namespace(object);
    }
    if cluster::is_going(object) {
        return cluster::judge_going(object);
    }
    let seen = read::number(object, "/status/observedGeneration");
    if let Some(unseen) = seen.and_then(|_| workload::unseen(object)) {
        return unseen;
    }
    match (group, kind) {
        ("apps", "Deployment") => deployment::judge(set, object),
        ("apps", "ReplicaSet") => deployment::judge_replicas(set, object),
        ("", "ReplicationController") => deployment::judge_replicas(set, object),
        ("apps", "StatefulSet") => stateful::judge(set, object),
        ("apps", "DaemonSet") => stateful::judge_daemons(set, object),
        ("", "Pod") => pod::judge(set, object),
        ("batch", "Job") => job::judge(set, object),
        ("batch", "CronJob") => job::judge_cron(set, object),
        ("", "PersistentVolumeClaim") => storage::judge_claim(set, object),
        ("", "PersistentVolume") => storage::judge_volume(object),
        ("", "Service") => service::judge(set, object),
        ("networking.k8s.io", "Ingress") => service::judge_ingress(object),
        (GATEWAY, "GatewayClass") => gateway::judge_class(object),
        (GATEWAY, "Gateway") => gateway::judge(object),
        (GATEWAY, kind) if kind.ends_with("Route") => gateway::judge_route(object),
        ("autoscaling", "HorizontalPodAutoscaler") => scaling::judge_autoscaler(object),
        ("policy", "PodDisruptionBudget") => scaling::judge_budget(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => cluster::judge_definition(object),
        ("apiregistration.k8s.io", "APIService") => cluster::judge_api(object),
        ("certificates.k8s.io", "CertificateSigningRequest") => cluster::judge_signing(object),
        ("", "Node") => cluster::judge_node(object),
        ("", "ResourceQuota") => cluster::judge_quota(object),
        (group, _) if STATELESS.contains(&group) => Finding::ready("it is there"),
        _ => custom::judge(object),
    }
}

/// A reason has one line, is never empty, and what others wrote is cut where it goes on for ever.
fn one_line(text: &str) -> String {
    const MOST: usize = 600;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None if line.is_empty() => "it does not say why".into(),
        None => line,
    }
}
