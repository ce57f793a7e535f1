//! Instances and jobs as containers of a Docker Engine on this machine, and their images.
//!
//! Implements the ports `Instances`, `Jobs` and `Artifacts`; knows no deployments, strategies or traffic. Containers run
//! under the engine alone, with a restart policy: they outlive deployctl, and are found again by their labels.

mod adopt;
mod client;
mod compose;
mod disk;
mod docker;
mod drift;
mod endpoint;
mod events;
mod fetch;
mod hold;
mod images;
mod instances;
mod jobs;
mod labels;
mod layout;
mod local;
mod login;
mod logs;
mod minder;
mod probe;
mod pull;
mod request;
mod same;
mod secrets;
mod tracked;
mod view;

pub use disk::{EngineDisk, Taken, VolumeDisk};
pub use docker::{Docker, DockerOptions};
pub use endpoint::Endpoint;
pub use labels::BUILT;
pub use local::{Attempt, LocalImage, LocalImages};
pub use login::LoginSource;
