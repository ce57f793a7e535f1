//! `deployctl`: takes a version of an application and makes it the running version.
//!
//! One binary, four roles: without a role it is the client; `engine`, `proxy` and `shim` are started by it.

mod args;
mod asking;
mod binary;
mod build;
mod command;
mod compose;
mod fail;
mod follow;
mod output;
mod project;
mod pulls;
mod registry;
mod render;
mod role;
mod secrets;
mod signed;
mod state;
mod wake;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let role = args.nth(1);
    match role.as_deref().and_then(|role| role.to_str()) {
        Some("engine") => role::engine::main(args),
        Some("proxy") => role::proxy(args),
        Some("shim") => role::shim(args),
        _ => command::main(),
    }
}
