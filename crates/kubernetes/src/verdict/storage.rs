//! Claims and volumes.

use super::finding::Finding;
use super::read::{self, Condition};
use super::set::Set;
use serde_json::Value;

/// Right when it is bound. A pending one may become it as soon as somebody provides a volume; a lost one has lost its volume
/// with its data, and Kubernetes never binds it again.
pub(super) fn judge_claim(set: &Set<'_>, object: &Value) -> Finding {
    match read::text(object, "/status/phase") {
        "Bound" => bound(object),
        "Lost" => Finding::failed(format!("its volume {} is gone", read::text(object, "/spec/volumeName"))),
        _ => pending(set, object),
    }
}

fn pending(set: &Set<'_>, object: &Value) -> Finding {
    let reasons = [
        "ProvisioningFailed",
        "FailedBinding",
        "VolumeMismatch",
        "ExternalProvisioning",
        "WaitForFirstConsumer",
        "WaitForPodScheduled",
    ];
    let event = set.event(object, &reasons);
    let reason = event.map_or("", |event| read::text(event, "/reason"));
    match set.complaint(object, &reasons, &["ProvisioningSucceeded"]) {
        Some(said) if matches!(reason, "WaitForFirstConsumer" | "WaitForPodScheduled") => {
            Finding::waits(format!("it is not bound: {said}"))
        }
        Some(said) => Finding::trouble(format!("it is not bound: {said}")),
        None => Finding::waits("it is not bound to a volume yet"),
    }
}

fn bound(object: &Value) -> Finding {
    let volume = read::text(object, "/spec/volumeName");
    if let Some(failed) = Condition::of(object, "ControllerResizeError")
        .or(Condition::of(object, "NodeResizeError"))
        .filter(|c| c.is_true())
    {
        return Finding::trouble(format!("its volume cannot be made larger: {}", failed.says()));
    }
    if Condition::of(object, "Resizing").is_some_and(Condition::is_true) {
        return Finding::waits("its volume is being made larger");
    }
    Finding::ready(match Condition::of(object, "FileSystemResizePending").is_some_and(Condition::is_true) {
        true => format!("it is bound to {volume}, whose file system grows when a pod mounts it next"),
        false => format!("it is bound to {volume}"),
    })
}

/// Right when it can be used or is.
pub(super) fn judge_volume(object: &Value) -> Finding {
    let said = [read::text(object, "/status/message"), read::text(object, "/status/reason")];
    let said = said.into_iter().find(|text| !text.is_empty());
    match read::text(object, "/status/phase") {
        "Available" => Finding::ready("it can be claimed"),
        "Bound" => Finding::ready(format!("it is bound to {}", read::text(object, "/spec/claimRef/name"))),
        "Released" => Finding::ready("its claim is gone, and it is kept"),
        "Failed" => Finding::failed(said.unwrap_or("it could not be reclaimed")),
        _ => Finding::waits(said.unwrap_or("it is not there yet")),
    }
}
