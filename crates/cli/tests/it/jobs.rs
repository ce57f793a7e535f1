//! Hooks and migrations.

use super::API;
use super::world::{World, finish, poll, processes_with, text};

fn world(more: &str) -> World {
    let world = World::new(API);
    for version in ["v1", "v2", "v3"] {
        world.version(version, "");
    }
    world.ok("deploy --env dev --app api --version v1");
    world.spec(&format!("{API}{more}"));
    world
}

#[test]
fn hooks_run_around_a_deployment_and_failing_turns_it_back() {
    let hooks = "    hooks: { before: [[sh, -c, \"echo before $DEPLOYCTL_VERSION >>HERE/log\"]], \
                 after: [[sh, -c, \"echo after $DEPLOYCTL_VERSION >>HERE/log; test ! -e HERE/bad || { echo cache is gone; exit 4; }\"]] }\n";
    let world = world(hooks);
    world.ok("deploy --env dev --app api --version v2");
    assert_eq!(world.read("log"), "before v2\nafter v2\n");
    world.write("bad", "");
    let ran = world.fails(1, "deploy --env dev --app api --version v3", "the hook after #1 failed: exit 4");
    assert!(ran.last().contains("cache is gone"), "{}", ran.last());
    assert_eq!(world.served("api"), "v2");
    world.ok("rollback --env dev --app api");
    assert_eq!(world.read("log"), "before v2\nafter v2\nbefore v3\nafter v3\n", "a rollback runs no hook");
}

#[test]
fn a_hook_that_hangs_or_forks_away_ends_with_all_it_started() {
    let hang = "    hooks: { before: [{ run: [sh, -c, \"echo waiting for HERE; sleep 1000\"], timeout: 300ms }] }\n";
    let world = world(hang);
    let ran =
        world.fails(1, "deploy --env dev --app api --version v2", "the hook before #1 failed: killed after 300 ms");
    assert!(ran.last().contains("waiting for"), "{}", ran.last());
    let mark = world.path("forked").to_string_lossy().into_owned();
    let fork = "    hooks: { before: [[sh, -c, \"setsid env -i sleep 1000 HERE/forked 0</dev/null >/dev/null 2>&1 & sleep 0.1\"]] }\n";
    world.spec(&format!("{API}{}", fork.replace("sleep 1000 HERE/forked", "sh -c 'sleep 1000; : HERE/forked'")));
    world.ok("deploy --env dev --app api --version v2");
    poll("the end of what the hook left behind", || processes_with(&mark).is_empty().then_some(()));
    assert_eq!(world.served("api"), "v2");
}

#[test]
fn a_migration_runs_once_and_is_undone_on_the_way_back() {
    let migrate = "    migrate: { run: [sh, -c, \"echo up $DEPLOYCTL_VERSION >>HERE/log\"], undo: [sh, -c, \"echo down $DEPLOYCTL_VERSION >>HERE/log\"] }\n";
    let world = world(migrate);
    let plan = world.ok("plan --env dev --app api --version v2");
    assert!(plan.out.contains("runs a migration, which is undone on the way back"), "{}", plan.out);
    assert_eq!(world.read("log"), "", "a plan runs nothing");
    world.ok("deploy --env dev --app api --version v2");
    world.ok("restart --env dev --app api");
    assert_eq!(world.read("log"), "up v2\n");
    world.version("v3", "exit=1");
    world.run("deploy --env dev --app api --version v3").code(1);
    assert_eq!(world.read("log"), "up v2\nup v3\ndown v3\n");
    assert_eq!(world.served("api"), "v2");
    world.ok("rollback --env dev --app api --version v1");
    assert_eq!(world.read("log"), "up v2\nup v3\ndown v3\ndown v2\n");
    assert_eq!(world.served("api"), "v1");
    world.ok("deploy --env dev --app api --version v2");
    assert_eq!(world.read("log"), "up v2\nup v3\ndown v3\ndown v2\nup v2\n", "what was undone is done again");
}

#[test]
fn an_irreversible_migration_stops_the_automatic_way_back() {
    let migrate = "    migrate: { run: [sh, -c, \"echo up >>HERE/log\"], irreversible: true }\n";
    let world = world(migrate);
    world.version("v2", "health=500");
    world.spec(&format!("{API}{migrate}").replace("within: 5s", "within: 300ms"));
    let plan = world.ok("plan --env dev --app api --version v2").out;
    assert!(plan.contains("! runs a migration that cannot be undone: no automatic way back after it"), "{plan}");
    let ran = world.fails(1, "deploy --env dev --app api --version v2", "failed: deploy api v1 -> v2");
    assert!(ran.last().contains("the migration of api cannot be undone"), "{}", ran.last());
    assert!(ran.last().contains("--across-migration") && ran.last().contains("NOT back"), "{}", ran.last());
    assert_eq!(world.history("api")[0], "v2 failed");
    world.fails(3, "rollback --env dev --app api", "[across-migration]");
    world.ok("rollback --env dev --app api --across-migration");
    assert_eq!(world.served("api"), "v1");
    assert_eq!(world.now("api"), "v1 healthy 1");
    world.ok("deploy --env dev --app api --version v3");
    world.fails(3, "rollback --env dev --app api", "[across-migration]: going back to v1 of api in dev");
    assert_eq!(world.read("log"), "up\nup\n", "once per release");
}

#[test]
fn cancelling_ends_the_job_that_runs() {
    let hook = "    hooks: { before: [[sh, -c, \"echo HERE/mark; sleep 1000\"]] }\n";
    let world = world(hook);
    let child = world.spawn("deploy --env dev --app api --version v2");
    let id = world.running();
    poll("the hook", || {
        text(&world.json(&format!("show {id}"))["waiting"]).contains("the hook before #1 runs").then_some(())
    });
    world.ok(&format!("cancel {id}"));
    finish(child).code(1).says("what ran before runs again");
    let mark = world.path("mark").to_string_lossy().into_owned();
    assert_eq!(processes_with(&mark), [], "the job is gone when the verdict is there");
    assert_eq!(world.served("api"), "v1");
}
