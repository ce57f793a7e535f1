//! A shim that is killed at any of its points: what a new node then finds converges, with nothing doubled or orphaned.

use crate::world::*;
use deployctl_core::instance::*;
use deployctl_core::time::Span;
use deployctl_node::Node;
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// What an engine does: starts what should run and is not there.
async fn converge_to_running(node: &Node, spec: &InstanceSpec) -> InstanceSeen {
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not come up");
        let all = node.list(&spec.scope).await.unwrap();
        match all.into_iter().find(|seen| seen.id == spec.id) {
            Some(seen) if seen.state == InstanceState::Ready => return seen,
            None | Some(InstanceSeen { state: InstanceState::Gone, .. }) => node.start(spec, FENCE).await.unwrap(),
            Some(InstanceSeen { state: InstanceState::Failed { reason, .. }, .. }) => panic!("it failed: {reason}"),
            Some(_) => {}
        }
        node.changed(&spec.scope).await;
    }
}

async fn settled(world: &World, workers: usize, shims: usize) {
    let what = format!("{workers} workers and {shims} shims");
    eventually(&what, || world.workers().len() == workers && world.shims().len() == shims).await;
}

#[tokio::test]
async fn killed_while_it_starts() {
    for point in ["shim.started", "shim.locked", "shim.spawned", "shim.recorded"] {
        let world = World::new();
        let spec = App::server("api").instance(0);
        let doomed = world.node_with_crash(point, "kill");
        doomed.start(&spec, FENCE).await.unwrap();
        eventually(point, || world.passed(point)).await;
        drop(doomed);
        let node = world.node();
        let seen = converge_to_running(&node, &spec).await;
        settled(&world, 1, 1).await;
        assert_eq!(seen.pid, Some(world.workers()[0].pid), "{point}");
        assert_eq!(seen.restarts, 0, "{point}: adopted or started, not restarted");
        node.stop(&spec.scope, &spec.id, Span::secs(5), FENCE).await.unwrap();
        until_gone(&node, &spec).await;
        settled(&world, 0, 0).await;
    }
}

#[tokio::test]
async fn killed_while_it_stops() {
    for point in ["shim.stopping", "shim.killed", "shim.ended"] {
        let world = World::new();
        let spec = App::server("api").instance(0);
        let doomed = world.node_with_crash(point, "kill");
        doomed.start(&spec, FENCE).await.unwrap();
        until_ready(&doomed, &spec).await;
        doomed.stop(&spec.scope, &spec.id, Span::secs(5), FENCE).await.unwrap();
        eventually(point, || world.passed(point)).await;
        drop(doomed);
        let node = world.node();
        until_gone(&node, &spec).await;
        settled(&world, 0, 0).await;
        node.forget(&spec.scope, &spec.id, FENCE).await.unwrap();
        assert!(node.list(&spec.scope).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn killed_while_it_waits_to_start_again() {
    let world = World::new();
    let spec = App::server("api").instance(0);
    let doomed = world.node_with_crash("shim.pausing", "kill");
    doomed.start(&spec, FENCE).await.unwrap();
    let seen = until_ready(&doomed, &spec).await;
    get(&seen, "/die").await;
    eventually("the pause", || world.passed("shim.pausing")).await;
    drop(doomed);
    let node = world.node();
    converge_to_running(&node, &spec).await;
    settled(&world, 1, 1).await;
}

#[tokio::test]
async fn the_engine_killed_while_it_starts_or_stops_an_instance() {
    for point in ["node.spec-written", "node.shim-spawned", "node.stop-written"] {
        let world = World::new();
        let app = App::server("api");
        let spec = app.instance(0);
        std::fs::write(world.state.path().join("wanted.json"), app.release().bytes()).unwrap();
        let mut engine = std::process::Command::new(TESTBED)
            .arg("node")
            .arg(world.state.path())
            .env("DEPLOYCTL_CRASH", format!("engine:{point}:1:kill"))
            .spawn()
            .unwrap();
        let status = engine.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{point} was not reached");
        let node = world.node();
        if point == "node.stop-written" {
            // Told nobody yet, but it was written: the next engine says it again, unasked.
            until_gone(&node, &spec).await;
            settled(&world, 0, 0).await;
        } else {
            converge_to_running(&node, &spec).await;
            settled(&world, 1, 1).await;
        }
    }
}

#[tokio::test]
async fn a_shim_that_hangs_is_replaced_when_its_instance_is_to_stop() {
    let world = World::new();
    let node = world.node();
    let spec = App::server("api").instance(0);
    node.start(&spec, FENCE).await.unwrap();
    until_ready(&node, &spec).await;
    world.shims()[0].signal(Signal::STOP).unwrap();
    node.stop(&spec.scope, &spec.id, Span::ms(10), FENCE).await.unwrap();
    until_gone(&node, &spec).await;
    settled(&world, 0, 0).await;
}

#[tokio::test]
async fn a_shim_that_was_stopped_is_replaced_and_its_instance_lives_on() {
    let world = World::new();
    let node = world.node();
    let spec = App::server("api").instance(0);
    node.start(&spec, FENCE).await.unwrap();
    let pid = until_ready(&node, &spec).await.pid;
    let stopped = world.shims()[0].clone();
    stopped.signal(Signal::STOP).unwrap();
    eventually("another shim", || !stopped.is_alive() && world.shims().len() == 1).await;
    let seen = until_ready(&node, &spec).await;
    assert_eq!((seen.pid, seen.restarts), (pid, 0), "adopted, not started again");
}

#[tokio::test]
async fn a_shim_that_hangs_before_it_said_who_it_is_is_ended_all_the_same() {
    for point in ["shim.started", "shim.locked", "shim.spawned"] {
        let world = World::new();
        let node = world.node_with_crash(point, "stop");
        let spec = App::server("api").instance(0);
        node.start(&spec, FENCE).await.unwrap();
        eventually(point, || world.passed(point)).await;
        node.stop(&spec.scope, &spec.id, Span::ms(10), FENCE).await.unwrap();
        until_gone(&node, &spec).await;
        settled(&world, 0, 0).await;
    }
}

#[tokio::test]
async fn killed_and_minded_by_a_node_that_lives() {
    let world = World::new();
    let node = world.node();
    let spec = App::server("api").instance(0);
    node.start(&spec, FENCE).await.unwrap();
    let before = until_ready(&node, &spec).await;
    for _ in 0..3 {
        let shim = world.shims()[0].clone();
        shim.signal(Signal::KILL).unwrap();
        eventually("another shim", || world.shims().first().is_some_and(|now| *now != shim)).await;
    }
    let after = until_ready(&node, &spec).await;
    assert_eq!(after.pid, before.pid, "the instance noticed nothing");
    assert_eq!(get(&after, "/").await, "hello\n");
    settled(&world, 1, 1).await;
    node.stop(&spec.scope, &spec.id, Span::secs(5), FENCE).await.unwrap();
    until_gone(&node, &spec).await;
    settled(&world, 0, 0).await;
}

#[tokio::test]
async fn shim_and_instance_killed_together_again_and_again() {
    let world = World::new();
    let node = world.node();
    let spec = App::server("api").instance(0);
    for round in 0..5 {
        converge_to_running(&node, &spec).await;
        let mut doomed = [world.shims(), world.workers()].concat();
        if round % 2 == 0 {
            doomed.reverse();
        }
        for process in doomed {
            process.signal(Signal::KILL).unwrap();
        }
        until(&node, &spec, |state| *state != InstanceState::Ready).await;
    }
    converge_to_running(&node, &spec).await;
    settled(&world, 1, 1).await;
}
