//! `cargo xtask lost`, `lost-docker`, `lost-kube` and `cargo xtask bench`: build what is needed, then run `deployctl-proof`.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Runs the proof `name` with the arguments given after it; the page goes to `docs/PAGE`, except for a sample, a part or a choice.
pub(crate) fn run(root: &Path, name: &str, page: &str) -> ExitCode {
    let args: Vec<OsString> = env::args_os().skip(2).collect();
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--release", "--locked", "--bin", "deployctl", "--bin", "deployctl-proof"]);
    build.args(["--example", "journal_bench", "--example", "journal_fill"]).current_dir(root);
    for package in ["deployctl", "deployctl-live", "deployctl-store"] {
        build.args(["--package", package]);
    }
    let mut prepare = Command::new(root.join("examples/shop/prepare"));
    if !went_well(&mut build) || !went_well(&mut prepare) {
        return ExitCode::from(2);
    }
    let of_cluster = name == "lost-kube" || args.iter().any(|arg| arg == "kubernetes");
    if of_cluster && let Err(why) = crate::kube::build(root) {
        eprintln!("{why}");
        return ExitCode::from(2);
    }
    if name != "lost" && !of_cluster {
        // Without it, what needs it says so.
        crate::plugin::COMPOSE.run(root);
    }
    let built = target(root).join("release");
    let mut proof = Command::new(built.join("deployctl-proof"));
    proof.arg(name).arg("--binary").arg(built.join("deployctl"));
    proof.arg("--example").arg(root.join("examples/shop"));
    if !args.iter().any(|arg| ["--sample", "--part", "--strategy", "--out"].iter().any(|no| arg == no)) {
        proof.arg("--out").arg(root.join("docs").join(page));
    }
    match proof.args(args).status() {
        Ok(status) => status.code().map_or(ExitCode::from(2), |code| ExitCode::from(code as u8)),
        Err(error) => {
            eprintln!("deployctl-proof cannot be run: {error}");
            ExitCode::from(2)
        }
    }
}

fn target(root: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder))
}

fn went_well(command: &mut Command) -> bool {
    match command.status() {
        Ok(status) if status.success() => true,
        Ok(status) => {
            eprintln!("{}: {status}", command.get_program().display());
            false
        }
        Err(error) => {
            eprintln!("{}: {error}", command.get_program().display());
            false
        }
    }
}
