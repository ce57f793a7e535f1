//! Secrets of a release: their values are kept apart, and each of them is an object that never changes, called by what it holds.
//!
//! A manifest's Secret is read in two steps. [`take`] puts references where values stood, so that what is kept of it is for
//! everybody to read. [`versioned`] gives each Secret a name of its own for these values, and puts this name wherever the
//! release refers to it; [`fill`] puts the values back, on their way to the cluster.

mod fill;
mod refer;
mod take;
mod used;
mod versioned;

pub use fill::{fill, mask};
pub use take::{SCHEME, put, take};
pub use used::used;
pub use versioned::{ORIGIN, Versioned, is_versioned, names, versioned};

use deployctl_core::config::SecretRef;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Whether an object is a Secret.
pub fn is_secret(object: &Value) -> bool {
    object["kind"] == "Secret" && object["apiVersion"] == "v1"
}

/// What may be looked at of an object: of a Secret, what it is called.
pub fn seen(object: &Value) -> Value {
    match is_secret(object) {
        true => json!({ "apiVersion": "v1", "kind": "Secret", "metadata": object["metadata"] }),
        false => object.clone(),
    }
}

/// What stands in the place of a value.
fn reference(to: &SecretRef) -> Value {
    json!({ "secret": to.0 })
}

/// The references of a Secret, by key; none of any other object.
pub fn references(object: &Value) -> BTreeMap<String, SecretRef> {
    if !is_secret(object) {
        return BTreeMap::new();
    }
    let data = object["data"].as_object().into_iter().flatten();
    data.filter_map(|(key, value)| Some((key.clone(), SecretRef(value["secret"].as_str()?.to_owned())))).collect()
}
