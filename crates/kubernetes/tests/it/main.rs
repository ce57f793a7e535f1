//! Verdicts: what stands in the files of `tests/cases` is what is said.

mod cases;
