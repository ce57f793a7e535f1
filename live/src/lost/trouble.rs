//! What happens meanwhile: the engine is killed, another build takes over.

use super::Proof;
use crate::machine::Random;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

/// A proxy of another build serves by then.
const UPGRADE_TIME: Duration = Duration::from_secs(30);

/// Kills and upgrades, spread evenly over all deployments, each at any instant; the rest when all deployments have ended.
/// Returns how many of each there were.
pub(super) fn make(proof: &Proof<'_>) -> Result<(u32, u32), String> {
    let options = proof.options;
    let mut random = Random(options.seed);
    let (mut kills, mut upgrades) = (0, 0);
    loop {
        let over = proof.over.load(SeqCst);
        let progress = if over { 1.0 } else { proof.progress() };
        let due = |wanted: u32, done: u32| f64::from(done) < (progress * f64::from(wanted)).floor();
        if due(options.kills, kills) {
            std::thread::sleep(Duration::from_millis(random.below(400) as u64));
            // None there: the next command starts one.
            kills += u32::from(proof.stage.kill_engine());
            if over {
                proof.stage.run(&["status"])?;
            }
        } else if due(options.upgrades, upgrades) {
            upgrade(proof, upgrades)?;
            upgrades += 1;
        } else if over {
            return Ok((kills, upgrades));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn upgrade(proof: &Proof<'_>, number: u32) -> Result<(), String> {
    let stage = &proof.stage;
    let before = stage.processes("proxy");
    stage.next_build(number)?;
    let end = Instant::now() + UPGRADE_TIME;
    // Any command of the new build has the engine hand over, and that one brings the proxy to its build.
    while stage.processes("proxy").iter().all(|pid| before.contains(pid)) {
        stage.run(&["status"])?;
        if Instant::now() > end {
            return Err("no proxy of the new build comes up".into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
