//! Chores of the repository, run as `cargo xtask NAME`.

mod tidy;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    match std::env::args().nth(1).as_deref() {
        Some("tidy") => tidy::run(root),
        other => {
            eprintln!("cargo xtask {}: there is no such chore; there is: tidy", other.unwrap_or(""));
            ExitCode::from(2)
        }
    }
}
