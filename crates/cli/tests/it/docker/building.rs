//! Builds that fail say where, and builds that need secrets leave none behind.

use super::{API, engine, world};
use crate::it::world::World;
use deployctl_live::dockerd;
use std::path::PathBuf;

/// A folder for `DOCKER_CONFIG` whose client builds with BuildKit; none, with a word about it, where that was not built.
fn buildkit() -> Option<PathBuf> {
    let found = dockerd::buildx();
    if found.is_none() {
        assert!(std::env::var("DEPLOYCTL_LIVE").is_err(), "these tests need BuildKit's client: `cargo xtask buildx`");
        eprintln!("skipped: it needs BuildKit's client; `cargo xtask buildx` builds it");
    }
    found
}

/// A Dockerfile below `docker` is built, and what comes of it is said with this place.
#[track_caller]
fn fails(world: &World, dockerfile: &str, says: &str) {
    world.write("p/docker/Dockerfile.api", dockerfile);
    let run = world.run("deploy --env dev --all --version v2 --build-here").code(2);
    let wanted = format!("could not be built: docker/Dockerfile.api:{says}");
    assert!(run.last().starts_with("error[build-failed]") && run.last().contains(&wanted), "{wanted}\n{}", run.err);
}

const BUILD: &str = "port: 8080\n    build: { dockerfile: docker/Dockerfile.api }";

#[test]
fn what_a_build_fails_for_has_its_line() {
    let Some(engine) = engine::shared() else { return };
    engine.image("base:lines", "", &[]);
    let mut world = world(&engine, "lines", &API.replace("port: 8080", BUILD));
    world.var("DOCKER_BUILDKIT", "0");
    fails(&world, "FROM base:lines\nCOPI app.conf /\n", "2: unknown instruction: COPI");
    fails(&world, "FROM base:lines\n\nCOPY  nothing.conf \\\n  /nothing\n", "3: COPY failed: ");
    fails(&world, "FROM base:lines\nRUN exit 3\n", "2: The command '/bin/sh -c exit 3' returned a non-zero code: 3");
    let Some(config) = buildkit() else { return };
    world.var("DOCKER_CONFIG", config);
    world.var("DOCKER_BUILDKIT", "1");
    fails(&world, "FROM base:lines\nCOPI app.conf /\n", "2: unknown instruction: COPI");
    fails(&world, "FROM base:lines\n\nCOPY  nothing.conf \\\n  /nothing\n", "3: failed to compute cache key: ");
    fails(&world, "FROM base:lines\nRUN exit 3\n", "2: ");
    assert_eq!(world.json("history"), serde_json::json!([]));
}

#[test]
fn secrets_of_a_build_are_in_no_layer_and_need_buildkit() {
    let Some(engine) = engine::shared() else { return };
    engine.image("base:hush", "", &[]);
    let build = "port: 8080\n    build: { secrets: { token: \"env:TOKEN\" } }";
    let mut world = world(&engine, "hush", &API.replace("port: 8080", build));
    world.var("TOKEN", "h8sh-build-h8sh");
    world.var("DOCKER_BUILDKIT", "0");
    // It tells whether it is the one, without its words: by how it begins and ends.
    let step =
        "RUN --mount=type=secret,id=token read it < /run/secrets/token; case \"$it\" in h8*d-h*) ;; *) exit 7; esac";
    world.write("p/Dockerfile", &format!("FROM base:hush\n{step}\n"));
    let run = world.run("deploy --env dev --all --version v1 --build-here").code(2);
    assert!(run.last().contains("only BuildKit keeps those out of the image"), "{}", run.err);
    let Some(config) = buildkit() else { return };
    world.var("DOCKER_CONFIG", config);
    world.var("DOCKER_BUILDKIT", "1");
    world.ok("deploy --env dev --all --version v1 --build-here");
    let mut save = std::process::Command::new("docker");
    let saved = save.args(["-H", &engine.socket(), "save", "hush:v1"]).output().expect("docker").stdout;
    assert!(saved.len() > 100_000 && !saved.windows(15).any(|piece| piece == b"h8sh-build-h8sh"));
    assert!(!engine.docker(&["history", "--no-trunc", "hush:v1"]).contains("h8sh-build-h8sh"));
    world.ok("down --env dev --all");
}
