//! Claims that a StatefulSet made from its templates. They are in no manifest, and stay when it goes.
//!
//! By the documentation of `apps/v1` StatefulSets: a claim is called after its template, the set and the number of its pod, and
//! has the labels by which the set selects its pods. Where the set's `persistentVolumeClaimRetentionPolicy` deletes it, it has an
//! owner, and the cluster looks after it.

use serde_json::Value;

/// Whether a StatefulSet made a claim that stays without it. Of the claim its metadata are enough.
pub fn is_made_by(set: &Value, claim: &Value) -> bool {
    let (name, metadata) = (set["metadata"]["name"].as_str().unwrap_or_default(), &claim["metadata"]);
    let called = metadata["name"].as_str().unwrap_or_default();
    let mut templates = set["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten();
    let is_called_so = templates.any(|template| {
        let number = template["metadata"]["name"]
            .as_str()
            .and_then(|own| called.strip_prefix(own)?.strip_prefix('-')?.strip_prefix(name)?.strip_prefix('-'));
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    });
    let mut labels = set["spec"]["selector"]["matchLabels"].as_object().into_iter().flatten();
    let is_owned = metadata["ownerReferences"].as_array().is_some_and(|owners| !owners.is_empty());
    is_called_so && !is_owned && labels.all(|(label, value)| metadata["labels"][label] == *value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_claim_is_its_sets_by_name_and_labels() {
        let set = json!({ "metadata": { "name": "db" }, "spec": {
            "selector": { "matchLabels": { "app": "db" } },
            "volumeClaimTemplates": [{ "metadata": { "name": "data" } }, { "metadata": { "name": "log" } }],
        } });
        let claim = |name: &str, labels: Value, owners: Value| {
            is_made_by(&set, &json!({ "metadata": { "name": name, "labels": labels, "ownerReferences": owners } }))
        };
        let (labels, none) = (json!({ "app": "db", "team": "shop" }), Value::Null);
        for name in ["data-db-0", "log-db-12"] {
            assert!(claim(name, labels.clone(), none.clone()), "{name}");
        }
        for name in ["", "data", "data-db", "data-db-", "data-db-x", "data-db-1-2", "data-db2-0", "other-db-0", "db-0"]
        {
            assert!(!claim(name, labels.clone(), none.clone()), "{name}");
        }
        assert!(!claim("data-db-0", json!({ "app": "web" }), none.clone()) && !claim("data-db-0", none.clone(), none));
        assert!(
            !claim("data-db-0", labels, json!([{ "kind": "StatefulSet", "name": "db" }])),
            "the cluster deletes it"
        );
    }
}
