//! Who may do what in a namespace, by the rules that the server lists for whoever asks (`SelfSubjectRulesReview`).

use serde_json::Value;
use std::fmt;

/// Something that has to be allowed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// The resource, such as `deployments`.
    pub resource: String,
    /// The API group; empty for the core one.
    pub group: String,
    /// What is done, such as `patch`.
    pub verb: String,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)
    }
}

/// Those of the needs that the answer to a review does not grant for all objects of the kind. It may be incomplete, and rules for
/// single objects are not looked at: what is left has to be asked for one by one.
pub fn open<'a>(review: &Value, needs: &'a [Need]) -> Vec<&'a Need> {
    let rules = review["status"]["resourceRules"].as_array().map_or(&[][..], Vec::as_slice);
    needs.iter().filter(|need| !rules.iter().any(|rule| grants(rule, need))).collect()
}

fn grants(rule: &Value, need: &Need) -> bool {
    let has = |field: &str, wanted: &str| {
        let said = rule[field].as_array().into_iter().flatten().filter_map(Value::as_str);
        said.into_iter().any(|said| said == "*" || said == wanted)
    };
    let for_some = rule["resourceNames"].as_array().is_some_and(|names| !names.is_empty());
    !for_some && has("verbs", &need.verb) && has("apiGroups", &need.group) && has("resources", &need.resource)
}

/// What is not allowed, for a person: each resource once, with all that is missing.
pub fn words(missing: &[Need]) -> String {
    let mut said: Vec<(&str, Vec<&str>)> = Vec::new();
    for need in missing {
        match said.iter_mut().find(|(resource, _)| *resource == need.resource) {
            Some((_, verbs)) => verbs.push(&need.verb),
            None => said.push((&need.resource, vec![&need.verb])),
        }
    }
    let said: Vec<String> =
        said.into_iter().map(|(resource, verbs)| format!("{} {resource}", verbs.join(", "))).collect();
    said.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn need(verb: &str, group: &str, resource: &str) -> Need {
        Need { resource: resource.into(), group: group.into(), verb: verb.into() }
    }

    #[test]
    fn rules_grant_by_verb_group_and_resource() {
        let rule = |verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]| json!({ "verbs": verbs, "apiGroups": groups, "resources": resources, "resourceNames": names });
        let create = need("create", "apps", "deployments");
        let cases = [
            (rule(&["*"], &["*"], &["*"], &[]), true),
            (rule(&["get", "create"], &["apps"], &["deployments"], &[]), true),
            (rule(&["create"], &["apps"], &["*"], &[]), true),
            (rule(&["get"], &["apps"], &["deployments"], &[]), false),
            (rule(&["create"], &[""], &["deployments"], &[]), false),
            (rule(&["create"], &["apps"], &["deployments/scale"], &[]), false),
            // Only for one object: whether it is this one, the server says when it is asked.
            (rule(&["create"], &["apps"], &["deployments"], &["web"]), false),
            (json!({ "verbs": ["create"] }), false),
        ];
        for (rule, wanted) in cases {
            let review = json!({ "status": { "resourceRules": [rule] } });
            assert_eq!(open(&review, std::slice::from_ref(&create)).is_empty(), wanted, "{review}");
        }
        assert_eq!(open(&json!({}), std::slice::from_ref(&create)), [&create]);
    }

    #[test]
    fn all_that_is_missing_is_said_at_once() {
        let missing =
            [need("create", "apps", "deployments"), need("patch", "apps", "deployments"), need("list", "", "pods")];
        assert_eq!(words(&missing), "create, patch deployments; list pods");
        assert_eq!(missing[2].to_string(), "list pods");
    }
}
