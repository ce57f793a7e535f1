//! Verdicts: what stands in the files of `tests/cases` is what is said, and what a real cluster is made to say is understood.

mod cases;
mod kube;
mod ownership;
