//! `plan`, and plans that are done exactly or refused.

use super::API;
use super::world::World;

#[test]
fn a_saved_plan_is_done_exactly_or_refused() {
    let mut world = World::new(&API.replace("    route", "    env: { KEY: { secret: \"env:KEY\" } }\n    route"));
    world.var("KEY", "first-value");
    for version in ["v1", "v2", "v3"] {
        world.version(version, "");
    }
    world.ok("deploy --env dev --app api --version v1");
    let before = world.history("api");
    let plan =
        world.ok("plan --env dev --app api --version v2 --out HERE/plan".replace("HERE", &here(&world)).as_str());
    assert!(plan.out.starts_with("api in dev: v1 -> v2, rolling\n  1. "), "{}", plan.out);
    let json = world.json("plan --env dev --app api --version v2");
    assert_eq!((&json["legs"][0]["from"], &json["legs"][0]["to"]), (&"v1".into(), &"v2".into()), "{json}");
    assert!(json["legs"][0]["waypoints"].as_array().is_some_and(|all| !all.is_empty()), "{json}");
    assert_eq!(world.history("api"), before, "a plan changes nothing");
    assert_eq!(world.served("api"), "v1");
    assert!(!world.read("plan").contains("first-value"), "no secret in a plan");

    let deploy = |what: &str, file: &str| format!("deploy --env dev {what} --plan {}/{file}", here(&world));
    world.write("altered", &world.read("plan").replacen("\"drain\": 1000", "\"drain\": 1001", 1));
    world.fails(2, &deploy("--app api --version v2", "altered"), "[plan-altered]");
    world.write("altered", "{}");
    world.fails(2, &deploy("--app api --version v2", "altered"), "[plan-altered]");
    world.fails(2, &deploy("--app api --version v2", "missing"), "[plan-unreadable]");
    world.fails(2, &deploy("--app api --version v3", "plan"), "[plan-other]: the plan brings api to v2, not to v3");
    assert_eq!(world.history("api"), before);

    world.var("KEY", "second-value");
    let deploy = |what: &str, file: &str| format!("deploy --env dev {what} --plan {}/{file}", here(&world));
    world.fails(
        4,
        &deploy("--app api --version v2", "plan"),
        "[plan-stale]: the plan is stale: api would not be the same",
    );
    world.var("KEY", "first-value");
    let deploy = |what: &str, file: &str| format!("deploy --env dev {what} --plan {}/{file}", here(&world));
    world.ok(&deploy("--app api --version v2", "plan")).says("v1 -> v2");
    assert_eq!(world.served("api"), "v2");
    world.fails(4, &deploy("--app api --version v2", "plan"), "[plan-stale]: the plan is stale: api in dev changed");
    world.ok("plan --env dev --app api --version v2").says("nothing to do: it is current and healthy already");
    assert_eq!(world.history("api").len(), before.len() + 1);
    world.ok(&format!("plan --env dev --app api --version v2 --out {}/plan", here(&world)));
    world.ok(&deploy("--app api --version v2", "plan")).says("it is current and healthy already");
    world.fails(2, &deploy("--app api --version v3", "plan"), "[plan-other]: api would change too");
    world.ok("deploy --env dev --app api --version v3");
    world.fails(4, &deploy("--app api --version v2", "plan"), "[plan-stale]");
}

#[test]
fn a_saved_plan_needs_no_source_any_more() {
    let world = World::new(API);
    for version in ["v1", "v2", "v3"] {
        world.version(version, "");
    }
    world.ok("deploy --env dev --app api --version v1");
    for version in ["v2", "v3"] {
        world.ok(&format!("plan --env dev --app api --version {version} --out {}/{version}", here(&world)));
    }
    let deploy =
        |version: &str| format!("deploy --env dev --app api --version {version} --plan {}/{version}", here(&world));
    world.version("v3", "print=changed meanwhile");
    world.fails(4, &deploy("v3"), "[plan-stale]: the plan is stale: api would not be the same release now");
    std::fs::remove_dir_all(world.path("p/dist")).expect("the sources were there");
    world.fails(2, "deploy --env dev --app api --version v2", "[artifact-missing]: no artifact for api v2");
    world.ok(&deploy("v2")).says("v1 -> v2");
    assert_eq!(world.served("api"), "v2");
    world.version("v2", "print=other bytes");
    world.fails(2, "deploy --env dev --app api --version v2", "[version-changed]: api v2 is known as sha256");
}

#[test]
fn a_plan_is_for_what_it_says_alone() {
    let world = World::new(&format!("{API}  other:\n    command: [sleep, \"1000\"]\n    drain: 1s\n"));
    world.version("v1", "");
    world.ok(&format!("plan --env dev --app other --version v1 --out {}/plan", here(&world)));
    let other = format!("deploy --env dev --app api --version v1 --plan {}/plan", here(&world));
    world.fails(2, &other, "[plan-other]: the plan is for other in dev, not for what was asked");
    let more = format!("deploy --env dev --all --version v1 --plan {}/plan", here(&world));
    world.fails(2, &more, "[plan-other]: api would change too, and the plan does not have it");
    let elsewhere = World::new(&world.read("p/deployctl.yaml"));
    let stranger = format!("deploy --env dev --app other --version v1 --plan {}/plan", here(&world));
    elsewhere.fails(2, &stranger, "[plan-altered]: the plan file was altered or is of another state");
    world.ok(&format!("deploy --env dev --app other --version v1 --plan {}/plan", here(&world)));
    assert_eq!(world.now("other"), "v1 healthy 1");
}

fn here(world: &World) -> String {
    world.path("").to_string_lossy().trim_end_matches('/').to_owned()
}
