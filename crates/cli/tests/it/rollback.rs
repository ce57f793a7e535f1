//! `rollback`: further back each time, never forward; with what is kept here alone.

use super::API;
use super::world::{World, text};

fn world_at(versions: &[&str]) -> World {
    let world = World::new(API);
    for version in versions {
        world.version(version, "");
        world.ok(&format!("deploy --env dev --app api --version {version}"));
    }
    world
}

#[test]
fn each_goes_further_back_and_none_forward() {
    let world = world_at(&["v1", "v2", "v3"]);
    let ran = world.ok("rollback --env dev --app api").says("succeeded: rollback api v3 -> v2 in dev");
    assert!(
        ran.err.lines().next().unwrap_or_default().contains("api: v3 -> v2"),
        "says it before it acts: {}",
        ran.err
    );
    assert_eq!(world.served("api"), "v2");
    world.ok("rollback --env dev --app api").says("rollback api v2 -> v1");
    assert_eq!(world.served("api"), "v1");
    world.fails(3, "rollback --env dev --app api", "[nothing-before]: api in dev has nothing to go back to");
    assert_eq!(
        world.history("api"),
        ["v1 succeeded", "v2 succeeded", "v3 succeeded", "v2 succeeded", "v1 succeeded"],
        "the undone entries keep their verdicts, a refused one makes none"
    );
    world.fails(3, "rollback --env dev --app api --from v3", "[not-current]: api in dev is at v1, not at v3");
    world.fails(3, "rollback --env dev --app api --version v9", "[not-retained]: v9 is not among the retained");
    world.ok("rollback --env dev --app api --version v3").says("rollback api v1 -> v3");
    assert_eq!(world.served("api"), "v3", "a newer release that was undone is retained too");
    world.ok("rollback --env dev --app api --version v3").says("api in dev is at v3 already; nothing was changed");
    world.ok("rollback --env dev --app api --from v3").says("rollback api v3 -> v1");
    assert_eq!(world.served("api"), "v1");
}

#[test]
fn nothing_is_left_to_undo_after_a_deployment_that_was_turned_back() {
    let world = world_at(&["v1", "v2"]);
    world.version("v3", "exit=1");
    world.run("deploy --env dev --app api --version v3").code(1);
    world.ok("rollback --env dev --app api").says("was turned back already: nothing is left to undo");
    assert_eq!(world.served("api"), "v2");
    assert_eq!(world.history("api").len(), 3, "nothing was done, so nothing was written down");
    world.fails(3, "rollback --env test --app api", "[never-deployed]: `api` was never deployed to `test`");
}

#[test]
fn it_needs_neither_artifact_nor_specification() {
    let world = world_at(&["v1", "v2"]);
    std::fs::remove_dir_all(world.path("p/dist")).expect("the artifacts are there");
    world.write("p/deployctl.yaml", "apps: [");
    world.ok("rollback --env dev --app api --reason nightly").says("v2 -> v1");
    assert_eq!(world.served("api"), "v1");
    std::fs::remove_file(world.path("p/deployctl.yaml")).expect("the specification is there");
    world.ok("rollback --env dev --app api --version v2").says("v1 -> v2");
    assert_eq!(world.served("api"), "v2");
    let newest = world.json("history --env dev --app api")[1].clone();
    assert_eq!((text(&newest["note"]), text(&newest["action"])), ("nightly".into(), "rollback".into()));
    let all = world.ok("rollback --env dev --all");
    assert!(all.last().contains("v2 -> v1"), "{}", all.last());
}

#[test]
fn the_current_and_the_last_five_stay() {
    let mut world = World::new(&API.replace("    route", "    env: { KEY: { secret: \"env:KEY\" } }\n    route"));
    world.var("KEY", "hush");
    let versions = ["v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8"];
    for version in versions {
        world.version(version, "");
        // What was taken in a moment ago is spared, as somebody may be about to use it.
        for (path, _) in
            world.state_files().iter().filter(|(path, _)| path.starts_with(world.path("state/artifacts/blobs")))
        {
            let blob = std::fs::File::open(path).expect("a blob");
            blob.set_modified(std::time::SystemTime::UNIX_EPOCH).expect("an older time");
        }
        world.ok(&format!("deploy --env dev --app api --version {version}"));
    }
    std::fs::remove_dir_all(world.path("p/dist")).expect("the artifacts are there");
    let kept = |folder: &str| std::fs::read_dir(world.state().join(folder)).map_or(0, Iterator::count);
    super::world::poll("older releases to be forgotten", || (kept("sealed") == 6).then_some(()));
    let confs = || world.state_files().iter().filter(|(path, _)| path.ends_with("app.conf")).count();
    super::world::poll("older artifacts to be forgotten", || (confs() == 6).then_some(()));
    world.fails(3, "rollback --env dev --app api --version v2", "retained: v8, v7, v6, v5, v4, v3");
    world.ok("rollback --env dev --app api --version v3");
    assert_eq!(world.served("api"), "v3");
    let url = world.url("dev", "api");
    assert_eq!(super::http::get(&format!("{url}/env/KEY")).body, "hush", "from what is sealed, not from the source");
}

#[test]
fn while_a_deployment_runs_it_is_cancelled_and_turned_back() {
    let world = world_at(&["v1"]);
    world.version("v2", "health=500");
    let child = world.spawn("deploy --env dev --app api --version v2");
    world.running();
    let ran = world.ok("rollback --env dev --app api").says("what ran before runs again");
    assert!(ran.err.contains("is cancelled and turned back"), "{}", ran.err);
    super::world::finish(child).code(1).says("cancelled: deploy api v1 -> v2");
    assert_eq!(world.served("api"), "v1");
    assert_eq!(world.history("api"), ["v2 cancelled restored", "v1 succeeded"]);
    world.ok("rollback --env dev --app api").says("nothing is left to undo");
}
