//! A simulated world, a target in memory, and the contract of drivers. For tests only.
//!
//! [`contract`] is what every driver must keep, and [`fake`] a driver that keeps it over a target in memory.
//!
//! In the simulation two engines carry out the decisions of `deployctl-core`, from a seed.
//! Nothing in it runs, sleeps or writes: time is a number, a crash drops a future, a lost message is a die. The engines of
//! the simulation take the same steps as `crates/engine` and `drivers/managed`, each call to the journal or the target
//! being a message that may be lost, late, repeated, or the last thing that its sender did. [`sim::run`] plays one seed and
//! says what went wrong; `docs/simulation.md` says what is tried and how a seed is played again.

pub mod cast;
pub mod contract;
pub mod engine;
pub mod fake;
pub mod journal;
pub mod oracle;
pub mod rng;
pub mod sim;
pub mod target;
pub mod world;
