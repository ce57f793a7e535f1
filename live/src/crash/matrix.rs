//! Which cases there are, and what became of each.

use super::binaries::Binaries;
use super::case::{self, Became, Crash, How, Point};
use super::flow::{self, Flow};
use super::notes::Notes;
use super::oracle::Outcome;
use super::table::{Cell, Table};
use super::{Apps, Random, inject, moments, upgrade, work};
use crate::dockerd;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// In each flow everything is killed so often, and so often with a boot of the machine.
const MOMENTS: u64 = 3;

/// In each flow so many calls to the kernel are drawn.
const CALLS: u64 = 4;

/// What stands above the matrix.
const HEAD: &str = include_str!("head.md");

/// What stands above it where the apps are objects of a cluster.
const HEAD_OF_OBJECTS: &str = include_str!("head-of-objects.md");

/// What is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the apps are made of.
    pub apps: Apps,
    /// The binary under test.
    pub deployctl: PathBuf,
    /// The server that it deploys.
    pub app: PathBuf,
    /// Where the worlds are made.
    pub scratch: PathBuf,
    /// So many cases only, drawn with `seed`; else all of them.
    pub sample: Option<usize>,
    /// What draws the sample, the moments and the calls.
    pub seed: u64,
    /// So many at a time.
    pub at_a_time: usize,
    /// Only flows with this in their names.
    pub flows: Option<String>,
    /// Only cases with this in what is said of them, such as `engine before-closed`, `kill`, `everything` or `strace`.
    pub cases: Option<String>,
    /// Where is kept what became of each case: those that are there already are not run again.
    pub notes: Option<PathBuf>,
    /// Whether each case is told of when it ends.
    pub verbose: bool,
}

/// What a run found.
#[derive(Clone, Debug)]
pub struct Report {
    /// The matrix, as a page in Markdown.
    pub page: String,
    /// How many cases there were.
    pub cases: usize,
    /// What was wrong, with how to see it again.
    pub wrong: Vec<String>,
    /// What this machine lacks, and so was not run.
    pub lacking: Vec<String>,
}

/// One flow as it was recorded.
struct Recorded {
    flow: Flow,
    points: BTreeMap<Point, usize>,
    took: Duration,
}

/// What crashes.
#[derive(Clone, Debug)]
enum What {
    Point(Crash),
    Everything { seed: u64, reboot: bool },
    Call { seed: u64 },
    Upgrade,
}

impl What {
    fn words(&self) -> String {
        match self {
            Self::Point(Crash { point, nth, how }) => format!("{} {} #{nth} {}", point.role, point.name, how.word()),
            Self::Everything { seed, reboot: false } => format!("everything at once, seed {seed}"),
            Self::Everything { seed, reboot: true } => format!("everything at once and a reboot, seed {seed}"),
            Self::Call { seed } => {
                let (calls, nth) = inject::drawn(*seed);
                format!("strace kills at {calls} #{nth}, seed {seed}")
            }
            Self::Upgrade => "another build takes over and back".into(),
        }
    }

    /// Its row in the matrix.
    fn row(&self) -> (Point, How) {
        let row = |role: &str, name: &str| (Point { role: role.into(), name: name.into() }, How::Kill);
        match self {
            Self::Point(crash) => (crash.point.clone(), crash.how),
            Self::Everything { reboot: false, .. } => row("everything", "at some moment"),
            Self::Everything { reboot: true, .. } => row("everything", "and a reboot"),
            Self::Call { .. } => row("engine, shim", "at some call to the kernel"),
            Self::Upgrade => row("engine", "another build takes over, and back"),
        }
    }
}

/// Records every flow, then crashes it everywhere.
pub fn run(options: &Options) -> Result<Report, String> {
    std::fs::create_dir_all(&options.scratch).map_err(|e| format!("{}: {e}", options.scratch.display()))?;
    let binaries = Binaries::prepare(&options.scratch, &options.deployctl, &options.app, options.apps)?;
    let mut flows = flow::all(options.apps);
    let mut lacking = Vec::new();
    if dockerd::compose().is_none() && flows.iter().any(|flow| flow.compose_file.is_some()) {
        flows.retain(|flow| flow.compose_file.is_none());
        lacking.push("no Compose file is deployed: `cargo xtask compose` builds Docker Compose".into());
    }
    flows.retain(|flow| options.flows.as_ref().is_none_or(|part| flow.name.contains(part.as_str())));
    if let Some(sample) = options.sample {
        // Every flow is recorded first, so a small sample has few of them.
        flows = draw(flows, sample.div_ceil(4), options.seed);
    }
    let recorded = work::each(&flows, options.at_a_time.min(3), |at, flow| {
        let folder = options.scratch.join(format!("record-{at}"));
        let (points, took) = case::record(folder, &binaries, flow)?;
        if options.verbose {
            eprintln!("recorded {}: {} points in {} ms", flow.name, points.len(), took.as_millis());
        }
        Ok(Recorded { flow: flow.clone(), points, took })
    });
    let recorded: Vec<Recorded> = recorded.into_iter().collect::<Result<_, String>>()?;
    let mut cases = cases(options, &recorded, &mut lacking);
    if let Some(sample) = options.sample {
        cases = draw(cases, sample, options.seed);
    }
    let notes = options.notes.as_deref().map(Notes::open).transpose()?;
    let done = AtomicUsize::new(0);
    let became = work::each(&cases, options.at_a_time, |at, (flow, what)| {
        let begun = Instant::now();
        let case = format!("{} {}", recorded[*flow].flow.name, what.words());
        if let Some(outcome) = notes.as_ref().and_then(|notes| notes.known(&case)) {
            done.fetch_add(1, Ordering::Relaxed);
            return Became::Fine(outcome);
        }
        let became = one(options, &binaries, at, &recorded[*flow], what);
        notes.iter().for_each(|notes| notes.keep(&case, &became));
        let took = begun.elapsed().as_secs();
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        if options.verbose || matches!(became, Became::Wrong(..)) {
            eprintln!("{done}/{} {case} ({took} s): {became:?}", cases.len());
        } else if done.is_multiple_of(if options.apps == Apps::Objects { 10 } else { 100 }) {
            eprintln!("{done} of {} cases", cases.len());
        }
        became
    });
    Ok(Report { lacking, ..report(options, &recorded, &cases, became) })
}

/// The first and the last time that each point is passed, kill and stop; and everything that has no point.
fn cases(options: &Options, recorded: &[Recorded], lacking: &mut Vec<String>) -> Vec<(usize, What)> {
    let mut cases = Vec::new();
    // The engine of containers would have to boot, too.
    let (can_reboot, has_strace) = (options.apps != Apps::Containers && moments::can_reboot(), inject::has_strace());
    if !can_reboot && options.apps != Apps::Containers {
        lacking.push("a reboot is not tried: `unshare -m` is not possible here".into());
    }
    if !has_strace {
        lacking.push("no call to the kernel is made to kill: `strace` is missing here, or may not trace".into());
    }
    for (at, Recorded { flow, points, .. }) in recorded.iter().enumerate() {
        for (point, times) in points {
            for how in [How::Kill, How::Stop] {
                let nths = if *times > 1 { vec![1, *times] } else { vec![1] };
                cases.extend(nths.into_iter().map(|nth| (at, What::Point(Crash { point: point.clone(), nth, how }))));
            }
        }
        let seed = |n: u64| options.seed * 10_000 + at as u64 * 100 + n;
        cases.extend((0..MOMENTS).map(|n| (at, What::Everything { seed: seed(n), reboot: false })));
        if can_reboot {
            cases.extend((0..MOMENTS).map(|n| (at, What::Everything { seed: seed(20 + n), reboot: true })));
        }
        if has_strace {
            cases.extend((0..CALLS).map(|n| (at, What::Call { seed: seed(40 + n) })));
        }
        let lasts = if options.apps == Apps::Objects { "rolling/deploy" } else { "canary/deploy" };
        if flow.name == lasts {
            cases.push((at, What::Upgrade));
        }
    }
    let wanted = |at: usize, what: &What| format!("{} {}", recorded[at].flow.name, what.words());
    cases.retain(|(at, what)| options.cases.as_ref().is_none_or(|part| wanted(*at, what).contains(part.as_str())));
    cases
}

fn draw<T>(mut all: Vec<T>, sample: usize, seed: u64) -> Vec<T> {
    let mut random = Random(seed);
    let mut drawn = Vec::new();
    while drawn.len() < sample && !all.is_empty() {
        let at = random.below(all.len());
        drawn.push(all.swap_remove(at));
    }
    drawn
}

fn one(options: &Options, binaries: &Binaries, at: usize, recorded: &Recorded, what: &What) -> Became {
    let folder = |round: usize| options.scratch.join(format!("case-{at}-{round}"));
    let Recorded { flow, took, .. } = recorded;
    match what {
        What::Point(crash) => {
            // How often a point is passed may differ by a time from run to run: the last time is looked for from the end.
            let mut crash = crash.clone();
            for round in 0..6 {
                match case::run(folder(round), binaries, flow, &crash) {
                    Became::NotHit => crash.nth = (crash.nth - 1).max(1),
                    became => return became,
                }
            }
            Became::NotHit
        }
        What::Everything { seed, reboot } => moments::run(folder(0), binaries, flow, *took, *seed, *reboot),
        What::Call { seed } => inject::run(folder(0), binaries, flow, *seed),
        What::Upgrade => upgrade::run(folder(0), binaries, flow),
    }
}

/// With containers some of it is otherwise.
fn head(apps: Apps) -> String {
    let otherwise = [
        ("# The crash matrix", "# The crash matrix: containers"),
        (
            "`cargo xtask crash`: a run of everything below on real processes",
            "`cargo xtask crash --docker`: a run of everything below on real containers",
        ),
        ("client, engine, shims (of instances and of jobs) and proxy pass", "client, engine and proxy pass"),
        (
            "moments, with and without a reboot (another boot id); the engine or any shim that it starts killed",
            "moments, containers included; the engine or what it starts killed",
        ),
        (
            "the processes are exactly the instances of status, one shim\nfor each, one engine, one proxy",
            "the containers are exactly the instances of status, with their\npids, and no job's; one engine, one proxy",
        ),
        ("the data folder is whole", "the volume is whole"),
        (
            "`two-apps` are deployed together by `--all`, one depending on the other.\n",
            "`two-apps` are deployed together by `--all`, one depending on the other.\n\
             `compose` is a Compose file of two services, one with a published port: `adopt` takes over what `docker compose up`\n\
             started, and after `down` Compose runs it again. Nothing that Compose started runs beside what is current.\n",
        ),
    ];
    match apps {
        Apps::Processes => HEAD.to_owned(),
        Apps::Objects => HEAD_OF_OBJECTS.to_owned(),
        Apps::Containers => otherwise.into_iter().fold(HEAD.to_owned(), |text, (from, to)| text.replace(from, to)),
    }
}

fn report(options: &Options, recorded: &[Recorded], cases: &[(usize, What)], became: Vec<Became>) -> Report {
    let (how_many, mut counts) = (cases.len(), BTreeMap::<&str, usize>::new());
    let names: Vec<&str> = recorded.iter().map(|recorded| recorded.flow.name.as_str()).collect();
    let mut table = Table::new(&names);
    let mut wrong = Vec::new();
    for ((flow, what), became) in cases.iter().zip(became) {
        let words = format!("{} {}", recorded[*flow].flow.name, what.words());
        let cell = match became {
            Became::Fine(Outcome::AsAlways) => Cell::AsAlways,
            Became::Fine(Outcome::Back) => Cell::Back,
            Became::Fine(Outcome::Never) => Cell::Never,
            Became::Fine(Outcome::Asks) => Cell::Asks,
            Became::NotHit => {
                wrong.push(format!("{words}: recorded, but never hit"));
                Cell::Wrong
            }
            Became::Wrong(why, folder) => {
                wrong.push(format!("{words}: {why}; see {}", folder.display()));
                Cell::Wrong
            }
        };
        *counts.entry(cell.word()).or_default() += 1;
        let (point, how) = what.row();
        table.set(&point, *flow, how, cell);
    }
    let counts: Vec<String> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
    let drawn = options.sample.map(|_| format!("A sample, drawn with seed {}: ", options.seed)).unwrap_or_default();
    let summary = format!("{drawn}{how_many} cases: {}.", counts.join(", "));
    let head = head(options.apps);
    Report { page: format!("{head}{summary}\n{}", table.markdown()), cases: how_many, wrong, lacking: Vec::new() }
}
