//! What is done while something crashes: each strategy, forth and back, with and without a migration.

use super::Apps;
use super::containers::{PORT, REPOSITORY, SICK};
use super::objects::{Shape, image};

/// What a flow comes to where nothing crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// With the new version.
    New,
    /// Turned back: the version was bad.
    Back,
    /// With nothing.
    Down,
}

/// A flow.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    /// `STRATEGY/WHAT`.
    pub(crate) name: String,
    /// The specification.
    pub(crate) spec: String,
    /// What is done before, without a crash.
    pub(crate) before: Vec<&'static [&'static str]>,
    /// What is done while something crashes.
    pub(crate) act: &'static [&'static str],
    /// The version before it.
    pub(crate) from: Option<&'static str>,
    /// The version that it is about.
    pub(crate) to: Option<&'static str>,
    pub(crate) ends: Ends,
    /// The apps that it changes.
    pub(crate) apps: &'static [&'static str],
    /// Whether there is a migration, and whether that may run twice.
    pub(crate) migration: Option<bool>,
    /// What is bad about the bad version.
    pub(crate) bad: &'static str,
    /// The Compose file, if its services are the apps.
    pub(crate) compose_file: Option<&'static str>,
    /// Whether Compose runs it before, as v1.
    pub(crate) is_adopted: bool,
    /// What a version consists of, if the app is objects.
    pub(crate) shape: Option<Shape>,
}

impl Flow {
    /// Whether all that is in its namespace is to go with it.
    pub(crate) fn deletes_data(&self) -> bool {
        self.act == DOWN_WITH_DATA
    }

    /// Whether somebody changes what is there, and it is about taking that back.
    pub(crate) fn corrects(&self) -> bool {
        self.act == CORRECT
    }

    /// Whether requests are answered from its beginning to its end.
    pub(crate) fn has_traffic(&self) -> bool {
        self.shape.is_some() && self.from.is_some() && self.ends != Ends::Down
    }
}

const V1: &[&str] = &["deploy", "--env", "dev", "--app", "api", "--version", "v1"];
const V2: &[&str] = &["deploy", "--env", "dev", "--app", "api", "--version", "v2"];
const BAD: &[&str] = &["deploy", "--env", "dev", "--app", "api", "--version", "bad"];
const ROLLBACK: &[&str] = &["rollback", "--env", "dev", "--app", "api"];
const RESTART: &[&str] = &["restart", "--env", "dev", "--app", "api"];
const CORRECT: &[&str] = &["deploy", "--env", "dev", "--app", "api", "--version", "v1", "--correct-drift"];
const DOWN: &[&str] = &["down", "--env", "dev", "--app", "api"];
const DOWN_WITH_DATA: &[&str] = &["down", "--env", "dev", "--app", "api", "--delete-data"];
const ALL_V1: &[&str] = &["deploy", "--env", "dev", "--all", "--version", "v1"];
const ALL_V2: &[&str] = &["deploy", "--env", "dev", "--all", "--version", "v2"];
const ALL_BAD: &[&str] = &["deploy", "--env", "dev", "--all", "--version", "bad"];

/// What is published is replaced behind the proxy; what is not, is taken over as it runs.
const COMPOSE_FILE: &str = r#"
name: pPORT
services:
  web:
    image: "app:${VERSION}"
    command: [/app, --host, 0.0.0.0, --port, "8080"]
    ports: ["127.0.0.1:PORT:8080"]
    stop_grace_period: 500ms
  worker:
    image: "app:${VERSION}"
    command: [/app, --host, 0.0.0.0, --port, "8080"]
    deploy: { replicas: 2 }
    stop_grace_period: 500ms
"#;

/// An app whose instances come up at once. Data makes it an app of one instance.
fn app(on: Apps, strategy: &str, more: &str) -> String {
    let has_data = strategy == "recreate";
    let instances = if has_data { 1 } else { 2 };
    let what = match on {
        Apps::Processes => {
            let data = if has_data { ", --data, \"{{ data }}\"" } else { "" };
            format!("    artifact: dist/{{{{ version }}}}\n    command: [APP, --port, \"{{{{ port }}}}\"{data}]\n")
        }
        Apps::Containers | Apps::Objects => {
            let data = if has_data { ", --data, /data" } else { "" };
            let volume = if has_data { "data:/data" } else { "HERE:/here" };
            format!(
                "    target: docker\n    image: \"{REPOSITORY}:{{{{ version }}}}\"\n    port: {PORT}\n    \
                 volumes: [\"{volume}\"]\n    \
                 command: [/app, --host, 0.0.0.0, --port, \"{{{{ port }}}}\"{data}]\n"
            )
        }
    };
    format!(
        "{what}    instances: {instances}
    drain: 500ms
    deadline: 40s
    health: {{ http: /healthz, within: 3s, interval: 100ms }}
    strategy: {strategy}
{more}"
    )
}

fn spec(apps: &[(&str, String)]) -> String {
    let apps: String = apps.iter().map(|(name, app)| format!("  {name}:\n{app}")).collect();
    format!("project: pPORT\nenvironments: {{ dev: {{ listen: \"127.0.0.1:PORT\" }} }}\napps:\n{apps}")
}

fn flow(name: &str, spec: String, act: &'static [&'static str]) -> Flow {
    let (mut before, mut from, mut to) = (vec![V1], Some("v1"), Some("v2"));
    let ends = match act {
        BAD | ALL_BAD => Ends::Back,
        DOWN | DOWN_WITH_DATA => Ends::Down,
        _ => Ends::New,
    };
    match act {
        V1 => (before, from, to) = (vec![], None, Some("v1")),
        BAD => to = Some("bad"),
        ROLLBACK => (before, from, to) = (vec![V1, V2], Some("v2"), Some("v1")),
        RESTART | CORRECT => to = Some("v1"),
        DOWN | DOWN_WITH_DATA => to = None,
        ALL_V2 => before = vec![ALL_V1],
        ALL_BAD => (before, to) = (vec![ALL_V1], Some("bad")),
        _ => {}
    }
    let (migration, compose_file, is_adopted, shape) = (None, None, false, None);
    let (name, apps, bad) = (name.into(), &["api"][..], "exit");
    Flow { name, spec, before, act, from, to, ends, apps, migration, bad, compose_file, is_adopted, shape }
}

fn migration(on: Apps, repeatable: bool) -> String {
    let job = |what: &str| match on {
        Apps::Processes => format!("[/bin/sh, -c, \"echo {what} $DEPLOYCTL_VERSION >> HERE/jobs\"]"),
        Apps::Containers | Apps::Objects => format!("[/app, note, /here/jobs, {what}]"),
    };
    let (run, undo) = (job("run"), job("undo"));
    let route = if on == Apps::Objects { "" } else { "    route: {}\n" };
    format!("{route}    migrate: {{ run: {run}, undo: {undo}, repeatable: {repeatable} }}\n")
}

/// All flows, in the order of the matrix.
pub(crate) fn all(on: Apps) -> Vec<Flow> {
    if on == Apps::Objects {
        return of_objects();
    }
    let mut flows = Vec::new();
    let routed = "    route: {}\n";
    for (word, strategy) in [
        ("recreate", "recreate"),
        ("rolling", "rolling"),
        ("blue-green", "blue-green"),
        ("canary", "{ canary: { steps: [50%], hold: 50ms } }"),
    ] {
        let spec = spec(&[("api", app(on, strategy, routed))]);
        for (what, act) in [("deploy", V2), ("bad", BAD), ("rollback", ROLLBACK)] {
            flows.push(flow(&format!("{word}/{what}"), spec.clone(), act));
        }
    }
    let rolling = spec(&[("api", app(on, "rolling", routed))]);
    for (what, act) in [("first", V1), ("restart", RESTART), ("down", DOWN)] {
        flows.push(flow(&format!("rolling/{what}"), rolling.clone(), act));
    }
    for (word, repeatable) in [("once", false), ("repeatable", true)] {
        let spec = spec(&[("api", app(on, "rolling", &migration(on, repeatable)))]);
        for (what, act) in [("deploy", V2), ("bad", BAD), ("rollback", ROLLBACK)] {
            let flow = flow(&format!("migrate-{word}/{what}"), spec.clone(), act);
            flows.push(Flow { migration: Some(repeatable), ..flow });
        }
    }
    let depends = "    depends_on: [db]\n    route: {}\n";
    // The store does not mind what makes the API sick, so it is changed and turned back with it.
    let db = app(on, "recreate", "").replace("http: /healthz", "tcp: true");
    let two = spec(&[("db", db), ("api", app(on, "rolling", depends))]);
    let two = two.replace(&format!("{REPOSITORY}:"), &format!("{SICK}:"));
    for (what, act) in [("deploy", ALL_V2), ("bad", ALL_BAD)] {
        flows.push(Flow { apps: &["db", "api"], bad: "sick", ..flow(&format!("two-apps/{what}"), two.clone(), act) });
    }
    if on == Apps::Containers {
        flows.extend(composed());
    }
    flows
}

/// The services of a Compose file: what Compose runs is taken over, replaced, turned back, and given back.
fn composed() -> Vec<Flow> {
    let settings = "health: { http: /healthz, within: 3s, interval: 100ms }, deadline: 40s";
    let spec = format!(
        "project: pPORT\nenvironments: {{ dev: {{}} }}\napps:\n  api:\n    target: compose\n    services:\n      \
         web: {{ {settings} }}\n      worker: {{ port: {PORT}, {settings} }}\n"
    );
    [("adopt", V1), ("deploy", V2), ("bad", BAD), ("rollback", ROLLBACK), ("down", DOWN)]
        .map(|(what, act)| Flow {
            apps: &["api.web", "api.worker"],
            compose_file: Some(COMPOSE_FILE),
            is_adopted: what == "adopt",
            ..flow(&format!("compose/{what}"), spec.clone(), act)
        })
        .into()
}

/// The objects of a cluster, brought from one version to the next by the cluster itself.
fn of_objects() -> Vec<Flow> {
    let (none, secret) = (Shape::default(), Shape { has_secret: true, ..Shape::default() });
    let loses = Shape { loses: true, ..none };
    let (once, repeatable) = (migration(Apps::Objects, false), migration(Apps::Objects, true));
    let mut flows = Vec::new();
    let mut add = |group: &str, shape: Shape, more: &str, acts: &[(&str, &'static [&'static str])]| {
        let migration = more.contains("migrate").then(|| more.contains("repeatable: true"));
        let spec = format!(
            "project: pPORT\nenvironments: {{ dev: {{}} }}\napps:\n  api:\n    target: kubernetes\n    \
             context: deployctl\n    namespace: pPORT\n    manifests: manifests\n    pin_tags: false\n    images: {{ web: \"{}\" }}\n    \
             patience: 3s\n    deadline: 50s\n{more}",
            image("{{ version }}")
        );
        flows.extend(acts.iter().map(|(what, act)| {
            let flow = flow(&format!("{group}/{what}"), spec.clone(), act);
            Flow { migration, shape: Some(shape), ..flow }
        }));
    };
    let three = [("deploy", V2), ("bad", BAD), ("rollback", ROLLBACK)];
    add(
        "rolling",
        none,
        "",
        &[&[("first", V1), ("restart", RESTART), ("correct", CORRECT), ("down", DOWN)], &three[..]].concat(),
    );
    add("blue-green", none, "    strategy: blue-green\n", &three);
    add("canary", none, "    strategy: { canary: { steps: [50%], hold: 50ms } }\n", &three);
    let set = Shape { is_set: true, ..none };
    add("by-partition", set, "    strategy: { canary: { steps: [50%], hold: 50ms } }\n", &three);
    let space = Shape { has_namespace: true, ..none };
    add("namespace", space, "", &[("first", V1), ("delete-data", DOWN_WITH_DATA)]);
    add("removal", loses, "", &three);
    add("migrate-once", secret, &once, &three);
    add("migrate-repeatable", secret, &repeatable, &[("deploy", V2)]);
    let elsewhere = Shape { keeps_state: true, ..none };
    add("state-in-cluster", elsewhere, "", &[&[("first", V1)], &three[..]].concat());
    add("state-in-cluster", elsewhere, &once, &[("migrate", V2), ("migrate-bad", BAD)]);
    flows
}
