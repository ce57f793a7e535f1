//! The data plane beside nginx and haproxy.

use super::rivals::{Rival, Rivals};
use super::tools::{self, Seen, median};
use super::{Options, Section};
use std::collections::BTreeMap;
use std::fmt::Write;

const IDLE: usize = 1_000;

/// What is asked for, and by which load generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Case {
    Http1,
    Http1Large,
    H2,
    H2Large,
}

const CASES: [(Case, &str); 4] = [
    (Case::Http1, "HTTP/1.1, 1 KiB"),
    (Case::Http1Large, "HTTP/1.1, 64 KiB"),
    (Case::H2, "TLS and HTTP/2, 1 KiB"),
    (Case::H2Large, "TLS and HTTP/2, 64 KiB"),
];

#[derive(Default)]
struct Series {
    per_second: Vec<f64>,
    p99_ms: Vec<f64>,
    cpu_us: Vec<f64>,
    failed: f64,
}

pub(super) fn measure(options: &Options) -> Result<Vec<Section>, String> {
    let rivals = Rivals::start(options)?;
    let mut all: BTreeMap<(Case, &str), Series> = BTreeMap::new();
    for round in 0..=options.rounds {
        for (case, what) in CASES {
            for rival in &rivals.all {
                let (seen, cpu_us) = one(rival, case, options.seconds)?;
                if round == 0 {
                    // For warming up.
                    continue;
                }
                eprintln!(
                    "{what}, {}: {:.0}/s, p99 {:.2} ms, {cpu_us:.1} us",
                    rival.name, seen.per_second, seen.p99_ms
                );
                let series = all.entry((case, rival.name)).or_default();
                series.per_second.push(seen.per_second);
                series.p99_ms.push(seen.p99_ms);
                series.cpu_us.push(cpu_us);
                series.failed += seen.failed;
            }
        }
    }
    let mut section = Section::new(
        "Data plane",
        "nginx, haproxy and the proxy of deployctl in front of the same nginx, each with one worker, all on the same core;\n\
         upstream and load on the other. HTTP/1.1 by `wrk` over 64 kept-alive connections, HTTP/2 by `h2load` over 16 with 10\n\
         streams each. p99 is that of a saturated proxy. CPU is the proxy's own, per request.",
    );
    table(&mut section, &all);
    compare(&mut section, &all);
    for rival in &rivals.all {
        let calls = tools::calls_per_request(rival.pid(), &format!("http://127.0.0.1:{}/1k", rival.http))?;
        match rival.name {
            "deployctl" => section.at_most("system calls per request, 1 KiB", calls, 5.5, ""),
            name => section.plain(&format!("system calls per request, {name}"), calls, ""),
        }
    }
    drop(rivals);
    memory(options, &mut section)?;
    Ok(vec![section])
}

fn one(rival: &Rival, case: Case, seconds: u32) -> Result<(Seen, f64), String> {
    let before = tools::cpu_seconds(rival.pid());
    let plain = |path: &str| format!("http://127.0.0.1:{}{path}", rival.http);
    let seen = match case {
        Case::Http1 => tools::wrk(&plain("/1k"), seconds)?,
        Case::Http1Large => tools::wrk(&plain("/64k"), seconds)?,
        Case::H2 => tools::h2load(rival.https, "/1k", seconds)?,
        Case::H2Large => tools::h2load(rival.https, "/64k", seconds)?,
    };
    let used = tools::cpu_seconds(rival.pid()) - before;
    Ok((seen, used * 1e6 / seen.requests.max(1.0)))
}

fn table(section: &mut Section, all: &BTreeMap<(Case, &str), Series>) {
    section
        .raw
        .push_str("| | proxy | requests/s | p99 ms | CPU us per request | failed |\n|---|---|--:|--:|--:|--:|\n");
    for ((case, name), series) in all {
        let what = CASES.iter().find(|(c, _)| c == case).map_or("", |(_, what)| what);
        let (rate, p99, cpu) = (median(&series.per_second), median(&series.p99_ms), median(&series.cpu_us));
        let _ = writeln!(section.raw, "| {what} | {name} | {rate:.0} | {p99:.2} | {cpu:.1} | {:.0} |", series.failed);
    }
}

fn compare(section: &mut Section, all: &BTreeMap<(Case, &str), Series>) {
    let of = |case: Case, name: &str, pick: fn(&Series) -> &Vec<f64>| {
        all.get(&(case, name)).map_or(0.0, |s| median(pick(s)))
    };
    for (case, what) in CASES {
        let ours = of(case, "deployctl", |s| &s.cpu_us);
        let ratio = ours / of(case, "nginx", |s| &s.cpu_us).max(1e-9);
        let text = format!("CPU per request against nginx, {what}");
        match case {
            Case::Http1 => section.at_most(&text, ratio, 1.35, ""),
            Case::Http1Large => section.at_most(&text, ratio, 1.3, ""),
            _ => section.plain(&text, ratio, ""),
        }
    }
    for (case, what) in CASES {
        let rate = |name: &str| of(case, name, |s| &s.per_second);
        let ratio = rate("deployctl") / rate("nginx").max(rate("haproxy")).max(1e-9);
        let text = format!("throughput against the better of nginx and haproxy, {what}");
        match case {
            Case::Http1 => section.at_least(&text, ratio, 0.75, ""),
            _ => section.plain(&text, ratio, ""),
        }
    }
    for (case, what) in CASES {
        let p99 = |name: &str| of(case, name, |s| &s.p99_ms);
        let ratio = p99("deployctl") / p99("nginx").min(p99("haproxy")).max(1e-9);
        section.plain(&format!("p99 against the better of nginx and haproxy, {what}"), ratio, "");
    }
}

/// Memory of fresh proxies, over and over: with 64 connections that were used, and for 1,000 more idle ones.
fn memory(options: &Options, section: &mut Section) -> Result<(), String> {
    crate::stage::lift_descriptor_limit();
    let mut seen: BTreeMap<&str, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
    for _ in 0..options.rounds {
        for rival in &Rivals::start(options)?.all {
            tools::wrk(&format!("http://127.0.0.1:{}/1k", rival.http), 1)?;
            let few = tools::resident_all_kib(rival.pid());
            let before = tools::resident_kib(rival.pid());
            let idle = (0..IDLE).map(|_| tools::idle_connection(rival.http)).collect::<Result<Vec<_>, _>>()?;
            let more = tools::resident_kib(rival.pid()) - before;
            drop(idle);
            let (fews, mores) = seen.entry(rival.name).or_default();
            fews.push(few);
            mores.push(more);
        }
    }
    let figures: Vec<_> = seen.into_iter().map(|(name, (few, more))| (name, median(&few), median(&more))).collect();
    let haproxy =
        figures.iter().find(|(name, ..)| *name == "haproxy").map_or((0.0, 0.0), |(_, few, more)| (*few, *more));
    for (name, few, more) in figures {
        let (at_64, at_idle) = (
            format!("resident memory at 64 connections, {name}"),
            format!("memory for 1,000 idle connections, {name}"),
        );
        if name == "deployctl" {
            section.at_most(&at_64, few, haproxy.0, " KiB");
            section.at_most(&at_idle, more, haproxy.1, " KiB");
        } else {
            section.plain(&at_64, few, " KiB");
            section.plain(&at_idle, more, " KiB");
        }
    }
    Ok(())
}
