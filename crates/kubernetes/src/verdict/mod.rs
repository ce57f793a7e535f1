//! Whether objects are right, will be, or never can be.
//!
//! [`of`] judges a *set* of objects together: replica sets, pods and events explain those that own them, and a ConfigMap
//! in the set says that a pod which missed it will find it. What is not in the set is not assumed: the fewer objects,
//! the less is said, never the wrong thing.

mod deployment;
mod finding;
mod read;
mod set;

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
}

impl Verdict {
    /// As it is printed.
    pub fn json(&self) -> Value {
        let Self { api_version, kind, namespace, name, verdict, reason } = self;
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
        reason: found.reason,
    }
}

fn finding(set: &Set<'_>, object: &Value) -> Finding {
    match (read::group(object), read::kind(object)) {
        ("apps", "Deployment") => deployment::judge(set, object),
        (_, kind) => Finding::unknown(format!("there is no rule for a {kind}")),
    }
}
