//! The control plane: the binary's start, the journal, `status` with a long history, memory.

use super::tools::{self, median};
use super::{Options, Section};
use crate::stage::Stage;
use std::fmt::Write;
use std::process::Command;
use std::time::Instant;

pub(super) fn measure(options: &Options) -> Result<Vec<Section>, String> {
    Ok(vec![engine(options)?, journal(options)?])
}

fn engine(options: &Options) -> Result<Section, String> {
    let stage = Stage::set(&options.binary, &options.example)?;
    let mut section = Section::new(
        "Control plane",
        "Times of whole commands, from their start to their end, with an engine that runs. The journal with past deployments\n\
         has real ones, repeated with other ids through the journal's port.",
    );
    let version = timed(&stage, options.rounds * 5, &["--version"])?;
    section.at_most("`deployctl --version`", version, 10.0, " ms");
    for app in ["db", "api"] {
        stage.must(&["deploy", "--env", "dev", "--app", app, "--version", "v1.0.0"])?;
    }
    let few = timed(&stage, options.rounds * 3, &["status"])?;
    section.plain("`status`, 2 deployments", few, " ms");
    let memory = |role: &str, of: fn(u32) -> f64| {
        let all: Vec<f64> = stage.processes(role).into_iter().map(of).collect();
        median(&all)
    };
    for role in ["engine", "proxy", "shim"] {
        section.plain(&format!("memory of its own, {role}"), memory(role, tools::resident_kib), " KiB");
        section.plain(
            &format!("resident, its binary's pages included, {role}"),
            memory(role, tools::resident_all_kib),
            " KiB",
        );
    }
    stage.end_engine()?;
    let journal = stage.state().join("journal.db").display().to_string();
    let past = options.past.to_string();
    example(options, "journal_fill", &[&journal, "scope/shop/dev/default/api", &past])?;
    let begun = Instant::now();
    stage.must(&["status"])?;
    section.plain(
        &format!("the first `status`, {past} past deployments, engine started by it"),
        begun.elapsed().as_secs_f64() * 1e3,
        " ms",
    );
    let many = timed(&stage, options.rounds * 3, &["status"])?;
    section.at_most(&format!("`status`, {past} past deployments"), many, 30.0, " ms");
    let history = timed(&stage, options.rounds, &["history"])?;
    section.plain(&format!("`history`, {past} past deployments"), history, " ms");
    section.plain(
        &format!("memory of its own, engine, {past} past deployments"),
        memory("engine", tools::resident_kib),
        " KiB",
    );
    Ok(section)
}

fn timed(stage: &Stage, rounds: usize, args: &[&str]) -> Result<f64, String> {
    let times: Result<Vec<f64>, String> = (0..rounds).map(|_| Ok(stage.must(args)?.took.as_secs_f64() * 1e3)).collect();
    Ok(median(&times?))
}

fn journal(options: &Options) -> Result<Section, String> {
    let mut section = Section::new(
        "Journal",
        "Durable events a second beside commits a second of plain SQLite with the same settings, in one process, interleaved.",
    );
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let rounds = options.rounds.to_string();
    let said = example(options, "journal_bench", &[&folder.path().display().to_string(), &rounds, "300"])?;
    section.raw.push_str("| | |\n|---|--:|\n");
    for line in said.lines() {
        let mut words = line.split_whitespace();
        let (Some(name), Some(value)) = (words.next(), words.next().and_then(|v| v.parse::<f64>().ok())) else {
            continue;
        };
        let _ =
            writeln!(section.raw, "| {} | {value} {} |", name.replace('_', " "), words.collect::<Vec<_>>().join(" "));
        if name == "ratio_one_writer" {
            section.at_least("one writer against plain SQLite", value, 0.5, "");
        }
    }
    Ok(section)
}

fn example(options: &Options, name: &str, args: &[&str]) -> Result<String, String> {
    let program = options.store_examples.join(name);
    let done = Command::new(&program).args(args).output().map_err(|e| format!("{}: {e}", program.display()))?;
    match done.status.success() {
        true => Ok(String::from_utf8_lossy(&done.stdout).into_owned()),
        false => Err(format!("{name}: {}: {}", done.status, String::from_utf8_lossy(&done.stderr))),
    }
}
