//! Settings of a container that are passed on as they are.

use crate::reader::At;
use deployctl_core::config::{EngineCheck, EngineOptions, Limits};
use deployctl_core::time::Span;

/// Takes in a key that is such a setting; `false` if it is none.
pub(crate) fn take(key: &str, at: &At<'_>, options: &mut EngineOptions) -> bool {
    match key {
        "hostname" => options.hostname = Some(at.text()),
        "working_dir" => options.working_dir = Some(at.text()),
        "init" => options.init = Some(at.flag()),
        "stop_signal" => options.stop_signal = Some(at.text()),
        "labels" => options.labels = at.text_map(),
        "extra_hosts" => options.extra_hosts = at.texts().iter().map(|host| host.replacen('=', ":", 1)).collect(),
        "dns" => options.dns = at.texts(),
        "dns_search" => options.dns_search = at.texts(),
        "group_add" => options.groups = at.texts(),
        "security_opt" => options.security = at.texts(),
        "sysctls" => options.sysctls = at.text_map(),
        "ulimits" => {
            options.ulimits = at.entries().into_iter().filter_map(|(name, at)| Some((name, ulimit(&at)?))).collect()
        }
        "shm_size" => options.shm_bytes = at.bytes(),
        "mem_reservation" => options.memory_reserved = at.bytes().filter(|bytes| *bytes > 0),
        "pids_limit" => options.processes = at.number().filter(|most| *most > 0),
        "privileged" => options.privileged = at.flag(),
        _ => return false,
    }
    true
}

fn ulimit(at: &At<'_>) -> Option<(i64, i64)> {
    let number = |at: &At<'_>| at.text().parse().ok();
    let both = match (at.get("soft"), at.get("hard")) {
        (Some(soft), Some(hard)) => number(&soft).zip(number(&hard)),
        _ => number(at).map(|most| (most, most)),
    };
    if both.is_none() {
        at.bad(format!("`{}` is not a limit", at.name()), "a number, or `soft` and `hard`");
    }
    both
}

/// What `deploy` says: how many, and how much of the machine. The rest is for Swarm, and Compose does nothing with it.
pub(crate) fn deploy(at: &At<'_>, limits: &mut Limits, options: &mut EngineOptions) -> Option<u32> {
    let mut replicas = None;
    for (key, value) in at.entries() {
        match key.as_str() {
            "replicas" => replicas = value.number().and_then(|n| u32::try_from(n).ok()),
            "resources" => resources(&value, limits, options),
            "mode" if value.text() == "replicated" => {}
            "mode" => value.not_built("`replicated` is"),
            _ => {}
        }
    }
    replicas
}

fn resources(at: &At<'_>, limits: &mut Limits, options: &mut EngineOptions) {
    for (key, value) in at.get("limits").map(|at| at.entries()).unwrap_or_default() {
        match key.as_str() {
            "cpus" => limits.cpu_millis = millis(&value),
            "memory" => limits.memory_bytes = value.bytes(),
            "pids" => options.processes = value.number(),
            _ => value.not_built("`cpus`, `memory` and `pids` are"),
        }
    }
    for (key, value) in at.get("reservations").map(|at| at.entries()).unwrap_or_default() {
        match key.as_str() {
            "memory" => options.memory_reserved = value.bytes(),
            // One machine has the cores that it has.
            "cpus" => {}
            _ => value.not_built("`memory` is"),
        }
    }
}

/// Cores, in thousandths.
pub(crate) fn millis(at: &At<'_>) -> Option<u64> {
    let cores = at.decimal().filter(|cores| (0.0..1e6).contains(cores))?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is in range")]
    let millis = (cores * 1000.0).round() as u64;
    (millis > 0).then_some(millis)
}

pub(crate) fn check(at: &At<'_>) -> Option<EngineCheck> {
    let (mut check, mut disabled) = (EngineCheck::default(), false);
    let span = |at: &At<'_>| at.span().map(Span);
    for (key, value) in at.entries() {
        match key.as_str() {
            "test" => check.test = value.texts(),
            "interval" => check.interval = span(&value),
            "timeout" => check.timeout = span(&value),
            "start_period" => check.start_period = span(&value),
            "start_interval" => check.start_interval = span(&value),
            "retries" => check.retries = value.number().and_then(|n| u32::try_from(n).ok()),
            "disable" => disabled = value.flag(),
            key if key.starts_with("x-") => {}
            _ => value.not_built("take it out"),
        }
    }
    Some(if disabled { EngineCheck { test: vec!["NONE".into()], ..EngineCheck::default() } } else { check })
}

/// How much output is kept, where `logging` says so.
pub(crate) fn logging(at: &At<'_>) -> Option<u64> {
    if let Some(driver) = at.get("driver").filter(|driver| driver.text() != "json-file") {
        driver.not_built("`deployctl logs` reads what `json-file` keeps");
    }
    let (mut size, mut files) = (None, 1);
    for (key, value) in at.get("options").map(|at| at.entries()).unwrap_or_default() {
        match key.as_str() {
            "max-size" => size = unit(&value),
            "max-file" => files = value.number().unwrap_or(1),
            _ => value.not_built("`max-size` and `max-file` are"),
        }
    }
    Some(size?.saturating_mul(files))
}

/// A size with a unit, such as `10m`.
fn unit(at: &At<'_>) -> Option<u64> {
    let text = at.text().to_ascii_lowercase();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let shift = match text[end..].trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => 64,
    };
    let size = text[..end].parse::<u64>().ok().and_then(|number| number.checked_mul(1u64.checked_shl(shift)?));
    if size.is_none() {
        at.bad(format!("`{text}` is not a size"), "such as `10m`");
    }
    size
}
