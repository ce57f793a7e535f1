//! `deployctl-kube`: a real Kubernetes cluster on this machine, for as long as somebody wants it. `cargo xtask kube` builds what
//! it needs and runs it.

use clap::{Parser, Subcommand};
use deployctl_live::kube::{Cluster, down, lacking};
use std::path::PathBuf;
use std::process::ExitCode;

/// A cluster to try things on.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Starts the cluster, unless it runs; prints where its kubeconfig is.
    Up,
    /// Ends it with everything in it.
    Down,
}

fn main() -> ExitCode {
    let done = match Args::parse().what {
        What::Up => up(),
        What::Down => stop(),
    };
    match done {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn up() -> Result<String, String> {
    if let Some(what) = lacking() {
        return Err(format!("a cluster needs {what}"));
    }
    let note = note();
    let known = std::fs::read_to_string(&note).map(PathBuf::from).ok().filter(|folder| folder.exists());
    let folder = match known {
        Some(folder) => folder,
        None => Cluster::start_for_good()?,
    };
    std::fs::write(&note, folder.display().to_string()).map_err(|e| format!("{}: {e}", note.display()))?;
    Ok(folder.join("admin.kubeconfig").display().to_string())
}

fn stop() -> Result<String, String> {
    let note = note();
    let Ok(folder) = std::fs::read_to_string(&note) else { return Ok("there is none".into()) };
    let folder = PathBuf::from(folder);
    if folder.exists() {
        down(&folder)?;
    }
    std::fs::remove_file(&note).map_err(|e| format!("{}: {e}", note.display()))?;
    Ok("it is gone".into())
}

/// Where it is said which folder the cluster has.
fn note() -> PathBuf {
    std::env::temp_dir().join("deployctl-kube.up")
}
