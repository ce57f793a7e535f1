//! The node runtime with real processes.

mod adoption;
mod artifacts;
mod crash;
mod disk;
mod health;
mod jobs;
mod life;
mod limits;
mod ports;
mod world;
