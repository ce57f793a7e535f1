//! Walks against an API server in memory whose controllers are done at once: what it cannot show is time.

mod controller;
mod namespace;
mod server;
mod sides;
