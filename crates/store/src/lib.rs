//! Where the journal and the blobs live.
//!
//! [`SqliteJournal`] is the default on one machine, [`MemoryJournal`] serves tests and simulations; both pass the
//! suite in [`conformance`]. [`FileBlobs`] keeps bytes by their digest; [`seal`] keeps values of secrets.
//! `docs/journal.md` tells the format and what is promised.

pub mod conformance;
pub mod seal;

mod blobs;
mod entry;
mod error;
mod memory;
mod object;
mod reserve;
mod sqlite;
mod state;

pub use blobs::{FileBlobs, MemoryBlobs};
pub use error::OpenError;
pub use memory::MemoryJournal;
pub use object::{Hitch, MemoryObjects, ObjectBlobs, ObjectJournal, ObjectSeat};
pub use sqlite::SqliteJournal;
