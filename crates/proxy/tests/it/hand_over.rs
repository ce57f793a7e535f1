//! One process takes over from another.

use super::client::{Client, get};
use super::load::Load;
use super::support::{Site, binary, kill, side, wait_until};
use super::upstream::Upstream;
use deployctl_core::route::Router;
use deployctl_proxy::State;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

#[test]
fn nothing_is_lost_across_upgrades_under_load() {
    let upstream = Upstream::named("v1");
    let site = Site::simple(&[upstream.address]);
    let first = site.running()[0].pid;
    let load = Load::start(site.address, 8);
    for _ in 0..8 {
        let before = load.done();
        site.block(site.router.upgrade(&binary())).unwrap();
        wait_until("load goes on", || load.done() > before + 20);
    }
    load.stop();
    wait_until("the predecessors have left", || site.running().len() == 1);
    assert_ne!(site.running()[0].pid, first);
    assert_eq!(get(site.address, "/").text(), "v1");
}

#[test]
fn a_predecessor_finishes_and_is_part_of_the_whole_until_it_has() {
    let go_on = Arc::new(AtomicBool::new(false));
    let wait = go_on.clone();
    let old = Upstream::start(move |seen, line| {
        if seen.target() == "/slow" {
            wait_until("the test goes on", || wait.load(SeqCst));
        }
        line.ok("v1");
    });
    let new = Upstream::named("v2");
    let site = Site::simple(&[old.address]);
    let (mut kept, mut slow) = (Client::connect(site.address), Client::connect(site.address));
    assert_eq!(kept.get("/").text(), "v1");
    slow.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    wait_until("it is under way", || site.in_flight("v1-0") == 1);
    site.block(site.router.upgrade(&binary())).unwrap();
    let running = site.running();
    assert_eq!(running.iter().map(|one| one.state).collect::<Vec<_>>(), [State::Serving, State::Draining]);
    assert_eq!(site.in_flight("v1-0"), 1, "what the predecessor carries is counted");
    site.service(|service| service.sides = [side("v2", 1, &[new.address])].into());
    let last = kept.get("/");
    assert_eq!((last.text(), last.field("connection")), ("v2", "close"), "the predecessor works by the new table too");
    go_on.store(true, SeqCst);
    let answer = slow.answer().unwrap();
    assert_eq!((answer.text(), answer.field("connection")), ("v1", "close"));
    wait_until("the predecessor has left", || site.running().len() == 1);
}

#[test]
fn requests_that_are_held_survive_an_upgrade() {
    let new = Upstream::named("v2");
    let site = Site::simple(&[]);
    let mut held = Client::connect(site.address);
    held.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    wait_until("it is held", || !site.traffic().held.is_empty());
    site.block(site.router.upgrade(&binary())).unwrap();
    site.service(|service| service.sides = [side("v2", 1, &[new.address])].into());
    assert_eq!(held.answer().unwrap().text(), "v2");
}

#[test]
fn a_successor_that_cannot_start_changes_nothing() {
    let upstream = Upstream::named("v1");
    let site = Site::simple(&[upstream.address]);
    let before = site.running();
    let fault = site.block(site.router.upgrade("/bin/false".as_ref())).unwrap_err();
    assert!(fault.message.starts_with("the data plane ended at its start (exit status: 1)"), "{}", fault.message);
    assert_eq!(site.running().iter().map(|one| one.pid).collect::<Vec<_>>(), [before[0].pid]);
    assert_eq!(get(site.address, "/").text(), "v1");
}

#[test]
fn a_hand_over_that_breaks_off_at_any_point_leaves_one_that_serves() {
    for point in [
        "proxy.handed-over",
        "proxy.socket-bound",
        "proxy.before-install",
        "proxy.before-took-over",
        "proxy.after-took-over",
    ] {
        let upstream = Upstream::named("v1");
        let site = Site::simple(&[upstream.address]);
        // Nobody else starts processes of this state; the variable reaches only this one.
        let mut child = std::process::Command::new(binary())
            .args(["proxy", "--state"])
            .arg(site.state.path())
            .env("DEPLOYCTL_CRASH", format!("proxy:{point}:1:kill"))
            .spawn()
            .unwrap();
        assert!(!child.wait().unwrap().success(), "{point} was not passed");
        site.block(site.router.ensure()).unwrap();
        wait_until("somebody serves", || site.running().iter().any(|one| one.state == State::Serving));
        assert_eq!(get(site.address, "/").text(), "v1", "{point}");
        site.service(|service| service.mode = deployctl_core::route::Mode::Open);
        assert_eq!(site.block(site.router.table()).unwrap().generation, 2);
    }
}

#[test]
fn told_to_stop_it_finishes_first() {
    let upstream = Upstream::named("v1");
    let site = Site::simple(&[upstream.address]);
    let mut kept = Client::connect(site.address);
    assert_eq!(kept.get("/").text(), "v1");
    site.block(site.router.stop()).unwrap();
    wait_until("the address refuses", || std::net::TcpStream::connect(site.address).is_err());
    assert_eq!(kept.get("/").field("connection"), "close");
    wait_until("it is gone", || site.running().is_empty());
    let lock = site.state.path().join("proxy/lock");
    assert!(!deployctl_sys::lock::is_held(&lock).unwrap());
    kill(u32::MAX);
}
