//! The contract of drivers, on real processes: node, proxy and driver put together as the engine has them. And what these
//! have in common with other real instances: releases that are scripts around the test server, and the process table.

use crate::it::world::{World, kill, poll};
use async_trait::async_trait;
use deployctl_core::config::{
    AppConfig, Artifact, Check, Command, Health, Hooks, LatePart, LateText, Limits, ProcessConfig, Restart, Route,
    Strategy, TargetConfig,
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
use std::path::{Path, PathBuf};
use std::sync::Arc;

const APP: &str = env!("CARGO_BIN_EXE_deployctl-testapp");
const CHARACTERS: [Character; 4] =
    [Character::Good(1), Character::Good(2), Character::ExitsAtOnce, Character::NeverHealthy];

deployctl_testkit::driver_contract!(Processes::new());

/// The releases of a bench, and what the process table says of them.
pub(crate) struct Cast {
    pub(crate) world: World,
    releases: HashMap<Sha256Hex, Arc<Release>>,
    characters: HashMap<Character, Arc<Release>>,
    /// A variable with its value that all processes of the bench have, and no others.
    mark: String,
}

impl Cast {
    /// Releases of this artifact, whose target is made from their command: a shell's, which ends with `app`.
    pub(crate) fn new(
        world: World,
        mark: String,
        artifact: Option<Artifact>,
        app: &[LateText],
        target: impl Fn(Vec<LateText>) -> TargetConfig,
    ) -> Self {
        std::fs::create_dir(world.state()).expect("a state directory");
        let mut cast = Self { world, releases: HashMap::new(), characters: HashMap::new(), mark };
        for character in CHARACTERS {
            let target = target([&script(character), app].concat());
            let release = Arc::new(cast.of(character, artifact.clone(), target));
            cast.releases.insert(release.id(), release.clone());
            cast.characters.insert(character, release);
        }
        cast
    }

    fn of(&self, character: Character, artifact: Option<Artifact>, target: TargetConfig) -> Release {
        let version = match character {
            Character::Good(number) => format!("v{number}"),
            Character::ExitsAtOnce => "exits".into(),
            Character::NeverHealthy => "never".into(),
        };
        let Scope { project, environment, region, app } = scope();
        Release {
            project,
            environment,
            region,
            app,
            version: version.parse().expect("a version"),
            artifact,
            config: self.config(character, target),
            secrets: BTreeMap::new(),
            built_here: false,
        }
    }

    pub(crate) fn release(&self, character: Character) -> Arc<Release> {
        self.characters[&character].clone()
    }

    pub(crate) fn releases(&self) -> Arc<dyn Releases> {
        Arc::new(Known(self.releases.clone()))
    }

    pub(crate) fn job(&self, task: Task) -> JobGate {
        JobGate { what: kind(task), release: self.release(Character::Good(1)).id() }
    }

    /// Where each job writes its id when it begins.
    fn begun_file(&self) -> PathBuf {
        self.world.path("begun")
    }

    pub(crate) fn begun(&self, job: &JobId) -> usize {
        begun(&self.begun_file(), job)
    }

    pub(crate) fn alive(&self) -> Vec<InstanceId> {
        let all = self.with_variable("DEPLOYCTL_INSTANCE");
        all.into_iter().map(|(_, id)| id.parse().expect("the id of an instance")).collect()
    }

    pub(crate) fn working(&self, job: &JobId) -> usize {
        self.with_variable("DEPLOYCTL_JOB_ID").iter().filter(|(_, id)| id == job.as_str()).count()
    }

    /// What runs of this bench with this variable, shims aside, and the variable's value.
    fn with_variable(&self, name: &str) -> Vec<(u32, String)> {
        with_variable(&self.mark, name)
    }

    fn config(&self, character: Character, target: TargetConfig) -> AppConfig {
        let (path, within) = match character {
            Character::NeverHealthy => ("/there-is-none", Span::secs(2)),
            _ => ("/healthz", Span::secs(60)),
        };
        let check = Check::Http(path.into());
        let health = Health { check, within, interval: Span::ms(100), timeout: Span::secs(20), failures: 3 };
        AppConfig {
            target,
            instances: 2,
            strategy: Strategy::BlueGreen,
            depends_on: Vec::new(),
            route: Some(route()),
            health: Some(health),
            smoke: Vec::new(),
            migrate: None,
            hooks: Hooks { before: jobs(&self.begun_file()), after: Vec::new() },
            drain: Span::secs(1),
            deadline: Span::secs(600),
            bake: Span::default(),
        }
    }
}

/// What runs with the mark `mark` and the variable `name`, and the variable's value.
pub(crate) fn with_variable(mark: &str, name: &str) -> Vec<(u32, String)> {
    let start = format!("{name}=").into_bytes();
    let mut found = Vec::new();
    for pid in process::all().expect("/proc") {
        let environment = process::environment(pid);
        let entries = || environment.split(|byte| *byte == 0);
        let value = entries().find_map(|entry| entry.strip_prefix(start.as_slice()));
        if let Some(value) = value.filter(|_| entries().any(|entry| entry == mark.as_bytes())) {
            found.push((pid, String::from_utf8_lossy(value).into_owned()));
        }
    }
    found
}

/// The command of each task, by [`kind`]; when it begins, it writes its id into a file.
pub(crate) fn jobs(begun: &Path) -> Vec<Command> {
    let begin = format!("echo \"$DEPLOYCTL_JOB_ID\" >> '{}'", begun.display());
    let job = |rest: &str| Command {
        run: ["/bin/sh", "-c", &format!("{begin}; {rest}")].map(LateText::plain).into(),
        timeout: Span::secs(600),
        repeatable: false,
    };
    vec![job("sleep 0.1"), job(&format!("echo '{LAST_LINE}'; exit 3")), job("sleep 600 & wait")]
}

/// Which of [`jobs`] a task is.
pub(crate) fn kind(task: Task) -> JobKind {
    JobKind::Before(match task {
        Task::Ends => 0,
        Task::Fails => 1,
        Task::Stays => 2,
    })
}

/// How often a job wrote its id into the file.
pub(crate) fn begun(file: &Path, job: &JobId) -> usize {
    let begun = std::fs::read_to_string(file).unwrap_or_default();
    begun.lines().filter(|line| *line == job.as_str()).count()
}

fn script(character: Character) -> Vec<LateText> {
    let script = match character {
        Character::Good(_) => "exec \"$0\" \"$@\"".to_owned(),
        Character::ExitsAtOnce => format!("echo '{LAST_LINE}'; exit 1"),
        Character::NeverHealthy => format!("echo '{LAST_LINE}'; exec \"$0\" \"$@\" > /dev/null"),
    };
    ["/bin/sh", "-c", &script].map(LateText::plain).into()
}

/// Where all benches deploy to, each in a state of its own.
pub(crate) fn scope() -> Scope {
    Scope {
        project: "shop".parse().expect("a name"),
        environment: "dev".parse().expect("a name"),
        region: RegionName::default_region(),
        app: "api".parse().expect("a name"),
    }
}

pub(crate) fn no_secrets(_: &Sha256Hex) -> Result<SecretValues, Fault> {
    Ok(SecretValues::default())
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

pub(crate) struct Known(pub(crate) HashMap<Sha256Hex, Arc<Release>>);

#[async_trait]
impl Releases for Known {
    async fn release(&self, id: &Sha256Hex) -> Result<Arc<Release>, Fault> {
        self.0.get(id).cloned().ok_or_else(|| Fault::platform("no such release"))
    }
}

/// A state directory with the processes that run in it.
struct Processes {
    cast: Cast,
}

impl Processes {
    fn new() -> Self {
        let world = World::bare();
        let mark = format!("DEPLOYCTL_STATE={}", world.state().display());
        let app = [LateText::plain(APP), LateText(vec![LatePart::Port])];
        let target = |command| {
            TargetConfig::Process(ProcessConfig {
                command,
                env: BTreeMap::new(),
                port: true,
                user: None,
                limits: Limits::default(),
                restart: Restart { pause: Span::ms(20), pause_max: Span::ms(200), reset_after: Span::secs(30) },
                log_bytes_max: 1 << 20,
            })
        };
        let bench = Self { cast: Cast::new(world, mark, None, &app, target) };
        assert!(bench.set_binary(true), "the binary under test");
        bench
    }

    /// By this name shims and proxies are started.
    fn binary(&self) -> PathBuf {
        self.cast.world.path("deployctl")
    }

    fn set_binary(&self, is_there: bool) -> bool {
        let done = match is_there {
            true => std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_deployctl"), self.binary()),
            false => std::fs::remove_file(self.binary()),
        };
        done.is_ok()
    }
}

#[async_trait]
impl Bench for Processes {
    fn driver(&self) -> Arc<dyn Driver> {
        let state = self.cast.world.state();
        let options = NodeOptions::new(state.clone(), self.binary(), Arc::new(no_secrets));
        let node = Arc::new(Node::new(options).expect("a node"));
        let router = Arc::new(ProxyRouter::new(state, self.binary()));
        Arc::new(Managed::new(node.clone(), node, router, self.cast.releases()))
    }

    fn scope(&self) -> Scope {
        scope()
    }

    fn release(&self, character: Character) -> Arc<Release> {
        self.cast.release(character)
    }

    fn job(&self, task: Task) -> JobGate {
        self.cast.job(task)
    }

    async fn alive(&self) -> Vec<InstanceId> {
        self.cast.alive()
    }

    async fn begun(&self, job: &JobId) -> usize {
        self.cast.begun(job)
    }

    async fn working(&self, job: &JobId) -> usize {
        self.cast.working(job)
    }

    /// The shim is held fast first, or it would start the instance again.
    async fn take_away(&self, instance: &InstanceSeen) -> bool {
        let id = instance.id.as_str();
        let shims = self.cast.world.processes();
        let shims = shims.into_iter().filter(|(_, line)| line.contains(" shim ") && line.contains(id));
        let shims: Vec<u32> = shims.map(|(pid, _)| pid).collect();
        let copies: Vec<u32> = self
            .cast
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
