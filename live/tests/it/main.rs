//! Tests of the load: against servers that lose what they are told to lose, and against the example.

mod crash;
mod faulty;
mod http1;
mod http2;
mod kube;
mod lost;
mod rate;
mod sessions;
mod shop;

use deployctl_live::dockerd;
use deployctl_live::{Kind, Load, Loss, Report, Target};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

/// The samples of the long proofs take the whole machine; what counts exactly must not run beside them.
static MACHINE: RwLock<()> = RwLock::new(());

/// For a test that shares the machine with others like it.
fn together() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().unwrap_or_else(PoisonError::into_inner)
}

/// For a test that takes the whole machine.
fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().unwrap_or_else(PoisonError::into_inner)
}

/// A load for a server on this machine; nothing in it yet.
fn load_for(address: SocketAddr) -> Load {
    Load::none(Target::parse(&format!("http://{address}")).unwrap())
}

/// What a load saw while the machine kept up with its schedule. One that stood still for a moment sends all that was due at once, on
/// connections that had no time to rest: then it is run again.
fn undisturbed<T>(run: impl Fn() -> (T, Report)) -> (T, Report) {
    for _ in 0..4 {
        let (seen, report) = run();
        if report.behind_ms_max < 200.0 {
            return (seen, report);
        }
    }
    run()
}

/// Waits for this, for a minute at most.
fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "it never came that {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The losses of one kind.
fn losses(report: &Report, kind: Kind) -> BTreeMap<Loss, u64> {
    report.kinds[&kind].lost.clone()
}

/// What a Docker Engine of its own needs and is not there; with `DEPLOYCTL_LIVE=all` all of it must be.
fn lacking_for_docker() -> Option<&'static str> {
    must_be_there(dockerd::lacking())
}

/// What a Compose project on such an engine needs and is not there, likewise.
fn lacking_for_compose() -> Option<&'static str> {
    must_be_there(dockerd::lacking_for_compose())
}

fn must_be_there<What: std::fmt::Debug>(lacking: Option<What>) -> Option<What> {
    assert!(lacking.is_none() || std::env::var("DEPLOYCTL_LIVE").as_deref() != Ok("all"), "this needs {lacking:?}");
    lacking
}
