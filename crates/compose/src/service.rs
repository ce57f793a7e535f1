//! A service: its container, and what else the file says of it.

use crate::build::{self, Build};
use crate::ports::{self, Port};
use crate::reader::{At, scalar};
use crate::{mounts, networks, options};
use deployctl_core::config::{
    ComposeNetwork, ComposeService, ComposeVolume, DockerConfig, EngineOptions, LateText, Limits, SecretRef,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How much output is kept where the file says nothing.
const LOG_MAX: u64 = 16 << 20;

/// A service of a project, at a version.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name in the file.
    pub name: String,
    /// What it runs.
    pub image: Image,
    /// How that is built, if it is.
    pub build: Option<Build>,
    /// Its container; without ports, which depend on how it is replaced.
    pub docker: DockerConfig,
    /// Its published ports.
    pub ports: Vec<Port>,
    /// Ports that it names as its own.
    pub expose: Vec<u16>,
    /// How many, if that is said.
    pub replicas: Option<u32>,
    /// What must be there before.
    pub depends_on: Vec<Dependency>,
    /// How long it may take to end.
    pub grace: Option<Duration>,
    /// Whether it runs to its end, once per deployment.
    pub one_off: bool,
    /// Whether another version changes it.
    pub changes: bool,
    /// What `x-deployctl` says.
    pub extension: Option<Value>,
    never_restarts: bool,
}

/// An image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The reference, with tag or digest.
    pub reference: String,
    /// The reference without them.
    pub repository: String,
}

/// What a service waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// The other service.
    pub service: String,
    /// How far that must be.
    pub condition: Condition,
}

/// How far a dependency must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It was started; we wait until it is healthy all the same, if it says how that is told.
    Started,
    /// It is healthy.
    Healthy,
    /// It ran to a good end.
    Completed,
}

impl Service {
    /// Whether it writes to something that outlives its container: two versions must not do so at the same time.
    pub fn keeps_data(&self) -> bool {
        self.docker.volumes.iter().any(|volume| !volume.read_only && !volume.source.ends_with(".sock"))
    }

    /// A name for its image as a version, if no version changes it.
    pub fn fixed_version(&self) -> Option<String> {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "._+-".contains(c) { c } else { '-' };
        let name: String = self.image.reference.chars().map(plain).collect();
        (!self.changes && !self.one_off).then(|| name.chars().take(128).collect())
    }
}

/// What its services share.
pub(crate) struct Project<'a> {
    pub(crate) name: String,
    pub(crate) version: &'a str,
    pub(crate) networks: BTreeMap<String, ComposeNetwork>,
    pub(crate) volumes: BTreeMap<String, ComposeVolume>,
    pub(crate) changing: BTreeSet<String>,
}

pub(crate) fn service(name: &str, at: &At<'_>, top: &At<'_>, project: &Project<'_>) -> Service {
    let plain = plain(at);
    let build = at.get("build").map(|at| build::build(&at));
    let image = image(name, at, build.is_some(), project);
    Service {
        name: name.to_owned(),
        build,
        ports: at.get("ports").map(|at| ports::ports(&at)).unwrap_or_default(),
        expose: plain.expose.clone(),
        replicas: plain.replicas,
        depends_on: at.get("depends_on").map(|at| depends_on(&at)).unwrap_or_default(),
        grace: at.get("stop_grace_period").and_then(|at| at.span()),
        one_off: false,
        changes: project.changing.contains(name),
        extension: at.get("x-deployctl").map(|at| at.value.clone()),
        never_restarts: at.get("restart").is_some_and(|at| at.text() == "no"),
        docker: container(name, at, top, project, plain, image.repository.clone()),
        image,
    }
}

/// What stands in single values.
#[derive(Default)]
struct Plain {
    limits: Limits,
    options: EngineOptions,
    replicas: Option<u32>,
    expose: Vec<u16>,
}

fn plain(at: &At<'_>) -> Plain {
    let Plain { mut limits, mut options, mut replicas, .. } = Plain::default();
    for (key, value) in at.entries() {
        match key.as_str() {
            "deploy" => replicas = options::deploy(&value, &mut limits, &mut options).or(replicas),
            "scale" => replicas = value.number().and_then(|n| u32::try_from(n).ok()).or(replicas),
            "cpus" => limits.cpu_millis = options::millis(&value).or(limits.cpu_millis),
            "mem_limit" => limits.memory_bytes = value.bytes().filter(|bytes| *bytes > 0).or(limits.memory_bytes),
            "tty" | "stdin_open" if !value.flag() => {}
            "platform" => platform(&value),
            key if KNOWN.contains(&key) || key.starts_with("x-") => {}
            key if options::take(key, &value, &mut options) => {}
            key => value.not_built(why(key)),
        }
    }
    let said = at.get("expose").map(|at| at.texts()).unwrap_or_default();
    let with_protocol = |port: &String| if port.contains('/') { port.clone() } else { format!("{port}/tcp") };
    options.expose = said.iter().map(with_protocol).collect();
    let expose = said.iter().filter_map(|port| port.split('/').next()?.parse().ok()).collect();
    Plain { limits, options, replicas, expose }
}

fn container(
    name: &str,
    at: &At<'_>,
    top: &At<'_>,
    project: &Project<'_>,
    plain: Plain,
    repository: String,
) -> DockerConfig {
    let mounts = mounts::of_service(at, top, &project.volumes);
    let options = EngineOptions { tmpfs: mounts.tmpfs, ..plain.options };
    let (env, env_secrets) = environment(at);
    let also = at.get("container_name").map(|at| at.text());
    let names: Vec<String> = [Some(name.to_owned()), also].into_iter().flatten().collect();
    let networks = networks::of_service(at.get("networks"), &names, &project.networks);
    let texts = |key: &str| at.get(key).map(|at| at.texts());
    let capabilities = |key| {
        let said = texts(key).unwrap_or_default();
        said.iter().map(|capability| capability.trim_start_matches("CAP_").to_owned()).collect()
    };
    DockerConfig {
        image: repository,
        command: texts("command").map(|words| words.into_iter().map(LateText::plain).collect()),
        env,
        secrets: mounts.secrets,
        port: None,
        user: at.get("user").map(|at| at.text()),
        limits: plain.limits,
        volumes: mounts.volumes,
        networks: networks.iter().map(|network| network.name.clone()).collect(),
        read_only: at.get("read_only").is_some_and(|at| at.flag()),
        tmpfs: Vec::new(),
        capabilities_add: capabilities("cap_add"),
        capabilities_drop: capabilities("cap_drop"),
        log_bytes_max: at.get("logging").and_then(|at| options::logging(&at)).unwrap_or(LOG_MAX),
        compose: Some(Box::new(ComposeService {
            project: project.name.clone(),
            service: name.to_owned(),
            networks,
            volumes: mounts.named,
            entrypoint: texts("entrypoint"),
            check: at.get("healthcheck").and_then(|at| options::check(&at)),
            publish: Vec::new(),
            env_secrets,
            files: mounts.files,
            options,
        })),
    }
}

/// Keys that are read elsewhere, or that say nothing to us: `restart`, since what should run is kept running; `develop`
/// and `attach`, which are for a person at a terminal; `pull_policy`, since a version means one image for good.
const KNOWN: &[&str] = &[
    "image",
    "build",
    "command",
    "entrypoint",
    "environment",
    "env_file",
    "ports",
    "expose",
    "volumes",
    "networks",
    "configs",
    "secrets",
    "healthcheck",
    "depends_on",
    "user",
    "read_only",
    "tmpfs",
    "cap_add",
    "cap_drop",
    "stop_grace_period",
    "restart",
    "profiles",
    "logging",
    "container_name",
    "develop",
    "attach",
    "pull_policy",
    "annotations",
    "label_file",
];

fn why(key: &str) -> &'static str {
    match key {
        "network_mode" => "each container needs an address of its own in the project's networks",
        "tty" | "stdin_open" => "take it out: nobody types into what is deployed",
        "devices" | "gpus" | "device_cgroup_rules" => "devices of the machine are not passed on yet",
        "links" | "external_links" => "services reach each other by their names in a common network; use `aliases`",
        "volumes_from" => "mount the same named volume in both services",
        "post_start" | "pre_stop" => "use `hooks` under `x-deployctl`",
        _ => "take it out, or leave this service to another tool",
    }
}

/// Only this machine's own: another one fails in the middle of a deployment.
fn platform(at: &At<'_>) {
    let here = match std::env::consts::ARCH {
        "x86_64" => "linux/amd64",
        "aarch64" => "linux/arm64",
        _ => "linux",
    };
    if !at.text().starts_with(here) {
        at.not_built(format!("this machine is {here}"));
    }
}

fn environment(at: &At<'_>) -> (BTreeMap<String, LateText>, BTreeMap<String, SecretRef>) {
    let (mut env, mut secrets) = (BTreeMap::new(), BTreeMap::new());
    for (name, value) in at.get("environment").map(|at| at.names()).unwrap_or_default() {
        if let Some(reference) = value.value.get("secret").and_then(scalar) {
            secrets.insert(name, SecretRef(reference));
        } else if !value.value.is_null() {
            env.insert(name, LateText::plain(value.text()));
        }
    }
    (env, secrets)
}

fn image(name: &str, at: &At<'_>, built: bool, project: &Project<'_>) -> Image {
    let said = at.get("image").map(|at| at.text());
    if let (None, false) = (&said, built) {
        at.bad(format!("the service `{name}` has no image"), "say `image` or `build`");
    }
    let said = said.unwrap_or_else(|| format!("{}-{name}", project.name));
    let (repository, tag) = split(&said);
    let reference = match tag {
        // What is built for a version is called by it, so that going back finds it.
        _ if built && !said.contains(project.version) => format!("{repository}:{}", project.version),
        Some(_) => said.clone(),
        None => format!("{repository}:latest"),
    };
    Image { repository: repository.to_owned(), reference }
}

/// A reference's repository, and its tag or digest.
fn split(reference: &str) -> (&str, Option<&str>) {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    match name[last..].find(':') {
        Some(colon) => (&name[..last + colon], Some(&reference[last + colon + 1..])),
        None => (name, reference.split_once('@').map(|(_, digest)| digest)),
    }
}

fn depends_on(at: &At<'_>) -> Vec<Dependency> {
    let mut all = Vec::new();
    for (service, at) in at.names() {
        let mut condition = Condition::Started;
        for (key, value) in at.entries() {
            match (key.as_str(), value.text().as_str()) {
                ("condition", "service_started") => {}
                ("condition", "service_healthy") => condition = Condition::Healthy,
                ("condition", "service_completed_successfully") => condition = Condition::Completed,
                ("required", _) | ("restart", "false") => {}
                _ => value.not_built("a service that depends on another one is not restarted with it"),
            }
        }
        all.push(Dependency { service, condition });
    }
    all
}

/// A service that another one waits for to complete runs to its end; so does one that is never restarted, that nothing
/// needs and that takes no requests.
pub(crate) fn find_one_offs(services: &mut [Service]) {
    let awaited = |name: &str, completed: bool| {
        let mut all = services.iter().flat_map(|service| &service.depends_on);
        all.any(|on| on.service == name && (on.condition == Condition::Completed) == completed)
    };
    let found: Vec<bool> = services
        .iter()
        .map(|service| {
            let alone = service.ports.is_empty() && !awaited(&service.name, false);
            let checked = service.docker.compose.as_ref().is_some_and(|compose| compose.check.is_some());
            awaited(&service.name, true) || service.never_restarts && alone && !checked
        })
        .collect();
    for (service, one_off) in services.iter_mut().zip(found) {
        service.one_off = one_off;
    }
}
