//! The load that counts lost requests.
//!
//! It is open: requests are sent when they are due, whether or not earlier ones were answered, and latency counts from
//! when they were due. It is strict: it never sends a request twice, except where HTTP/2 says that the first was never
//! looked at. What counts as lost is written down at [`Loss`].
//!
//! ```no_run
//! use deployctl_live::{Load, Target};
//! let running = Load::mixed(Target::parse("http://127.0.0.1:8080").unwrap(), 2_000).start();
//! // ... deploy ...
//! let report = running.finish();
//! assert_eq!(report.failed(), 0, "{}", report.summary());
//! ```

mod arrivals;
pub mod bench;
mod built;
mod containers;
pub mod crash;
pub mod dockerd;
mod held;
mod histogram;
mod http1;
mod http2;
pub mod kube;
mod load;
pub mod lost;
mod machine;
mod on;
mod outcome;
pub mod registry;
mod report;
pub mod stage;
mod tally;
mod versions;
mod websocket;
mod wire;

pub use load::{Held, Load, Paths, Rates, Running};
pub use on::On;
pub use outcome::{Kind, Loss};
pub use report::{KindReport, Latency, LossSeen, Report};
pub use versions::{Sample, Samples, Switch, VersionSeen};
pub use wire::Target;
