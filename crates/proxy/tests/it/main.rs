//! The data plane with real sockets and real processes.

mod balance;
mod client;
mod h2;
mod hand_over;
mod load;
mod parking;
mod passing;
mod publish;
mod routes;
mod smuggling;
mod support;
mod tls;
mod upstream;
mod websocket;
