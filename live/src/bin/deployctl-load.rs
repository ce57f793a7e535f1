//! `deployctl-load`: sends a load for a while and prints, as JSON, what became of it. Exits 1 if a request was lost.

use clap::Parser;
use deployctl_live::{Load, Samples, Target};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// An open load that counts lost requests.
#[derive(Parser)]
struct Args {
    /// The server: `http://HOST:PORT` or `https://HOST:PORT` (any certificate is taken).
    url: String,
    /// The host that requests name, if not that of the URL.
    #[arg(long)]
    host: Option<String>,
    /// How long, in seconds.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Requests a second, in all; a mix of kinds, unless one of the rates below is given.
    #[arg(long, default_value_t = 2000)]
    rate: u32,
    /// Requests a second over kept-alive HTTP/1.1 connections.
    #[arg(long)]
    kept: Option<u32>,
    /// Requests a second over a connection of their own.
    #[arg(long)]
    fresh: Option<u32>,
    /// Uploads a second.
    #[arg(long)]
    upload: Option<u32>,
    /// Requests a second over HTTP/2.
    #[arg(long)]
    h2: Option<u32>,
    /// Slow requests that are always in flight.
    #[arg(long)]
    slow: Option<u32>,
    /// Streams that are always open.
    #[arg(long)]
    streams: Option<u32>,
    /// WebSockets that are always open.
    #[arg(long)]
    websockets: Option<u32>,
    /// A file for every versioned request: `sent_us done_us version`, a line each.
    #[arg(long)]
    samples: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let load = match load(&args) {
        Ok(load) => load,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    let report = load.run_for(Duration::from_secs_f64(args.seconds.clamp(0.0, 86_400.0)));
    eprintln!("{}", report.summary());
    let text = serde_json::to_string_pretty(&report).unwrap_or_else(|e| unreachable!("keys are texts: {e}"));
    let _ = writeln!(std::io::stdout(), "{text}");
    if let Some(path) = &args.samples
        && let Err(e) = write_samples(path, &report.samples)
    {
        eprintln!("{}: {e}", path.display());
        return ExitCode::from(2);
    }
    ExitCode::from(u8::from(report.failed() > 0))
}

fn load(args: &Args) -> Result<Load, String> {
    let mut target = Target::parse(&args.url)?;
    target.host_named.clone_from(&args.host);
    let chosen = [args.kept, args.fresh, args.upload, args.h2, args.slow, args.streams, args.websockets];
    let mut load = match chosen.iter().any(Option::is_some) {
        true => Load::none(target),
        false => Load::mixed(target, args.rate),
    };
    let rates = &mut load.rates;
    for (rate, wanted) in [
        (&mut rates.kept, args.kept),
        (&mut rates.fresh, args.fresh),
        (&mut rates.upload, args.upload),
        (&mut rates.h2, args.h2),
        (&mut load.held.slow, args.slow),
        (&mut load.held.streams, args.streams),
        (&mut load.held.websockets, args.websockets),
    ] {
        *rate = wanted.unwrap_or(*rate);
    }
    Ok(load)
}

fn write_samples(path: &Path, samples: &Samples) -> std::io::Result<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    for sample in &samples.samples {
        writeln!(file, "{} {} {}", sample.sent_us, sample.done_us, samples.versions[sample.version as usize])?;
    }
    file.flush()
}
