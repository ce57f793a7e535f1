//! Containers on a real Docker Engine, as a person sees them.

mod building;
mod builds;
mod contract;
mod drift;
mod elsewhere;
pub(crate) mod engine;
mod far;
mod faulty;
mod images;
mod registry;
mod stateful;
mod trouble;

use crate::it::world::{World, poll, text};
use engine::Engine;

/// An app `NAME` in `dev`, whose versions are images of that name.
const API: &str = r#"
project: p
environments: { dev: {} }
apps:
  NAME:
    target: docker
    image: "NAME:{{ version }}"
    port: 8080
    route: {}
    health: { http: /healthz, within: 10s, interval: 200ms }
    drain: 1s
"#;

/// A world whose apps run on `engine`, with images of this name.
fn world(engine: &Engine, name: &str, spec: &str) -> World {
    let mut world = World::new(&spec.replace("NAME", name));
    world.var("DOCKER_HOST", engine.socket());
    world
}

#[test]
fn an_image_is_deployed_replaced_rolled_back_and_taken_down() {
    let Some(engine) = engine::shared() else { return };
    let world = world(&engine, "first", &API.replace("route: {}", "route: {}\n    instances: 2"));
    engine.image("first:v1", "", &[]);
    engine.image("first:v2", "print=two", &[]);
    world.ok("deploy --env dev --all --version v1");
    assert_eq!(world.now("first"), "v1 healthy 2");
    assert_eq!(world.served("first"), "v1");
    world.ok("deploy --env dev --all --version v2");
    assert_eq!(world.served("first"), "v2");
    assert_eq!(engine.containers("first").len(), 2, "the old ones are gone");
    let logs = world.ok("logs --env dev --app first").out;
    assert!(logs.contains("two") && logs.contains("listening on 8080"), "{logs}");
    world.ok("rollback --env dev --app first");
    assert_eq!(world.served("first"), "v1");
    world.ok("down --env dev --app first");
    assert_eq!(engine.containers("first"), Vec::<String>::new());
}

#[test]
fn no_request_is_lost_over_deployments_of_every_strategy() {
    let Some(engine) = engine::shared() else { return };
    let world = world(&engine, "loaded", API);
    for version in ["a", "b"] {
        engine.image(&format!("loaded:{version}"), "", &[]);
    }
    let spec = |strategy: &str| {
        let more = format!("route: {{}}\n    instances: 2\n    strategy: {strategy}");
        world.spec(&API.replace("NAME", "loaded").replace("route: {}", &more));
    };
    spec("rolling");
    world.ok("deploy --env dev --all --version a");
    let target = deployctl_live::Target::parse(&world.url("dev", "loaded")).expect("an address");
    let mut load = deployctl_live::Load::none(target);
    (load.rates.kept, load.rates.fresh) = (200, 100);
    let running = load.start();
    let canary = "{ canary: { steps: [10%, 50%], hold: 100ms } }";
    for (count, strategy) in ["rolling", "blue-green", canary, "recreate", "rolling", "recreate"].iter().enumerate() {
        spec(strategy);
        let version = if count % 2 == 0 { "b" } else { "a" };
        world.ok(&format!("deploy --env dev --all --version {version}"));
    }
    let report = running.finish();
    assert_eq!(report.failed(), 0, "{}", report.summary());
    assert!(report.answered > 1000, "{}", report.summary());
    world.ok("down --env dev --app loaded");
}

#[test]
fn a_bad_version_is_turned_back_with_its_last_lines() {
    let Some(engine) = engine::shared() else { return };
    let world = world(&engine, "bad", API);
    engine.image("bad:good", "", &[]);
    engine.image("bad:exits", "print=no such table\nexit=3", &[]);
    engine.image("bad:sick", "print=well, no\nhealth=500", &[]);
    engine.image("bad:nothing", "", &["CMD [\"/nothing\"]"]);
    engine.image("bad:own", "print=mine\nhealth=500", &[]);
    world.ok("deploy --env dev --all --version good");
    let exits = world.run("deploy --env dev --all --version exits");
    assert_ne!(exits.code, 0);
    assert!(exits.err.contains("exit 3") && exits.err.contains("no such table"), "{}", exits.err);
    assert_eq!(world.served("bad"), "good");
    let nothing = world.run("deploy --env dev --all --version nothing");
    assert!(nothing.err.contains("\"/nothing\"") && nothing.err.contains("cannot be started"), "{}", nothing.err);
    world.spec(&API.replace("NAME", "bad").replace("within: 10s", "within: 1s"));
    let sick = world.run("deploy --env dev --all --version sick");
    assert!(sick.err.contains("GET /healthz: 500") && sick.err.contains("well, no"), "{}", sick.err);
    assert_eq!(world.now("bad"), "good healthy 1");
    let missing = world.run("deploy --env dev --all --version missing");
    assert!(missing.last().contains("bad:missing"), "{}", missing.err);
    assert_eq!(engine.containers("bad").len(), 1);
    world.ok("down --env dev --app bad");
}

#[test]
fn what_is_removed_or_stopped_by_hand_is_made_good() {
    let Some(engine) = engine::shared() else { return };

    let world = world(&engine, "hand", API);
    engine.image("hand:v1", "", &[]);
    world.ok("deploy --env dev --all --version v1");
    for by_hand in [&["rm", "-f"][..], &["stop", "-t", "0"], &["kill"]] {
        let before = engine.containers("hand");
        engine.docker(&[by_hand, &[before[0].as_str()]].concat());
        poll("a container in its place", || (world.now("hand") == "v1 healthy 1").then_some(()));
        poll("an answer", || (world.served("hand") == "v1").then_some(()));
    }
    world.ok("down --env dev --app hand");
}

#[test]
fn secrets_are_files_in_memory_and_stand_nowhere_else() {
    let Some(engine) = engine::shared() else { return };
    let spec = API.replace("port: 8080", "port: 8080\n    user: nobody\n    secrets: { key: \"env:KEY\" }");
    let mut world = world(&engine, "safe", &spec);
    engine.image("safe:v1", "", &[]);
    world.var("KEY", "h8sh-h8sh");
    world.ok("deploy --env dev --all --version v1");
    let get = |path: &str| crate::it::http::get(&format!("{}{path}", world.url("dev", "safe"))).body;
    assert_eq!(get("/secret/key"), "h8sh-h8sh");
    let container = &engine.containers("safe")[0];
    let inspected = engine.docker(&["inspect", container]);
    assert!(inspected.contains("/run/secrets") && !inspected.contains("h8sh-h8sh"), "{inspected}");
    for (path, bytes) in world.state_files() {
        assert!(!bytes.windows(9).any(|piece| piece == b"h8sh-h8sh"), "{}", path.display());
    }
    let state = container.rsplit_once('.').expect("the state's mark").1.to_owned();
    let memory = std::path::PathBuf::from(format!("/dev/shm/deployctl-{state}"));
    assert!(memory.is_dir());
    world.ok("down --env dev --app safe");
    assert!(!memory.exists(), "no container needs them any more");
}

#[test]
fn a_migration_runs_once_as_a_container_and_a_volume_stays() {
    let Some(engine) = engine::shared() else { return };
    let more = "port: 8080\n    volumes: [\"data:/data\"]\n    migrate: { run: [/app, job], timeout: 20s }";
    let spec = API.replace("port: 8080", more);
    let world = world(&engine, "moved", &spec);
    engine.image("moved:v1", "", &[]);
    engine.image("moved:v2", "job=3", &[]);
    world.ok("deploy --env dev --all --version v1");
    let jobs = || {
        let mount = "p_dev_default_moved_data:/data";
        engine.docker(&["run", "--rm", "-v", mount, "moved:v1", "/app", "job"]);
        let path = engine.docker(&["volume", "inspect", "-f", "{{.Mountpoint}}", "p_dev_default_moved_data"]);
        std::fs::read_to_string(format!("{path}/jobs")).expect("the volume").lines().filter(|l| !l.is_empty()).count()
    };
    assert_eq!(jobs(), 1);
    let failed = world.run("deploy --env dev --all --version v2");
    assert_ne!(failed.code, 0);
    assert!(failed.err.contains("exit 3") && failed.err.contains("migrating"), "{}", failed.err);
    assert_eq!(jobs(), 2);
    assert_eq!(world.now("moved"), "v1 healthy 1");
    world.ok("down --env dev --app moved");
    assert_eq!(engine.containers("moved"), Vec::<String>::new());
    engine.docker(&["volume", "inspect", "p_dev_default_moved_data"]);
}

#[test]
fn the_container_of_a_migration_goes_also_when_deployctl_is_killed_as_it_ends() {
    let Some(engine) = engine::shared() else { return };
    let spec = API.replace("port: 8080", "port: 8080\n    migrate: { run: [/app, job], timeout: 20s }");
    let mut world = world(&engine, "cleared", &spec);
    engine.image("cleared:v1", "", &[]);
    let tally = world.path("tally");
    std::fs::write(&tally, "").expect("a file");
    world.var("DEPLOYCTL_CRASH", format!("engine:docker.job-ended:1:kill:{}", tally.display()));
    world.ok("deploy --env dev --all --version v1");
    assert!(!std::fs::read(&tally).expect("it is there").is_empty(), "the engine was killed");
    assert_eq!(engine.containers("cleared").len(), 1, "the app alone: {:?}", engine.containers("cleared"));
    world.ok("down --env dev --app cleared");
}

#[test]
fn an_engine_of_deployctl_that_is_killed_finds_its_containers_again() {
    let Some(engine) = engine::shared() else { return };
    let world = world(&engine, "found", &API.replace("route: {}", "route: {}\n    instances: 3"));
    engine.image("found:v1", "", &[]);
    engine.image("found:v2", "", &[]);
    world.ok("deploy --env dev --all --version v1");
    let before = engine.containers("found");
    crate::it::world::kill(world.role("engine")[0], rustix::process::Signal::KILL);
    assert_eq!(world.now("found"), "v1 healthy 3");
    assert_eq!(engine.containers("found"), before, "adopted, not started again");
    let deploy = world.spawn("deploy --env dev --all --version v2");
    poll("a second release", || engine.containers("found").iter().any(|name| !before.contains(name)).then_some(()));
    crate::it::world::kill(world.role("engine")[0], rustix::process::Signal::KILL);
    let _ = crate::it::world::finish(deploy);
    assert_eq!(world.ended(), "succeeded");
    assert_eq!(world.now("found"), "v2 healthy 3");
    assert_eq!(engine.containers("found").len(), 3);
    world.ok("down --env dev --app found");
}

#[test]
fn a_docker_engine_that_crashes_condemns_nothing() {
    let Some(engine) = engine::alone() else { return };
    let other = "  other:\n    command: [APP, \"{{ port }}\"]\n    route: { path: /other }\n    drain: 1s\n";
    let world = world(&engine, "crash", &(API.replace("route: {}", "route: {}\n    instances: 2") + other));
    engine.image("crash:v1", "", &[]);
    engine.image("crash:v2", "", &[]);
    world.ok("deploy --env dev --all --version v1");
    engine.crash();
    // What never was a container does not notice.
    world.ok("deploy --env dev --app other --version v2");
    let deploy = world.spawn("deploy --env dev --app crash --version v2");
    std::thread::sleep(std::time::Duration::from_millis(500));
    engine.up();
    let _ = crate::it::world::finish(deploy);
    poll("health", || world.now("crash").contains("healthy 2").then_some(()));
    let deploy = world.spawn("deploy --env dev --app crash --version v2");
    let before = engine.containers("crash");
    poll("a change", || (engine.containers("crash") != before || world.now("crash").starts_with("v2")).then_some(()));
    engine.crash();
    engine.up();
    let _ = crate::it::world::finish(deploy);
    assert_eq!(text(&world.json("history --env dev --app crash")[0]["verdict"]), "succeeded");
    poll("health", || (world.now("crash") == "v2 healthy 2").then_some(()));
    poll("an answer", || (world.served("crash") == "v2").then_some(()));
    world.ok("down --env dev --app crash");
}
