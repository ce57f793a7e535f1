//! Objects that are deleted and made anew, since something of them cannot change in place: what that costs.

use crate::object::group_of;
use serde_json::Value;

/// The words with which an API server says that a field cannot change.
const FIXED: &[&str] = &[
    "immutable",
    "may not be changed",
    "may not change once set",
    "cannot change roleref",
    "updates to statefulset spec for fields other than",
    "updates to parameters are forbidden",
    "updates to provisioner are forbidden",
    "updates to reclaimpolicy are forbidden",
];

/// Whether a server that refused a change says that it cannot be made in place.
pub fn is_fixed(status: u16, message: &str) -> bool {
    let said = message.to_lowercase();
    status == 422 && FIXED.iter().any(|words| said.contains(words))
}

/// Whether the pods of `there`, which the server may have listed without its kind, may go on, for what is made anew to take over: a StatefulSet knows its pods by their names.
pub fn keeps_pods(there: &Value, wanted: &Value) -> bool {
    is(wanted, "apps", "StatefulSet") && there["spec"]["selector"] == wanted["spec"]["selector"]
}

/// What it costs that `wanted` is made anew in the place of `there`.
pub fn cost(there: &Value, wanted: &Value) -> &'static str {
    match () {
        () if keeps_pods(there, wanted) => "its pods go on and are replaced one by one, its claims stay",
        () if is(wanted, "apps", "StatefulSet") => "its pods end before new ones begin; its claims stay",
        () if group_of(wanted["apiVersion"].as_str().unwrap_or_default()) == "apps" => {
            "its pods end before new ones begin: nobody answers meanwhile"
        }
        () if is(wanted, "batch", "Job") => "it runs again",
        () if is(wanted, "", "Service") => "it is not there for a moment, and has another address then",
        () => "it is not there for a moment",
    }
}

fn is(object: &Value, group: &str, kind: &str) -> bool {
    object["kind"] == kind && group_of(object["apiVersion"].as_str().unwrap_or_default()) == group
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_cannot_change_in_place_is_known_by_the_servers_words() {
        let words = [
            "Deployment.apps \"web\" is invalid: spec.selector: Invalid value: ...: field is immutable",
            "Service \"web\" is invalid: spec.clusterIPs[0]: Invalid value: []string{}: may not change once set",
            "RoleBinding.rbac \"x\" is invalid: roleRef: Invalid value: ...: cannot change roleRef",
            "StatefulSet.apps \"db\" is invalid: spec: Forbidden: updates to statefulset spec for fields other than 'replicas'",
        ];
        for said in words {
            assert!(is_fixed(422, said), "{said}");
            assert!(!is_fixed(403, said), "{said}");
        }
        assert!(!is_fixed(422, "Deployment.apps \"web\" is invalid: spec.replicas: must be greater than 0"));
    }

    #[test]
    fn the_cost_is_that_of_the_kind() {
        let object = |api: &str, kind: &str, app: &str| json!({ "apiVersion": api, "kind": kind, "spec": { "selector": { "matchLabels": { "app": app } } } });
        let cases = [
            ("apps/v1", "StatefulSet", "db", "its pods go on and are replaced one by one, its claims stay"),
            ("apps/v1", "StatefulSet", "x", "its pods end before new ones begin; its claims stay"),
            ("apps/v1", "Deployment", "db", "its pods end before new ones begin: nobody answers meanwhile"),
            ("batch/v1", "Job", "db", "it runs again"),
            ("v1", "Service", "db", "it is not there for a moment, and has another address then"),
            ("rbac.authorization.k8s.io/v1", "RoleBinding", "db", "it is not there for a moment"),
        ];
        for (api, kind, app, wanted) in cases {
            assert_eq!(cost(&object(api, kind, "db"), &object(api, kind, app)), wanted, "{kind} {app}");
        }
    }
}
