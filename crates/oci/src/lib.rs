//! A client of OCI registries: what a reference means, copying and promoting by digest, what refers to an image, and
//! signatures.
//!
//! Everything blocks; nothing is kept between calls but tokens and connections. Answers are bounded in size and in time,
//! and nothing that a registry says is believed before its digest was computed here.

mod auth;
mod body;
mod copy;
mod cosign;
mod credentials;
mod helper;
mod http;
mod key;
mod manifest;
mod patience;
mod reference;
mod referrers;
mod registry;
mod resolve;
mod trouble;
mod trust;

pub use auth::Challenge;
pub use body::Checked;
pub use copy::{Copied, CopyOptions};
pub use cosign::{Payload, Signature, Verified};
pub use credentials::{Credentials, DockerConfig};
pub use deployctl_core::login::Login;
pub use key::PublicKey;
pub use manifest::{Descriptor, Document, ImageManifest, Index, Platform, media};
pub use patience::Patience;
pub use reference::Reference;
pub use referrers::{Referrer, Via};
pub use registry::{Fetched, Registry, RegistryOptions};
pub use resolve::Resolved;
pub use trouble::{Trouble, TroubleKind};
