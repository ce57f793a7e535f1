//! Laying one tree over another: maps merge, everything else is replaced, `null` takes back.

use crate::node::{Key, Kind, Node};

/// Keys of which a map can have one only: laying one of them over another takes the other away.
const ONE_OF: &[(&str, &[&str])] = &[
    ("strategy", &["recreate", "rolling", "blue-green", "canary"]),
    ("health", &["http", "tcp", "command"]),
    ("artifact", &["path", "url"]),
    ("route", &["host", "hosts"]),
];

/// `over` laid over `base`. Places of keys and values stay those of where they came from.
pub(crate) fn lay_over(base: Node, over: Node) -> Node {
    merge("", base, over)
}

fn merge(name: &str, base: Node, over: Node) -> Node {
    let (Kind::Map(mut entries), Kind::Map(news)) = (base.kind, &over.kind) else { return over };
    if let Some((_, rivals)) = ONE_OF.iter().find(|(key, _)| *key == name) {
        let chosen = |key: &Key| news.iter().any(|(new, _)| new.name == key.name);
        if news.iter().any(|(key, _)| rivals.contains(&key.name.as_str())) {
            entries.retain(|(key, _)| chosen(key) || !rivals.contains(&key.name.as_str()));
        }
    }
    let Kind::Map(news) = over.kind else { return Node { at: base.at, kind: Kind::Map(entries) } };
    for (key, value) in news {
        match entries.iter_mut().find(|(known, _)| known.name == key.name) {
            Some((known, slot)) => {
                let old = std::mem::replace(slot, Node { at: value.at, kind: Kind::Null });
                *slot = merge(&key.name, old, value);
                *known = key;
            }
            None => entries.push((key, value)),
        }
    }
    Node { at: base.at, kind: Kind::Map(entries) }
}
