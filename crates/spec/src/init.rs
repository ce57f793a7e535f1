//! A start for a specification, from what lies in a directory.

mod cluster;
mod found;
mod listing;
mod write;

pub use listing::Listing;

/// A commented `deployctl.yaml` for the project whose files are in `listing`; it always validates.
///
/// What is found and is not deployed by it is named in a comment, with what it takes.
pub fn init(listing: &Listing) -> String {
    let found = found::look(listing);
    write::write(&listing.name, &found)
}
