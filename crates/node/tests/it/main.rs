//! The node runtime with real processes.

mod life;
mod world;
