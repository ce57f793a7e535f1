//! What a deployment costs beyond the application's own time, and how quickly it goes back.

use super::tools::{Running, median};
use super::{Options, Section};
use crate::stage::{Stage, free_port, get};
use crate::{Load, Rates, Report, Target};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

const ENV: &str = "bench";
const OVERLAYS: [(&str, &str); 6] = [
    ("place", "environments:\n  bench: {}\napps:\n  api:\n    smoke: []\n"),
    ("blue-green", "apps:\n  api:\n    strategy: blue-green\n"),
    ("rolling", "apps:\n  api:\n    strategy: rolling\n"),
    ("bake", "apps:\n  api:\n    strategy: { blue-green: { bake: 1h } }\n"),
    ("canary", "apps:\n  api:\n    strategy: { canary: { steps: [50%], hold: 1h } }\n"),
    ("broken", "apps:\n  api:\n    command: [/bin/sh, -c, \"echo this release is broken; exit 3\"]\n"),
];

/// When something happened, in microseconds since 1970.
fn now_us() -> u64 {
    micros(SystemTime::now())
}

fn micros(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// One command that moved the traffic.
struct Moved {
    strategy: &'static str,
    version: String,
    asked_us: u64,
    took_ms: f64,
    /// When the last new instance was noticed to be healthy.
    healthy_us: Option<u64>,
}

pub(super) fn measure(options: &Options) -> Result<Vec<Section>, String> {
    let stage = Stage::set(&options.binary, &options.example)?;
    for (name, text) in OVERLAYS {
        stage.write(&format!("{name}.yaml"), text)?;
    }
    deploy(&stage, "db", "v1.0.0", "rolling")?;
    deploy(&stage, "api", "v1.0.0", "blue-green")?;
    let start_ms = start_up(&stage, options.rounds.max(5))?;
    let mut section = Section::new(
        "Deployments",
        "The example's API, two instances, without its smoke test, while 400 requests a second ask for its version. *Own time* is from the start of\n\
         the command to the first answer of the new version, less the start-up: from the start of the API's process, without\n\
         deployctl, to its first healthy answer, which is asked for every half millisecond.",
    );
    section.plain("the application's start-up", start_ms, " ms");
    let url = stage.url(ENV, "api")?;
    let load = Load { rates: Rates { kept: 350, fresh: 50, ..Rates::default() }, ..Load::none(Target::parse(&url)?) };
    let running = load.start();
    let moved = moves(&stage, options.rounds)?;
    let back = backs(&stage, options.rounds)?;
    std::thread::sleep(Duration::from_millis(200));
    let report = running.finish();
    forward(&mut section, &report, &moved, start_ms);
    backward(&mut section, &report, &back);
    let broken: Vec<f64> = (0..options.rounds).map(|_| broken(&stage)).collect::<Result<_, _>>()?;
    section.at_most("a release that exits at once, reported with its last lines", median(&broken), 2_000.0, " ms");
    section.at_most("requests lost meanwhile", report.failed() as f64, 0.0, "");
    Ok(vec![section])
}

fn deploy(stage: &Stage, app: &str, version: &str, overlay: &str) -> Result<Duration, String> {
    let overlay = format!("{overlay}.yaml");
    let place = ["--env", ENV, "--app", app, "--config", "place.yaml", "--config", &overlay];
    Ok(stage.must(&[&["deploy", "--version", version][..], &place].concat())?.took)
}

/// How long the application itself takes, in milliseconds.
fn start_up(stage: &Stage, rounds: usize) -> Result<f64, String> {
    let status = stage.status(ENV, "db")?;
    let store = status["instances"][0]["address"].as_str().unwrap_or_default().to_owned();
    let tree =
        crate::stage::find(&stage.state().join("artifacts"), "shop-api").ok_or("the artifact was not unpacked")?;
    let times: Result<Vec<f64>, String> = (0..rounds).map(|_| start_once(&tree, &store)).collect();
    Ok(median(&times?))
}

fn start_once(program: &Path, store: &str) -> Result<f64, String> {
    let port = free_port()?;
    let begun = Instant::now();
    let mut command = Command::new(program);
    command.args(["--port", &port.to_string()]).env("DB", store);
    command.current_dir(program.parent().unwrap_or(Path::new("/"))).stdout(Stdio::null());
    let _running = Running(command.spawn().map_err(|e| format!("{}: {e}", program.display()))?);
    while get(&format!("127.0.0.1:{port}"), "x", "/healthz").is_err() {
        if begun.elapsed() > Duration::from_secs(10) {
            return Err("the API does not become healthy by itself".into());
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}

fn moves(stage: &Stage, rounds: usize) -> Result<Vec<Moved>, String> {
    let mut moved = Vec::new();
    for round in 0..rounds * 4 {
        let strategy = if round % 4 < 2 { "blue-green" } else { "rolling" };
        let version = if round % 2 == 0 { "v1.1.0" } else { "v1.0.0" };
        let asked_us = now_us();
        let took = deploy(stage, "api", version, strategy)?;
        let healthy_us = healthy(stage);
        moved.push(Moved {
            strategy,
            version: version.into(),
            asked_us,
            took_ms: took.as_secs_f64() * 1e3,
            healthy_us,
        });
        std::thread::sleep(Duration::from_millis(300));
    }
    Ok(moved)
}

/// When the node wrote down that the last one of the present instances is healthy. The kernel's clock for files ticks
/// every few milliseconds, and is never ahead.
fn healthy(stage: &Stage) -> Option<u64> {
    let status = stage.status(ENV, "api").ok()?;
    let ids = status["instances"].as_array()?.iter().filter_map(|instance| instance["id"].as_str());
    let times = ids.filter_map(|id| {
        let file = stage.state().join("run").join(id).join("healthy.json");
        std::fs::metadata(file).and_then(|meta| meta.modified()).ok()
    });
    times.max().map(micros)
}

fn forward(section: &mut Section, report: &Report, moved: &[Moved], start_ms: f64) {
    let (mut own, mut switch, mut old) = (Vec::new(), Vec::new(), 0);
    let whole = |strategy: &str| -> Vec<f64> {
        moved.iter().filter(|moved| moved.strategy == strategy).map(|moved| moved.took_ms).collect()
    };
    for moved in moved.iter().filter(|moved| moved.strategy == "blue-green") {
        let end_us = moved.asked_us + 5_000_000;
        let seen = report.samples.switch(&moved.version, moved.asked_us, 0, end_us);
        let Some(first_ms) = seen.first_new_ms else { continue };
        own.push(first_ms - start_ms);
        let first_us = moved.asked_us + (first_ms * 1e3) as u64;
        if let Some(healthy_us) = moved.healthy_us {
            switch.push(first_us.saturating_sub(healthy_us) as f64 / 1e3);
        }
        // Until shortly before the next command.
        let until = moved.asked_us + (moved.took_ms * 1e3) as u64 + 250_000;
        old += report.samples.switch(&moved.version, first_us, 10_000, until).old_after_grace;
    }
    section.at_most("own time, blue-green, until traffic on the new version", median(&own), 150.0, " ms");
    section.at_most("from \"healthy\" to the first request on the new version", median(&switch), 10.0, " ms");
    section.at_most("requests on the old version later than 10 ms after the switch", old as f64, 0.0, "");
    section.plain("the whole command, blue-green", median(&whole("blue-green")), " ms");
    section.plain("the whole command, rolling, one by one", median(&whole("rolling")), " ms");
}

struct Back {
    strategy: &'static str,
    asked_us: u64,
    took_ms: f64,
    left: &'static str,
}

/// Releases that have traffic, and go back because somebody noticed something.
fn backs(stage: &Stage, rounds: usize) -> Result<Vec<Back>, String> {
    let mut backs = Vec::new();
    for round in 0..rounds * 2 {
        let strategy = if round % 2 == 0 { "bake" } else { "canary" };
        let overlay = format!("{strategy}.yaml");
        let place = ["--env", ENV, "--app", "api", "--config", "place.yaml", "--config", &overlay];
        stage.must(&[&["deploy", "--version", "v1.1.0", "--detach"][..], &place].concat())?;
        until_answers(stage, "v1.1.0")?;
        std::thread::sleep(Duration::from_millis(300));
        let asked_us = now_us();
        let took = stage.must(&["rollback", "--env", ENV, "--app", "api"])?.took;
        backs.push(Back { strategy, asked_us, took_ms: took.as_secs_f64() * 1e3, left: "v1.1.0" });
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(backs)
}

fn until_answers(stage: &Stage, version: &str) -> Result<(), String> {
    let url = stage.url(ENV, "api")?;
    let end = Instant::now() + Duration::from_secs(20);
    while get(url.trim_start_matches("http://"), "shop.localhost", "/version").as_deref() != Ok(version) {
        if Instant::now() > end {
            return Err(format!("{version} gets no traffic"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn backward(section: &mut Section, report: &Report, backs: &[Back]) {
    for (strategy, what) in [("bake", "blue-green, all traffic on the new one"), ("canary", "canary at 50%")] {
        let of = || backs.iter().filter(|back| back.strategy == strategy);
        let name = report.samples.versions.clone();
        // The last request that was sent to what is left behind.
        let last = of().map(|back| {
            let until = back.asked_us + (back.took_ms * 1e3) as u64 + 150_000;
            let sent = report.samples.samples.iter().filter(|sample| {
                name.get(sample.version as usize).is_some_and(|name| name == back.left)
                    && sample.sent_us >= back.asked_us
                    && sample.sent_us < until
            });
            sent.map(|sample| sample.sent_us - back.asked_us).max().unwrap_or(0) as f64 / 1e3
        });
        let last: Vec<f64> = last.collect();
        let whole: Vec<f64> = of().map(|back| back.took_ms).collect();
        section.at_most(
            &format!("`rollback` to the last request on the bad release, {what}"),
            median(&last),
            50.0,
            " ms",
        );
        section.plain(&format!("the whole command, {what}"), median(&whole), " ms");
    }
}

fn broken(stage: &Stage) -> Result<f64, String> {
    let place = ["--env", ENV, "--app", "api", "--config", "place.yaml", "--config", "broken.yaml"];
    let done = stage.run(&[&["deploy", "--version", "v1.1.0"][..], &place].concat())?;
    match done.code {
        1 if done.last_line().contains("this release is broken") => Ok(done.took.as_secs_f64() * 1e3),
        code => Err(format!("a broken release: exit {code}, {}", done.err)),
    }
}
