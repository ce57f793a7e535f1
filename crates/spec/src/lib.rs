//! `deployctl.yaml`: from the text to what is deployed, with errors that a person can act on.
//!
//! The file is read into a tree in which every key and value knows its place ([`source::Place`]); overlays and the
//! overrides of an environment are laid over each other as trees; the result is read into raw types, and these are
//! resolved into [`deployctl_core::config::AppConfig`]. Nothing here runs, and only [`Spec::load`] reads files.

mod code;
mod composed;
mod decode;
mod diagnostic;
mod elsewhere;
mod init;
mod load;
mod manifests;
mod merge;
mod names;
mod node;
mod raw;
mod rendered;
mod resolve;
mod rules;
mod schema;
pub mod source;
mod spec;
mod template;
mod text;
mod value;
mod yaml;

pub use code::Code;
pub use composed::{ComposeAsk, Composed, compose_trouble, compose_unset, printed_document};
pub use diagnostic::{Diagnostic, Diagnostics, Location, Severity};
pub use init::{Listing, init};
pub use load::{FILE_NAMES, find_project};
pub use manifests::{Chart, ManifestSource, Manifests};
pub use rendered::rendered_files;
pub use resolve::{Build, ImageBuild, Pull, ResolvedApp};
pub use schema::schema;
pub use source::Source;
pub use spec::{Environment, InCluster, Listen, Spec};
