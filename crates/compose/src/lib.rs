//! Compose projects: from the document that Docker Compose itself prints to containers.
//!
//! `docker compose config` reads the file, with everything that belongs to it: interpolation, env files, profiles,
//! `extends`, `include`, overrides. What it prints is one normalised document, which is all that is read here. What that
//! can say and we cannot do is refused by its path; nothing is ignored that would change what runs.
//!
//! Pure: whoever runs Compose hands the document in.

mod build;
mod document;
mod mask;
mod mounts;
mod networks;
mod options;
mod ports;
mod reader;
mod redact;
mod service;
#[cfg(test)]
mod tests;

pub use build::Build;
pub use document::{Document, MARKER};
pub use mask::mask;
pub use ports::Port;
pub use reader::Problem;
pub use redact::{SECRET_SCHEME, redact};
pub use service::{Condition, Dependency, Image, Service};
