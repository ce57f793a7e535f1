//! Containers that are services of a Compose project: settings, labels, networks and volumes as Compose makes them, so
//! that its own commands see them, and so that it can go on with the networks and volumes.

use crate::client::{Client, Trouble, USUAL};
use crate::docker::Inner;
use crate::layout;
use crate::request::Wanted;
use bollard::models::{
    ContainerCreateBody, EndpointSettings, HealthConfig, HostConfig, Ipam, IpamConfig, NetworkCreateRequest,
    PortBinding, ResourcesUlimits, VolumeCreateRequest,
};
use bollard::query_parameters::InspectNetworkOptions;
use deployctl_core::config::{
    ComposeNetwork, ComposeService, ComposeVolume, DockerConfig, EngineCheck, EngineOptions, SecretRef,
};
use deployctl_core::fault::{Fault, FaultKind, Retry};
use deployctl_core::id::{Scope, Sha256Hex};
use deployctl_core::time::Span;
use std::collections::{BTreeMap, HashMap};

pub(crate) const PROJECT: &str = "com.docker.compose.project";
const SERVICE: &str = "com.docker.compose.service";
const NETWORK: &str = "com.docker.compose.network";
const VOLUME: &str = "com.docker.compose.volume";
pub(crate) const NUMBER: &str = "com.docker.compose.container-number";
const ONE_OFF: &str = "com.docker.compose.oneoff";
/// Compose shows what has one; ours is never that of a container of its own, so that it makes a new one when it takes over.
const HASH: &str = "com.docker.compose.config-hash";

/// The labels of an instance, by which Compose finds it.
pub(crate) fn labels(compose: &ComposeService, slot: u32) -> HashMap<String, String> {
    let own = [
        (PROJECT, compose.project.clone()),
        (SERVICE, compose.service.clone()),
        (NUMBER, (slot + 1).to_string()),
        (ONE_OFF, "False".to_owned()),
        (HASH, "deployctl".to_owned()),
    ];
    let said = compose.options.labels.clone().into_iter();
    said.chain(own.map(|(name, value)| (name.to_owned(), value))).collect()
}

/// The labels by which the containers of a service are found.
pub(crate) fn found_by(project: &str, service: &str) -> Vec<String> {
    vec![format!("{PROJECT}={project}"), format!("{SERVICE}={service}"), format!("{ONE_OFF}=False")]
}

/// The files with contents of their own, by their paths inside.
pub(crate) fn files(config: &DockerConfig) -> impl Iterator<Item = (&String, &SecretRef)> {
    config.compose.iter().flat_map(|service| &service.files)
}

/// How it is called in its networks.
pub(crate) fn aliases(compose: &ComposeService) -> BTreeMap<String, Vec<String>> {
    compose.networks.iter().map(|network| (network.name.clone(), network.aliases.clone())).collect()
}

/// A container's connection to a network under these names.
pub(crate) fn endpoint(aliases: &BTreeMap<String, Vec<String>>, network: &str) -> EndpointSettings {
    EndpointSettings { aliases: aliases.get(network).cloned(), ..EndpointSettings::default() }
}

/// Puts what Compose says of a service into the request for its container. `checked`: its health is asked otherwise.
pub(crate) fn apply(body: &mut ContainerCreateBody, compose: &ComposeService, checked: bool, is_job: bool) {
    body.entrypoint.clone_from(&compose.entrypoint);
    if let (Some(check), false) = (&compose.check, checked) {
        body.healthcheck = Some(health(check));
    }
    let options = &compose.options;
    body.hostname.clone_from(&options.hostname);
    body.working_dir.clone_from(&options.working_dir);
    body.stop_signal.clone_from(&options.stop_signal);
    let mut ports = options.expose.clone();
    let host = body.host_config.get_or_insert_default();
    if !is_job {
        ports.extend(compose.publish.iter().map(|port| port_name(port.target, port.udp)));
        let mut bindings: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
        for port in &compose.publish {
            let to = PortBinding {
                host_ip: Some(port.ip.clone()),
                host_port: Some(if port.port == 0 { String::new() } else { port.port.to_string() }),
            };
            let all = bindings.entry(port_name(port.target, port.udp)).or_default();
            all.get_or_insert_default().push(to);
        }
        host.port_bindings = Some(bindings);
    }
    body.exposed_ports = (!ports.is_empty()).then_some(ports);
    of_host(host, options);
}

fn of_host(host: &mut HostConfig, options: &EngineOptions) {
    let some = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
    let number = |number: Option<u64>| number.and_then(|number| i64::try_from(number).ok());
    host.init = options.init;
    host.extra_hosts = some(&options.extra_hosts);
    host.dns = some(&options.dns);
    host.dns_search = some(&options.dns_search);
    host.group_add = some(&options.groups);
    host.security_opt = some(&options.security);
    host.sysctls = (!options.sysctls.is_empty()).then(|| options.sysctls.clone().into_iter().collect());
    host.shm_size = number(options.shm_bytes);
    host.memory_reservation = number(options.memory_reserved);
    host.pids_limit = number(options.processes);
    host.privileged = options.privileged.then_some(true);
    host.tmpfs.get_or_insert_default().extend(options.tmpfs.clone());
    let limit = |(name, (soft, hard)): (&String, &(i64, i64))| ResourcesUlimits {
        name: Some(name.clone()),
        soft: Some(*soft),
        hard: Some(*hard),
    };
    if !options.ulimits.is_empty() {
        host.ulimits.get_or_insert_default().extend(options.ulimits.iter().map(limit));
    }
}

fn port_name(port: u16, udp: bool) -> String {
    format!("{port}/{}", if udp { "udp" } else { "tcp" })
}

fn health(check: &EngineCheck) -> HealthConfig {
    let nanos = |span: Option<Span>| span.and_then(|span| i64::try_from(span.0.as_nanos()).ok());
    HealthConfig {
        test: Some(check.test.clone()),
        interval: nanos(check.interval),
        timeout: nanos(check.timeout),
        retries: check.retries.map(i64::from),
        start_period: nanos(check.start_period),
        start_interval: nanos(check.start_interval),
    }
}

impl Inner {
    /// Has what the project shares: its networks and volumes, and that it is this scope's environment alone that uses
    /// them from here.
    pub(crate) async fn ensure_project(&self, wanted: &Wanted<'_>) -> Result<(), Fault> {
        let Some(compose) = &wanted.config.compose else { return Ok(()) };
        let _one = self.projects.lock().await;
        self.claim_project(&compose.project, &wanted.record.scope)?;
        let client = &self.engine()?.client;
        for network in &compose.networks {
            ensure_network(client, &compose.project, network).await?;
        }
        for volume in &compose.volumes {
            ensure_volume(client, &compose.project, volume).await?;
        }
        for folder in wanted.config.volumes.iter().filter(|volume| volume.is_path()) {
            // As Compose does; who is asked for a folder must find one.
            if !std::path::Path::new(&folder.source).exists() {
                let cannot =
                    |e| deployctl_runner::trouble::trouble("a folder cannot be made at", folder.source.as_ref(), &e);
                std::fs::create_dir_all(&folder.source).map_err(cannot)?;
            }
        }
        Ok(())
    }

    /// A project's volumes are those of one environment: another one that is called the same would run on its data.
    fn claim_project(&self, project: &str, scope: &Scope) -> Result<(), Fault> {
        let owner = format!("{}/{}/{}", scope.project, scope.environment, scope.region);
        let path = self.layout.project(project);
        match layout::read::<String>(&path)? {
            Some(known) if known == owner => Ok(()),
            Some(known) => {
                let message =
                    format!("the Compose project `{project}` is that of {known}, so it cannot be {owner} too");
                Err(Fault::refused(FaultKind::Conflict, message).hint(
                    "both would use the same volumes and networks: give one of them another name with `project_name:`, \
                     under `in:` of the app",
                ))
            }
            None => layout::write(&path, &owner),
        }
    }
}

async fn ensure_network(client: &Client, project: &str, network: &ComposeNetwork) -> Result<(), Fault> {
    let what = format!("the network {} cannot be had", network.name);
    let of = network.name.clone();
    let there = client.call(USUAL, |api| async move { api.inspect_network(&of, None::<InspectNetworkOptions>).await });
    match there.await {
        Ok(there) => {
            let labels = there.labels.unwrap_or_default();
            return is_ours("network", &network.name, project, network.external, &labels);
        }
        Err(trouble) if trouble.is_missing() && !network.external => {}
        Err(trouble) if trouble.is_missing() => return Err(missing("network", &network.name)),
        Err(trouble) => return Err(trouble.fault(&what)),
    }
    let subnets = network.subnets.iter().map(|(subnet, gateway)| IpamConfig {
        subnet: Some(subnet.clone()),
        gateway: gateway.clone(),
        ..IpamConfig::default()
    });
    let subnets: Vec<IpamConfig> = subnets.collect();
    let request = NetworkCreateRequest {
        name: network.name.clone(),
        driver: Some(network.driver.clone().unwrap_or_else(|| "bridge".into())),
        internal: Some(network.internal),
        attachable: Some(network.attachable),
        enable_ipv6: Some(network.ipv6),
        ipam: (!subnets.is_empty()).then(|| Ipam { config: Some(subnets), ..Ipam::default() }),
        options: Some(network.driver_opts.clone().into_iter().collect()),
        labels: Some(of_project(&network.labels, project, NETWORK, &network.key)),
        ..NetworkCreateRequest::default()
    };
    match client.call(USUAL, |api| async move { api.create_network(request).await }).await {
        // Somebody else made it just now: it is looked at again.
        Err(trouble) if trouble.is_conflict() => Err(Fault { retry: Retry::Soon, ..trouble.fault(&what) }),
        made => made.map(drop).map_err(|trouble| trouble.fault(&what)),
    }
}

async fn ensure_volume(client: &Client, project: &str, volume: &ComposeVolume) -> Result<(), Fault> {
    let what = format!("the volume {} cannot be had", volume.name);
    let of = volume.name.clone();
    match client.call(USUAL, |api| async move { api.inspect_volume(&of).await }).await {
        Ok(there) => return is_ours("volume", &volume.name, project, volume.external, &there.labels),
        Err(trouble) if trouble.is_missing() && !volume.external => {}
        Err(trouble) if trouble.is_missing() => return Err(missing("volume", &volume.name)),
        Err(trouble) => return Err(trouble.fault(&what)),
    }
    let request = VolumeCreateRequest {
        name: Some(volume.name.clone()),
        driver: volume.driver.clone(),
        driver_opts: Some(volume.driver_opts.clone().into_iter().collect()),
        labels: Some(of_project(&volume.labels, project, VOLUME, &volume.key)),
        ..VolumeCreateRequest::default()
    };
    let made: Result<_, Trouble> = client.call(USUAL, |api| async move { api.create_volume(request).await }).await;
    made.map(drop).map_err(|trouble| trouble.fault(&what))
}

fn of_project(said: &BTreeMap<String, String>, project: &str, kind: &str, key: &str) -> HashMap<String, String> {
    let own = [(PROJECT.to_owned(), project.to_owned()), (kind.to_owned(), key.to_owned())];
    said.clone().into_iter().chain(own).collect()
}

/// What has the project's label was made by Compose or by us; what is external is whoever's.
fn is_ours(
    kind: &str,
    name: &str,
    project: &str,
    external: bool,
    labels: &HashMap<String, String>,
) -> Result<(), Fault> {
    if external || labels.get(PROJECT).is_some_and(|of| of == project) {
        return Ok(());
    }
    let message = format!("there is a {kind} {name} that does not belong to the Compose project `{project}`");
    Err(Fault::refused(FaultKind::Conflict, message).hint(format!(
        "say `external: true` for the {kind} in the Compose file if it is meant, or give it another `name`"
    )))
}

fn missing(kind: &str, name: &str) -> Fault {
    Fault::refused(FaultKind::Spec, format!("there is no {kind} {name}, and the Compose file says that it is external"))
        .hint(format!("make it with `docker {kind} create {name}`, or take `external` out"))
}

/// The state's name of a project's file.
pub(crate) fn file_name(project: &str) -> String {
    Sha256Hex::of(project.as_bytes()).short().to_owned()
}
