//! `deployctl-crash`: crashes deployctl everywhere and prints the matrix of what became of it. Exits 1 if something that
//! must hold does not. `cargo xtask crash` builds what it needs and runs it.

use clap::Parser;
use deployctl_live::crash::{Apps, Options, run};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The crash matrix.
#[derive(Parser)]
struct Args {
    /// The binary under test; the one beside this one if not given.
    #[arg(long)]
    deployctl: Option<PathBuf>,
    /// So many cases, drawn with the seed, instead of all.
    #[arg(long)]
    sample: Option<usize>,
    /// What draws the sample and the moments.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// So many cases at a time.
    #[arg(long, default_value_t = 6)]
    jobs: usize,
    /// Only flows with this in their names.
    #[arg(long)]
    flow: Option<String>,
    /// Only cases with this in what is said of them, such as `engine before-closed`, `stop`, `everything` or `strace`.
    #[arg(long)]
    case: Option<String>,
    /// With containers instead of processes, on a Docker Engine of its own; needs root and Docker.
    #[arg(long)]
    docker: bool,
    /// With objects of a cluster instead of processes, on a cluster of its own; needs root and the programs of Kubernetes.
    #[arg(long, conflicts_with = "docker")]
    kube: bool,
    /// A file for what became of each case; a run that was cut off goes on where it was, if given the same.
    #[arg(long)]
    notes: Option<PathBuf>,
    /// Tell of each case.
    #[arg(long)]
    verbose: bool,
    /// A file for the matrix.
    #[arg(long)]
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let here = std::env::current_exe().unwrap_or_default();
    let beside = |name: &str| here.parent().unwrap_or(Path::new(".")).join(name);
    let scratch = std::env::temp_dir().join(format!("deployctl-crash-{}", std::process::id()));
    let options = Options {
        apps: match (args.docker, args.kube) {
            (true, _) => Apps::Containers,
            (_, true) => Apps::Objects,
            _ => Apps::Processes,
        },
        deployctl: args.deployctl.unwrap_or_else(|| beside("deployctl")),
        app: beside("deployctl-live-app"),
        scratch: scratch.clone(),
        sample: args.sample,
        seed: args.seed,
        at_a_time: args.jobs,
        flows: args.flow,
        cases: args.case,
        notes: args.notes,
        verbose: args.verbose,
    };
    let report = match run(&options) {
        Ok(report) => report,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::FAILURE;
        }
    };
    println!("{}", report.page);
    if let Some(out) = args.out
        && let Err(error) = std::fs::write(&out, &report.page)
    {
        eprintln!("{}: {error}", out.display());
        return ExitCode::FAILURE;
    }
    for wrong in &report.wrong {
        eprintln!("WRONG {wrong}");
    }
    for lacking in &report.lacking {
        eprintln!("NOT RUN {lacking}");
    }
    eprintln!("{} cases, {} wrong", report.cases, report.wrong.len());
    if report.wrong.is_empty() {
        let _ = std::fs::remove_dir_all(scratch);
        return ExitCode::SUCCESS;
    }
    ExitCode::FAILURE
}
