//! Two releases side by side: which Deployments of the new one run beside those of the old one, as what, and how traffic is led.
//!
//! The *stable* side has the names of the release. The *new* side is copies under names with a mark, whose pods nothing of the stable
//! side selects. [`pick`] says which and by what means traffic gets to them, [`made`] makes them, and [`led`] says how Services
//! and routes are to be for a share of the traffic. Of a StatefulSet there is one: [`parted()`] says of which some pods are of the new
//! release, [`led_sets`] how these are to be for a share, and [`turn()`] how far their pods are. All of it is computed anew from the
//! releases each time.

mod made;
mod parted;
mod pick;
mod select;
mod size;
mod traffic;
mod turn;

pub use made::made;
pub use parted::{Parted, at_a_time, config_of, divisible, led_sets, parted};
pub use pick::pick;
pub(crate) use select::services;
pub use size::{Sizes, expressible, size};
pub use traffic::led;
pub use turn::{Turn, has_template_of, is_beside, turn};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// On pods and objects of a side: its mark. As an annotation, on a StatefulSet that has the template of the side.
pub const SIDE: &str = "deployctl.io/side";
/// A share of the traffic that replicas come this near to, in basis points, counts as that share.
pub const TOLERANCE: u32 = 50;
/// No label, and no name of what makes pods, is longer.
const LABEL_MAX: usize = 63;

/// By what a share of the traffic gets to a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Means {
    /// By the weights of a route of the Gateway API.
    Route,
    /// The Service is switched from the one to the other: all or nothing.
    Switch,
    /// Pods of both sides are behind the Service: by their number.
    Ratio,
}

/// A Deployment that is there on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sided {
    /// The Deployment, by the name that the release gives it.
    pub name: String,
    /// By what it gets traffic.
    pub means: Means,
}

/// A name with the mark of a side.
pub fn called(name: &str, mark: &str) -> String {
    let room = LABEL_MAX - mark.len() - 1;
    let cut = name.char_indices().map(|(at, _)| at).find(|at| *at >= room).map_or(name, |at| &name[..at]);
    format!("{}-{mark}", cut.trim_end_matches(['-', '.', '_']))
}

/// Objects of a kind, by group.
fn of_kind<'a>(objects: &'a [Value], group: &'a str, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| {
        let version = object["apiVersion"].as_str().unwrap_or_default();
        object["kind"] == kind && crate::object::group_of(version) == group
    })
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn deployment<'a>(objects: &'a [Value], name: &'a str) -> Option<&'a Value> {
    of_kind(objects, "apps", "Deployment").find(|one| name_of(one) == name)
}

/// The autoscaler of a workload.
fn scaler<'a>(objects: &'a [Value], kind: &'a str, name: &'a str) -> Option<&'a Value> {
    of_kind(objects, "autoscaling", "HorizontalPodAutoscaler").find(|scaler| {
        let target = &scaler["spec"]["scaleTargetRef"];
        target["kind"] == kind && target["name"] == name
    })
}

/// The routes of the Gateway API that can be weighted.
fn is_route(object: &Value) -> bool {
    let version = object["apiVersion"].as_str().unwrap_or_default();
    crate::object::group_of(version) == "gateway.networking.k8s.io"
        && matches!(object["kind"].as_str(), Some("HTTPRoute" | "GRPCRoute"))
}

/// The Services that an object refers to as backends.
fn backends(route: &Value) -> impl Iterator<Item = &Value> {
    let rules = route["spec"]["rules"].as_array().into_iter().flatten();
    rules.flat_map(|rule| rule["backendRefs"].as_array().into_iter().flatten())
}

/// Whether a backend is this Service of the release's own namespace.
fn is_backend(to: &Value, service: &str) -> bool {
    let is = |key: &str, usual: &str| to[key].as_str().is_none_or(|said| said == usual);
    to["name"] == service && is("kind", "Service") && is("group", "") && to["namespace"].is_null()
}
