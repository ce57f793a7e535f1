//! A service that keeps running: who holds its published ports, and so how it is replaced.

use super::grace;
use crate::code::Code;
use crate::raw::{self, At, Route as RawRoute, Settings};
use crate::resolve::Context;
use crate::source::Place;
use deployctl_compose::{Port, Service};
use deployctl_core::config::{AppConfig, Publish, Strategy, TargetConfig};
use deployctl_core::id::AppName;

/// The configuration of a service that keeps running.
pub(super) fn running(
    service: &Service,
    said: &raw::Service,
    outer: &Settings,
    depends_on: &[(AppName, Place)],
    cx: &mut Context<'_, '_>,
) -> Option<AppConfig> {
    let at = cx.at;
    let instances = said.instances.clone();
    let replicas = service.replicas.filter(|count| instances.is_none() && *count != 1);
    let own = Settings {
        instances: instances.or(replicas.map(|value| At { at, value })),
        strategy: said.strategy.clone(),
        health: said.health.clone(),
        smoke: said.smoke.clone(),
        migrate: said.migrate.clone(),
        hooks: said.hooks.clone(),
        bake: said.bake.clone().or(outer.bake.clone()),
        deadline: said.deadline.clone().or(outer.deadline.clone()),
        port: said.port.clone(),
        ..Settings::default()
    };
    let recreated = super::super::strategy::strategy(&own, true, cx) == Strategy::Recreate;
    let tcp: Vec<&Port> = service.ports.iter().filter(|port| !port.udp).collect();
    // What keeps data seldom speaks HTTP; a service that does says so by a route.
    let implied = said.route.is_none() && !recreated && tcp.len() == 1;
    let routed = said.route.is_some() || implied;
    let port = port(service, said, &tcp, routed, cx);
    let mut docker = service.docker.clone();
    docker.port = port;
    let (fronted, held): (Vec<&Port>, Vec<&Port>) =
        service.ports.iter().partition(|known| routed && !known.udp && Some(known.target) == port);
    let own = Settings {
        route: said.route.clone().or(implied.then(|| At { at, value: RawRoute::default() })),
        port: port.map(|port| At { at, value: u32::from(port) }),
        ..own
    };
    hold(service, &held, recreated, cx);
    if let Some(compose) = &mut docker.compose {
        compose.publish = held.iter().map(|port| publish(port)).collect();
    }
    let mut config = super::super::config(TargetConfig::Docker(docker), &own, depends_on, cx)?;
    config.drain = grace(service);
    if let Some(route) = &mut config.route {
        route.published = fronted.iter().filter_map(|port| address(port)).collect();
        if implied {
            // It takes what comes to its port, not what comes to the environment's addresses.
            route.listen.clear();
        }
    }
    if let (true, Some(held)) = (config.instances > 1, held.iter().find(|port| port.published.is_some())) {
        let message = format!("{} instances of `{}` cannot all hold one port", config.instances, service.name);
        let help =
            format!("let the proxy hold it (`route`), or publish {} without a port of this machine", held.target);
        cx.findings.error_help(at, Code::Contradiction, message, help);
    }
    Some(config)
}

/// The port inside that is asked and routed to.
fn port(service: &Service, said: &raw::Service, tcp: &[&Port], routed: bool, cx: &mut Context<'_, '_>) -> Option<u16> {
    if let Some(port) = &said.port {
        let number = u16::try_from(port.value).ok().filter(|number| *number > 0);
        if number.is_none() {
            cx.findings.error(port.at, Code::BadValue, format!("`{}` is not a port; 1 to 65535", port.value));
        }
        return number;
    }
    let known: Vec<u16> = if tcp.is_empty() { service.expose.clone() } else { tcp.iter().map(|p| p.target).collect() };
    match known[..] {
        [port] if routed || !tcp.is_empty() => Some(port),
        _ if !routed => None,
        _ => {
            let message = format!("it is not said which port of `{}` takes the requests", service.name);
            let at = said.route.as_ref().map_or(cx.at, |route| route.at);
            cx.findings.error_help(at, Code::MissingKey, message, "say `port: 8080` beside the route");
            None
        }
    }
}

/// A container can hold a port of this machine itself only while no other one does.
fn hold(service: &Service, held: &[&Port], recreated: bool, cx: &mut Context<'_, '_>) {
    let Some(first) = held.iter().find(|port| port.published.is_some()).filter(|_| !recreated) else { return };
    let kind = if first.udp { "UDP port" } else { "port" };
    let message =
        format!("`{}` publishes the {kind} {} besides what goes through the proxy", service.name, first.target);
    let help = "two versions cannot hold one port at a time: say `strategy: recreate` under `x-deployctl`, and there is \
                a gap at each deployment; or publish one TCP port only";
    cx.findings.error_help(cx.at, Code::Contradiction, message, help);
}

fn publish(port: &Port) -> Publish {
    Publish { ip: port.ip.clone(), port: port.published.unwrap_or(0), target: port.target, udp: port.udp }
}

/// Where the proxy listens instead of a container.
fn address(port: &Port) -> Option<String> {
    let number = port.published?;
    Some(match port.ip.as_str() {
        "" => format!("0.0.0.0:{number}"),
        ip if ip.contains(':') => format!("[{}]:{number}", ip.trim_matches(['[', ']'])),
        ip => format!("{ip}:{number}"),
    })
}
