//! What a cluster answers when it does not do what it was asked, as faults that a person understands.

use deployctl_core::fault::{Applied, Fault, FaultKind, Retry};
use deployctl_core::time::Span;
use deployctl_kubernetes::replace;
use serde_json::Value;

/// An answer that is no success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// In the words of the server.
    pub(crate) message: String,
    /// What the server adds about single fields.
    pub(crate) causes: Vec<Cause>,
    /// When to ask again, if it says so.
    pub(crate) after: Option<Span>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) field: String,
}

impl Cause {
    /// Who holds the field, if that is why.
    fn holder(&self) -> Option<&str> {
        let who = self.message.strip_prefix("conflict with ").unwrap_or(&self.message);
        let who = who.split(" using ").next().unwrap_or(who).split(" with subresource ").next().unwrap_or(who);
        (self.reason == "FieldManagerConflict").then(|| who.trim_matches('"'))
    }

    /// By which part of the object it is held, such as `scale`.
    fn subresource(&self) -> Option<&str> {
        let (_, part) = self.message.split(" using ").next()?.split_once(" with subresource ")?;
        Some(part.trim_matches('"'))
    }
}

/// Why a request had no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The server said no.
    Refused(Refusal),
    /// It could not be asked, or what it said could not be read: whether it did anything is unknown.
    Lost(String),
    /// The client cannot be made: what is said about the cluster makes no sense.
    Unusable(Fault),
}

impl Refusal {
    pub(crate) fn read(status: u16, body: &[u8], after: Option<u64>) -> Self {
        let said: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let causes = said["details"]["causes"].as_array().into_iter().flatten().map(|cause| Cause {
            reason: text(&cause["reason"]),
            message: text(&cause["message"]),
            field: text(&cause["field"]),
        });
        let message = match text(&said["message"]) {
            empty if empty.is_empty() => {
                let plain: String = String::from_utf8_lossy(body).trim().chars().take(200).collect();
                if plain.is_empty() { format!("status {status}") } else { plain }
            }
            message => message,
        };
        Self { status, message, causes: causes.collect(), after: after.map(Span::secs) }
    }

    /// Whether it is trouble of the cluster, not of what it was asked.
    pub(crate) fn may_pass(&self) -> bool {
        // An unknown field in a server-side apply, which the server takes for an error of its own.
        if self.message.starts_with("failed to create typed patch object") {
            return false;
        }
        matches!(self.status, 401 | 408 | 429) || self.status >= 500
    }

    /// Who holds which fields, if that is why an apply was refused.
    fn conflicts(&self) -> Option<String> {
        let held = self.causes.iter().filter_map(|cause| Some((cause.holder()?, cause)));
        let held: Vec<String> = held
            .map(|(who, cause)| {
                let part = cause.subresource().map(|part| format!(" ({part})")).unwrap_or_default();
                format!("`{}` by `{who}`{part}", cause.field.trim_start_matches('.'))
            })
            .collect();
        (!held.is_empty()).then(|| held.join(", "))
    }

    /// Whether it was refused only for fields that managers hold who are `given`.
    pub(crate) fn only_conflicts_with(&self, given: fn(&str) -> bool) -> bool {
        !self.causes.is_empty() && self.causes.iter().all(|cause| cause.holder().is_some_and(given))
    }

    /// The same, without fields that managers hold who are `given`.
    pub(crate) fn without_conflicts_of(mut self, given: fn(&str) -> bool) -> Self {
        self.causes.retain(|cause| !cause.holder().is_some_and(given));
        self
    }
}

impl Trouble {
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(refusal) => Some(refusal.status),
            Self::Lost(_) | Self::Unusable(_) => None,
        }
    }

    /// Whether what was asked for cannot be changed in place.
    pub(crate) fn is_fixed(&self) -> bool {
        matches!(self, Self::Refused(refusal) if replace::is_fixed(refusal.status, &refusal.message))
    }

    /// Whether the object was changed since it was seen.
    pub(crate) fn is_outdated(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.status == 409 && refusal.message.contains("has been modified"))
    }

    /// In the words of the server.
    pub(crate) fn said(&self) -> &str {
        match self {
            Self::Refused(refusal) => &refusal.message,
            Self::Lost(why) => why,
            Self::Unusable(fault) => &fault.message,
        }
    }

    /// The fault, of what was being done: `what` begins the message, such as `Deployment/web (web.yaml:3)`.
    pub(crate) fn fault(self, cluster: &str, what: &str) -> Fault {
        let refusal = match self {
            Self::Unusable(fault) => return fault,
            Self::Lost(why) => {
                return Fault::platform(format!("{what}: the API server of {cluster} cannot be reached: {why}"))
                    .hint("check the network and the cluster; what runs there is not affected");
            }
            Self::Refused(refusal) => refusal,
        };
        if refusal.may_pass() {
            return passing(&refusal, cluster, what);
        }
        if let Some(held) = refusal.conflicts() {
            let message = format!("{what}: others hold fields that this release sets: {held}");
            return Fault::refused(FaultKind::Conflict, message).hint(
                "take these fields out of the manifest if the other one should keep them; else `--correct-drift` takes them back, and the \
                 plan with it lists them",
            );
        }
        let said = &refusal.message;
        match refusal.status {
            403 => Fault::refused(FaultKind::Denied, format!("{what}: {cluster} does not allow it: {said}"))
                .hint("ask who runs the cluster for the permission, or look at what the policy that is named wants"),
            404 => Fault::refused(FaultKind::Spec, format!("{what}: it is not there: {said}")),
            // Between looking and writing somebody else wrote: looked at again, it is decided anew.
            409 => Fault::platform(format!("{what}: somebody else changed it at the same time: {said}")),
            status if replace::is_fixed(status, said) => {
                let name = what.split_once(" (").map_or(what, |(name, _)| name);
                Fault::refused(FaultKind::Spec, format!("{what}: {said}")).hint(format!(
                    "this cannot be changed in place: give the object another name, or let it be deleted and made anew by \
                     `replace: [{name}]`; the plan tells what that costs"
                ))
            }
            _ => Fault::refused(FaultKind::Spec, format!("{what}: {said}")),
        }
    }
}

fn passing(refusal: &Refusal, cluster: &str, what: &str) -> Fault {
    let said = &refusal.message;
    let (message, hint) = match refusal.status {
        401 => (
            format!("{what}: {cluster} does not know these credentials (any more): {said}"),
            "log in again: the kubeconfig is read anew at the next try",
        ),
        429 => (format!("{what}: {cluster} is asked too much at the moment: {said}"), "it is tried again"),
        status => (
            format!("{what}: the API server of {cluster} is in trouble (status {status}): {said}"),
            "check the cluster; what runs there is not affected",
        ),
    };
    let retry = refusal.after.map_or(Retry::Soon, Retry::After);
    Fault { applied: Applied::Maybe, retry, ..Fault::platform(message) }.hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(status: u16, body: &Value, after: Option<u64>) -> Fault {
        let refusal = Refusal::read(status, body.to_string().as_bytes(), after);
        Trouble::Refused(refusal).fault("`prod`", "Deployment/web (web.yaml:3)")
    }

    #[test]
    fn trouble_of_the_cluster_is_tried_again() {
        for status in [401, 408, 429, 500, 502, 503, 504] {
            let fault = refused(status, &json!({ "message": "etcd is away" }), None);
            assert_eq!((fault.kind, fault.retry), (FaultKind::Platform, Retry::Soon), "{status}: {fault}");
        }
        let fault = refused(429, &json!({ "message": "too many" }), Some(7));
        assert_eq!(fault.retry, Retry::After(Span::secs(7)));
        assert_eq!(fault.message, "Deployment/web (web.yaml:3): `prod` is asked too much at the moment: too many");
        let fault = Trouble::Lost("connection refused".into()).fault("`prod`", "Deployment/web");
        assert_eq!((fault.kind, fault.retry), (FaultKind::Platform, Retry::Soon));
        assert_eq!(fault.message, "Deployment/web: the API server of `prod` cannot be reached: connection refused");
    }

    #[test]
    fn a_conflict_names_the_other_manager_and_the_field() {
        let cause =
            |who: &str, field: &str| json!({ "reason": "FieldManagerConflict", "message": who, "field": field });
        let causes = [
            cause("conflict with \"kubectl-edit\" using apps/v1", ".spec.replicas"),
            cause("conflict with \"helm\"", ".spec.paused"),
            cause("conflict with \"kubectl\" with subresource \"scale\" using apps/v1", ".spec.x"),
        ];
        let fault = refused(409, &json!({ "message": "x", "details": { "causes": causes } }), None);
        assert_eq!((fault.kind, fault.retry), (FaultKind::Conflict, Retry::Never));
        assert_eq!(
            fault.message,
            "Deployment/web (web.yaml:3): others hold fields that this release sets: `spec.replicas` by `kubectl-edit`, \
             `spec.paused` by `helm`, `spec.x` by `kubectl` (scale)"
        );
        assert!(fault.hint.unwrap().contains("`--correct-drift` takes them back"));
    }

    #[test]
    fn what_was_asked_wrongly_is_not_tried_again() {
        let cases = [
            (403, "quota", FaultKind::Denied, "Deployment/web (web.yaml:3): `prod` does not allow it: quota"),
            (404, "no such kind", FaultKind::Spec, "Deployment/web (web.yaml:3): it is not there: no such kind"),
            (400, "strict decoding", FaultKind::Spec, "Deployment/web (web.yaml:3): strict decoding"),
            (
                500,
                "failed to create typed patch object: .spec.x: field not declared in schema",
                FaultKind::Spec,
                "Deployment/web (web.yaml:3): failed to create typed patch object: .spec.x: field not declared in schema",
            ),
            (422, "field is immutable", FaultKind::Spec, "Deployment/web (web.yaml:3): field is immutable"),
        ];
        for (status, said, kind, message) in cases {
            let fault = refused(status, &json!({ "message": said }), None);
            assert_eq!((fault.kind, fault.retry, fault.message.as_str()), (kind, Retry::Never, message));
        }
        assert!(
            refused(422, &json!({ "message": "field is immutable" }), None)
                .hint
                .unwrap()
                .contains("`replace: [Deployment/web]`")
        );
        // A proxy in between need not speak JSON.
        let refusal = Refusal::read(502, b"Bad Gateway\n", None);
        assert_eq!(refusal.message, "Bad Gateway");
    }
}
