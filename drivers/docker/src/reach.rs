//! How this machine reaches containers: by their own address where the engine is on this machine, else by a port that the
//! engine's machine publishes, or through SSH. And what an engine elsewhere cannot do, said before anything changes.

use crate::address::{Address, Tcp};
use crate::connect::unreachable;
use crate::docker::Inner;
use crate::labels::Record;
use crate::layout::Layout;
use crate::tunnel::Tunnel;
use crate::view::Look;
use bollard::models::{ContainerCreateBody, ContainerInspectResponse, PortBinding};
use deployctl_core::config::{DockerConfig, TargetConfig};
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::InstanceId;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use tokio::time::sleep;

/// How often an engine that cannot be reached is asked again.
const AGAIN: Duration = Duration::from_millis(250);

/// How containers of an engine are reached.
pub(crate) enum Reach {
    /// By the address that the engine gives them.
    Own,
    /// By a port of the engine's machine.
    Published(Tcp),
    /// Through SSH.
    Through(Tunnel),
}

impl Reach {
    /// How it is done for an engine; `layout` is where ways to it are kept.
    pub(crate) fn of(address: &Address, layout: &Layout) -> Self {
        match address {
            Address::Socket { .. } => Self::Own,
            Address::Tcp { tcp } => Self::Published(tcp.clone()),
            Address::Ssh { ssh } => Self::Through(Tunnel::new(ssh.clone(), layout)),
        }
    }

    /// Where a container answers now, as this machine sees it; none if it does nowhere.
    pub(crate) async fn address(
        &self,
        id: &InstanceId,
        inspected: &ContainerInspectResponse,
        record: &Record,
        look: &Look,
    ) -> Result<Option<String>, Fault> {
        let Some(port) = record.port.filter(|_| look.is_running()) else { return Ok(None) };
        let own = || look.ip.as_ref().map(|ip| format!("{ip}:{port}"));
        match self {
            Self::Own => Ok(own()),
            Self::Published(_) => Ok(published(inspected, port)),
            Self::Through(tunnel) => match own() {
                Some(to) => tunnel.way(id, &to).await.map(Some),
                None => Ok(None),
            },
        }
    }

    /// Has the engine publish the port of a container, where that is how it is reached: on the address that the engine is
    /// named by and on no other, with a number of the engine's choice.
    pub(crate) async fn publish(
        &self,
        body: &mut ContainerCreateBody,
        record: &Record,
        at: &Address,
    ) -> Result<(), Fault> {
        let (Self::Published(tcp), Some(port)) = (self, record.port) else { return Ok(()) };
        let ip = resolved(tcp, at).await?;
        let name = format!("{port}/tcp");
        let to = PortBinding { host_ip: Some(ip.to_string()), host_port: Some(String::new()) };
        let host = body.host_config.get_or_insert_default();
        host.port_bindings.get_or_insert_default().insert(name.clone(), Some(vec![to]));
        body.exposed_ports.get_or_insert_default().push(name);
        Ok(())
    }
}

async fn resolved(tcp: &Tcp, at: &Address) -> Result<IpAddr, Fault> {
    let found = tokio::net::lookup_host((tcp.host.as_str(), tcp.port)).await;
    let found = found.map_err(|e| unreachable(at, &format!("the name `{}` is not known: {e}", tcp.host)))?.next();
    found.map(|address| address.ip()).ok_or_else(|| unreachable(at, "its name has no address"))
}

/// The address where the engine's machine listens for a port of a container.
fn published(inspected: &ContainerInspectResponse, port: u16) -> Option<String> {
    let ports: &HashMap<_, _> = inspected.network_settings.as_ref()?.ports.as_ref()?;
    let bindings = ports.get(&format!("{port}/tcp"))?.as_ref()?;
    bindings.iter().find_map(|binding| {
        let ip: IpAddr = binding.host_ip.as_ref()?.parse().ok()?;
        let port = binding.host_port.as_ref()?.parse().ok()?;
        (!ip.is_unspecified()).then(|| SocketAddr::new(ip, port).to_string())
    })
}

impl Inner {
    /// Whether the engine is not on this machine, as far as is known: one behind a socket is.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.engine().is_ok_and(|engine| !matches!(engine.reach, Reach::Own))
    }

    /// Refuses what an engine elsewhere cannot do.
    pub(crate) fn can_run(&self, target: &TargetConfig) -> Result<(), Fault> {
        let TargetConfig::Docker(config) = target else { return Ok(()) };
        match self.address()? {
            Address::Socket { .. } => Ok(()),
            elsewhere => match needs_this_machine(config) {
                None => Ok(()),
                Some(what) => {
                    let message = format!("{what}, and the Docker Engine at {elsewhere} cannot see this machine");
                    Err(Fault::refused(FaultKind::Spec, message).hint(
                        "nothing was changed; let deployctl run on the engine's own machine, by its socket, or do without",
                    ))
                }
            },
        }
    }

    /// Waits until the engine can be asked and there is a way to the container of `id`, if that is not so now: what a check
    /// said meanwhile is no word about the container. Says whether it had to wait.
    pub(crate) async fn was_cut_off(
        &self,
        id: &InstanceId,
        is_known: impl Fn() -> Result<(), String>,
        waits: impl Fn(String),
    ) -> bool {
        let mut lost = false;
        while let Err(why) = self.asked().await.and_then(|()| is_known()) {
            lost = true;
            waits(why);
            sleep(AGAIN).await;
        }
        let Ok(Reach::Through(tunnel)) = self.engine().map(|engine| &engine.reach) else { return lost };
        while let Err(fault) = tunnel.leads(id).await {
            lost = true;
            waits(fault.message);
            sleep(AGAIN).await;
        }
        lost
    }

    async fn asked(&self) -> Result<(), String> {
        let engine = self.engine().map_err(|fault| fault.message)?;
        let ping = engine.client.call(crate::client::USUAL, |api| async move { api.ping().await }).await;
        ping.map(drop).map_err(|trouble| trouble.fault("the engine says no").message)
    }
}

/// What of a container is on this machine, for people.
fn needs_this_machine(config: &DockerConfig) -> Option<String> {
    if config.compose.is_some() {
        return Some("a Compose file means this machine's ports and folders".into());
    }
    if !config.secrets.is_empty() {
        return Some("`secrets` are files in this machine's memory".into());
    }
    let path = config.volumes.iter().find(|volume| volume.is_path())?;
    Some(format!("`{}` under `volumes` is a folder of this machine", Path::new(&path.source).display()))
}
