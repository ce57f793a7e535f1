//! `promote`, and environments that take only what succeeded elsewhere.

use super::world::{World, text};

const STAGES: &str = r#"
project: p
environments:
  dev: {}
  test: { after: dev }
  prod: { after: test, approvals: 2 }
apps:
  api:
    artifact: dist/{{ version }}
    command: [APP, "{{ port }}"]
    env: { STAGE: "{{ environment }}" }
    route: {}
    health: { http: /healthz, within: 5s }
    drain: 1s
    in: { test: { instances: 2 } }
  worker:
    artifact: dist/{{ version }}
    command: [sleep, "1000"]
    drain: 1s
"#;

#[test]
fn an_artifact_goes_on_only_from_where_it_succeeded() {
    let world = World::new(STAGES);
    for version in ["v1", "v2", "v2-again", "v3"] {
        world.version(version, "");
    }
    world.write("p/dist/v2-again/app.conf", &world.read("p/dist/v2/app.conf"));
    world.fails(3, "promote --app api --from dev --to test", "[nothing-current]: `api` is not current in dev");
    let no = "[not-promoted]: test takes only what has succeeded in dev, and api v1 has not (by its artifact)";
    world.fails(3, "deploy --env test --app api --version v1", no);
    world.ok("deploy --env dev --all --version v1");
    world.ok("deploy --env dev --all --version v2");
    world.ok("deploy --env test --app api --version v1").says("succeeded: deploy api nothing -> v1 in test");
    world.ok("deploy --env test --app api --version v2-again").says("v1 -> v2-again");
    world.fails(3, "deploy --env test --app api --version v3", "api v3 has not");

    std::fs::remove_dir_all(world.path("p/dist")).expect("the artifacts are there");
    world.write("p/deployctl.yaml", &world.read("p/deployctl.yaml").replace("instances: 2", "instances: 3"));
    world.ok("promote --all --from dev --to test").says("in test");
    let status = world.status("test", "api");
    assert_eq!(text(&status["version"]), "v2");
    assert_eq!(status["instances"].as_array().map(Vec::len), Some(2), "by the specification that came with it");
    assert_eq!(super::http::get(&format!("{}/env/STAGE", world.url("test", "api"))).body, "test");
    assert_eq!(text(&world.status("test", "worker")["version"]), "v2");
    world.ok("promote --all --from dev --to test").says("it is current and healthy already");

    world.fails(3, "promote --app api --from test --to prod", "[approval-needed]: this environment wants 2 approvals");
    world.fails(3, "approve 1234", "[no-server]");
    world.fails(2, "promote --app api --from dev --to moon", "moon");
    world.fails(3, "promote --app nobody --from dev --to test", "[nothing-current]: `nobody` is not current in dev");
}
