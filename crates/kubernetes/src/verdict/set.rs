//! A set of objects: who owns what, and what was said about whom.

use super::read;
use serde_json::Value;
use std::collections::BTreeMap;

/// How an object is found: kind, namespace, name.
type Key<'a> = (&'a str, &'a str, &'a str);

/// Objects that are judged together.
pub(super) struct Set<'a> {
    objects: &'a [Value],
    by_name: BTreeMap<Key<'a>, &'a Value>,
    owned: BTreeMap<Key<'a>, Vec<&'a Value>>,
    since: Option<&'a str>,
}

impl<'a> Set<'a> {
    pub(super) fn new(objects: &'a [Value], since: Option<&'a str>) -> Self {
        let mut set = Self { objects, by_name: BTreeMap::new(), owned: BTreeMap::new(), since };
        for object in objects {
            set.by_name.insert(key(object), object);
            let namespace = read::namespace(object);
            for owner in read::list(object, "/metadata/ownerReferences").iter().filter(|o| read::is(o, "/controller")) {
                let owner = (read::text(owner, "/kind"), namespace, read::text(owner, "/name"));
                set.owned.entry(owner).or_default().push(object);
            }
        }
        set
    }

    pub(super) fn objects(&self) -> &'a [Value] {
        self.objects
    }

    /// What `owner` controls, of one kind.
    pub(super) fn owned(&self, owner: &Value, kind: &str) -> Vec<&'a Value> {
        let uid = read::text(owner, "/metadata/uid");
        let all = self.owned.get(&key(owner)).map_or(&[][..], Vec::as_slice);
        all.iter().copied().filter(|object| read::kind(object) == kind && is_owner(object, uid)).collect()
    }
}

fn key(object: &Value) -> Key<'_> {
    (read::kind(object), read::namespace(object), read::name(object))
}

/// Whether the controller of an object is the one of this uid, as far as both are known: names are used again, uids never.
fn is_owner(object: &Value, uid: &str) -> bool {
    let owners = read::list(object, "/metadata/ownerReferences");
    let said = owners.iter().filter(|owner| read::is(owner, "/controller")).map(|owner| read::text(owner, "/uid"));
    said.into_iter().all(|said| said.is_empty() || uid.is_empty() || said == uid)
}
