//! Two at once, and all that a person does to a deployment that runs: wait, detach, attach, pause, cancel, go away.

use super::API;
use super::world::{World, finish, kill, poll, text};
use rustix::process::Signal;
use std::io::{BufRead, BufReader};

/// `v1` runs; `v2` is held before it gets traffic until it is told by a file.
fn world() -> World {
    let world = World::new(&format!(
        "{API}    hooks: {{ before: [[sh, -c, \"touch HERE/begun; while test -e HERE/hold; do sleep 0.01; done\"]] }}\n"
    ));
    for version in ["v1", "v2", "v3"] {
        world.version(version, "");
    }
    world.ok("deploy --env dev --app api --version v1");
    world.write("hold", "");
    std::fs::remove_file(world.path("begun")).expect("it ran for v1");
    world
}

fn go_on(world: &World) {
    std::fs::remove_file(world.path("hold")).expect("it was held");
}

#[test]
fn the_second_of_two_is_refused_or_waits() {
    let world = world();
    let first = world.spawn("deploy --env dev --app api --version v2");
    let id = world.running();
    world.fails(
        4,
        "deploy --env dev --app api --version v3",
        &format!("api in dev is being changed by deploy {id} of tester@"),
    );
    world.fails(4, "deploy --env dev --app api --version v3 --wait 50ms", &format!("deployctl cancel {id}"));
    world.fails(4, "restart --env dev --app api", "[lease-held]");
    world.fails(4, "down --env dev --app api", "[lease-held]");
    let second = world.spawn("deploy --env dev --app api --version v3 --wait 1m");
    go_on(&world);
    finish(first).code(0);
    let waited = finish(second).code(0);
    assert!(waited.err.contains("; waiting for it\n"), "{}", waited.err);
    assert_eq!(world.history("api"), ["v3 succeeded", "v2 succeeded", "v1 succeeded"]);
    assert_eq!(world.served("api"), "v3");
}

#[test]
fn a_detached_one_goes_on_and_can_be_followed() {
    let world = world();
    let ran = world.ok("deploy --env dev --app api --version v2 --detach").says("accepted; it goes on by itself");
    let id = ran.out.trim().to_owned();
    assert_eq!(id, world.running());
    let attached = world.spawn(&format!("attach {}", &id[id.len() - 8..]));
    world.ok(&format!("pause {id}")).says("stands still (its deadline goes on)");
    world.fails(3, &format!("pause {id}"), "the deployment is paused already");
    assert_eq!(world.json(&format!("show {id}"))["paused"], true);
    go_on(&world);
    world.ok(&format!("resume {id}"));
    finish(attached).code(0).says("succeeded: deploy api v1 -> v2");
    world.fails(3, &format!("resume {id}"), "the deployment has ended already: succeeded");
    world.fails(3, &format!("cancel {id}"), "[ended]");
    world.ok(&format!("attach {id}")).says("succeeded: deploy api v1 -> v2");
    world.fails(2, "attach 00000000", "[unknown-deployment]");
    assert_eq!(world.served("api"), "v2");
}

#[test]
fn an_interrupted_client_says_how_to_go_on_and_nothing_stops() {
    let world = world();
    let child = world.spawn("deploy --env dev --app api --version v2");
    let id = world.running();
    kill(child.id(), Signal::INT);
    let ran = finish(child).code(130).says(&format!("deployment {id} goes on"));
    assert!(ran.last().contains(&format!("deployctl attach {id}")), "{}", ran.err);
    assert!(ran.last().contains(&format!("deployctl cancel {id}")), "{}", ran.err);
    go_on(&world);
    assert_eq!(world.ended(), "succeeded");
    assert_eq!(world.served("api"), "v2");
}

#[test]
fn a_client_that_is_gone_changes_nothing() {
    let world = world();
    let mut child = world.spawn("deploy --env dev --app api --version v2 --json-log");
    let mut lines = BufReader::new(child.stdout.take().expect("its output"));
    let mut line = String::new();
    lines.read_line(&mut line).expect("a line");
    drop(lines);
    go_on(&world);
    finish(child).code(0).says("succeeded");
    assert_eq!(world.served("api"), "v2");

    world.write("hold", "");
    let mut child = world.spawn("deploy --env dev --app api --version v3");
    let id = world.running();
    child.kill().expect("killed");
    child.wait().expect("its end");
    go_on(&world);
    assert_eq!(world.ended(), "succeeded");
    assert_eq!(world.newest(), id);
    assert_eq!(world.served("api"), "v3");
}

#[test]
fn a_killed_engine_is_replaced_and_goes_on() {
    let world = world();
    let child = world.spawn("deploy --env dev --app api --version v2");
    let id = world.running();
    for pid in world.role("engine") {
        kill(pid, Signal::KILL);
    }
    go_on(&world);
    finish(child).code(0).says("succeeded: deploy api v1 -> v2");
    assert_eq!(world.newest(), id);
    assert_eq!(world.history("api").len(), 2);

    world.write("hold", "");
    world.ok("deploy --env dev --app api --version v3 --detach");
    let old = world.role("engine");
    for pid in &old {
        kill(*pid, Signal::STOP);
    }
    go_on(&world);
    assert_eq!(world.ended(), "succeeded");
    let new = world.role("engine");
    assert!(new.len() == 1 && new != old, "the stopped engine was replaced: {old:?}, {new:?}");
}

#[test]
fn another_build_takes_over_in_the_middle() {
    let mut world = world();
    let child = world.spawn("deploy --env dev --app api --version v2");
    let id = world.running();
    poll("the hook", || world.path("begun").exists().then_some(()));
    let (engine, shims, apps) = (world.role("engine"), world.role("shim"), world.role("app"));
    world.use_other_build();
    assert_eq!(text(&world.json(&format!("show {id}"))["verdict"]), "running");
    let successor = world.role("engine");
    assert_ne!(successor, engine);
    assert_eq!((world.role("shim"), world.role("app")), (shims, apps), "what ran goes on untouched");
    go_on(&world);
    poll("the verdict", || (text(&world.json("history")[0]["verdict"]) == "succeeded").then_some(()));
    finish(child).code(0);
    assert_eq!(world.served("api"), "v2");
    world.ok("rollback --env dev --app api");
    assert_eq!(world.served("api"), "v1");
    world.ok("audit verify");
}

#[test]
fn cancelled_at_every_stage_it_is_as_before() {
    let stages = [
        ("    bake: 1h\n", ""),
        ("    strategy: { canary: { steps: [50%], hold: 1h } }\n", ""),
        ("    strategy: blue-green\n    smoke: [{ run: [sleep, \"1000\"], timeout: 1h }]\n", ""),
        ("    strategy: recreate\n", "health=500"),
        ("    hooks: { after: [{ run: [sleep, \"1000\"], timeout: 1h }] }\n", ""),
    ];
    let world = World::new(API);
    world.version("v1", "");
    world.ok("deploy --env dev --app api --version v1");
    for (index, (more, conf)) in stages.iter().enumerate() {
        let version = format!("v{}", index + 2);
        world.version(&version, conf);
        world.spec(&format!("{API}{more}").replace("within: 5s", "within: 1h"));
        let child = world.spawn(&format!("deploy --env dev --app api --version {version}"));
        let id = world.running();
        poll("the stage", || {
            let waiting = text(&world.json(&format!("show {id}"))["waiting"]);
            ["held for", "runs", "GET /healthz: 500"].iter().any(|w| waiting.contains(w)).then_some(())
        });
        world.ok(&format!("cancel {id}"));
        finish(child).code(1).says("what ran before runs again");
        assert_eq!(world.history("api")[0], format!("{version} cancelled restored"));
        assert_eq!(world.now("api"), "v1 healthy 1", "after {more}");
        assert_eq!(world.served("api"), "v1");
    }
}
