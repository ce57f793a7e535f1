//! Containers on a real Docker Engine, as a person sees them.

mod engine;

use crate::it::world::{World, poll, text};
use engine::Engine;

/// An app `api` in `dev`, whose versions are images.
const API: &str = r#"
project: p
environments: { dev: {} }
apps:
  api:
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
    assert_eq!(world.now("api"), "v1 healthy 2");
    assert_eq!(world.served("api"), "v1");
    world.ok("deploy --env dev --all --version v2");
    assert_eq!(world.served("api"), "v2");
    assert_eq!(engine.containers("api").len(), 2, "the old ones are gone");
    let logs = world.ok("logs --env dev --app api").out;
    assert!(logs.contains("two") && logs.contains("listening on 8080"), "{logs}");
    world.ok("rollback --env dev --app api");
    assert_eq!(world.served("api"), "v1");
    world.ok("down --env dev --app api");
    assert_eq!(engine.containers("api"), Vec::<String>::new());
}
