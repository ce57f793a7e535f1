//! Whether a container is what would be made now: a pure comparison, with the image that it was made from.

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, HealthConfig, HostConfig, ImageInspect, MountPoint,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A container, and the image that ours would be made from.
pub(crate) struct Made<'a> {
    pub(crate) container: &'a ContainerInspectResponse,
    pub(crate) image: &'a ImageInspect,
}

/// What we add to every environment.
const OWN_ENV: &str = "DEPLOYCTL_";

/// What differs, in a word; none if the container is as good as a new one. `secrets`: files with secrets are mounted, which
/// Compose does in another way.
pub(crate) fn differs(made: &Made<'_>, body: &ContainerCreateBody, secrets: bool) -> Option<&'static str> {
    let none = bollard::models::ContainerConfig::default();
    let there = made.container.config.as_ref().unwrap_or(&none);
    let of_image = made.image.config.clone().unwrap_or_default();
    let host = HostConfig::default();
    let (host, wanted) =
        (made.container.host_config.as_ref().unwrap_or(&host), body.host_config.as_ref().unwrap_or(&host));
    let words = |said: &Option<Vec<String>>| said.clone().unwrap_or_default();
    let text = |said: &Option<String>| said.clone().unwrap_or_default();
    let or =
        |said: &Option<String>, image: &Option<String>| if text(said).is_empty() { text(image) } else { text(said) };
    let entrypoint = body.entrypoint.clone().or(of_image.entrypoint.clone());
    let command = match (&body.cmd, &body.entrypoint) {
        (Some(command), _) => command.clone(),
        (None, Some(_)) => Vec::new(),
        (None, None) => words(&of_image.cmd),
    };
    let checks: [(&'static str, bool); 15] = [
        ("image", made.container.image != made.image.id),
        ("secrets", secrets),
        ("entrypoint", words(&entrypoint) != words(&there.entrypoint)),
        ("command", command != words(&there.cmd)),
        ("user", or(&body.user, &of_image.user) != text(&there.user)),
        ("folder", or(&body.working_dir, &of_image.working_dir) != text(&there.working_dir)),
        ("environment", environment(&words(&body.env), &words(&of_image.env)) != environment(&words(&there.env), &[])),
        ("host name", body.hostname.is_some() && body.hostname != there.hostname),
        ("labels", !has_labels(body.labels.as_ref(), there.labels.as_ref())),
        ("stop signal", or(&body.stop_signal, &of_image.stop_signal) != or(&there.stop_signal, &of_image.stop_signal)),
        ("health check", body.healthcheck.is_some() && asked(&body.healthcheck) != asked(&there.healthcheck)),
        ("mounts", mounts_differ(made, wanted)),
        ("networks", networks(body) != networks_of(made.container)),
        ("ports", ports(wanted) != ports(host)),
        ("limits", limits(wanted) != limits(host)),
    ];
    checks.into_iter().find(|(_, differ)| *differ).map(|(what, _)| what)
}

/// What the engine asks by itself: nothing where nothing is said, and where it is said that there is no check.
fn asked(check: &Option<HealthConfig>) -> Option<&HealthConfig> {
    let is_none = |check: &HealthConfig| check.test.as_ref().is_some_and(|test| test.iter().any(|word| word == "NONE"));
    check.as_ref().filter(|check| !is_none(check))
}

/// Variables over those of the image, without our own.
fn environment(said: &[String], image: &[String]) -> BTreeMap<String, String> {
    let all = image.iter().chain(said).map(|entry| entry.split_once('=').unwrap_or((entry, "")));
    all.filter(|(name, _)| !name.starts_with(OWN_ENV)).map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

fn has_labels(wanted: Option<&HashMap<String, String>>, there: Option<&HashMap<String, String>>) -> bool {
    wanted.into_iter().flatten().all(|(name, value)| there.and_then(|there| there.get(name)) == Some(value))
}

/// Where, from what, and whether it can be written to. What the image keeps in volumes of its own is beside the point.
fn mounts_differ(made: &Made<'_>, wanted: &HostConfig) -> bool {
    let of_image: BTreeSet<String> =
        made.image.config.iter().flat_map(|config| config.volumes.iter().flatten().cloned()).collect();
    let source = |mount: &MountPoint| match mount.typ.as_deref() {
        Some("volume") => mount.name.clone(),
        _ => mount.source.clone(),
    };
    let there = made.container.mounts.iter().flatten().filter(|mount| mount.typ.as_deref() != Some("tmpfs"));
    let there: BTreeSet<(String, String, bool)> = there
        .map(|mount| {
            let path = mount.destination.clone().unwrap_or_default();
            (path, source(mount).unwrap_or_default(), mount.rw == Some(false))
        })
        .collect();
    let wanted: BTreeSet<(String, String, bool)> = wanted
        .mounts
        .iter()
        .flatten()
        .map(|mount| {
            let text = |said: &Option<String>| said.clone().unwrap_or_default();
            (text(&mount.target), text(&mount.source), mount.read_only == Some(true))
        })
        .collect();
    let anonymous = |path: &str| of_image.contains(path) && !wanted.iter().any(|(known, ..)| known == path);
    there.iter().filter(|(path, ..)| !anonymous(path)).ne(wanted.iter())
}

fn networks(body: &ContainerCreateBody) -> BTreeSet<String> {
    let endpoints = body.networking_config.iter().flat_map(|config| config.endpoints_config.iter().flatten());
    endpoints.map(|(name, _)| name.clone()).collect()
}

fn networks_of(container: &ContainerInspectResponse) -> BTreeSet<String> {
    let settings = container.network_settings.iter().flat_map(|settings| settings.networks.iter().flatten());
    settings.map(|(name, _)| name.clone()).collect()
}

/// Which port leads to which.
fn ports(host: &HostConfig) -> BTreeSet<(String, String)> {
    let bindings = host.port_bindings.iter().flatten();
    let each = bindings.flat_map(|(inside, all)| {
        all.iter()
            .flatten()
            .map(move |to| (inside.clone(), format!("{}:{}", ip(to), to.host_port.clone().unwrap_or_default())))
    });
    each.collect()
}

fn ip(binding: &bollard::models::PortBinding) -> &str {
    match binding.host_ip.as_deref() {
        Some("0.0.0.0") | None => "",
        Some(ip) => ip,
    }
}

/// All else that sets bounds, as one comparable text.
fn limits(host: &HostConfig) -> String {
    let sorted = |list: &Option<Vec<String>>| {
        let mut list: Vec<String> =
            list.iter().flatten().map(|cap| cap.trim_start_matches("CAP_").to_owned()).collect();
        list.sort();
        list
    };
    let number = |number: Option<i64>| number.filter(|number| *number > 0);
    let map = |map: &Option<HashMap<String, String>>| map.iter().flatten().collect::<BTreeMap<_, _>>().len();
    let ulimits = host.ulimits.iter().flatten();
    let mut ulimits: Vec<String> = ulimits.map(|u| format!("{:?} {:?} {:?}", u.name, u.soft, u.hard)).collect();
    ulimits.sort();
    format!(
        "{:?}",
        (
            (number(host.nano_cpus), number(host.memory), number(host.memory_reservation), number(host.pids_limit)),
            (host.readonly_rootfs.unwrap_or(false), host.privileged.unwrap_or(false), host.init.unwrap_or(false)),
            (sorted(&host.cap_add), sorted(&host.cap_drop), sorted(&host.security_opt), sorted(&host.extra_hosts)),
            (sorted(&host.dns), sorted(&host.group_add), map(&host.sysctls), map(&host.tmpfs), ulimits),
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn made() -> (serde_json::Value, serde_json::Value) {
        let container = json!({
            "Image": "sha256:1",
            "Config": { "Env": ["A=1", "PATH=/bin"], "Cmd": ["/app"], "Labels": { "x": "y" } },
            "HostConfig": { "PortBindings": {}, "Memory": 0 },
            "Mounts": [
                { "Type": "volume", "Name": "p_data", "Source": "/v/p_data/_data", "Destination": "/data", "RW": true },
                { "Type": "volume", "Name": "4f4f", "Source": "/v/4f4f/_data", "Destination": "/own", "RW": true },
            ],
            "NetworkSettings": { "Networks": { "p_default": {} } },
        });
        let image =
            json!({ "Id": "sha256:1", "Config": { "Env": ["PATH=/bin"], "Cmd": ["/app"], "Volumes": { "/own": {} } } });
        (container, image)
    }

    fn body() -> serde_json::Value {
        json!({
            "Env": ["A=1", "DEPLOYCTL_APP=db"],
            "HostConfig": { "Mounts": [{ "Type": "volume", "Source": "p_data", "Target": "/data", "ReadOnly": false }] },
            "NetworkingConfig": { "EndpointsConfig": { "p_default": {} } },
        })
    }

    fn compared(change: impl Fn(&mut serde_json::Value)) -> Option<&'static str> {
        let (container, image) = made();
        let mut body = body();
        change(&mut body);
        let container = serde_json::from_value(container).expect("a container");
        let image = serde_json::from_value(image).expect("an image");
        let made = Made { container: &container, image: &image };
        differs(&made, &serde_json::from_value(body).expect("a request"), false)
    }

    #[test]
    fn a_container_is_taken_over_only_if_nothing_of_it_changed() {
        assert_eq!(compared(|_| {}), None);
        assert_eq!(compared(|body| body["Healthcheck"] = json!({ "Test": ["NONE"] })), None);
        let changes: [(&str, serde_json::Value, &str); 8] = [
            ("/Healthcheck", json!({ "Test": ["CMD", "/ask"] }), "health check"),
            ("/Env", json!(["A=2"]), "environment"),
            ("/Cmd", json!(["/other"]), "command"),
            ("/Entrypoint", json!(["/sh"]), "entrypoint"),
            ("/User", json!("1"), "user"),
            ("/HostConfig/Mounts", json!([]), "mounts"),
            ("/HostConfig/Memory", json!(1024), "limits"),
            ("/NetworkingConfig/EndpointsConfig", json!({ "other": {} }), "networks"),
        ];
        for (path, value, wanted) in changes {
            let differs = compared(|body| {
                let (parent, key) = path.rsplit_once('/').expect("a path");
                body.pointer_mut(parent).expect("a parent")[key] = value.clone();
            });
            assert_eq!(differs, Some(wanted), "{path}");
        }
    }
}
