//! What a new node finds of what ran before.

use crate::world::*;
use deployctl_core::instance::*;
use deployctl_core::time::Span;
use deployctl_node::records::{self, RunState};
use rustix::process::Signal;

#[tokio::test]
async fn a_new_node_finds_what_runs_and_asks_nothing_twice() {
    let world = World::new();
    let node = world.node();
    let spec = App::server("api").instance(0);
    node.start(&spec, FENCE).await.unwrap();
    let before = until_ready(&node, &spec).await;
    drop(node);
    let node = world.node();
    let found = node.list(&spec.scope).await.unwrap();
    assert_eq!(found, [before], "known at once, as healthy as it was");
    node.start(&spec, FENCE).await.unwrap();
    until_ready(&node, &spec).await;
    assert_eq!((world.workers().len(), world.shims().len()), (1, 1));
}

#[tokio::test]
async fn an_instance_whose_shim_was_killed_while_nobody_looked_gets_another() {
    let world = World::new();
    let node = world.node();
    let spec = App::server("api").instance(0);
    node.start(&spec, FENCE).await.unwrap();
    let before = until_ready(&node, &spec).await;
    drop(node);
    world.shims()[0].signal(Signal::KILL).unwrap();
    eventually("the shim is gone", || world.shims().is_empty()).await;
    let node = world.node();
    assert_eq!(node.list(&spec.scope).await.unwrap(), [before]);
    eventually("another shim", || world.shims().len() == 1).await;
    node.stop(&spec.scope, &spec.id, Span::secs(5), FENCE).await.unwrap();
    until_gone(&node, &spec).await;
    assert!(world.workers().is_empty());
}

#[tokio::test]
async fn after_everything_was_killed_all_of_it_is_gone_and_starts_again() {
    let world = World::new();
    let node = world.node();
    let specs = [App::server("api").instance(0), App::server("api").instance(1)];
    for spec in &specs {
        node.start(spec, FENCE).await.unwrap();
    }
    for spec in &specs {
        until_ready(&node, spec).await;
    }
    drop(node);
    world.kill_everything();
    let node = world.node();
    let found = node.list(&specs[0].scope).await.unwrap();
    assert!(found.iter().all(|seen| seen.state == InstanceState::Gone), "{found:?}");
    assert_eq!(found.len(), 2);
    for spec in &specs {
        node.start(spec, FENCE).await.unwrap();
        until_ready(&node, spec).await;
    }
}

#[tokio::test]
async fn after_a_reboot_a_pid_that_is_used_again_is_nobody_of_ours() {
    let world = World::new();
    let node = world.node();
    let spec = App::server("api").instance(0);
    node.start(&spec, FENCE).await.unwrap();
    until_ready(&node, &spec).await;
    drop(node);
    world.kill_everything();
    // Another process has the pid, with a start time that is the same by chance, in another boot.
    let path = folder(&world, &spec).state();
    let mut state: RunState = records::read(&path).unwrap().unwrap();
    let stranger = deployctl_sys::process::Identity::own().unwrap();
    for process in [state.process.as_mut().unwrap(), &mut state.shim] {
        (process.pid, process.start) = (stranger.pid, stranger.start);
        process.boot = "00000000-0000-0000-0000-000000000000".into();
    }
    records::write(&path, &state).unwrap();
    let node = world.node();
    assert_eq!(node.list(&spec.scope).await.unwrap()[0].state, InstanceState::Gone);
    assert!(stranger.is_alive());
}

#[tokio::test]
async fn what_its_killed_shim_left_is_ended_when_it_is_stopped() {
    let world = World::new();
    let node = world.node();
    // Its child leaves group and session, and closes what it inherited.
    let script = "setsid setsid sh -c 'exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; exec sleep 1000' & echo up; \
                  while :; do sleep 1000; done";
    let spec = App::script("api", script).instance(0);
    node.start(&spec, FENCE).await.unwrap();
    until_ready(&node, &spec).await;
    eventually("its child", || world.workers().len() >= 3).await;
    drop(node);
    let main = world.processes().into_iter().find(|(_, line)| line.starts_with("/bin/sh -c setsid")).unwrap().0;
    for process in [world.shims()[0].clone(), main] {
        process.signal(Signal::KILL).unwrap();
    }
    let node = world.node();
    node.stop(&spec.scope, &spec.id, Span::ms(100), FENCE).await.unwrap();
    until_gone(&node, &spec).await;
    assert!(world.workers().is_empty(), "{:?}", world.processes());
}
