//! Whether an object that is there is what would be applied, without asking the server to apply it.
//!
//! What was applied last is told by a mark that was applied with it; that nobody changed it since, by comparing what it sets.
//! A `false` is no claim: then the server decides.

use serde_json::Value;

/// On objects: a digest of what was applied last.
pub const APPLIED: &str = "deployctl.io/applied";

/// The object with its mark. Secrets get none: a digest of what is secret tells who guesses it that he did.
pub fn marked(mut object: Value, digest: impl FnOnce(&Value) -> String) -> Value {
    if object["kind"] == "Secret" {
        return object;
    }
    let digest = digest(&object);
    if !object["metadata"]["annotations"].is_object() {
        object["metadata"]["annotations"] = Value::Object(serde_json::Map::new());
    }
    object["metadata"]["annotations"][APPLIED] = Value::from(digest);
    object
}

/// What says what was applied last; none on what has no mark.
pub fn mark(object: &Value) -> Option<&str> {
    object["metadata"]["annotations"][APPLIED].as_str()
}

/// Whether it was told to go, and is still there.
pub fn ends(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

/// Whether `there` was made by applying just `wanted`, which has its mark, and still has all that it sets.
pub fn is_as_applied(wanted: &Value, there: &Value) -> bool {
    mark(wanted).is_some_and(|wanted| mark(there) == Some(wanted)) && !ends(there) && has(there, wanted)
}

/// Whether all of `wanted` is in `there`, which may have more fields, but no more items in lists.
fn has(there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| has(there.get(key).unwrap_or(&Value::Null), value))
        }
        (Value::Array(there), Value::Array(wanted)) => {
            there.len() == wanted.len() && there.iter().zip(wanted).all(|(there, wanted)| has(there, wanted))
        }
        // The server does not keep what says nothing.
        (Value::Null, wanted) => says_nothing(wanted),
        (there, wanted) => there == wanted,
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wanted() -> Value {
        let containers = json!([{ "name": "web", "image": "shop:v1", "env": [{ "name": "X", "value": "" }] }]);
        let object = json!({
            "kind": "Deployment", "metadata": { "name": "web" },
            "spec": { "replicas": 2, "template": { "spec": { "containers": containers } } },
        });
        marked(object, |_| "abc".into())
    }

    /// As the server keeps it.
    fn there() -> Value {
        let mut there = wanted();
        there["metadata"]["uid"] = "1".into();
        there["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "3".into();
        there["spec"]["progressDeadlineSeconds"] = 600.into();
        there["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = "IfNotPresent".into();
        there["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{ "name": "X" }]);
        there
    }

    #[test]
    fn what_the_server_adds_makes_no_difference_and_what_somebody_changed_does() {
        assert!(is_as_applied(&wanted(), &there()));
        type Change = fn(&mut Value);
        let changes: [(&str, Change); 6] = [
            ("scaled", |there| there["spec"]["replicas"] = 3.into()),
            ("a container more", |there| {
                let all = there["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap();
                all.push(json!({ "name": "more" }));
            }),
            ("a field taken away", |there| there["spec"]["replicas"] = Value::Null),
            ("a value", |there| {
                there["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{ "name": "X", "value": "y" }]);
            }),
            ("it ends", |there| there["metadata"]["deletionTimestamp"] = "x".into()),
            ("something else was applied since", |there| there["metadata"]["annotations"][APPLIED] = "def".into()),
        ];
        for (what, change) in changes {
            let mut there = there();
            change(&mut there);
            assert!(!is_as_applied(&wanted(), &there), "{what}");
        }
    }

    #[test]
    fn what_has_no_mark_is_the_servers_to_decide() {
        let secret = json!({ "kind": "Secret", "metadata": { "name": "s" }, "stringData": { "k": "v" } });
        assert_eq!(marked(secret.clone(), |_| unreachable!("no digest of a secret")), secret);
        assert!(!is_as_applied(&secret, &secret));
    }
}
