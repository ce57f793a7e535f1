//! The heart of deployctl: words, decisions and ports.
//!
//! Everything here is a value or a pure function. This crate never reads a clock, a file, the environment or the
//! network, and knows no async runtime: time is passed in, effects are described and carried out elsewhere.

pub mod analysis;
pub mod ask;
pub mod config;
pub mod deployment;
pub mod desired;
pub mod driver;
pub mod fault;
pub mod id;
pub mod instance;
pub mod job;
pub mod journal;
pub mod lease;
pub mod login;
pub mod objects;
pub mod ops;
pub mod plan;
pub mod planner;
pub mod ports;
pub mod preview;
pub mod release;
pub mod route;
pub mod scope;
pub mod strategy;
pub mod time;
pub mod versions;
pub mod view;
