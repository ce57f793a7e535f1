//! Chores of the repository, run as `cargo xtask NAME`.

mod crash;
mod go;
mod kube;
mod plugin;
mod proof;
mod registry;
mod tidy;
mod traefik;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    match std::env::args().nth(1).as_deref() {
        Some("tidy") => tidy::run(root),
        Some("compose") => plugin::COMPOSE.run(root),
        Some("buildx") => plugin::BUILDX.run(root),
        Some("registry") => registry::run(root),
        Some("kube") => kube::run(root),
        Some("crash") => crash::run(root),
        Some("lost") => proof::run(root, "lost", "lost-requests.md"),
        Some("lost-docker") => proof::run(root, "lost-docker", "lost-requests-docker.md"),
        Some("lost-kube") => proof::run(root, "lost-kube", "lost-requests-kubernetes.md"),
        Some("bench") => proof::run(root, "bench", "benchmarks.md"),
        other => {
            eprintln!(
                "cargo xtask {}: there is no such chore; there are: tidy, compose, buildx, registry, kube, crash, lost, lost-docker, lost-kube, bench",
                other.unwrap_or("")
            );
            ExitCode::from(2)
        }
    }
}
