//! What Kubernetes objects mean: what may be applied, in which order, what it changes, and whether it is right.
//!
//! Pure: no client, no network, no clock. Whoever talks to a cluster hands objects in, as the API server prints them.

pub mod account;
pub mod applyset;
pub mod carry;
pub mod claims;
pub mod diff;
pub mod drift;
pub mod hooks;
pub mod images;
pub mod jobs;
pub mod lint;
pub mod manifest;
pub mod object;
pub mod order;
pub mod ownership;
pub mod permission;
pub mod pods;
pub mod port;
pub mod progress;
pub mod replace;
pub mod restart;
pub mod same;
pub mod secrets;
pub mod sides;
pub mod verdict;
