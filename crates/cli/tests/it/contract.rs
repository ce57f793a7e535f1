//! The contract of drivers, on real processes: node, proxy and driver put together as the engine has them.

use crate::it::world::{World, kill, poll};
use async_trait::async_trait;
use deployctl_core::config::{
    AppConfig, Check, Command, Health, Hooks, LatePart, LateText, Limits, ProcessConfig, Restart, Route, Strategy,
    TargetConfig,
};
use deployctl_core::desired::{JobGate, JobKind};
use deployctl_core::driver::Driver;
use deployctl_core::fault::Fault;
use deployctl_core::id::{InstanceId, JobId, RegionName, Scope, Sha256Hex};
use deployctl_core::instance::{InstanceSeen, SecretValues};
use deployctl_core::release::{Release, Releases};
use deployctl_core::time::Span;
use deployctl_driver_managed::Managed;
use deployctl_node::{Node, NodeOptions};
use deployctl_proxy::ProxyRouter;
use deployctl_sys::process::{self, Identity};
use deployctl_testkit::contract::{Bench, Character, LAST_LINE, Task};
use rustix::process::Signal;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

const APP: &str = env!("CARGO_BIN_EXE_deployctl-testapp");
const CHARACTERS: [Character; 4] =
    [Character::Good(1), Character::Good(2), Character::ExitsAtOnce, Character::NeverHealthy];

deployctl_testkit::driver_contract!(Processes::new());

/// A state directory with what runs in it.
struct Processes {
    world: World,
    releases: HashMap<Sha256Hex, Arc<Release>>,
}

impl Processes {
    fn new() -> Self {
        let mut bench = Self { world: World::bare(), releases: HashMap::new() };
        std::fs::create_dir(bench.world.state()).expect("a state directory");
        for character in CHARACTERS {
            let release = bench.release(character);
            bench.releases.insert(release.id(), release);
        }
        assert!(bench.set_binary(true), "the binary under test");
        bench
    }

    /// By this name shims and proxies are started.
    fn binary(&self) -> PathBuf {
        self.world.path("deployctl")
    }

    fn set_binary(&self, is_there: bool) -> bool {
        let done = match is_there {
            true => std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_deployctl"), self.binary()),
            false => std::fs::remove_file(self.binary()),
        };
        done.is_ok()
    }

    /// Where each job writes its id when it begins.
    fn begun_file(&self) -> PathBuf {
        self.world.path("begun")
    }

    /// What runs below the state with this variable, shims aside, and the variable's value.
    fn with_variable(&self, name: &str) -> Vec<(u32, String)> {
        let mark = [b"DEPLOYCTL_STATE=", self.world.state().as_os_str().as_encoded_bytes()].concat();
        let start = format!("{name}=").into_bytes();
        let mut found = Vec::new();
        for pid in process::all().expect("/proc") {
            let environment = process::environment(pid);
            let entries = || environment.split(|byte| *byte == 0);
            let value = entries().find_map(|entry| entry.strip_prefix(start.as_slice()));
            if let Some(value) = value.filter(|_| entries().any(|entry| entry == mark)) {
                found.push((pid, String::from_utf8_lossy(value).into_owned()));
            }
        }
        found
    }

    fn command(&self, character: Character) -> Vec<LateText> {
        let script = match character {
            Character::Good(_) => "exec \"$0\" \"$1\"".to_owned(),
            Character::ExitsAtOnce => format!("echo '{LAST_LINE}'; exit 1"),
            Character::NeverHealthy => format!("echo '{LAST_LINE}'; exec \"$0\" \"$1\" > /dev/null"),
        };
        let texts = ["/bin/sh", "-c", &script, APP].map(LateText::plain);
        texts.into_iter().chain([LateText(vec![LatePart::Port])]).collect()
    }

    fn jobs(&self) -> Vec<Command> {
        let begin = format!("echo \"$DEPLOYCTL_JOB_ID\" >> '{}'", self.begun_file().display());
        let job = |rest: &str| Command {
            run: ["/bin/sh", "-c", &format!("{begin}; {rest}")].map(LateText::plain).into(),
            timeout: Span::secs(600),
            repeatable: false,
        };
        vec![job("sleep 0.1"), job(&format!("echo '{LAST_LINE}'; exit 3")), job("sleep 600 & wait")]
    }

    fn config(&self, character: Character) -> AppConfig {
        let process = ProcessConfig {
            command: self.command(character),
            env: BTreeMap::new(),
            port: true,
            user: None,
            limits: Limits::default(),
            restart: Restart { pause: Span::ms(20), pause_max: Span::ms(200), reset_after: Span::secs(30) },
            log_bytes_max: 1 << 20,
        };
        let (path, within) = match character {
            Character::NeverHealthy => ("/there-is-none", Span::secs(2)),
            _ => ("/healthz", Span::secs(60)),
        };
        let check = Check::Http(path.into());
        let health = Health { check, within, interval: Span::ms(100), timeout: Span::secs(20), failures: 3 };
        AppConfig {
            target: TargetConfig::Process(process),
            instances: 2,
            strategy: Strategy::BlueGreen,
            depends_on: Vec::new(),
            route: Some(route()),
            health: Some(health),
            smoke: Vec::new(),
            migrate: None,
            hooks: Hooks { before: self.jobs(), after: Vec::new() },
            drain: Span::secs(1),
            deadline: Span::secs(600),
            bake: Span::default(),
        }
    }
}

fn route() -> Route {
    Route {
        listen: Vec::new(),
        published: Vec::new(),
        hosts: Vec::new(),
        redirect_hosts: Vec::new(),
        path: "/".into(),
        strip: false,
        https_only: false,
        tls: None,
        body_bytes_max: None,
        timeout: Span::secs(60),
        hold: Span::secs(30),
        h2: false,
        error_pages: BTreeMap::new(),
        access_log: false,
    }
}

struct Known(HashMap<Sha256Hex, Arc<Release>>);

#[async_trait]
impl Releases for Known {
    async fn release(&self, id: &Sha256Hex) -> Result<Arc<Release>, Fault> {
        self.0.get(id).cloned().ok_or_else(|| Fault::platform("no such release"))
    }
}

#[async_trait]
impl Bench for Processes {
    fn driver(&self) -> Arc<dyn Driver> {
        let no_secrets = Arc::new(|_: &Sha256Hex| -> Result<SecretValues, Fault> { Ok(SecretValues::default()) });
        let node = Node::new(NodeOptions::new(self.world.state(), self.binary(), no_secrets)).expect("a node");
        let node = Arc::new(node);
        let router = Arc::new(ProxyRouter::new(self.world.state(), self.binary()));
        Arc::new(Managed::new(node.clone(), node, router, Arc::new(Known(self.releases.clone()))))
    }

    fn scope(&self) -> Scope {
        Scope {
            project: "shop".parse().expect("a name"),
            environment: "dev".parse().expect("a name"),
            region: RegionName::default_region(),
            app: "api".parse().expect("a name"),
        }
    }

    fn release(&self, character: Character) -> Arc<Release> {
        let version = match character {
            Character::Good(number) => format!("v{number}"),
            Character::ExitsAtOnce => "exits".into(),
            Character::NeverHealthy => "never".into(),
        };
        let scope = self.scope();
        Arc::new(Release {
            project: scope.project,
            environment: scope.environment,
            region: scope.region,
            app: scope.app,
            version: version.parse().expect("a version"),
            artifact: None,
            config: self.config(character),
            secrets: BTreeMap::new(),
            built_here: false,
        })
    }

    fn job(&self, task: Task) -> JobGate {
        let number = match task {
            Task::Ends => 0,
            Task::Fails => 1,
            Task::Stays => 2,
        };
        JobGate { what: JobKind::Before(number), release: self.release(Character::Good(1)).id() }
    }

    async fn alive(&self) -> Vec<InstanceId> {
        let all = self.with_variable("DEPLOYCTL_INSTANCE");
        all.into_iter().map(|(_, id)| id.parse().expect("the id of an instance")).collect()
    }

    async fn begun(&self, job: &JobId) -> usize {
        let begun = std::fs::read_to_string(self.begun_file()).unwrap_or_default();
        begun.lines().filter(|line| *line == job.as_str()).count()
    }

    async fn working(&self, job: &JobId) -> usize {
        self.with_variable("DEPLOYCTL_JOB_ID").iter().filter(|(_, id)| id == job.as_str()).count()
    }

    /// The shim is held fast first, or it would start the instance again.
    async fn take_away(&self, instance: &InstanceSeen) -> bool {
        let id = instance.id.as_str();
        let shims = self.world.processes().into_iter().filter(|(_, line)| line.contains(" shim ") && line.contains(id));
        let shims: Vec<u32> = shims.map(|(pid, _)| pid).collect();
        let copies: Vec<u32> = self
            .with_variable("DEPLOYCTL_INSTANCE")
            .into_iter()
            .filter(|(_, of)| of == id)
            .map(|(pid, _)| pid)
            .collect();
        assert!(!shims.is_empty() && !copies.is_empty(), "{id} has a shim and a process");
        let alive: Vec<Identity> =
            shims.iter().chain(&copies).filter_map(|pid| Identity::of(*pid).ok().flatten()).collect();
        shims.iter().for_each(|pid| kill(*pid, Signal::STOP));
        copies.iter().chain(&shims).for_each(|pid| kill(*pid, Signal::KILL));
        poll("the end of an instance", || (!alive.iter().any(Identity::is_alive)).then_some(()));
        true
    }

    /// A machine on which nothing of ours can be started.
    async fn set_reachable(&self, reachable: bool) -> bool {
        self.set_binary(reachable)
    }
}
