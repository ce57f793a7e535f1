//! Verdicts: what stands in the files of `tests/cases` is what is said, and what a real cluster is made to say is understood. And what is to be minded.

mod cases;
mod drift;
mod kube;
mod lint;
mod ownership;
mod parted;
mod sides;
