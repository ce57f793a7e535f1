//! The data plane: a process of its own that knows only its last route table. It takes requests, and passes them on to
//! instances; the control plane publishes tables to it, and hears what traffic there is.
//!
//! [`run`] is the process; [`ProxyRouter`] is how the control plane speaks to it. `docs/proxy.md` says what it does with
//! requests, and what it does not promise. Never in here: what a deployment is, a strategy, the journal.

mod access_log;
mod balance;
mod bind;
mod chunked;
mod client;
mod conn;
mod control;
mod exchange;
mod exchange_h2;
mod files;
mod flight;
mod forward;
mod handover;
mod headers;
mod health;
mod hold;
mod io;
mod limits;
mod matching;
mod own;
mod pick;
mod process;
mod reply;
mod router;
mod serve;
mod shared;
mod spawn;
mod stats;
pub mod strict;
mod table;
mod tls;
mod tunnel;
mod upstream;
mod wire;
mod worker;
mod ws;

pub use process::{Error, run};
pub use router::ProxyRouter;
pub use wire::{Running, State};
