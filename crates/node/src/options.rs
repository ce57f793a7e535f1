//! What a node is told when it is made.

use crate::ports::default_range;
use std::ops::RangeInclusive;
use std::path::PathBuf;

pub use deployctl_runner::SecretSource;

/// What a node is told when it is made.
#[derive(Clone)]
pub struct NodeOptions {
    /// The state folder, absolute.
    pub state: PathBuf,
    /// The binary whose first argument is the role; shims run from it, so it must stay: the content-addressed copy.
    pub binary: PathBuf,
    /// Where values of secrets come from.
    pub secrets: SecretSource,
    /// What instances get of the engine's environment.
    pub base: Base,
    /// Where ports are taken from.
    pub ports: RangeInclusive<u16>,
    /// Variables for shims alone, not for what they run: they arm crash points.
    pub shim_env: Vec<(String, String)>,
}

impl NodeOptions {
    /// The usual options: the environment of this process, ports from the default range, crash points as this
    /// process has them.
    pub fn new(state: PathBuf, binary: PathBuf, secrets: SecretSource) -> Self {
        let armed = ["DEPLOYCTL_CRASH", "DEPLOYCTL_CRASH_RECORD"];
        let shim_env = armed.iter().filter_map(|name| Some(((*name).into(), std::env::var(name).ok()?))).collect();
        Self { state, binary, secrets, base: Base::of_this_process(), ports: default_range(), shim_env }
    }
}

/// What instances get of the engine's environment; all else is theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// `PATH`.
    pub path: String,
    /// `HOME`, for instances that run as the engine's user.
    pub home: String,
    /// `LANG`.
    pub lang: String,
}

impl Base {
    /// From this process's environment, with defaults for what is missing.
    pub fn of_this_process() -> Self {
        let var = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.into());
        Self {
            path: var("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            home: var("HOME", "/"),
            lang: var("LANG", "C.UTF-8"),
        }
    }
}
