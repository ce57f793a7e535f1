//! Compose projects on a real Docker Engine, read by a real Docker Compose.

mod adoption;
mod asked;
mod bad;
mod lacks;
mod layouts;

use crate::it::docker::engine::{Engine, shared};
use crate::it::http;
use crate::it::world::{World, poll, text};
use std::path::PathBuf;
use std::process::Command;
use tokio::sync::RwLockReadGuard;

const SPEC: &str = "project: p
environments: { dev: {} }
apps:
  NAME: { target: compose }
";

/// A web application with a worker, a store, and a change of the store's data that comes before.
const SHOP: &str = r#"
name: NAME
services:
  web:
    image: NAME:${VERSION}
    ports: ["127.0.0.1:PORT:8080"]
    environment: { RELEASE: "${VERSION}" }
    stop_grace_period: 1s
    depends_on:
      migrate: { condition: service_completed_successfully }
      store: { condition: service_healthy }
    x-deployctl: { health: { http: /healthz, interval: 200ms } }
  worker:
    image: NAME:${VERSION}
    stop_grace_period: 1s
    depends_on: [web]
    deploy: { replicas: 2 }
  migrate:
    image: NAME:${VERSION}
    command: [/app, job]
    volumes: ["data:/data"]
    depends_on: [store]
  store:
    image: NAME-store:7
    command: [/app, "6379", 0.0.0.0]
    stop_grace_period: 1s
    restart: unless-stopped
    volumes: ["data:/data"]
    healthcheck: { test: [CMD, /app, probe, "6379"], interval: 500ms }
volumes: { data: }
"#;

/// A project in a world of its own, with a port of its own.
struct Shop {
    world: World,
    engine: RwLockReadGuard<'static, Engine>,
    name: &'static str,
    port: u16,
}

/// Where Compose is, as `cargo xtask compose` put it; none, with a word about it, where it is not.
fn compose() -> Option<PathBuf> {
    let found = deployctl_live::dockerd::compose();
    if found.is_none() {
        assert!(std::env::var("DEPLOYCTL_LIVE").is_err(), "these tests need Docker Compose: `cargo xtask compose`");
        eprintln!("skipped: it needs Docker Compose; `cargo xtask compose` builds it");
    }
    found
}

impl Shop {
    /// A project `name` with this Compose file in `file`; none where the machine lacks what it needs.
    fn new(name: &'static str, spec: &str, file: &str, text: &str) -> Option<Self> {
        let (engine, config) = (shared()?, compose()?);
        let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("a port").port();
        let mut world = World::new(&spec.replace("NAME", name));
        world.var("DOCKER_HOST", engine.socket());
        world.var("DOCKER_CONFIG", config);
        world.var("DOCKER_BUILDKIT", "0");
        let shop = Self { world, engine, name, port };
        shop.file(file, text);
        Some(shop)
    }

    fn file(&self, file: &str, text: &str) {
        let text = text.replace("NAME", self.name).replace("PORT", &self.port.to_string());
        self.world.write(&format!("p/{file}"), &text);
    }

    /// The usual project, with images of some versions.
    fn usual(name: &'static str, versions: &[(&str, &str)]) -> Option<Self> {
        let shop = Self::new(name, SPEC, "compose.yaml", SHOP)?;
        for (version, conf) in versions {
            shop.engine.image(&format!("{name}:{version}"), conf, &[]);
        }
        shop.engine.image(&format!("{name}-store:7"), "print=store", &[]);
        Some(shop)
    }

    fn deploy(&self, version: &str) -> crate::it::world::Ran {
        self.world.run(&format!("deploy --env dev --app {} --version {version}", self.name))
    }

    fn get(&self, path: &str) -> String {
        http::get(&format!("http://127.0.0.1:{}{path}", self.port)).body
    }

    fn status(&self, path: &str) -> u16 {
        http::get(&format!("http://127.0.0.1:{}{path}", self.port)).status
    }

    fn containers(&self, service: &str) -> Vec<String> {
        self.engine.containers(&format!("{}.{service}", self.name))
    }

    /// What Compose itself prints, run in the project's folder.
    #[track_caller]
    fn compose(&self, version: &str, args: &[&str]) -> String {
        let mut command = Command::new("docker");
        command.arg("compose").args(args).current_dir(self.world.project());
        command.env("DOCKER_HOST", self.engine.socket()).env("DOCKER_CONFIG", compose().expect("it was there"));
        let done = command.env("VERSION", version).output().expect("docker");
        let err = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "docker compose {args:?}: {err}");
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }

    fn down(&self) {
        self.world.ok(&format!("down --env dev --app {}", self.name));
        assert_eq!(
            self.engine.docker(&["ps", "-aq", "--filter", &format!("label=com.docker.compose.project={}", self.name)]),
            ""
        );
    }
}

impl Drop for Shop {
    /// A network outlives its engine: it is an interface of this machine.
    fn drop(&mut self) {
        for project in [self.name.to_owned(), format!("{}-prod", self.name)] {
            let label = format!("label=com.docker.compose.project={project}");
            let list = |what: &[&str]| self.engine.try_docker_says(&[what, &["-q", "--filter", &label]].concat());
            for container in list(&["ps", "-a"]).split_whitespace() {
                self.engine.try_docker_says(&["rm", "-f", container]);
            }
            for network in list(&["network", "ls"]).split_whitespace() {
                self.engine.try_docker_says(&["network", "rm", network]);
            }
        }
    }
}

#[test]
fn a_compose_file_is_deployed_replaced_rolled_back_and_taken_down() {
    let Some(shop) = Shop::usual("whole", &[("v1", ""), ("v2", "")]) else { return };
    let first = shop.deploy("v1").code(0);
    assert!(first.err.contains("whole.migrate: nothing -> v1"), "{}", first.err);
    assert_eq!(shop.get("/env/RELEASE"), "v1");
    assert_eq!(shop.status("/resolve/store"), 200, "services know each other by their names");
    assert_eq!(shop.status("/resolve/stranger"), 502);
    assert_eq!((shop.containers("worker").len(), shop.containers("migrate").len()), (2, 0));
    let store = shop.containers("store");
    let all = shop.world.json("status --env dev --app whole");
    assert_eq!(all.as_array().map(Vec::len), Some(4), "the app means all its services: {all}");
    let seen = shop.compose("v1", &["ps", "--format", "{{.Service}}"]);
    for service in ["web", "worker", "store"] {
        assert!(seen.contains(service), "Compose sees what it would have started: {seen}");
    }
    let second = shop.deploy("v2").code(0);
    assert!(!second.err.contains("whole.store"), "nothing of the store changed: {}", second.err);
    assert_eq!(shop.get("/env/RELEASE"), "v2");
    assert_eq!(shop.containers("store"), store, "it was left alone");
    let jobs = || {
        let path = shop.engine.docker(&["volume", "inspect", "-f", "{{.Mountpoint}}", "whole_data"]);
        std::fs::read_to_string(format!("{path}/jobs")).expect("the volume").lines().count()
    };
    assert_eq!(jobs(), 2, "once per version");
    let again = shop.deploy("v2").code(0);
    assert!(again.err.contains("it is current and healthy already"), "{}", again.err);
    shop.world.ok("rollback --env dev --app whole");
    assert_eq!(shop.get("/env/RELEASE"), "v1");
    assert_eq!((shop.containers("store"), jobs()), (store, 2));
    shop.world.ok("deploy --env dev --app whole.worker --version v2");
    assert_eq!(shop.get("/env/RELEASE"), "v1", "one service alone");
    shop.down();
    shop.engine.docker(&["volume", "inspect", "whole_data"]);
    assert!(std::net::TcpListener::bind(("127.0.0.1", shop.port)).is_ok(), "the published port is free again");
}

#[test]
fn no_request_is_lost_while_versions_of_a_compose_file_go_back_and_forth() {
    let Some(shop) = Shop::usual("swung", &[("a", ""), ("b", "")]) else { return };
    shop.deploy("a").code(0);
    let url = format!("http://127.0.0.1:{}", shop.port);
    let mut load = deployctl_live::Load::none(deployctl_live::Target::parse(&url).expect("an address"));
    (load.rates.kept, load.rates.fresh) = (200, 100);
    let running = load.start();
    for version in ["b", "a", "b", "a"] {
        shop.deploy(version).code(0);
    }
    let report = running.finish();
    assert_eq!(report.failed(), 0, "{}", report.summary());
    assert!(report.answered > 300, "{}", report.summary());
    shop.down();
}

#[test]
fn a_bad_version_of_one_service_turns_all_of_them_back() {
    let Some(shop) = Shop::usual("turned", &[("v1", ""), ("sick", "print=well, no\nhealth=500"), ("torn", "job=3")])
    else {
        return;
    };
    shop.deploy("v1").code(0);
    let spec =
        SPEC.replace("{ target: compose }", "{ target: compose, services: { web: { health: { within: 1s } } } }");
    shop.world.spec(&spec.replace("NAME", "turned"));
    let sick = shop.deploy("sick");
    assert_ne!(sick.code, 0);
    assert!(sick.err.contains("GET /healthz: 500") && sick.err.contains("well, no"), "{}", sick.err);
    assert_eq!(shop.get("/env/RELEASE"), "v1");
    let torn = shop.deploy("torn");
    assert_ne!(torn.code, 0);
    assert!(torn.err.contains("exit 3") && torn.err.contains("migrating"), "{}", torn.err);
    assert_eq!(shop.get("/env/RELEASE"), "v1");
    for service in ["web", "store"] {
        assert_eq!(shop.containers(service).len(), 1, "{service}");
    }
    assert_eq!(text(&shop.world.json("history --env dev --app turned.web")[0]["verdict"]), "rolled_back");
    poll("health", || shop.world.now("turned.web").contains("v1 healthy 1").then_some(()));
    assert_eq!(shop.world.now("turned.migrate"), "v1 healthy 0", "the job that was turned back is the one of before");
    shop.world.ok("health --env dev --app turned");
    shop.down();
}

#[test]
fn what_one_environment_has_goes_to_the_next_as_it_is() {
    let text = "name: NAME\nservices:\n  web:\n    image: \"NAME:${VERSION}\"\n    environment: { API_TOKEN: \"${MY_TOKEN}\" }\n    \
                stop_grace_period: 1s\n  store:\n    image: NAME-store:7\n    stop_grace_period: 1s\n";
    let spec = SPEC.replace("{ dev: {} }", "{ dev: {}, prod: { after: dev } }");
    let spec = spec.replace("compose }", "compose, in: { prod: { project_name: NAME-prod } } }");
    let Some(mut shop) = Shop::new("promoted", &spec, "compose.yaml", text) else { return };
    for image in ["promoted:v1", "promoted-store:7"] {
        shop.engine.image(image, "", &[]);
    }
    shop.world.var("MY_TOKEN", "h8sh-h8sh");
    shop.deploy("v1").code(0);
    let early = shop.world.run("deploy --env prod --app promoted --version v2");
    assert!(early.code != 0 && early.err.contains("promoted:v2"), "{}", early.err);
    shop.world.ok("promote --app promoted --from dev --to prod");
    let there = shop.world.json("status --env prod --app promoted.web");
    assert_eq!(text_of(&there, "version"), "v1");
    let names = shop.engine.docker(&["ps", "--filter", "label=com.docker.compose.project=promoted-prod", "-q"]);
    assert_eq!(names.lines().count(), 2);
    shop.world.ok("down --env prod --app promoted");
    shop.down();
}

fn text_of(status: &serde_json::Value, key: &str) -> String {
    text(&status[0][key])
}
