//! Whether a target can run an artifact, and what would fail: rules over a description, and what makes descriptions.
//!
//! The rules ([`judge`]) are pure: a description in, findings out. [`inspect`] reads files, folders, archives and images to
//! make descriptions; in bounds, unpacking nothing onto the disk, running nothing.

mod finding;
pub mod inspect;
mod rules;
pub mod sarif;
mod subject;

pub use finding::{Code, Finding, Level, Report, Target, Verdict};
pub use rules::judge;
pub use subject::{
    Binary, Content, Entry, Files, Health, Image, Kind, Link, Package, Place, Scan, Secret, Start, Subject, Trial,
};
