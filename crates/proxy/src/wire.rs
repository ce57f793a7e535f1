//! The control protocol: JSON lines over a Unix socket, one answer per request. Versioned; unknown keys are ignored, so
//! that one release apart works.

use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::Scope;
use deployctl_core::route::{RouteTable, Traffic};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The version of the protocol.
pub(crate) const VERSION: u32 = 1;

/// What is asked of a proxy process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) v: u32,
    #[serde(flatten)]
    pub(crate) op: Op,
}

/// The questions and orders.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(crate) enum Op {
    /// Who are you?
    Hello,
    /// Could you work by this table? Binds its listeners.
    Prepare {
        /// The table to come.
        table: Box<RouteTable>,
    },
    /// Work by the durable table, which is of this generation or later.
    Load {
        /// At least.
        generation: u64,
    },
    /// What goes on?
    Traffic,
    /// Answer when something changed since `seen`, or after `ms`.
    Wait {
        /// The last answer's count.
        seen: u64,
        /// At most.
        ms: u64,
    },
    /// Give copies of the listening sockets and of the lock; the answer's line is followed by them.
    HandOver,
    /// The successor takes connections: take no more, finish, leave.
    TookOver,
    /// Finish and leave, without a successor.
    Stop,
}

/// An answer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) v: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fault: Option<Fault>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hello: Option<Running>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) traffic: Option<Traffic>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seen: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) sockets: Vec<Socket>,
}

impl Answer {
    pub(crate) fn ok() -> Self {
        Self { v: VERSION, ..Self::default() }
    }

    pub(crate) fn fault(fault: Fault) -> Self {
        Self { fault: Some(fault), ..Self::ok() }
    }
}

/// A socket that is handed over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Socket {
    pub(crate) address: String,
    pub(crate) tls: bool,
    pub(crate) only: Option<Scope>,
    pub(crate) environment: String,
}

/// A proxy process that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its pid.
    pub pid: u32,
    /// The version of deployctl that it is of.
    pub version: String,
    /// The file that it was started from.
    pub binary: PathBuf,
    /// The generation that it works by.
    pub generation: u64,
    /// What it does.
    pub state: State,
    /// Connections of clients.
    pub connections: usize,
}

/// What a proxy process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It does not take connections yet.
    Starting,
    /// It takes connections.
    Serving,
    /// It finishes those it has.
    Draining,
}

/// Reads a request line; the fault says what is wrong with it.
pub(crate) fn read(line: &str) -> Result<Op, Fault> {
    #[derive(Deserialize)]
    struct Envelope {
        v: u32,
    }
    let bug = |why: String| Fault::refused(FaultKind::Bug, why);
    let envelope: Envelope =
        serde_json::from_str(line).map_err(|e| bug(format!("the data plane got a request that is none: {e}")))?;
    serde_json::from_str::<Request>(line).map(|request| request.op).map_err(|e| {
        if envelope.v > VERSION {
            bug(format!("the data plane speaks protocol {VERSION} and got a request of protocol {}", envelope.v))
                .hint("upgrade the data plane: run any deployctl command of the newer release again")
        } else {
            bug(format!("the data plane got a request that it does not know: {e}"))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_ignored_and_unknown_requests_refused() {
        assert!(matches!(read(r#"{"v":1,"op":"load","generation":7,"more":1}"#), Ok(Op::Load { generation: 7 })));
        assert!(matches!(read(r#"{"v":2,"op":"traffic","x":[]}"#), Ok(Op::Traffic)));
        let text = |line| read(line).unwrap_err().message;
        assert!(text(r#"{"v":1,"op":"dance"}"#).starts_with("the data plane got a request that it does not know: "));
        assert_eq!(text(r#"{"v":2,"op":"dance"}"#), "the data plane speaks protocol 1 and got a request of protocol 2");
        assert!(text("x").starts_with("the data plane got a request that is none: "));
    }
}
