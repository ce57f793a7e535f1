//! Environments, regions, apps and projects side by side; flags from variables and overlays.

use super::API;
use super::http::get;
use super::world::{World, finish, text};

#[test]
fn regions_are_visited_in_order_and_share_a_migration() {
    let spec = API.replace("dev: {}", "dev: { regions: [eu, us] }");
    let world = World::new(&format!(
        "{spec}    env: {{ REGION: \"{{{{ region }}}}\" }}\n    migrate: {{ run: [sh, -c, \"echo up >>HERE/log\"] }}\n"
    ));
    world.version("v1", "");
    world.ok("deploy --env dev --app api --version v1");
    let history = world.json("history --env dev --app api");
    let entries: Vec<_> = history.as_array().into_iter().flatten().collect();
    assert_eq!(entries.len(), 2, "one entry a region");
    assert_eq!(entries[0]["id"], entries[1]["id"], "under one id");
    let mut regions: Vec<_> = entries.iter().map(|h| text(&h["region"])).collect();
    regions.sort();
    assert_eq!(regions, ["eu", "us"]);
    assert_eq!(world.read("log"), "up\n", "a migration runs once per release and environment");
    for region in ["eu", "us"] {
        let status = world.json(&format!("status --env dev --app api --region {region}"));
        assert_eq!(status.as_array().map(Vec::len), Some(1));
        let url = text(&status[0]["urls"][0]);
        assert_eq!(get(&format!("{url}/env/REGION")).body, region);
    }
    world.version("v2", "");
    world.ok("deploy --env dev --app api --version v2 --region us");
    let at = |region: &str| text(&world.json(&format!("status --region {region}"))[0]["version"]);
    assert_eq!((at("eu"), at("us")), ("v1".into(), "v2".into()));
    world.version("v3", "exit=1");
    world.run("deploy --env dev --app api --version v3").code(1);
    assert_eq!((at("eu"), at("us")), ("v1".into(), "v2".into()), "each region is back where it was");
    world.ok("rollback --env dev --app api --region us --version v1");
    assert_eq!(at("us"), "v1");
    assert_eq!(world.read("log"), "up\nup\nup\n", "once for each of three releases; nothing to undo");
    world.ok("deploy --env dev --app api --version v2 --region eu");
    world.ok("rollback --env dev --app api").says("succeeded: rollback api v2 -> v1");
    assert_eq!((at("eu"), at("us")), ("v1".into(), "v1".into()), "what the last deployment changed, and no more");
}

#[test]
fn apps_and_projects_do_not_meet() {
    let world = World::new(&format!("{API}  other:\n    command: [sleep, \"1000\"]\n    drain: 1s\n"));
    world.version("v1", "health=500");
    let child = world.spawn("deploy --env dev --app api --version v1");
    let id = world.running();
    world.ok("deploy --env dev --app other --version v1");
    world.ok(&format!("cancel {id}"));
    finish(child).code(1);
    assert_eq!(world.now("other"), "v1 healthy 1");

    world.write(
        "q/deployctl.yaml",
        "project: q\nenvironments: { dev: {} }\napps: { other: { command: [sleep, \"2000\"], drain: 1s } }\n",
    );
    let q = world.path("q");
    world.ok(&format!("deploy --env dev --app other --version v7 --project {}", q.display()));
    assert_eq!(world.now("other"), "v1 healthy 1", "the same names in another project");
    let theirs = world.json(&format!("status --project {}", q.display()));
    assert_eq!((theirs.as_array().map(Vec::len), text(&theirs[0]["version"])), (Some(1), "v7".into()));
    let below = world.path("p/a/b");
    std::fs::create_dir_all(&below).expect("a folder");
    let ran = finish(world.command("status --output json").current_dir(&below).spawn().expect("it starts"));
    let names: Vec<_> = ran.json().as_array().into_iter().flatten().map(|s| text(&s["project"])).collect();
    assert_eq!(names, ["p", "p"], "the nearest parent with a specification");
    let nowhere = finish(world.command("status --output json").current_dir("/").spawn().expect("it starts"));
    assert_eq!(nowhere.json().as_array().map(Vec::len), Some(3), "without a project everything is shown");
    let down = world.command("down --env dev --app other").current_dir("/").spawn().expect("it starts");
    finish(down).code(2).says("[ambiguous-project]: it is not said which project is meant: p and q both have this");
    world.fails(2, "status --project /nowhere", "[spec-not-found]");
    world.write("p/deployctl.yaml", "project: p # ours\napps: [");
    world.ok("down --env dev --app other").says("down other v1 -> nothing");
    assert_eq!(text(&world.json(&format!("status --project {}", q.display()))[0]["health"]), "healthy", "not theirs");
}

#[test]
fn flags_come_from_variables_and_overlays_are_stored() {
    let mut world = World::new(&API.replace("dev: {}", "dev: {}, test: { after: dev }"));
    world.version("v1", "");
    world.write("p/more.yaml", "apps: { api: { instances: 2 } }\n");
    world.ok("deploy --env dev --app api --version v1 --config more.yaml");
    assert_eq!(world.now("api"), "v1 healthy 2");
    world.ok("promote --app api --from dev --to test");
    assert_eq!(world.status("test", "api")["instances"].as_array().map(Vec::len), Some(2), "with the overlay");
    for (name, value) in [("ENV", "dev"), ("APP", "api"), ("VERSION", "v1"), ("REASON", "fewer"), ("OUTPUT", "json")] {
        world.var(&format!("DEPLOYCTL_{name}"), value);
    }
    let deployed = world.ok("deploy").json();
    assert_eq!((text(&deployed["note"]), text(&deployed["verdict"])), ("fewer".into(), "succeeded".into()));
    assert_eq!(world.now("api"), "v1 healthy 1");
    world.version("v2", "print=no licence\nexit=3");
    world.var("DEPLOYCTL_VERSION", "v2");
    let failed = world.run("deploy").code(1).json();
    assert_eq!((text(&failed["verdict"]), &failed["restored"]), ("rolled_back".into(), &true.into()));
    assert!(text(&failed["reason"]).contains("no licence"), "{failed}");
}

#[test]
fn a_deadline_is_kept_on_the_way_and_while_paused() {
    let world = World::new(API);
    world.version("v1", "");
    world.ok("deploy --env dev --app api --version v1");
    world.spec(&format!("{API}    deadline: 1s\n").replace("within: 5s", "within: 1h"));
    world.version("v2", "health=500");
    world.fails(1, "deploy --env dev --app api --version v2", "not done within its deadline of 1 s");
    let child = world.spawn("deploy --env dev --app api --version v2");
    world.ok(&format!("pause {}", world.running()));
    finish(child).code(1).says("not done within its deadline of 1 s; it was paused; what ran before runs again");
    assert_eq!(world.now("api"), "v1 healthy 1");
}
