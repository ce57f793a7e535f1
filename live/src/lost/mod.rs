//! The proof that no request is lost: deployments in a row, of every strategy, in both directions, good and bad ones,
//! under load, while the engine is killed and the proxy is upgraded.

mod document;
mod kubernetes;
mod lane;
mod rivals;
mod trouble;

pub use document::{beside, summary, write};
pub use kubernetes::{Updates, lost_by_us, updates, updates_table, write_updates};
pub use lane::{Action, Step};
pub use rivals::{Rival, rivals};

use crate::containers::Containers;
use crate::stage::Stage;
use crate::{Held, Load, On, Rates, Report, Running, Target};
use lane::{Lane, Ports};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// How much is to be proven.
#[derive(Clone, Debug)]
pub struct Options {
    /// What runs the instances.
    pub on: On,
    /// The binary of deployctl.
    pub binary: PathBuf,
    /// The folder of the example, prepared.
    pub example: PathBuf,
    /// How many deployments, over all lanes.
    pub deployments: u32,
    /// What the choice of deployments depends on.
    pub seed: u64,
    /// Requests a second, in all.
    pub rate: u32,
    /// How often the engine is killed meanwhile.
    pub kills: u32,
    /// How often another build takes over, and with it another proxy, meanwhile.
    pub upgrades: u32,
    /// No new deployment begins after this time.
    pub time: Option<Duration>,
    /// How long the slow requests take that are always in flight.
    pub slow: Duration,
    /// Whether to tell how it goes on.
    pub tell: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Findings {
    /// What ran the instances.
    pub on: On,
    /// The deployments, in the order of their ends.
    pub steps: Vec<Step>,
    /// What clients saw, by load.
    pub reports: Vec<(String, Report)>,
    /// How often the engine was killed.
    pub kills: u32,
    /// How often the proxy was replaced by that of another build.
    pub upgrades: u32,
    /// How long all took.
    pub took: Duration,
}

impl Findings {
    /// Requests that were lost, or found no connection.
    pub fn failed(&self) -> u64 {
        self.reports.iter().map(|(_, report)| report.failed()).sum()
    }

    /// Requests that were sent.
    pub fn sent(&self) -> u64 {
        self.reports.iter().map(|(_, report)| report.sent).sum()
    }

    /// Deployments that ended otherwise than they should.
    pub fn unexpected(&self) -> Vec<&Step> {
        self.steps.iter().filter(|step| step.wrong.is_some()).collect()
    }
}

/// What all threads of a proof share.
struct Proof<'a> {
    stage: Stage,
    options: &'a Options,
    begun: Instant,
    /// Deployments that may still begin.
    left: AtomicU32,
    steps: Mutex<Vec<Step>>,
    over: AtomicBool,
}

impl Proof<'_> {
    /// Whether another deployment may begin; counts it.
    fn take(&self) -> bool {
        let in_time = self.options.time.is_none_or(|time| self.begun.elapsed() < time);
        in_time && self.left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
    }

    fn record(&self, step: Step) {
        let mut steps = self.steps.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if self.options.tell || step.wrong.is_some() {
            eprintln!(
                "{:>4}/{} {:.1} {}",
                steps.len() + 1,
                self.options.deployments,
                self.begun.elapsed().as_secs_f64(),
                step.line()
            );
        }
        steps.push(step);
    }

    /// The part of all deployments that have ended.
    fn progress(&self) -> f64 {
        let done = self.steps.lock().unwrap_or_else(std::sync::PoisonError::into_inner).len();
        let by_count = done as f64 / f64::from(self.options.deployments.max(1));
        let by_time = self.options.time.map_or(0.0, |time| self.begun.elapsed().as_secs_f64() / time.as_secs_f64());
        by_count.max(by_time).min(1.0)
    }
}

/// Runs the proof.
pub fn run(options: &Options) -> Result<Findings, String> {
    let mut stage = Stage::set(&options.binary, &options.example)?;
    // Dropped after the stage: whatever deploys ends before what it deploys to.
    let containers = match options.on {
        On::Processes => None,
        On::Docker | On::Compose => Some(Containers::start(&options.example)?),
    };
    if let Some(containers) = &containers {
        containers.host(&mut stage, options.on)?;
    }
    let ports = Ports::find()?;
    lane::write_overlays(&stage, ports, options.on)?;
    let mut lanes: Vec<Lane> = (1..=lane::LANES).map(|number| Lane::new(number, options.seed)).collect();
    for lane in &mut lanes {
        lane.begin(&stage, options.on)?;
    }
    let begun = Instant::now();
    let left = AtomicU32::new(options.deployments);
    let proof = Proof { stage, options, begun, left, steps: Mutex::default(), over: AtomicBool::new(false) };
    let loads = loads(&proof, ports)?;
    let troubled = std::thread::scope(|scope| {
        let trouble = scope.spawn(|| trouble::make(&proof));
        let driving: Vec<_> = lanes.into_iter().map(|lane| scope.spawn(|| lane.drive(&proof))).collect();
        let driven: Vec<Result<(), String>> = driving.into_iter().map(join).collect();
        proof.over.store(true, SeqCst);
        let troubled = join(trouble);
        driven.into_iter().collect::<Result<(), String>>().and(troubled)
    });
    let took = begun.elapsed();
    let reports: Vec<(String, Report)> = loads.into_iter().map(|(name, load)| (name, load.finish())).collect();
    let (kills, upgrades) = troubled?;
    let steps = proof.steps.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok(Findings { on: options.on, steps, reports, kills, upgrades, took })
}

fn join<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// One load for each lane, and one by TLS. The lane with recreate has a rate at which all that come in while nothing
/// runs find a place in the queue.
fn loads(proof: &Proof<'_>, ports: Ports) -> Result<Vec<(String, Running)>, String> {
    let options = proof.options;
    let queue = (options.rate / 20).clamp(20, 100);
    let by_tls = options.rate / 10;
    let share = (options.rate - queue - by_tls) / (lane::LANES - 1);
    let mut loads = Vec::new();
    for (number, port) in (1..=lane::LANES).zip(ports.published) {
        let url = match options.on {
            On::Compose => format!("http://127.0.0.1:{port}"),
            On::Processes | On::Docker => proof.stage.url(&lane::name(number), "api")?,
        };
        let rate = if number == lane::LANES { queue } else { share };
        let load = with_paths(Load::mixed(Target::parse(&url)?, rate), options.slow);
        let held = Held { slow: 6, streams: 3, websockets: 5, ..load.held };
        loads.push((lane::describe(number), Load { held, ..load }.start()));
    }
    let target = Target::parse(&format!("https://127.0.0.1:{}", ports.tls))?.for_host("shop.localhost");
    let load = with_paths(Load::mixed(target, by_tls), options.slow);
    let rates = Rates { fresh: by_tls / 20, h2: by_tls / 2, ..load.rates };
    let rates = Rates { kept: by_tls - rates.fresh - rates.h2 - rates.upload, ..rates };
    let held = Held { slow: 2, streams: 1, websockets: 3, ..load.held };
    loads.push(("the first of them by TLS".into(), Load { rates, held, ..load }.start()));
    Ok(loads)
}

fn with_paths(mut load: Load, slow: Duration) -> Load {
    load.paths.slow = format!("/slow?ms={}", slow.as_millis());
    load
}
