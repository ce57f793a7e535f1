//! What is said of a service beside what Compose says: under `x-deployctl` in its file, and, before that, under `services`.

use crate::composed::Read;
use crate::diagnostic::Findings;
use crate::node::{Key, Kind, Node};
use crate::raw;
use crate::resolve::Question;
use crate::source::Place;
use crate::{decode, merge};
use deployctl_compose::Service;
use serde_json::Value;

pub(super) fn of_service<'a>(
    question: &Question<'a>,
    read: &Read,
    service: &Service,
    findings: &mut Findings<'a>,
) -> Option<raw::Service> {
    let path = ["services", &service.name, "x-deployctl"];
    let mut nodes = Nodes { at: read.place(&path), made: 0 };
    let mut node = Node { at: nodes.at, kind: Kind::Map(Vec::new()) };
    if let Some(extension) = &service.extension {
        node = merge::lay_over(node, nodes.of(extension, read.node(&path)));
    }
    let settings = question.spec.settings_node(question.environment, question.app)?;
    if let Some(over) = settings.get("services").and_then(|all| all.get(&service.name)) {
        node = merge::lay_over(node, over.clone());
    }
    decode::decode(&node, findings)
}

/// Makes nodes of values that came through Compose, with the places that they have in the file.
struct Nodes {
    at: Place,
    made: u32,
}

impl Nodes {
    fn of(&mut self, value: &Value, written: Option<&Node>) -> Node {
        let at = written.map_or_else(|| self.somewhere(), |node| node.at);
        let kind = match value {
            Value::Null => Kind::Null,
            Value::Bool(flag) => Kind::Scalar { text: flag.to_string(), plain: true },
            Value::Number(number) => Kind::Scalar { text: number.to_string(), plain: true },
            Value::String(text) => Kind::Scalar { text: text.clone(), plain: false },
            Value::Array(items) => Kind::List(
                items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| self.of(item, written.and_then(|w| nth(w, index))))
                    .collect(),
            ),
            Value::Object(map) => Kind::Map(map.iter().map(|(key, item)| self.entry(key, item, written)).collect()),
        };
        Node { at, kind }
    }

    fn entry(&mut self, name: &str, value: &Value, written: Option<&Node>) -> (Key, Node) {
        let there = written.and_then(|node| node.entries().iter().find(|(key, _)| key.name == name));
        let at = there.map_or_else(|| self.somewhere(), |(key, _)| key.at);
        (Key { at, name: name.to_owned() }, self.of(value, there.map(|(_, node)| node)))
    }

    /// A place that no other value has: what is read is told apart by it.
    fn somewhere(&mut self) -> Place {
        self.made += 1;
        Place { column: self.at.column + 10_000 + self.made, width: 1, ..self.at }
    }
}

fn nth(node: &Node, index: usize) -> Option<&Node> {
    match &node.kind {
        Kind::List(items) => items.get(index),
        _ => None,
    }
}
