//! A state folder with a node, and apps to run in it. Everything that was started is killed at the end, by pid.

use deployctl_core::config::*;
use deployctl_core::fault::Fault;
use deployctl_core::id::*;
use deployctl_core::instance::*;
use deployctl_core::release::Release;
use deployctl_core::time::Span;
use deployctl_node::layout::{Layout, RunFolder};
use deployctl_node::{Node, NodeOptions};
use deployctl_sys::process::{self, Identity};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) const TESTBED: &str = env!("CARGO_BIN_EXE_deployctl-node-testbed");
pub(crate) const FENCE: Fence = Fence(1);
/// Long enough for the slowest machine; nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) state: TempDir,
    pub(crate) secrets: BTreeMap<SecretRef, Arc<[u8]>>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { state: tempfile::tempdir().unwrap(), secrets: BTreeMap::new() }
    }

    pub(crate) fn layout(&self) -> Layout {
        Layout::new(self.state.path())
    }

    pub(crate) fn options(&self) -> NodeOptions {
        let values = self.secrets.clone();
        let secrets =
            Arc::new(move |_: &Sha256Hex| -> Result<SecretValues, Fault> { Ok(SecretValues(values.clone())) });
        NodeOptions::new(self.state.path().into(), TESTBED.into(), secrets)
    }

    pub(crate) fn node(&self) -> Node {
        Node::new(self.options()).unwrap()
    }

    /// A node whose shims are killed, or stopped, at a point.
    pub(crate) fn node_with_crash(&self, point: &str, how: &str) -> Node {
        let mut options = self.options();
        options.shim_env = vec![
            ("DEPLOYCTL_CRASH".into(), format!("shim:{point}:1:{how}")),
            ("DEPLOYCTL_CRASH_RECORD".into(), self.passed_file().display().to_string()),
        ];
        Node::new(options).unwrap()
    }

    fn passed_file(&self) -> PathBuf {
        self.state.path().join("passed-points")
    }

    /// Whether a shim of such a node came to `point`.
    pub(crate) fn passed(&self, point: &str) -> bool {
        let text = std::fs::read_to_string(self.passed_file()).unwrap_or_default();
        text.lines().any(|line| line == format!("shim {point}"))
    }

    /// All processes of this state that run: shims, instances, and what they started.
    pub(crate) fn processes(&self) -> Vec<(Identity, String)> {
        let mark = format!("DEPLOYCTL_STATE={}", self.state.path().display()).into_bytes();
        let mut found = Vec::new();
        for pid in process::all().unwrap() {
            let ours = process::environment(pid).split(|b| *b == 0).any(|entry| entry == mark);
            if let Ok(Some(identity)) = Identity::of(pid)
                && ours
                && identity.is_alive()
            {
                found.push((identity, process::command_line(pid)));
            }
        }
        found
    }

    pub(crate) fn shims(&self) -> Vec<Identity> {
        self.processes().into_iter().filter(|(_, line)| line.contains(" shim --state ")).map(|(id, _)| id).collect()
    }

    pub(crate) fn workers(&self) -> Vec<Identity> {
        self.processes().into_iter().filter(|(_, line)| !line.contains(" shim --state ")).map(|(id, _)| id).collect()
    }

    pub(crate) fn kill_everything(&self) {
        while !self.processes().is_empty() {
            for (identity, _) in self.processes() {
                let _ = identity.signal(Signal::KILL);
            }
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.kill_everything();
    }
}

/// Says that a test cannot be made here; where everything must be, that is a failure.
pub(crate) fn skipped(test: &str, lacks: &str) {
    assert_ne!(std::env::var("DEPLOYCTL_LIVE").as_deref(), Ok("all"), "{test} needs {lacks}");
    eprintln!("skipped: {test} needs {lacks}");
}

pub(crate) fn scope(app: &str) -> Scope {
    Scope {
        project: ProjectName::new("shop").unwrap(),
        environment: EnvName::new("dev").unwrap(),
        region: RegionName::default_region(),
        app: AppName::new(app).unwrap(),
    }
}

/// An app to be changed by each test.
pub(crate) struct App {
    pub(crate) name: &'static str,
    pub(crate) config: AppConfig,
    pub(crate) process: ProcessConfig,
    pub(crate) artifact: Option<Artifact>,
}

impl App {
    pub(crate) fn new(name: &'static str, command: Vec<LateText>) -> Self {
        let process = ProcessConfig {
            command,
            env: BTreeMap::new(),
            port: false,
            user: None,
            limits: Limits::default(),
            restart: Restart { pause: Span::ms(20), pause_max: Span::ms(200), reset_after: Span::secs(30) },
            log_bytes_max: 1 << 20,
        };
        let config = AppConfig {
            target: TargetConfig::Process(process.clone()),
            instances: 1,
            strategy: Strategy::BlueGreen,
            depends_on: vec![],
            route: None,
            health: None,
            smoke: vec![],
            migrate: None,
            hooks: Hooks::default(),
            drain: Span::secs(5),
            deadline: Span::secs(60),
            bake: Span::ms(0),
        };
        Self { name, config, process, artifact: None }
    }

    /// A shell script.
    pub(crate) fn script(name: &'static str, script: &str) -> Self {
        Self::new(name, vec![text("/bin/sh"), text("-c"), text(script)])
    }

    /// The testbed's server, on its port.
    pub(crate) fn server(name: &'static str) -> Self {
        let mut app = Self::new(name, vec![text(TESTBED), text("serve"), LateText(vec![LatePart::Port])]);
        app.process.port = true;
        app
    }

    pub(crate) fn release(&self) -> Arc<Release> {
        let config = AppConfig { target: TargetConfig::Process(self.process.clone()), ..self.config.clone() };
        let scope = scope(self.name);
        Arc::new(Release {
            project: scope.project,
            environment: scope.environment,
            region: scope.region,
            app: scope.app,
            version: Version::new("v1.0.0").unwrap(),
            artifact: self.artifact.clone(),
            config,
            secrets: BTreeMap::new(),
            built_here: false,
        })
    }

    pub(crate) fn instance(&self, slot: u32) -> InstanceSpec {
        let release = self.release();
        let revision = Revision { release: release.id(), nonce: 0 };
        let scope = scope(self.name);
        let id = instance_id(&scope, &revision, slot);
        InstanceSpec { id, scope, revision, slot, release, binding: Binding::default() }
    }
}

pub(crate) fn text(text: &str) -> LateText {
    LateText::plain(text)
}

pub(crate) fn http(path: &str) -> Health {
    Health {
        check: Check::Http(path.into()),
        within: Span::secs(50),
        interval: Span::ms(20),
        timeout: Span::secs(5),
        failures: 2,
    }
}

/// Waits for the instance to be in a state that `wanted` accepts, and says what it was.
pub(crate) async fn until(node: &Node, spec: &InstanceSpec, wanted: impl Fn(&InstanceState) -> bool) -> InstanceSeen {
    let begun = Instant::now();
    loop {
        let all = node.list(&spec.scope).await.unwrap();
        let seen = all.into_iter().find(|seen| seen.id == spec.id);
        if let Some(seen) = seen.as_ref().filter(|seen| wanted(&seen.state)) {
            return seen.clone();
        }
        assert!(begun.elapsed() < PATIENCE, "{} is still {:?}", spec.id, seen.map(|seen| seen.state));
        node.changed(&spec.scope).await;
    }
}

pub(crate) async fn until_ready(node: &Node, spec: &InstanceSpec) -> InstanceSeen {
    until(node, spec, |state| *state == InstanceState::Ready).await
}

pub(crate) async fn until_gone(node: &Node, spec: &InstanceSpec) -> InstanceSeen {
    until(node, spec, |state| *state == InstanceState::Gone).await
}

pub(crate) async fn until_failed(node: &Node, spec: &InstanceSpec) -> (String, Vec<String>) {
    match until(node, spec, |state| matches!(state, InstanceState::Failed { .. })).await.state {
        InstanceState::Failed { reason, last_lines } => (reason, last_lines),
        _ => unreachable!(),
    }
}

/// Waits until `holds`; for what no port tells of.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "not so in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn folder(world: &World, spec: &InstanceSpec) -> RunFolder {
    world.layout().run(&spec.id)
}

pub(crate) fn scratch(world: &World, spec: &InstanceSpec, name: &str) -> PathBuf {
    folder(world, spec).scratch().join(name)
}

/// What `GET path` of the instance answers.
pub(crate) async fn get(seen: &InstanceSeen, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = seen.address.as_deref().expect("it has an address");
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
}
