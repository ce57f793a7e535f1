//! One case: a flow, and what crashes in it.

use super::binaries::Binaries;
use super::flow::Flow;
use super::oracle::{self, Outcome};
use super::procs::{self, Role};
use super::running::Running;
use super::world::{World, poll};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a flow may take to pass a point, and a client to end once all has settled.
const PATIENCE: Duration = Duration::from_secs(60);

/// After the client's end a point may still be passed: the engine tidies up.
const LATE: Duration = Duration::from_secs(2);

/// How a process is crashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum How {
    Kill,
    Stop,
}

impl How {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
        }
    }
}

/// A point of a role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Point {
    pub(crate) role: String,
    pub(crate) name: String,
}

/// What crashes: the nth time that this point is passed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Crash {
    pub(crate) point: Point,
    pub(crate) nth: usize,
    pub(crate) how: How,
}

/// What became of a case.
#[derive(Clone, Debug)]
pub(crate) enum Became {
    /// All that must hold does.
    Fine(Outcome),
    /// The point was not passed so often.
    NotHit,
    /// What does not hold, and where the world is kept.
    Wrong(String, PathBuf),
}

/// Makes the world of a flow, up to what is done while something crashes.
pub(crate) fn prepare(
    folder: PathBuf,
    binaries: &Binaries,
    flow: &Flow,
    vars: &[(&str, String)],
) -> Result<World, String> {
    let mut world = World::new(folder, binaries, &flow.spec, flow.shape)?;
    world.vars = vars.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    for version in ["v1", "v2"] {
        world.version(version, None)?;
    }
    world.version("bad", Some(flow.bad))?;
    let file = flow.compose_file.map_or(Ok(()), |text| world.compose_file(text));
    let up = file.and_then(|()| if flow.is_adopted { world.compose_up("v1") } else { Ok(()) });
    let made = up.and_then(|()| flow.before.iter().try_for_each(|args| world.ok(args).map(drop)));
    let made = made.and_then(|()| oracle::mark_data(&world, flow));
    let made = made.and_then(|()| if flow.corrects() { world.is_changed_by_hand("v1") } else { Ok(()) });
    let made = made.and_then(|()| asked(&world, flow));
    match made {
        Ok(()) => Ok(world),
        Err(why) => Err(format!("before the crash: {why}; see {}", world.keep().display())),
    }
}

/// Where requests are to be answered, they come from now on.
fn asked(world: &World, flow: &Flow) -> Result<(), String> {
    if !flow.has_traffic() {
        return Ok(());
    }
    oracle::settled(world)?;
    let versions: Vec<&str> = flow.from.into_iter().chain(flow.to).collect();
    world.is_asked(&versions)
}

/// Runs a flow without a crash and gives how often each point is passed, and how long it took.
pub(crate) fn record(
    folder: PathBuf,
    binaries: &Binaries,
    flow: &Flow,
) -> Result<(BTreeMap<Point, usize>, Duration), String> {
    let file = folder.with_extension("points");
    let _ = std::fs::remove_file(&file);
    let mut world = prepare(folder, binaries, flow, &[("DEPLOYCTL_CRASH_RECORD", file.display().to_string())])?;
    let passed = |from: usize| {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        text.lines().skip(from).map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    oracle::settled(&world)?;
    let before = passed(0).len();
    let begun = Instant::now();
    world.run(flow.act)?;
    let took = begun.elapsed();
    // Asking how things are passes points, too.
    world.vars.clear();
    let seen = oracle::settled(&world)?;
    let mut points = BTreeMap::new();
    for line in passed(before) {
        if let Some((role, name)) = line.split_once(' ') {
            *points.entry(Point { role: role.into(), name: name.into() }).or_default() += 1;
        }
    }
    if flow.is_adopted && !points.keys().any(|point| point.name == "docker.adopted") {
        return Err(format!("{}: nothing was taken over; see {}", flow.name, world.keep().display()));
    }
    match judged(&world, flow, &seen) {
        Ok(Outcome::AsAlways) => {}
        other => return Err(format!("{} without a crash: {other:?}; see {}", flow.name, world.keep().display())),
    }
    world.end()?;
    std::fs::remove_file(&file).map_err(|e| e.to_string())?;
    Ok((points, took))
}

/// Runs a flow, crashes it there, and looks what became of it.
pub(crate) fn run(folder: PathBuf, binaries: &Binaries, flow: &Flow, crash: &Crash) -> Became {
    let tally = folder.with_extension("tally");
    let _ = std::fs::remove_file(&tally);
    let Crash { point, nth, how } = crash;
    let armed = format!("{}:{}:{nth}:{}:{}", point.role, point.name, how.word(), tally.display());
    let world = match prepare(folder.clone(), binaries, flow, &[("DEPLOYCTL_CRASH", armed)]) {
        Ok(world) => world,
        Err(why) => return Became::Wrong(why, folder),
    };
    let done = hit(world, flow, crash, &tally);
    let _ = std::fs::remove_file(&tally);
    done
}

fn hit(mut world: World, flow: &Flow, crash: &Crash, tally: &std::path::Path) -> Became {
    // From now on the points count.
    let begun = std::fs::write(tally, "").map_err(|e| e.to_string()).and_then(|()| world.spawn(flow.act));
    let mut client = match begun {
        Ok(client) => client,
        Err(why) => return Became::Wrong(why, world.keep()),
    };
    world.vars.clear();
    if let Err(why) = world.move_on() {
        return Became::Wrong(why, world.keep());
    }
    let passed = || std::fs::metadata(tally).map_or(0, |tally| tally.len());
    let mut ended = None;
    let is_hit = poll(PATIENCE, || {
        if passed() >= crash.nth as u64 {
            return Some(true);
        }
        if client.has_ended() {
            let since = *ended.get_or_insert_with(Instant::now);
            return (since.elapsed() > LATE).then_some(false);
        }
        None
    });
    if is_hit != Some(true) {
        return match world.end() {
            Ok(()) => Became::NotHit,
            Err(why) => Became::Wrong(why, PathBuf::new()),
        };
    }
    let done = after(&world, flow, client, crash);
    close((world, done))
}

/// A world, and what was found in it.
pub(crate) type Judged = (World, Result<Outcome, String>);

/// Ends a world; one in which something is wrong is kept for a person.
pub(crate) fn close((world, done): Judged) -> Became {
    match done {
        Ok(outcome) => match world.end() {
            Ok(()) => Became::Fine(outcome),
            Err(why) => Became::Wrong(why, PathBuf::new()),
        },
        Err(why) => Became::Wrong(why, world.keep()),
    }
}

/// The next contact, and all that must hold.
pub(crate) fn judge(world: &World, flow: &Flow, client: Running) -> Result<Outcome, String> {
    world.ok(&["status"])?;
    oracle::settled(world)?;
    client.finish(PATIENCE).map_err(|why| format!("the client {why}"))?;
    let seen = oracle::settled(world)?;
    judged(world, flow, &seen)
}

/// All that must hold of a world that has come to rest.
fn judged(world: &World, flow: &Flow, seen: &oracle::Seen) -> Result<Outcome, String> {
    let outcome = oracle::judge(world, flow, seen)?;
    world.answered()?;
    oracle::goes_on(world, flow, seen)?;
    Ok(outcome)
}

/// The next contact, whatever was stopped going on late, and all that must hold.
fn after(world: &World, flow: &Flow, mut client: Running, crash: &Crash) -> Result<Outcome, String> {
    world.ok(&["status"])?;
    let seen = oracle::settled(world)?;
    if crash.how == How::Stop {
        let late = procs::of(world.whose()).into_iter().filter(|one| one.stopped);
        let late: Vec<_> = late.collect();
        // Elsewhere nobody knew of it: the engine is still the one that the client asked, and the client still waits for its answer.
        let begun = seen.history.len() > flow.before.len() * flow.apps.len();
        let waits = world.is_kept_elsewhere() && !begun && !client.has_ended();
        for one in &late {
            procs::signal(one.pid, Signal::CONT);
        }
        if waits || late.iter().any(|one| one.role == Role::Client) {
            // It had not asked yet, or now hears the answer.
            return judge(world, flow, client);
        }
        // Time enough for a mistake to show: what wakes up late must not do anything any more.
        std::thread::sleep(Duration::from_millis(300));
        let again = oracle::settled(world)?;
        if again.history != seen.history || versions(&again) != versions(&seen) {
            return Err(format!("what was stopped went on and changed {seen:?} to {again:?}"));
        }
    }
    judge(world, flow, client)
}

fn versions(seen: &oracle::Seen) -> Vec<(&str, &str)> {
    seen.status.iter().map(|one| (one["app"].as_str().unwrap_or("-"), one["version"].as_str().unwrap_or("-"))).collect()
}
