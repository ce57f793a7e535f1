//! `deployctl-proof lost`: shows that no request is lost, or which ones are. Exits 1 then. `deployctl-proof bench`: how fast
//! deployctl is. `cargo xtask lost` and `cargo xtask bench` build what they need and run them.

use clap::{Parser, Subcommand};
use deployctl_live::{On, bench, dockerd, kube, lost};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Proofs about deployctl as it runs on this machine.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// No lost request, whatever is deployed.
    Lost(Lost),
    /// The same with containers, as such and as a service of a Compose file; needs root, Docker and Docker Compose, and
    /// nginx to compare with.
    LostDocker(Lost),
    /// The same in a cluster, beside `kubectl apply`; needs root and what a cluster needs.
    LostKube(Lost),
    /// How fast it is, beside others.
    Bench(Bench),
}

#[derive(clap::Args)]
struct Bench {
    /// The binary of deployctl; the examples of the store lie in `examples` beside it.
    #[arg(long)]
    binary: PathBuf,
    /// The folder of the example, prepared.
    #[arg(long)]
    example: PathBuf,
    /// How often each measurement is repeated.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long one run of a load generator takes.
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// Past deployments in the journal when `status` is timed.
    #[arg(long, default_value_t = 100_000)]
    past: u32,
    /// Only these parts: plane, deploys, docker, kubernetes (or one, reasons, many of it), control.
    #[arg(long)]
    part: Vec<String>,
    /// The page to write; with `--part`, the one in which these parts are written anew.
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(clap::Args)]
struct Lost {
    /// The binary of deployctl.
    #[arg(long)]
    binary: PathBuf,
    /// The folder of the example, prepared.
    #[arg(long)]
    example: PathBuf,
    /// Deployments, over all lanes; 500 of processes, 200 of containers and 200 of a Compose file, 50
    /// in a cluster.
    #[arg(long)]
    deployments: Option<u32>,
    /// Only so many of them, with as many kills and upgrades less.
    #[arg(long)]
    sample: Option<u32>,
    /// What the choice of deployments depends on.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// With containers: deployments by each of the others that are compared.
    #[arg(long, default_value_t = 20)]
    beside: u32,
    /// In a cluster: only by these strategies: rolling, blue-green, canary, canary-by-route.
    #[arg(long)]
    strategy: Vec<String>,
    /// Requests a second, in all; 2100 to processes, 1000 to containers.
    #[arg(long)]
    rate: Option<u32>,
    /// How often the engine is killed; a tenth of the deployments.
    #[arg(long)]
    kills: Option<u32>,
    /// How often the proxy is upgraded; a tenth of the deployments.
    #[arg(long)]
    upgrades: Option<u32>,
    /// Begin no deployment after so many seconds.
    #[arg(long)]
    seconds: Option<u64>,
    /// How long the slow answers take, in milliseconds.
    #[arg(long, default_value_t = 5_000)]
    slow: u64,
    /// The page to write.
    #[arg(long)]
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    let done = match Args::parse().what {
        What::Lost(args) => prove(&args, &[On::Processes]),
        What::LostDocker(args) => prove(&args, &[On::Docker, On::Compose]),
        What::LostKube(args) => prove_updates(&args),
        What::Bench(args) => measure(args),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

fn prove(args: &Lost, ons: &[On]) -> Result<bool, String> {
    if let Some(lacking) = ons.contains(&On::Compose).then(dockerd::lacking_for_compose).flatten() {
        return Err(format!("this proof needs {lacking}"));
    }
    let mut all = Vec::new();
    for on in ons {
        let findings = lost::run(&options(args, *on)?)?;
        println!("{}", lost::summary(&findings));
        all.push(findings);
    }
    let options = options(args, ons[0])?;
    let beside = args.beside.min(options.deployments);
    let rivals = if ons == [On::Processes] || beside == 0 { Vec::new() } else { lost::rivals(&options, beside)? };
    if !rivals.is_empty() {
        println!("{}", lost::beside(&rivals));
    }
    if let Some(path) = &args.out {
        lost::write(path, &options, &all, &rivals).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(all.iter().all(|findings| findings.failed() == 0 && findings.unexpected().is_empty()))
}

/// Whether deployctl lost nothing of an application that goes on after SIGTERM.
fn prove_updates(args: &Lost) -> Result<bool, String> {
    if let Some(lacking) = kube::lacking() {
        return Err(format!("this proof needs {lacking}"));
    }
    let whole = args.deployments.unwrap_or(50).max(1);
    let updates = args.sample.unwrap_or(whole).min(whole);
    let hasty = args.beside.min(updates.div_ceil(5));
    let (binary, example) = (absolute(&args.binary)?, args.example.clone());
    let strategies = args.strategy.clone();
    let options = lost::Updates { binary, example, updates, hasty, beside: args.beside > 0, strategies };
    let all = lost::updates(&options)?;
    println!("{}", lost::updates_table(&all));
    if let Some(path) = &args.out {
        lost::write_updates(path, &options, &all).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(lost::lost_by_us(&options, &all) == 0)
}

fn options(args: &Lost, on: On) -> Result<lost::Options, String> {
    let (deployments, rate) = if on == On::Processes { (500, 2_100) } else { (200, 1_000) };
    let whole = args.deployments.unwrap_or(deployments).max(1);
    let deployments = args.sample.unwrap_or(whole).min(whole);
    let part = |all: Option<u32>| (all.unwrap_or(whole.div_ceil(10)) * deployments).div_ceil(whole);
    Ok(lost::Options {
        on,
        deployments,
        seed: args.seed,
        rate: args.rate.unwrap_or(rate),
        kills: part(args.kills),
        upgrades: part(args.upgrades),
        time: args.seconds.map(Duration::from_secs),
        slow: Duration::from_millis(args.slow),
        tell: true,
        binary: absolute(&args.binary)?,
        example: args.example.clone(),
    })
}

fn measure(args: Bench) -> Result<bool, String> {
    let binary = absolute(&args.binary)?;
    let store_examples = binary.parent().map(|folder| folder.join("examples")).unwrap_or_default();
    let options = bench::Options {
        binary,
        example: args.example,
        store_examples,
        rounds: args.rounds.max(1),
        seconds: args.seconds.max(1),
        past: args.past,
        parts: args.part,
    };
    // A part is put into a page that is there; said now, not when all was measured.
    if let Some(path) = args.out.as_ref().filter(|_| !options.parts.is_empty()) {
        std::fs::metadata(path).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    let sections = bench::run(&options)?;
    println!("{}", bench::text(&sections));
    if let Some(path) = &args.out {
        bench::write(path, &options, &sections).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(true)
}

/// Commands are run elsewhere.
fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|e| format!("{}: {e}", path.display()))
}
