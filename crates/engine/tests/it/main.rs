//! The engine over a journal in memory and a target that does as it is told.

mod attend;
mod drift;
mod many;
mod sources;
mod trouble;
mod walk;
mod world;
