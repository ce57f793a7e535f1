//! `deploy`: what changes, what does not, and what it says.

use super::API;
use super::world::World;

/// A worker without artifact or port beside a pinned store and an HTTP app.
const THREE: &str = r#"
project: p
environments: { dev: {} }
apps:
  db:
    version: v1
    command: [sleep, "1000"]
    strategy: recreate
    drain: 1s
  api:
    artifact: dist/{{ version }}
    command: [APP, "{{ port }}"]
    route: {}
    depends_on: [db]
    health: { http: /healthz, within: 5s }
    drain: 1s
  worker:
    artifact: dist/{{ version }}
    command: [sh, -c, ". ./worker.sh"]
    depends_on: [api]
    drain: 1s
"#;

#[test]
fn what_is_current_already_is_left_alone() {
    let world = World::new(API);
    world.version("v1", "");
    let ran = world.ok("deploy --env dev --app api --version v1").says("succeeded: deploy api nothing -> v1 in dev");
    assert_eq!(ran.out.trim(), world.url("dev", "api"), "the result on standard output is the URL");
    assert_eq!(world.served("api"), "v1");
    world.ok("deploy --env dev --app api --version v1").says("it is current and healthy already; nothing was changed");
    assert_eq!(world.history("api"), ["v1 succeeded"]);
}

#[test]
fn everything_at_once_is_one_entry_per_app_and_turned_back_together() {
    let world = World::new(THREE);
    for version in ["v1", "v2", "v3"] {
        world.version(version, "");
        let script = if version == "v3" { "echo no such queue; exit 4" } else { "exec sleep 1000" };
        world.write(&format!("p/dist/{version}/worker.sh"), script);
    }
    world.fails(2, "deploy --env dev --app api --version v1", "[dependency-missing]: api depends on db");
    world.ok("deploy --env dev --all --version v1");
    for app in ["db", "api", "worker"] {
        assert_eq!(world.history(app), ["v1 succeeded"], "{app}");
    }
    world.ok("deploy --env dev --all --version v2");
    assert_eq!(world.history("db"), ["v1 succeeded"], "a pinned app that did not change has no new entry");
    assert_eq!(world.now("db"), "v1 healthy 1");
    assert_eq!(world.now("worker"), "v2 healthy 1");
    world.fails(2, "deploy --env dev --app db --version v2", "db pins version v1, so it cannot be brought to v2");
    let ran = world.fails(1, "deploy --env dev --all --version v3", "what ran before runs again");
    assert!(ran.last().contains("no such queue"), "the last lines are told: {}", ran.last());
    assert_eq!(world.served("api"), "v2", "the app that came up well goes back with the one that did not");
    assert_eq!(world.now("worker"), "v2 healthy 1");
    assert_eq!(world.history("worker")[0], "v3 rolled_back restored");
    assert_eq!(world.history("api")[0], "v3 rolled_back restored");
    assert_eq!(world.role("app").len(), 1, "nothing of v3 is left");
    world.ok("deploy --env dev --app api --version v1");
    world.ok("deploy --env dev --all --version v2").says("deploy api v1 -> v2 in dev");
    world.ok("rollback --env dev --all").says("rollback api v2 -> v1 in dev");
    assert_eq!((world.served("api"), world.now("worker")), ("v1".into(), "v2 healthy 1".into()));
}

#[test]
fn a_first_deployment_that_fails_leaves_nothing() {
    let world = World::new(API);
    world.version("v1", "print=no licence\nexit=3");
    let ran = world.run("deploy --env dev --app api --version v1").code(1);
    assert!(ran.last().contains("exit") && ran.last().contains("no licence"), "{}", ran.last());
    assert_eq!(world.now("api"), "- down 0");
    assert_eq!(world.role("app").len() + world.role("shim").len(), 0);
    world.fails(0, "rollback --env dev --app api", "nothing is left to undo");
}
