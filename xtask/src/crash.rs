//! `cargo xtask crash`: builds what is needed, then runs `deployctl-crash`.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Runs the crash matrix with the arguments given; the page is written, except for a sample or a part.
pub(crate) fn run(root: &Path) -> ExitCode {
    let mut args: Vec<OsString> = env::args_os().skip(2).collect();
    let is_dev = args.iter().any(|arg| arg == "--dev");
    args.retain(|arg| arg != "--dev");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--locked", "--package", "deployctl", "--package", "deployctl-live", "--bins"]);
    if !is_dev {
        build.arg("--release");
    }
    if !build.current_dir(root).status().is_ok_and(|status| status.success()) {
        return ExitCode::from(2);
    }
    let has = |name: &str| args.iter().any(|arg| arg == name);
    let page = match (has("--docker"), has("--kube")) {
        (true, _) => {
            // Without it, what needs it says so.
            crate::plugin::COMPOSE.run(root);
            "docs/crash-matrix-docker.md"
        }
        (_, true) => {
            if let Err(why) = crate::kube::build(root) {
                eprintln!("cargo xtask crash: {why}");
                return ExitCode::from(2);
            }
            "docs/crash-matrix-kubernetes.md"
        }
        _ => "docs/crash-matrix.md",
    };
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let program = root.join(target).join(if is_dev { "debug" } else { "release" }).join("deployctl-crash");
    let mut crash = Command::new(&program);
    let is_part = |arg: &OsString| ["--sample", "--flow", "--case", "--out"].iter().any(|name| arg == name);
    if !args.iter().any(is_part) {
        crash.arg("--out").arg(root.join(page));
    }
    match crash.args(args).status() {
        Ok(status) => status.code().map_or(ExitCode::from(2), |code| ExitCode::from(code as u8)),
        Err(error) => {
            eprintln!("{} cannot be run: {error}", program.display());
            ExitCode::from(2)
        }
    }
}
