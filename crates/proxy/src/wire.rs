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
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// Who are you?
    Hello,
    /// Could you work by this table? Binds its listeners.
    Prepare(Box<RouteTable>),
    /// Work by the durable table, which is of this generation or later.
    Load(u64),
    /// What goes on?
    Traffic,
    /// Answer when something changed since the count `seen`, or after `ms`.
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

/// An [`Op`] as it goes over the wire.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Request {
    v: u32,
    op: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    table: Option<Box<RouteTable>>,
    #[serde(default)]
    generation: u64,
    #[serde(default)]
    seen: u64,
    #[serde(default)]
    ms: u64,
}

/// The line that asks `op`.
pub(crate) fn write(op: Op) -> serde_json::Result<Vec<u8>> {
    let request = |op: &str| Request { v: VERSION, op: op.into(), ..Request::default() };
    let request = match op {
        Op::Hello => request("hello"),
        Op::Prepare(table) => Request { table: Some(table), ..request("prepare") },
        Op::Load(generation) => Request { generation, ..request("load") },
        Op::Traffic => request("traffic"),
        Op::Wait { seen, ms } => Request { seen, ms, ..request("wait") },
        Op::HandOver => request("hand_over"),
        Op::TookOver => request("took_over"),
        Op::Stop => request("stop"),
    };
    let mut line = serde_json::to_vec(&request)?;
    line.push(b'\n');
    Ok(line)
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
    let bug = |why: String| Fault::refused(FaultKind::Bug, why);
    let request: Request =
        serde_json::from_str(line).map_err(|e| bug(format!("the data plane got a request that is none: {e}")))?;
    Ok(match (request.op.as_str(), request.table) {
        ("hello", _) => Op::Hello,
        ("prepare", Some(table)) => Op::Prepare(table),
        ("load", _) => Op::Load(request.generation),
        ("traffic", _) => Op::Traffic,
        ("wait", _) => Op::Wait { seen: request.seen, ms: request.ms },
        ("hand_over", _) => Op::HandOver,
        ("took_over", _) => Op::TookOver,
        ("stop", _) => Op::Stop,
        (op, _) if request.v > VERSION => {
            let why =
                format!("the data plane speaks protocol {VERSION} and does not know `{op}` of protocol {}", request.v);
            return Err(bug(why).hint("upgrade the data plane: run any deployctl command of the newer release again"));
        }
        (op, _) => return Err(bug(format!("the data plane got a request that it does not know: `{op}`"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_ignored_and_unknown_requests_refused() {
        assert!(matches!(read(r#"{"v":1,"op":"load","generation":7,"more":1}"#), Ok(Op::Load(7))));
        assert!(matches!(read(r#"{"v":2,"op":"traffic","x":[]}"#), Ok(Op::Traffic)));
        let text = |line| read(line).unwrap_err().message;
        assert_eq!(text(r#"{"v":1,"op":"dance"}"#), "the data plane got a request that it does not know: `dance`");
        assert_eq!(
            text(r#"{"v":2,"op":"dance"}"#),
            "the data plane speaks protocol 1 and does not know `dance` of protocol 2"
        );
        assert!(text("x").starts_with("the data plane got a request that is none: "));
    }

    #[test]
    fn requests_round_trip() {
        for op in [Op::Hello, Op::Prepare(Box::default()), Op::Load(7), Op::Wait { seen: 1, ms: 2 }, Op::HandOver] {
            let line = String::from_utf8(write(op.clone()).unwrap()).unwrap();
            assert_eq!(format!("{:?}", read(&line).unwrap()), format!("{op:?}"));
        }
    }
}
