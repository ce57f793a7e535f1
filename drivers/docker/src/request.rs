//! What a container is made from: a pure function of the release.

use crate::labels::{Record, ServiceName};
use crate::{compose, secrets};
use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, Mount, MountType, NetworkingConfig,
    ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};
use deployctl_core::config::{Artifact, ArtifactFormat, Check, DockerConfig, LatePart, LateText, TargetConfig, Volume};
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::{Revision, Scope};
use deployctl_core::instance::InstanceSpec;
use deployctl_core::job::JobSpec;
use deployctl_core::release::Release;
use std::collections::HashMap;
use std::path::Path;

/// A container that is to be made.
pub(crate) struct Wanted<'a> {
    pub(crate) record: Record,
    pub(crate) config: &'a DockerConfig,
    /// What is given to the image's entrypoint; none: the image's own command.
    command: Option<Vec<String>>,
    env: Vec<String>,
    restarts: bool,
    stop_seconds: i64,
}

/// The container of an instance.
pub(crate) fn instance(spec: &InstanceSpec) -> Result<Wanted<'_>, Fault> {
    let config = docker(&spec.release)?;
    let app = &spec.release.config;
    let bind = |text: &LateText| bound(text, &spec.scope, config.port, Some(spec.slot));
    let check = match app.health.as_ref().map(|health| &health.check) {
        Some(Check::Command(command)) => command.iter().map(bind).collect::<Result<_, _>>()?,
        _ => Vec::new(),
    };
    let command = config.command.as_ref().map(|command| command.iter().map(bind).collect::<Result<_, _>>());
    let mut env = environment(&spec.release, &spec.scope, config, Some(spec.slot))?;
    env.push(format!("DEPLOYCTL_INSTANCE={}", spec.id));
    env.push(format!("DEPLOYCTL_SLOT={}", spec.slot));
    let record = Record {
        health: app.health.clone(),
        check,
        h2: app.route.as_ref().is_some_and(|route| route.h2),
        slot: spec.slot,
        ..record(&spec.release, &spec.scope, spec.revision.clone(), config)
    };
    Ok(Wanted {
        record,
        config,
        command: command.transpose()?,
        env,
        restarts: true,
        stop_seconds: seconds(app.drain.0),
    })
}

/// The container of a job.
pub(crate) fn job(spec: &JobSpec) -> Result<Wanted<'_>, Fault> {
    let config = docker(&spec.release)?;
    let run = spec.command.run.iter().map(|text| bound(text, &spec.scope, None, None)).collect::<Result<_, _>>()?;
    let mut env = environment(&spec.release, &spec.scope, config, None)?;
    env.push(format!("DEPLOYCTL_JOB_ID={}", spec.id));
    let revision = Revision { release: spec.release.id(), nonce: 0 };
    let millis = u64::try_from(spec.command.timeout.0.as_millis()).unwrap_or(u64::MAX);
    let record =
        Record { port: None, timeout_ms: Some(millis), ..record(&spec.release, &spec.scope, revision, config) };
    // Without a command it is the image's own, as for a job that is a service of its own.
    let command = Some(run).filter(|run: &Vec<String>| !run.is_empty());
    Ok(Wanted { record, config, command, env, restarts: false, stop_seconds: 10 })
}

fn record(release: &Release, scope: &Scope, revision: Revision, config: &DockerConfig) -> Record {
    Record {
        scope: scope.clone(),
        revision,
        slot: 0,
        version: release.version.clone(),
        port: config.port,
        networks: config.networks.clone(),
        aliases: config.compose.as_ref().map(|service| compose::aliases(service)).unwrap_or_default(),
        service: config.compose.as_deref().map(ServiceName::of),
        fronted: release.config.route.as_ref().is_some_and(|route| !route.published.is_empty()),
        called: None,
        of: release.config.instances,
        health: None,
        check: Vec::new(),
        h2: false,
        artifact: release.artifact.as_ref().map(|artifact| artifact.sha256.clone()),
        secrets: !config.secrets.is_empty() || compose::files(config).next().is_some(),
        memory_bytes: config.limits.memory_bytes.and_then(|bytes| i64::try_from(bytes).ok()),
        nano_cpus: config.limits.cpu_millis.and_then(|millis| i64::try_from(millis * 1_000_000).ok()),
        timeout_ms: None,
    }
}

/// How the release's containers are run.
pub(crate) fn docker(release: &Release) -> Result<&DockerConfig, Fault> {
    match &release.config.target {
        TargetConfig::Docker(config) => Ok(config),
        TargetConfig::Process(_) | TargetConfig::Kubernetes(_) => {
            Err(Fault::refused(FaultKind::Bug, "this release is no container"))
        }
    }
}

/// The image under a name that means these bytes for good.
pub(crate) fn image(config: &DockerConfig, artifact: Option<&Artifact>) -> Result<String, Fault> {
    match artifact.map(|artifact| (artifact.format, &artifact.sha256)) {
        Some((ArtifactFormat::ImageId, id)) => Ok(format!("sha256:{id}")),
        Some((ArtifactFormat::ImageManifest, digest)) => Ok(format!("{}@sha256:{digest}", config.image)),
        _ => Err(Fault::refused(FaultKind::Bug, "a release of containers has no image")),
    }
}

impl Wanted<'_> {
    /// The request, without labels.
    pub(crate) fn body(&self, image: String, secrets: Option<&Path>) -> ContainerCreateBody {
        let record = &self.record;
        let none = || HealthConfig { test: Some(vec!["NONE".into()]), ..HealthConfig::default() };
        let asked = record.health.is_some() || !self.restarts;
        let mut endpoints = HashMap::new();
        if let Some(network) = record.networks.first() {
            endpoints.insert(network.clone(), compose::endpoint(&record.aliases, network));
        }
        let mut body = ContainerCreateBody {
            image: Some(image),
            cmd: self.command.clone(),
            env: Some(self.env.clone()),
            user: self.config.user.clone(),
            healthcheck: asked.then(none),
            stop_timeout: Some(self.stop_seconds),
            host_config: Some(self.host(secrets)),
            networking_config: Some(NetworkingConfig { endpoints_config: Some(endpoints) }),
            ..ContainerCreateBody::default()
        };
        if let Some(service) = &self.config.compose {
            compose::apply(&mut body, service, asked, !self.restarts);
        }
        body
    }

    /// The labels by which Compose finds it, if it is one of its services.
    pub(crate) fn compose_labels(&self) -> HashMap<String, String> {
        let service = self.config.compose.as_ref().filter(|_| self.restarts);
        service.map(|service| compose::labels(service, self.record.slot)).unwrap_or_default()
    }

    fn mount(&self, volume: &Volume) -> Mount {
        let (typ, source) = match volume.is_path() {
            true => (MountType::BIND, volume.source.clone()),
            // A project's volumes are shared by its services, and have their names already.
            false if self.config.compose.is_some() => (MountType::VOLUME, volume.source.clone()),
            false => (MountType::VOLUME, volume_name(&self.record.scope, &volume.source)),
        };
        Mount {
            typ: Some(typ),
            source: Some(source),
            target: Some(volume.path.clone()),
            read_only: Some(volume.read_only),
            ..Mount::default()
        }
    }

    fn host(&self, secrets: Option<&Path>) -> HostConfig {
        let config = self.config;
        let restart = if self.restarts { RestartPolicyNameEnum::UNLESS_STOPPED } else { RestartPolicyNameEnum::NO };
        let mut mounts: Vec<Mount> = config.volumes.iter().map(|volume| self.mount(volume)).collect();
        let read = |source: &Path, target: &str| Mount {
            typ: Some(MountType::BIND),
            source: Some(source.to_string_lossy().into_owned()),
            target: Some(target.to_owned()),
            read_only: Some(true),
            ..Mount::default()
        };
        if let Some(folder) = secrets {
            mounts.extend((!config.secrets.is_empty()).then(|| read(folder, secrets::INSIDE)));
            mounts.extend(compose::files(config).map(|(path, _)| read(&folder.join(secrets::file_of(path)), path)));
        }
        // Two files: the older one is dropped when the newer one is full.
        let half = (config.log_bytes_max / 2).max(1);
        let log = [("max-size".to_owned(), half.to_string()), ("max-file".to_owned(), "2".to_owned())];
        let files = |files: u64| {
            let most = i64::try_from(files).ok();
            vec![ResourcesUlimits { name: Some("nofile".into()), soft: most, hard: most }]
        };
        HostConfig {
            restart_policy: Some(RestartPolicy { name: Some(restart), maximum_retry_count: None }),
            network_mode: Some(self.record.network().to_owned()),
            mounts: Some(mounts),
            tmpfs: Some(config.tmpfs.iter().map(|path| (path.clone(), String::new())).collect()),
            readonly_rootfs: Some(config.read_only),
            cap_add: Some(config.capabilities_add.clone()),
            cap_drop: Some(config.capabilities_drop.clone()),
            nano_cpus: self.record.nano_cpus,
            memory: self.record.memory_bytes,
            ulimits: config.limits.files.map(files),
            log_config: Some(HostConfigLogConfig { typ: Some("json-file".into()), config: Some(log.into()) }),
            ..HostConfig::default()
        }
    }
}

/// The engine's name of a volume that belongs to an app in its environment.
pub(crate) fn volume_name(scope: &Scope, name: &str) -> String {
    format!("{}_{}_{}_{}_{name}", scope.project, scope.environment, scope.region, scope.app)
}

fn environment(
    release: &Release,
    scope: &Scope,
    config: &DockerConfig,
    slot: Option<u32>,
) -> Result<Vec<String>, Fault> {
    let mut env: Vec<(String, String)> = Vec::new();
    let port = config.port.filter(|_| slot.is_some());
    // A Compose file says itself what its services are told.
    env.extend(port.filter(|_| config.compose.is_none()).map(|port| ("PORT".to_owned(), port.to_string())));
    for (name, text) in &config.env {
        // An instance's own values mean nothing to a job; one that needs them says so in its command.
        let own = text.0.iter().any(|part| matches!(part, LatePart::Port | LatePart::Slot));
        if slot.is_none() && own {
            continue;
        }
        env.retain(|(known, _)| known != name);
        env.push((name.clone(), bound(text, scope, port, slot)?));
    }
    let fixed = [
        ("PROJECT", scope.project.as_str()),
        ("ENVIRONMENT", scope.environment.as_str()),
        ("REGION", scope.region.as_str()),
        ("APP", scope.app.as_str()),
        ("VERSION", release.version.as_str()),
    ];
    env.extend(fixed.map(|(name, value)| (format!("DEPLOYCTL_{name}"), value.to_owned())));
    Ok(env.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
}

fn bound(text: &LateText, scope: &Scope, port: Option<u16>, slot: Option<u32>) -> Result<String, Fault> {
    let lacks = |what: &str| Fault::refused(FaultKind::Spec, format!("{scope}: a container has no {what} here"));
    text.bind(|part| match part {
        LatePart::Text(text) => Ok(text.clone()),
        LatePart::Port => port.map(|port| port.to_string()).ok_or_else(|| lacks("port")),
        LatePart::Slot => slot.map(|slot| slot.to_string()).ok_or_else(|| lacks("slot")),
        LatePart::Data => Err(lacks("data folder")),
        LatePart::Folder => Err(lacks("scratch folder")),
        LatePart::Address(app) => Err(lacks(&format!("address of `{app}`"))),
    })
}

fn seconds(span: std::time::Duration) -> i64 {
    i64::try_from(span.as_millis().div_ceil(1000)).unwrap_or(i64::MAX)
}
