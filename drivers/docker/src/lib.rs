//! Instances and jobs as containers of a Docker Engine, and their images.
//!
//! Implements the ports `Instances`, `Jobs` and `Artifacts`; knows no deployments, strategies or traffic. Containers run
//! under the engine alone, with a restart policy: they outlive deployctl, and are found again by their labels.

mod address;
mod adopt;
mod client;
mod compose;
mod connect;
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
mod known;
mod labels;
mod layout;
mod local;
mod login;
mod logs;
mod minder;
mod probe;
mod pull;
mod reach;
mod request;
mod same;
mod secrets;
mod tracked;
mod tunnel;
mod view;

pub use disk::{EngineDisk, Taken, VolumeDisk};
pub use docker::{Docker, DockerOptions};
pub use endpoint::{Endpoint, Tls};
pub use labels::BUILT;
pub use local::{Attempt, LocalImage, LocalImages};
pub use login::LoginSource;
