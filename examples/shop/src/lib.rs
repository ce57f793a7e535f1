//! A small shop: an API over HTTP, a worker, and a store that keeps numbers in a file.
//!
//! Written against the standard library alone, so that building it needs nothing but a Rust toolchain.

pub mod args;
pub mod conn;
pub mod http;
pub mod release;
pub mod sha1;
pub mod stop;
pub mod store;
pub mod websocket;
