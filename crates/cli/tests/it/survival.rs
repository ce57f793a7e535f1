//! Whatever is killed comes back, and whoever comes at the same time does not do a thing twice.

use super::API;
use super::world::{World, finish, kill, poll, text};
use rustix::process::Signal;

#[test]
fn whatever_is_killed_comes_back() {
    let world = World::new(&format!("{API}    instances: 2\n"));
    world.version("v1", "");
    world.ok("deploy --env dev --app api --version v1");
    let before = |role: &str| world.role(role).len();
    let counts = ["engine", "proxy", "shim", "app"].map(before);
    assert_eq!(counts, [1, 1, 2, 2]);
    for roles in [&["proxy"][..], &["shim"], &["app"], &["engine"], &["engine", "proxy", "shim"], &["shim", "app"]] {
        for pid in roles.iter().flat_map(|role| world.role(role)) {
            kill(pid, Signal::KILL);
        }
        poll(&format!("everything after {roles:?} were killed"), || {
            let there = world.now("api") == "v1 healthy 2" && world.served("api") == "v1";
            (there && ["engine", "proxy", "shim", "app"].map(before) == counts).then_some(())
        });
    }
    assert_eq!(world.history("api"), ["v1 succeeded"], "none of this is a deployment");
    world.ok("audit verify");
}

#[test]
fn many_commands_at_once_start_one_engine() {
    let world = World::bare();
    world.link_binary(&world.state());
    let all: Vec<_> = (0..6).map(|_| world.spawn("status")).collect();
    for child in all {
        finish(child).code(0);
    }
    poll("one engine", || (world.role("engine").len() == 1).then_some(()));
}

#[test]
fn of_many_at_once_each_is_done_whole_or_refused() {
    let world = World::new(API);
    let versions = ["v1", "v2", "v3", "v4", "v5"];
    for version in versions {
        world.version(version, "");
    }
    let all: Vec<_> = versions
        .iter()
        .map(|version| world.spawn(&format!("deploy --env dev --app api --version {version}")))
        .collect();
    let codes: Vec<i32> = all.into_iter().map(|child| finish(child).code).collect();
    assert!(codes.iter().all(|code| [0, 4].contains(code)), "done or refused: {codes:?}");
    let done = codes.iter().filter(|code| **code == 0).count();
    assert_eq!(world.history("api").len(), done, "one entry for each that was done");
    assert_eq!(world.role("app").len(), 1);
    let now = text(&world.status("dev", "api")["version"]);
    assert_eq!(world.history("api")[0], format!("{now} succeeded"));

    let all: Vec<_> = versions
        .iter()
        .map(|version| world.spawn(&format!("deploy --env dev --app api --version {version} --wait 1m")))
        .collect();
    for child in all {
        finish(child).code(0);
    }
    assert_eq!(world.role("app").len(), 1);
}

#[test]
fn an_engine_from_boot_on_waits_its_turn() {
    let world = World::new(API);
    world.version("v1", "");
    world.ok("deploy --env dev --app api --version v1");
    let first = world.role("engine");
    let mut unit = world.command_of(&["engine", "--state", &world.state().to_string_lossy(), "--stay"]);
    let mut unit = unit.spawn().expect("it starts");
    poll("both", || (world.role("engine").len() == 2).then_some(()));
    kill(first[0], Signal::TERM);
    poll("its turn", || (world.role("engine") == [unit.id()]).then_some(()));
    assert_eq!(world.now("api"), "v1 healthy 1");
    poll("the one that is there alone", || (world.role("engine") == [unit.id()]).then_some(()));
    kill(unit.id(), Signal::TERM);
    assert!(unit.wait().expect("its end").success());
    assert_eq!(world.served("api"), "v1", "the next command starts another");
}
