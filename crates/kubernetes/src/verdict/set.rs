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
    events: BTreeMap<Key<'a>, Vec<&'a Value>>,
    since: Option<&'a str>,
}

impl<'a> Set<'a> {
    pub(super) fn new(objects: &'a [Value], since: Option<&'a str>) -> Self {
        let (by_name, owned, events) = Default::default();
        let mut set = Self { objects, by_name, owned, events, since };
        for object in objects {
            if read::kind(object) == "Event" {
                let about = ["/involvedObject", "/regarding"].into_iter().find_map(|field| object.pointer(field));
                let place =
                    |about| (read::text(about, "/kind"), read::text(about, "/namespace"), read::text(about, "/name"));
                about.into_iter().for_each(|about| set.events.entry(place(about)).or_default().push(object));
                continue;
            }
            set.by_name.insert(key(object), object);
            for owner in read::list(object, "/metadata/ownerReferences").iter().filter(|o| read::is(o, "/controller")) {
                let owner = (read::text(owner, "/kind"), read::namespace(object), read::text(owner, "/name"));
                set.owned.entry(owner).or_default().push(object);
            }
        }
        set
    }

    pub(super) fn objects(&self) -> &'a [Value] {
        self.objects
    }

    pub(super) fn find(&self, kind: &str, namespace: &str, name: &str) -> Option<&'a Value> {
        self.by_name.get(&(kind, namespace, name)).copied()
    }

    /// All of a kind in a namespace.
    pub(super) fn all<'s>(&'s self, kind: &'s str, namespace: &'s str) -> impl Iterator<Item = &'a Value> + 's {
        let wanted = move |object: &&Value| read::kind(object) == kind && read::namespace(object) == namespace;
        self.objects.iter().filter(wanted)
    }

    /// What `owner` controls, of one kind.
    pub(super) fn owned(&self, owner: &Value, kind: &str) -> Vec<&'a Value> {
        let uid = read::text(owner, "/metadata/uid");
        let all = self.owned.get(&key(owner)).map_or(&[][..], Vec::as_slice);
        all.iter().copied().filter(|object| read::kind(object) == kind && is_owner(object, uid)).collect()
    }

    /// The last event about an object with one of these reasons, unless it is from before the deployment.
    pub(super) fn event(&self, object: &Value, reasons: &[&str]) -> Option<&'a Value> {
        let uid = read::text(object, "/metadata/uid");
        let all = self.events.get(&key(object)).map_or(&[][..], Vec::as_slice).iter().copied();
        let wanted = all.filter(|event| reasons.contains(&read::text(event, "/reason")) && is_about(event, uid));
        wanted.filter(|event| self.counts(time(event))).max_by_key(|event| time(event))
    }

    /// The words of the last event with one of `bad` reasons, if none with one of `good` came after it.
    pub(super) fn complaint(&self, object: &Value, bad: &[&str], good: &[&str]) -> Option<&'a str> {
        let complaint = self.event(object, bad)?;
        let healed = self.event(object, good).is_some_and(|good| time(good) > time(complaint));
        (!healed).then(|| words(complaint))
    }

    /// Whether what happened then belongs to the deployment. What has no time does.
    pub(super) fn counts(&self, time: &str) -> bool {
        self.since.is_none_or(|since| time.is_empty() || time.get(..19) >= since.get(..19))
    }
}

fn key(object: &Value) -> Key<'_> {
    (read::kind(object), read::namespace(object), read::name(object))
}

/// When an event was seen last, in whichever of the fields that the two APIs of events have.
fn time(event: &Value) -> &str {
    let fields = ["/series/lastObservedTime", "/lastTimestamp", "/deprecatedLastTimestamp", "/eventTime"];
    let all = fields.into_iter().map(|field| read::text(event, field));
    all.into_iter().find(|time| !time.is_empty()).unwrap_or_default()
}

/// What an event says.
fn words(event: &Value) -> &str {
    ["/message", "/note"]
        .into_iter()
        .map(|field| read::text(event, field))
        .find(|text| !text.is_empty())
        .unwrap_or_default()
}

/// Names are used again, uids never.
fn is_about(event: &Value, uid: &str) -> bool {
    let said = ["/involvedObject/uid", "/regarding/uid"].map(|field| read::text(event, field));
    said.into_iter().all(|said| said.is_empty() || uid.is_empty() || said == uid)
}

/// Whether the controller of an object is the one of this uid, as far as both are known.
fn is_owner(object: &Value, uid: &str) -> bool {
    let owners = read::list(object, "/metadata/ownerReferences");
    let mut said = owners.iter().filter(|owner| read::is(owner, "/controller")).map(|owner| read::text(owner, "/uid"));
    said.all(|said| said.is_empty() || uid.is_empty() || said == uid)
}
