//! Registries: a real one, and one of our own that does everything wrong.

mod copying;
mod faults;
mod referring;
mod resolving;
mod server;
mod signatures;
mod world;
