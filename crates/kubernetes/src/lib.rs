//! What Kubernetes objects mean: what may be applied, in which order, what it changes, and whether it is right.
//!
//! Pure: no client, no network, no clock. Whoever talks to a cluster hands objects in, as the API server prints them.

pub mod applyset;
pub mod diff;
pub mod hooks;
pub mod images;
pub mod manifest;
pub mod object;
pub mod order;
pub mod ownership;
pub mod pods;
pub mod verdict;
