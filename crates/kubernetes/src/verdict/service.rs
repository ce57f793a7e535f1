//! Services and Ingresses.

use super::finding::Finding;
use super::read;
use super::set::Set;
use serde_json::Value;

/// Right when it has the addresses that its type promises, and, as far as the set tells, something ready behind it.
///
/// Endpoint slices in the set say what is behind it. Nothing need be where all that it selects is scaled to zero.
pub(super) fn judge(set: &Set<'_>, object: &Value) -> Finding {
    let kind = read::text(object, "/spec/type");
    if kind == "ExternalName" {
        return Finding::ready(format!("it stands for {}", read::text(object, "/spec/externalName")));
    }
    if read::text(object, "/spec/clusterIP").is_empty() {
        return Finding::waits("it has no address yet");
    }
    if kind == "LoadBalancer" && read::list(object, "/status/loadBalancer/ingress").is_empty() {
        let bad =
            ["SyncLoadBalancerFailed", "CreatingLoadBalancerFailed", "UnAvailableLoadBalancer", "AllocationFailed"];
        return match set.complaint(object, &bad, &["EnsuredLoadBalancer"]) {
            Some(said) => Finding::trouble(format!("it has no load balancer: {said}")),
            None => Finding::waits("it has no address of a load balancer yet"),
        };
    }
    match behind(set, object) {
        None => Finding::ready("it has its address"),
        Some(0) if is_at_rest(set, object) => Finding::ready("all that it leads to is scaled to zero"),
        Some(0) => Finding::trouble("nothing that is ready is behind it"),
        Some(1) => Finding::ready("1 ready endpoint is behind it"),
        Some(count) => Finding::ready(format!("{count} ready endpoints are behind it")),
    }
}

/// How many ready endpoints there are, where that can be said. No `ready` means ready (API of EndpointSlice).
fn behind(set: &Set<'_>, object: &Value) -> Option<usize> {
    let namespace = read::namespace(object);
    let is_its = |slice: &&Value| read::label(slice, "kubernetes.io/service-name") == Some(read::name(object));
    let slices: Vec<&Value> = set.all("EndpointSlice", namespace).filter(is_its).collect();
    let has_selector =
        object.pointer("/spec/selector").and_then(Value::as_object).is_some_and(|selector| !selector.is_empty());
    if slices.is_empty() || !has_selector {
        return None;
    }
    let ready =
        |endpoint: &&Value| endpoint.pointer("/conditions/ready").is_none_or(|ready| ready == true || ready.is_null());
    Some(slices.iter().map(|slice| read::list(slice, "/endpoints").iter().filter(ready).count()).sum())
}

/// Whether the set has what it selects, and all of that is to have no pods.
fn is_at_rest(set: &Set<'_>, object: &Value) -> bool {
    let Some(selector) = object.pointer("/spec/selector").and_then(Value::as_object) else { return false };
    let selects = |workload: &&Value| {
        let labels = workload.pointer("/spec/template/metadata/labels");
        selector.iter().all(|(name, value)| labels.and_then(|labels| labels.get(name)) == Some(value))
    };
    let kinds = ["Deployment", "StatefulSet", "ReplicaSet"];
    let mut selected =
        kinds.into_iter().flat_map(|kind| set.all(kind, read::namespace(object)).filter(selects)).peekable();
    selected.peek().is_some() && selected.all(|workload| read::number(workload, "/spec/replicas") == Some(0))
}

/// Right when a controller has given it an address. Not every controller does: without one, nothing is known.
pub(super) fn judge_ingress(object: &Value) -> Finding {
    let all = read::list(object, "/status/loadBalancer/ingress");
    let address = |one: &Value| ["/hostname", "/ip"].map(|field| read::text(one, field)).concat();
    let addresses: Vec<String> = all.iter().map(address).filter(|address| !address.is_empty()).collect();
    match addresses.is_empty() {
        true => Finding::unknown("no controller has given it an address; not every controller does"),
        false => Finding::ready(format!("it is served at {}", addresses.join(", "))),
    }
}
