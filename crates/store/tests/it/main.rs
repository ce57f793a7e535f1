//! The journals and the blobs from outside.

mod suite;
