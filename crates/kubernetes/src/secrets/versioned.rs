//! Names of Secrets by what they hold, wherever they are referred to.

use super::{refer, references};
use deployctl_core::config::SecretRef;
use deployctl_core::id::Sha256Hex;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// On a Secret that was called by what it holds: what the release calls it.
pub const ORIGIN: &str = "deployctl.io/secret";
/// So much of the digest is part of the name.
const MARK: usize = 10;
/// No name is longer.
const NAME_MAX: usize = 253;

/// The objects of a release, with Secrets under names of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// All objects, in their order. Secrets have references in place of values.
    pub objects: Vec<Value>,
    /// What may mean one of the Secrets and was left as it is, for people.
    pub notes: Vec<String>,
}

/// Whether an object of a cluster is such a Secret.
pub fn is_versioned(object: &Value) -> bool {
    !object["metadata"]["annotations"][ORIGIN].is_null()
}

/// The names that Secrets get: by what the release calls them. `digest` is a keyed digest of a value, from which nothing can be
/// read; the first reference that has none is the error. A Secret without values is filled by others, and keeps its name.
pub fn names<'a>(
    objects: impl Iterator<Item = &'a Value>,
    digest: impl Fn(&SecretRef) -> Option<Sha256Hex>,
) -> Result<BTreeMap<String, String>, SecretRef> {
    let mut names = BTreeMap::new();
    for object in objects {
        let mut data = BTreeMap::new();
        for (key, to) in references(object) {
            data.insert(key, digest(&to).ok_or(to)?);
        }
        let Some(name) = object["metadata"]["name"].as_str().filter(|_| !data.is_empty()) else { continue };
        let whole = Sha256Hex::of(json!([object["type"], data]).to_string().as_bytes());
        let short = name.get(..NAME_MAX - MARK - 1).unwrap_or(name);
        names.insert(name.to_owned(), format!("{short}-{}", &whole.as_str()[..MARK]));
    }
    Ok(names)
}

/// The objects with these names: Secrets are called so, cannot be changed any more, and are referred to so.
pub fn versioned<'a>(objects: impl Iterator<Item = &'a Value>, names: &BTreeMap<String, String>) -> Versioned {
    let mut all = Versioned { objects: Vec::new(), notes: Vec::new() };
    for object in objects {
        let mut object = object.clone();
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        match names.get(&name).filter(|_| !references(&object).is_empty()) {
            Some(called) => {
                object["metadata"]["name"] = Value::from(called.as_str());
                object["metadata"]["annotations"][ORIGIN] = Value::from(name);
                object["immutable"] = Value::from(true);
            }
            None => {
                refer::rewrite(&mut object, names);
                all.notes.extend(refer::unknown(&object, names));
            }
        }
        all.objects.push(object);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(name: &str, keys: &[&str]) -> Value {
        let data: BTreeMap<_, _> = keys.iter().map(|key| (*key, json!({ "secret": format!("env:{key}") }))).collect();
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "data": data })
    }

    fn digest(key: &'static str) -> impl Fn(&SecretRef) -> Option<Sha256Hex> {
        move |to: &SecretRef| Some(Sha256Hex::of(format!("{key}{}", to.0).as_bytes()))
    }

    #[test]
    fn a_secret_is_called_by_what_it_holds() {
        let one = [secret("db", &["password", "user"])];
        let names_of = |objects: &[Value], key| names(objects.iter(), digest(key)).unwrap();
        let first = names_of(&one, "a");
        assert_eq!(first, names_of(&one, "a"));
        let called = &first["db"];
        assert!(called.starts_with("db-") && called.len() == 13, "{called}");
        assert_ne!(first, names_of(&one, "b"), "other values");
        assert_ne!(first["db"], names_of(&[secret("db", &["password"])], "a")["db"], "other keys");
        let mut typed = one[0].clone();
        typed["type"] = "kubernetes.io/basic-auth".into();
        assert_ne!(first["db"], names_of(&[typed], "a")["db"], "another type");
        assert!(names_of(&[secret("empty", &[])], "a").is_empty(), "others fill it");
        let long = names_of(&[secret(&"x".repeat(253), &["k"])], "a");
        assert_eq!(long.values().next().unwrap().len(), 253);
        assert_eq!(names(one.iter(), |_| None), Err(SecretRef("env:password".into())));
    }

    #[test]
    fn what_refers_to_a_secret_follows_it() {
        let mount = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" }, "spec": {
            "containers": [{ "name": "c", "envFrom": [{ "secretRef": { "name": "db" } }, { "secretRef": { "name": "other" } }] }],
        } });
        let objects = [secret("db", &["password"]), secret("empty", &[]), mount];
        let names = names(objects.iter(), digest("a")).unwrap();
        let all = versioned(objects.iter(), &names);
        assert_eq!(all.objects[0]["metadata"]["name"], Value::from(names["db"].as_str()));
        assert_eq!(all.objects[0]["metadata"]["annotations"], json!({ ORIGIN: "db" }));
        assert_eq!(all.objects[0]["immutable"], json!(true));
        assert!(is_versioned(&all.objects[0]) && !is_versioned(&all.objects[1]) && !is_versioned(&all.objects[2]));
        assert_eq!(all.objects[1], objects[1]);
        let from = &all.objects[2]["spec"]["containers"][0]["envFrom"];
        assert_eq!(*from, json!([{ "secretRef": { "name": names["db"] } }, { "secretRef": { "name": "other" } }]));
        assert_eq!(all.notes, Vec::<String>::new());
    }
}
