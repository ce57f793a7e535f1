//! Another build takes over in the middle of a deployment, with shims and a proxy of the first one alive; then the first
//! one again. Requests come in all the while; none is lost.

use super::binaries::Binaries;
use super::case::{self, Became};
use super::flow::Flow;
use super::oracle;
use super::traffic::Traffic;
use super::world::World;
use std::path::PathBuf;
use std::time::Duration;

/// Between two requests.
const PAUSE: Duration = Duration::from_millis(5);

/// Deploys with one build and goes on with the other, forth and back. `flow` is one whose deployment lasts a while.
pub(crate) fn run(folder: PathBuf, binaries: &Binaries, flow: &Flow) -> Became {
    let flow = Flow { spec: flow.spec.replace("hold: 50ms", "hold: 700ms"), ..flow.clone() };
    let world = match case::prepare(folder.clone(), binaries, &flow, &[]) {
        Ok(world) => world,
        Err(why) => return Became::Wrong(why, folder),
    };
    let mut world = world;
    let done = forth_and_back(&mut world, &flow);
    case::close((world, done))
}

fn forth_and_back(world: &mut World, flow: &Flow) -> Result<oracle::Outcome, String> {
    if flow.has_traffic() {
        world.answered()?;
        world.is_asked(&[])?;
        let outcome = change_builds(world, flow)?;
        return world.answered().map(|()| outcome);
    }
    let seen = oracle::settled(world)?;
    let url = seen.status[0]["urls"][0].as_str().and_then(|url| url.strip_prefix("http://")).ok_or("no URL")?;
    let traffic = Traffic::begin(url.to_owned(), PAUSE, Vec::new());
    let done = change_builds(world, flow);
    let answered = traffic.end();
    let outcome = done?;
    answered.map(|()| outcome)
}

fn change_builds(world: &mut World, flow: &Flow) -> Result<oracle::Outcome, String> {
    let first = world.binaries.clone();
    let other = first.other_build(&world.path("other-build"))?;
    world.version("v3", None)?;
    // The version that is deployed, and the build that takes over meanwhile.
    let mut outcome = None;
    for (version, successor) in [("v2", other), ("v3", first)] {
        let args = ["deploy", "--env", "dev", "--app", "api", "--version", version];
        let before = engine_build(world)?;
        let client = world.spawn(&args)?;
        std::thread::sleep(Duration::from_millis(400));
        world.binaries = successor;
        world.ok(&["status"])?;
        if engine_build(world)? == before {
            return Err("the engine is still of the build before".into());
        }
        let ran = client.finish(Duration::from_secs(60)).map_err(|why| format!("the client {why}"))?;
        if ran.code != Some(0) {
            return Err(format!("the deployment ended with {:?}: {}", ran.code, ran.err.trim()));
        }
        let seen = oracle::settled(world)?;
        if outcome.is_none() {
            outcome = Some(oracle::judge(world, flow, &seen)?);
        }
    }
    world.ok(&["audit", "verify"])?;
    outcome.ok_or_else(|| "nothing was deployed".into())
}

/// The binary that the engine runs from.
fn engine_build(world: &World) -> Result<PathBuf, String> {
    let engines = super::procs::of(world.whose()).into_iter().filter(|one| one.role == super::procs::Role::Engine);
    let builds: Vec<_> = engines.filter_map(|one| std::fs::read_link(format!("/proc/{}/exe", one.pid)).ok()).collect();
    builds.into_iter().next().ok_or_else(|| "no engine runs".into())
}
