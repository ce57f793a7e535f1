//! Containers of a pod: what their state says.

use super::cause;
use super::finding::Finding;
use super::read;
use super::set::Set;
use serde_json::Value;

/// What is wrong with a container, if anything is. `status` is its part of the pod's status.
///
/// The state that it has *now* counts: how often it was started before does not, and how it ended before only while it is not
/// ready, and only if that was in the deployment.
pub(super) fn trouble(set: &Set<'_>, pod: &Value, status: &Value) -> Option<Finding> {
    let name = read::text(status, "/name");
    let found = match (status.pointer("/state/waiting"), status.pointer("/state/terminated")) {
        (Some(waiting), _) => waits(set, pod, status, waiting),
        (None, Some(ended)) => ended_with(set, pod, status, ended),
        (None, None) => restarted(set, status),
    };
    found.map(|found| found.after(&format!("container {name}")))
}

fn waits(set: &Set<'_>, pod: &Value, status: &Value, waiting: &Value) -> Option<Finding> {
    let (reason, message) = (read::text(waiting, "/reason"), read::text(waiting, "/message"));
    let said = if message.is_empty() { reason } else { message };
    Some(match reason {
        "" | "ContainerCreating" | "PodInitializing" => return None,
        "ErrImagePull" | "ImagePullBackOff" => pull(set, pod, said),
        "InvalidImageName" | "ErrImageNeverPull" | "SignatureValidationFailed" => Finding::failed(said),
        "CreateContainerConfigError" => cause::of_config(set, pod, said),
        "CreateContainerError" | "RunContainerError" => cause::of_start(specification(pod, status), said),
        "CrashLoopBackOff" => crash_loop(set, pod, status),
        _ => Finding::trouble(format!("{reason}: {said}")),
    })
}

/// The kubelet repeats the registry's words while it waits; older ones leave them to an event.
fn pull(set: &Set<'_>, pod: &Value, message: &str) -> Finding {
    let found = cause::of_pull(message);
    let is_told = message.contains("ErrImagePull") || !message.starts_with("Back-off pulling image");
    let event = set.complaint(pod, &["Failed"], &["Pulled"]).filter(|text| text.starts_with("Failed to pull image"));
    match event {
        Some(said) if !is_told => cause::of_pull(said),
        _ => found,
    }
}

fn crash_loop(set: &Set<'_>, pod: &Value, status: &Value) -> Finding {
    let Some(last) = status.pointer("/lastState/terminated") else {
        return Finding::trouble("crash loop");
    };
    if !set.counts(read::text(last, "/finishedAt")) {
        return Finding::waits("waits to be started again after crashes from before");
    }
    how(pod, status, last).after("crash loop")
}

/// It has ended. Whether that is wrong depends on who starts it again.
///
/// The kubelet may show how an init container ended for minutes before it says that it waits to start it again: whoever ended
/// before, too, is in a crash loop already.
fn ended_with(set: &Set<'_>, pod: &Value, status: &Value, ended: &Value) -> Option<Finding> {
    let is_well = read::count(ended, "/exitCode") == 0;
    let found = how(pod, status, ended);
    match restart_policy(pod, status) {
        "Never" if is_well => None,
        "Never" => Some(Finding::failed(found.reason)),
        "OnFailure" if is_well => None,
        _ if ended_before(set, status).is_some() => Some(found.after("crash loop")),
        _ => Some(found),
    }
}

/// Also an init container has ended well for good.
fn restart_policy<'a>(pod: &'a Value, status: &Value) -> &'a str {
    let of_pod = match read::text(pod, "/spec/restartPolicy") {
        "" => "Always",
        policy => policy,
    };
    let is_init = read::list(pod, "/spec/initContainers")
        .iter()
        .any(|one| read::text(one, "/name") == read::text(status, "/name"));
    let own = specification(pod, status).map_or("", |container| read::text(container, "/restartPolicy"));
    match (own, is_init, of_pod) {
        ("", true, "Always") => "OnFailure",
        ("", _, policy) => policy,
        (own, _, _) => own,
    }
}

/// How a container ended, in words.
fn how(pod: &Value, status: &Value, ended: &Value) -> Finding {
    let (reason, message) = (read::text(ended, "/reason"), read::text(ended, "/message").trim());
    let code = read::count(ended, "/exitCode");
    if matches!(reason, "StartError" | "ContainerCannotRun") {
        return cause::of_start(specification(pod, status), message).after("it cannot be started");
    }
    let mut words = format!("it ended with exit code {code}");
    if !matches!(reason, "" | "Error" | "Completed") {
        words.push_str(&format!(" ({reason})"));
    }
    if !message.is_empty() {
        words.push_str(&format!(": {message}"));
    }
    Finding::trouble(words)
}

/// How it ended the time before, if that was in the deployment.
fn ended_before<'a>(set: &Set<'_>, status: &'a Value) -> Option<&'a Value> {
    status.pointer("/lastState/terminated").filter(|last| set.counts(read::text(last, "/finishedAt")))
}

/// It runs, and is not ready, and has run before.
fn restarted(set: &Set<'_>, status: &Value) -> Option<Finding> {
    let last = ended_before(set, status)?;
    let is_well = read::is(status, "/ready") || status.pointer("/state/running").is_none();
    let code = read::count(last, "/exitCode");
    let why = match read::text(last, "/reason") {
        reason @ ("OOMKilled" | "DeadlineExceeded") => format!(" ({reason})"),
        _ => String::new(),
    };
    (!is_well).then(|| {
        Finding::trouble(format!("it was started again after it ended with exit code {code}{why}, and is not ready"))
    })
}

fn specification<'a>(pod: &'a Value, status: &Value) -> Option<&'a Value> {
    let lists = ["/spec/containers", "/spec/initContainers"].map(|field| read::list(pod, field));
    lists.into_iter().flatten().find(|one| read::text(one, "/name") == read::text(status, "/name"))
}
