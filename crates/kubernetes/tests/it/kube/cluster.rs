//! What belongs to the whole cluster: definitions, and a policy that denies pods.

use super::{PATIENCE, about, classes, look, wait};
use deployctl_kubernetes::verdict::{self, Word};
use deployctl_live::kube::Cluster;
use serde_json::{Value, json};
use std::time::Instant;

fn definition(plural: &str, kind: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.shop.example") },
        "spec": {
            "group": "shop.example", "scope": "Cluster",
            "names": { "plural": plural, "singular": plural, "kind": kind },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
            }],
        },
    })
}

fn until(cluster: &Cluster, kind: &str, which: &str, word: Word, words: &str) {
    let end = Instant::now() + PATIENCE;
    loop {
        let list = cluster.get(&[kind]).expect("a list");
        let verdicts = verdict::of(list["items"].as_array().expect("items"));
        let one = about(&verdicts, which);
        if one.is_some_and(|one| one.verdict == word && one.reason.contains(words)) {
            return;
        }
        assert!(Instant::now() < end, "{which} is to be {word} ({words}): {one:?}");
    }
}

/// The second one of a kind never gets its name; an object of the first has nobody who looks after it.
pub(super) fn definitions_have_one_owner_a_name(cluster: &Cluster) {
    cluster.apply(&definition("baskets", "Basket").to_string()).expect("a definition");
    until(cluster, "crd", "CustomResourceDefinition/baskets.shop.example", Word::Ready, "it is established");
    cluster.apply(&definition("hampers", "Basket").to_string()).expect("a definition");
    let words = "is already in use";
    until(cluster, "crd", "CustomResourceDefinition/hampers.shop.example", Word::Failed, words);
    let basket = json!({ "apiVersion": "shop.example/v1", "kind": "Basket", "metadata": { "name": "b" } });
    cluster.apply(&basket.to_string()).expect("an object");
    until(cluster, "baskets.shop.example", "Basket/b", Word::Unknown, "it has no status");
}

/// A policy takes a moment until it is in force, so it is asked by a trial first.
pub(super) fn a_policy_denies(cluster: &Cluster) {
    let space = "policy";
    let name = |kind: &str, rest: Value| {
        let version = "admissionregistration.k8s.io/v1";
        json!({ "apiVersion": version, "kind": kind, "metadata": { "name": "no-pods" }, "spec": rest })
    };
    let policy = name(
        "ValidatingAdmissionPolicy",
        json!({
            "matchConstraints": { "resourceRules": [
                { "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"] },
            ] },
            "validations": [{ "expression": "false", "message": "no pods here" }],
        }),
    );
    let binding = name(
        "ValidatingAdmissionPolicyBinding",
        json!({
            "policyName": "no-pods", "validationActions": ["Deny"],
            "matchResources": { "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": space } } },
        }),
    );
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": space } });
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": [namespace, policy, binding] });
    cluster.apply(&list.to_string()).expect("a policy");
    let end = Instant::now() + PATIENCE;
    loop {
        let trial = cluster.kubectl(&["-n", space, "run", "trial", "--image=x", "--dry-run=server"]);
        if trial.is_err_and(|why| why.contains("no pods here")) {
            break;
        }
        assert!(Instant::now() < end, "the policy does not come into force");
    }
    cluster.apply(&classes::deployment(space, json!({}), json!({})).to_string()).expect("a Deployment");
    wait(cluster, space, "Deployment/web", Word::Failed);
    let verdicts = verdict::of(&look(cluster).remove(space).expect("objects"));
    let one = about(&verdicts, "Deployment/web").expect("a Deployment");
    assert!(one.reason.contains("'no-pods' denied request: no pods here"), "{}", one.reason);
}
