//! The node runtime: instances and jobs as local processes under shims, their artifacts, ports, limits, health, output.
//!
//! It never knows of deployments, strategies or traffic: it makes single instances exist and says how they are.

pub mod artifacts;
mod bind;
mod cgroup;
mod clock;
mod instances;
mod jobs;
pub mod layout;
mod limits;
mod logs;
mod minder;
mod node;
mod notify;
mod options;
mod pollable;
mod ports;
mod probe;
pub mod records;
mod reserve;
mod secrets;
pub mod shim;
mod spawn;
mod tail;
mod tracked;
mod user;
mod view;

pub use node::Node;
pub use options::{Base, NodeOptions, SecretSource};
