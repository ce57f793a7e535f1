//! The roles that are no client.

mod compose;
mod crashing;
pub(crate) mod engine;
mod everywhere;
mod kept;
mod signed;
mod targets;
mod vault;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// `deployctl proxy --state DIR ...`
pub(crate) fn proxy(args: impl Iterator<Item = OsString>) -> ExitCode {
    deployctl_sys::crash::arm("proxy");
    let Some(state) = state_of(args) else { return ExitCode::from(2) };
    match deployctl_proxy::run(&state) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            crate::output::err(&format!("deployctl proxy: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// `deployctl shim --state DIR ...`
pub(crate) fn shim(args: impl Iterator<Item = OsString>) -> ExitCode {
    deployctl_sys::crash::arm("shim");
    ExitCode::from(u8::try_from(deployctl_node::shim::main(args)).unwrap_or(1))
}

fn state_of(mut args: impl Iterator<Item = OsString>) -> Option<PathBuf> {
    while let Some(arg) = args.next() {
        if arg == "--state" {
            return args.next().map(PathBuf::from);
        }
    }
    crate::output::err("a role needs --state DIR; roles are started by deployctl itself");
    None
}
