//! What somebody changed by hand on a container that runs. What was changed inside of it cannot be seen.

use crate::labels::Record;
use bollard::models::{ContainerInspectResponse, RestartPolicyNameEnum};

const MIB: i64 = 1 << 20;

/// What is not as the container was made, if anything. Of one that is not running only half can be said: nothing is.
pub(crate) fn drift(inspected: &ContainerInspectResponse, record: &Record, name: &str) -> Option<String> {
    if inspected.state.as_ref().and_then(|state| state.running) != Some(true) {
        return None;
    }
    let mut all = Vec::new();
    let is_name = inspected.name.as_deref().unwrap_or_default().trim_start_matches('/');
    if is_name != name {
        all.push(format!("it was renamed to {is_name}"));
    }
    let host = inspected.host_config.clone().unwrap_or_default();
    let memory = record.memory_bytes.unwrap_or(0);
    if host.memory.unwrap_or(0) != memory {
        all.push(format!("its memory limit is {}, not {}", limit(host.memory.unwrap_or(0)), limit(memory)));
    }
    let cpus = record.nano_cpus.unwrap_or(0);
    if host.nano_cpus.unwrap_or(0) != cpus || host.cpu_quota.unwrap_or(0) > 0 {
        all.push("its share of the processors was changed".into());
    }
    let policy = host.restart_policy.and_then(|policy| policy.name);
    if policy != Some(RestartPolicyNameEnum::UNLESS_STOPPED) {
        let policy = policy.map_or_else(|| "no".to_owned(), |policy| policy.to_string());
        all.push(format!("its restart policy is `{policy}`, not `unless-stopped`"));
    }
    let there = inspected.network_settings.as_ref().and_then(|settings| settings.networks.clone()).unwrap_or_default();
    let mut wanted: Vec<&str> = record.networks.iter().map(String::as_str).collect();
    if wanted.is_empty() {
        wanted.push(record.network());
    }
    all.extend(
        wanted.iter().filter(|name| !there.contains_key(**name)).map(|name| format!("it is not in the network {name}")),
    );
    let mut more: Vec<&String> = there.keys().filter(|name| !wanted.contains(&name.as_str())).collect();
    more.sort();
    all.extend(more.into_iter().map(|name| format!("it was connected to the network {name}")));
    (!all.is_empty()).then(|| all.join("; "))
}

fn limit(bytes: i64) -> String {
    match bytes {
        0 => "none".into(),
        _ if bytes % MIB == 0 => format!("{} MiB", bytes / MIB),
        _ => format!("{bytes} bytes"),
    }
}
