//! What Kubernetes objects mean: whether they are right.
//!
//! Pure: no client, no network, no clock. Whoever talks to a cluster hands objects in, as the API server prints them.

pub mod verdict;
