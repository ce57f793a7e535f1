//! As much of an API server as the driver asks for, in memory. Deployments are available as soon as they are applied; StatefulSets have a
//! controller, which does one thing whenever somebody looks.

use crate::controller;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Kinds, by group and version, with what they are called in paths.
const KINDS: &[(&str, &[(&str, &str)])] = &[
    (
        "/api/v1",
        &[
            ("configmaps", "ConfigMap"),
            ("services", "Service"),
            ("pods", "Pod"),
            ("events", "Event"),
            ("secrets", "Secret"),
            ("persistentvolumeclaims", "PersistentVolumeClaim"),
            ("namespaces", "Namespace"),
        ],
    ),
    ("/apis/apps/v1", &[("deployments", "Deployment"), ("replicasets", "ReplicaSet"), ("statefulsets", "StatefulSet")]),
    ("/apis/batch/v1", &[("jobs", "Job")]),
    ("/apis/discovery.k8s.io/v1", &[("endpointslices", "EndpointSlice")]),
];

const SPACES: &str = "/api/v1/namespaces";

/// When the server dies, as its client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dies {
    Before(usize),
    After(usize),
}

/// What it has.
#[derive(Default)]
pub(crate) struct Store {
    /// By the path of each.
    pub(crate) objects: BTreeMap<String, Value>,
    version: u64,
    /// How often something was changed.
    pub(crate) writes: usize,
    /// Cut off once, at this change.
    pub(crate) dies: Option<Dies>,
    /// Whether there is no namespace before somebody makes it.
    pub(crate) is_bare: bool,
    /// What should never have been, as it was seen.
    pub(crate) broken: Vec<String>,
}

/// The server; it ends with the tests.
pub(crate) struct Server {
    pub(crate) url: String,
    store: Arc<Mutex<Store>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let store: Arc<Mutex<Store>> = Arc::default();
        let shared = Arc::clone(&store);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let store = Arc::clone(&shared);
                std::thread::spawn(move || while serve(&stream, &store) {});
            }
        });
        Self { url, store }
    }

    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is at `KIND/NAME`.
    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.store().objects.iter().find(|(at, _)| at.ends_with(path)).map(|(_, object)| object.clone())
    }
}

/// One request; false when the connection is over.
fn serve(stream: &TcpStream, store: &Mutex<Store>) -> bool {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.read_line(&mut line).unwrap_or(0) == 0 {
        return false;
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut length = 0;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header).unwrap_or(0) == 0 {
            return false;
        }
        if header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return false;
    }
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let answer = store.lock().unwrap_or_else(PoisonError::into_inner).answer(&method, &target, body);
    let Some((status, value)) = answer else { return false };
    let text = value.to_string();
    let head =
        format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", text.len());
    // At once: a second write would wait for the first to be acknowledged.
    let mut writer = stream;
    writer.write_all((head + &text).as_bytes()).is_ok()
}

fn refused(status: u16, message: &str) -> Option<(u16, Value)> {
    Some((status, json!({ "kind": "Status", "status": "Failure", "code": status, "message": message, "reason": "X" })))
}

impl Store {
    /// The answer; none if the connection is cut off.
    fn answer(&mut self, method: &str, target: &str, body: Value) -> Option<(u16, Value)> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if method == "GET" {
            if path.contains("/pods") || path.contains("/statefulsets") {
                controller::acts(&mut self.objects);
                let all = self.watched();
                self.broken.extend(all);
            }
            return self.read(path, query);
        }
        if query.contains("dryRun") || path.contains("authorization.k8s.io") {
            return refused(422, "not here");
        }
        self.writes += 1;
        let dies = self.dies.filter(|dies| matches!(dies, Dies::Before(at) | Dies::After(at) if *at == self.writes));
        if let Some(Dies::Before(_)) = dies {
            return None;
        }
        let answer = self.write(method, path, body);
        let all = self.watched();
        self.broken.extend(all);
        if dies.is_some() { None } else { answer }
    }

    fn read(&self, path: &str, query: &str) -> Option<(u16, Value)> {
        if let Some((_, kinds)) = KINDS.iter().find(|(group, _)| *group == path) {
            let of =
                |(name, kind): &(&str, &str)| json!({ "name": name, "kind": kind, "namespaced": *kind != "Namespace" });
            return Some((200, json!({ "resources": kinds.iter().map(of).collect::<Vec<_>>() })));
        }
        if let Some(object) = self.objects.get(path) {
            return Some((200, object.clone()));
        }
        let is_list = KINDS
            .iter()
            .any(|(group, kinds)| kinds.iter().any(|(name, _)| path == format!("{group}/namespaces/shop/{name}")))
            || path == SPACES;
        if !is_list {
            return refused(404, "not found");
        }
        let selector = query.split('&').find_map(|part| part.strip_prefix("labelSelector=")).unwrap_or_default();
        let selector = selector.replace("%3D", "=").replace("%2F", "/").replace("%2C", ",");
        let is_in = |object: &&Value| {
            let mut wanted = selector.split(',').filter_map(|one| one.split_once('='));
            wanted.all(|(key, value)| object["metadata"]["labels"][key] == value)
        };
        let prefix = format!("{path}/");
        let is_at = |at: &str| at.strip_prefix(&prefix).is_some_and(|name| !name.contains('/'));
        let items = self.objects.iter().filter(|(at, _)| is_at(at)).map(|(_, object)| object);
        let items: Vec<&Value> = items.filter(is_in).collect();
        Some((200, json!({ "metadata": { "resourceVersion": self.version.to_string() }, "items": items })))
    }

    fn write(&mut self, method: &str, path: &str, mut body: Value) -> Option<(u16, Value)> {
        let path = match method {
            "POST" => format!("{path}/{}", body["metadata"]["name"].as_str().unwrap_or_default()),
            _ => path.to_owned(),
        };
        let there = self.objects.get(&path).cloned();
        let space = format!("{SPACES}/shop");
        if self.is_bare && path != space && !self.objects.contains_key(&space) {
            return refused(404, "namespaces \"shop\" not found");
        }
        if method == "DELETE" {
            if path == space {
                // With all that is in it.
                self.objects.retain(|at, _| *at == space || !at.contains("/namespaces/shop/"));
            }
            return match self.objects.remove(&path) {
                Some(object) => Some((200, object)),
                None => refused(404, "not found"),
            };
        }
        let said = &body["metadata"]["resourceVersion"];
        match &there {
            Some(_) if method == "POST" => return refused(409, "it is there"),
            Some(there) if !said.is_null() && *said != there["metadata"]["resourceVersion"] => {
                return refused(409, "it was changed");
            }
            None if method == "PUT" => return refused(404, "not found"),
            _ => {}
        }
        self.version += 1;
        let before = there.unwrap_or_default();
        let generation =
            before["metadata"]["generation"].as_u64().unwrap_or(0) + u64::from(before["spec"] != body["spec"]);
        body["metadata"]["generation"] = generation.into();
        body["metadata"]["uid"] = path.as_str().into();
        body["metadata"]["resourceVersion"] = self.version.to_string().into();
        body["metadata"]["managedFields"] = json!([{ "manager": "deployctl", "time": "2026-11-22T00:00:00Z" }]);
        match body["kind"].as_str() {
            Some("Deployment") => {
                if !before.is_null() && before["spec"]["template"] != body["spec"]["template"] && self.serves(&before) {
                    self.broken.push(format!("the pods of {} change while they serve", body["metadata"]["name"]));
                }
                let count = body["spec"]["replicas"].as_u64().unwrap_or(1);
                body["status"] = json!({ "observedGeneration": generation, "replicas": count, "updatedReplicas": count,
                    "availableReplicas": count, "readyReplicas": count });
            }
            Some("StatefulSet") => body["status"] = before["status"].clone(),
            Some("Namespace") => {
                let notes = before["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
                for (key, value) in notes {
                    // What another manager has set stays.
                    if body["metadata"]["annotations"][&key].is_null() {
                        body["metadata"]["annotations"][&key] = value;
                    }
                }
                body["status"] = json!({ "phase": "Active" });
            }
            Some("PersistentVolumeClaim") => body["status"] = json!({ "phase": "Bound" }),
            Some("Service") => body["spec"]["clusterIP"] = "10.0.0.1".into(),
            _ => {}
        }
        self.objects.insert(path, body.clone());
        Some((200, body))
    }

    fn all(&self, kind: &str) -> impl Iterator<Item = &Value> {
        let infix = format!("/{kind}/");
        self.objects.iter().filter(move |(path, _)| path.contains(&infix)).map(|(_, object)| object)
    }

    /// Whether the Service `web` leads to a Deployment.
    fn serves(&self, deployment: &Value) -> bool {
        let service = self.all("services").find(|service| service["metadata"]["name"] == "web");
        let selector = service.and_then(|service| service["spec"]["selector"].as_object());
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        selector.is_some_and(|selector| selector.iter().all(|(key, value)| labels[key] == *value))
    }

    /// What must hold after each change: there are as many pods behind the Service as the release promises.
    fn watched(&self) -> Option<String> {
        let is_begun = self.all("deployments").any(|one| one["metadata"]["name"] == "web")
            && self.all("services").any(|one| one["metadata"]["name"] == "web");
        let serving = self.all("deployments").filter(|one| self.serves(one));
        let count: u64 = serving.filter_map(|one| one["spec"]["replicas"].as_u64()).sum();
        if is_begun && count < 2 {
            return Some(format!("{count} pods serve after change {}", self.writes));
        }
        let sets = self.all("statefulsets").filter(|set| set["status"]["begun"] == true);
        let ready = self.all("pods").filter(|pod| controller::is_ready(pod)).count();
        sets.last().is_some_and(|_| ready < 2).then(|| format!("{ready} pods of db serve after change {}", self.writes))
    }
}
