//! What the proof found, as a table and as a page.

use super::{Action, Findings, Options, Rival};
use crate::{Kind, KindReport, Loss, On, Report, machine};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

/// The tables, in Markdown.
pub fn summary(findings: &Findings) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{} deployments, {} kills of the engine, {} proxy upgrades, {} requests in {:.0} s; **{} lost**.\n",
        findings.steps.len(),
        findings.kills,
        findings.upgrades,
        findings.sent(),
        findings.took.as_secs_f64(),
        findings.failed()
    );
    requests(&mut text, findings);
    deployments(&mut text, findings);
    for (name, report) in &findings.reports {
        for loss in report.losses.iter().take(20) {
            let _ = writeln!(text, "- lost ({name}): {:?} {:?}: {}", loss.kind, loss.loss, loss.detail);
        }
    }
    for step in findings.unexpected() {
        let _ = writeln!(text, "- {}", step.line());
    }
    text
}

fn requests(text: &mut String, findings: &Findings) {
    text.push_str(
        "| requests | sent | answered | lost | no connection | p50 ms | p99 ms | longest ms | closed between |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for (name, report) in &findings.reports {
        let _ = writeln!(
            text,
            "| **{name}**: {:.0} a second | {} | {} | {} | {} | | | | |",
            report.sent as f64 * 1e3 / report.duration_ms.max(1.0),
            report.sent,
            report.answered,
            report.lost,
            report.unconnected
        );
        for (kind, seen) in &report.kinds {
            row(text, *kind, seen);
        }
    }
    let skipped: u64 = findings.reports.iter().map(|(_, report)| report.skipped).sum();
    let behind = findings.reports.iter().map(|(_, report)| report.behind_ms_max).fold(0.0, f64::max);
    let _ =
        writeln!(text, "\nThe load skipped {skipped} requests and was at most {behind:.0} ms behind its schedule.\n");
}

fn row(text: &mut String, kind: Kind, seen: &KindReport) {
    let what = match kind {
        Kind::Kept => "HTTP/1.1, kept-alive connections",
        Kind::Fresh => "HTTP/1.1, a connection each",
        Kind::Upload => "HTTP/1.1, uploads",
        Kind::H2 => "HTTP/2",
        Kind::Slow => "slow answers",
        Kind::Stream => "streams",
        Kind::Websocket => "WebSockets",
    };
    let lost: u64 = seen.lost.values().sum();
    let unconnected = seen.lost.get(&crate::Loss::Unconnected).copied().unwrap_or(0);
    let latency = &seen.latency;
    let _ = writeln!(
        text,
        "| {what} | {} | {} | {} | {unconnected} | {:.1} | {:.1} | {:.0} | {} |",
        seen.sent,
        seen.answered,
        lost - unconnected,
        latency.p50_ms,
        latency.p99_ms,
        latency.max_ms,
        seen.closed_between
    );
}

fn deployments(text: &mut String, findings: &Findings) {
    let mut by_kind: BTreeMap<(&str, Action), Vec<Duration>> = BTreeMap::new();
    for step in &findings.steps {
        by_kind.entry((step.strategy, step.action)).or_default().push(step.took);
    }
    text.push_str("| strategy | deployment | number | median s | longest s |\n|---|---|--:|--:|--:|\n");
    for ((strategy, action), mut took) in by_kind {
        took.sort();
        let seconds = |span: Option<&Duration>| span.map_or(0.0, Duration::as_secs_f64);
        let (median, longest) = (seconds(took.get(took.len() / 2)), seconds(took.last()));
        let _ = writeln!(text, "| {strategy} | {action} | {} | {median:.1} | {longest:.1} |", took.len());
    }
    let unseen = findings.steps.iter().filter(|step| step.unseen).count();
    let wrong = findings.unexpected().len();
    let _ = writeln!(
        text,
        "\n{unseen} clients were cut off by a kill or a hand-over; {wrong} deployments ended otherwise than they should.\n"
    );
}

/// What others lose, as a table in Markdown.
pub fn beside(rivals: &[Rival]) -> String {
    let mut text = String::new();
    text.push_str(
        "The same containers deployed otherwise, to and fro between the two good versions, each for itself and with a load\n\
         of its own (243 requests a second by HTTP/1.1, slow answers and streams in flight):\n\n\
         | | deployments | median s | sent | lost | no connection | how |\n|---|--:|--:|--:|--:|--:|---|\n",
    );
    for Rival { name, took, report } in rivals {
        let _ = writeln!(
            text,
            "| {name} | {} | {:.1} | {} | {} | {} | {} |",
            took.len(),
            median(took),
            report.sent,
            report.lost,
            report.unconnected,
            ways(report)
        );
    }
    text
}

/// How requests were lost, the most frequent way first.
pub(super) fn ways(report: &Report) -> String {
    let mut ways: BTreeMap<Loss, u64> = BTreeMap::new();
    for (way, count) in report.kinds.values().flat_map(|kind| &kind.lost) {
        *ways.entry(*way).or_default() += count;
    }
    let mut ways: Vec<_> = ways.into_iter().collect();
    ways.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let told = ways.iter().map(|(way, count)| {
        let what = match way {
            Loss::Unconnected => "no connection",
            Loss::Unsent => "broken off while it was sent",
            Loss::NoAnswer => "closed without an answer",
            Loss::Truncated => "an answer that broke off",
            Loss::Malformed => "no proper answer",
            Loss::GatewayStatus => "502, 503 or 504",
            Loss::Timeout => "no answer in time",
            Loss::NoClose => "a WebSocket without its close",
        };
        format!("{what}: {count}")
    });
    told.collect::<Vec<_>>().join(", ")
}

/// In seconds.
pub(super) fn median(took: &[Duration]) -> f64 {
    let mut took = took.to_vec();
    took.sort();
    took.get(took.len() / 2).map_or(0.0, Duration::as_secs_f64)
}

/// Writes the page: what was found with processes, or with containers in each way, and what others lost beside.
pub fn write(path: &Path, options: &Options, all: &[Findings], rivals: &[Rival]) -> std::io::Result<()> {
    let (title, command, how) = match options.on {
        On::Processes => ("", "lost", ""),
        On::Docker | On::Compose => (": containers", "lost-docker", " containers in"),
    };
    let mut text = format!(
        "# No lost request{}\n\n\
         Written by `cargo xtask {} --deployments {} --seed {}`, on {}.\n\n\
         The example's API runs in{} four environments under one engine and one proxy, each with an open-loop load of its\n\
         own that never sends a request twice: about {} requests a second in all, over kept-alive and fresh connections,\n\
         HTTP/1.1, HTTP/2 with and without TLS, with WebSockets, streams and {} ms long answers always in flight. In each,\n\
         one deployment follows another: rolling, blue-green and canary chosen by the seed, to the newer and the older\n\
         version, by `rollback`, and to a version that never becomes healthy; in the last one `recreate`, whose requests\n\
         wait in the queue, half a second after one another. Meanwhile the engine is killed with SIGKILL, and builds of other bytes take over, which\n\
         replace the proxy by handing its listening sockets on. *Lost* is what `live/src/outcome.rs` says.\n\n",
        title,
        command,
        options.deployments,
        options.seed,
        machine::describe(),
        how,
        options.rate,
        options.slow.as_millis(),
    );
    for findings in all {
        text.push_str(heading(findings.on));
        text.push_str(&summary(findings));
        text.push('\n');
    }
    if !rivals.is_empty() {
        let _ = write!(text, "## Others\n\n{}", beside(rivals));
    }
    std::fs::write(path, text.trim_end().to_owned() + "\n")
}

fn heading(on: On) -> &'static str {
    match on {
        On::Processes => "",
        On::Docker => "## Docker: containers of an image\n\n",
        On::Compose => {
            "## Compose: a service of a Compose file\n\n\
             Each environment is a Compose project of its own, with a published port of its own, at which all of its requests\n\
             arrive: the proxy listens there.\n\n"
        }
    }
}
