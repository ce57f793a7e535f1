//! Everything of a state directory killed at once at some moment of a flow, with or without a boot of the machine.

use super::binaries::Binaries;
use super::case::{self, Became};
use super::flow::Flow;
use super::world::World;
use super::{Random, procs};
use rustix::process::Signal;
use std::path::PathBuf;
use std::time::Duration;

/// Whether this process may pretend that the machine booted: it needs a mount of its own over the boot's id.
pub(crate) fn can_reboot() -> bool {
    let tried = std::process::Command::new("unshare").args(["-m", "true"]).output();
    tried.is_ok_and(|tried| tried.status.success())
}

/// Kills everything somewhere in the flow, which takes about `took`, and looks what becomes of it.
pub(crate) fn run(
    folder: PathBuf,
    binaries: &Binaries,
    flow: &Flow,
    took: Duration,
    seed: u64,
    reboot: bool,
) -> Became {
    let world = match case::prepare(folder.clone(), binaries, flow, &[]) {
        Ok(world) => world,
        Err(why) => return Became::Wrong(why, folder),
    };
    case::close(killed(world, flow, took, seed, reboot))
}

fn killed(mut world: World, flow: &Flow, took: Duration, seed: u64, reboot: bool) -> case::Judged {
    let mut random = Random(seed);
    let moment = took * u32::try_from(random.below(1_200)).unwrap_or(0) / 1_000;
    let done = (|| {
        let client = world.spawn(flow.act)?;
        world.move_on()?;
        std::thread::sleep(moment);
        let mut all: Vec<_> = procs::of(world.whose()).iter().map(|one| one.pid).collect();
        all.extend(world.containers()?.iter().filter_map(|one| one.pid));
        // In any order: what is killed last sees the end of the others.
        while !all.is_empty() {
            procs::signal(all.swap_remove(random.below(all.len())), Signal::KILL);
        }
        procs::kill_all(world.whose())?;
        if reboot {
            pretend_boot(&mut world)?;
        }
        case::judge(&world, flow, client)
    })();
    (world, done.map_err(|why: String| format!("everything was killed after {} ms: {why}", moment.as_millis())))
}

/// From now on every command lives in a machine that was booted again.
fn pretend_boot(world: &mut World) -> Result<(), String> {
    let file = world.path("boot_id");
    std::fs::write(&file, "00000000-1111-4222-8333-444444444444\n").map_err(|e| e.to_string())?;
    let script = "mount --bind \"$0\" /proc/sys/kernel/random/boot_id && exec \"$@\"";
    world.prefix = ["unshare", "-m", "sh", "-c", script].map(str::to_owned).to_vec();
    world.prefix.push(file.display().to_string());
    Ok(())
}
