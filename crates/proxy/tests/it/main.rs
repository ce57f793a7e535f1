//! The data plane with real sockets and real processes.

mod balance;
mod client;
mod hand_over;
mod load;
mod passing;
mod publish;
mod routes;
mod smuggling;
mod support;
mod upstream;
mod websocket;
