//! Registries that answer wrongly to the engine's own pulls: whose fault it is, and that what runs goes on.

use super::engine::{self, Engine};
use super::{API, world};
use crate::it::world::{World, finish, poll, text};
use deployctl_live::registry::faulty::{Faulty, Of, Wrong};
use deployctl_live::registry::{Image, Registry};
use serde_json::json;
use std::time::Duration;

const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Pushes an image of the test server.
fn push(engine: &Engine, registry: &Registry, name: &str, conf: &str) {
    let name = format!("{}/{name}", registry.address());
    engine.image(&name, conf, &[]);
    engine.docker(&["push", &name]);
    engine.docker(&["rmi", "-f", &name]);
}

/// A world whose app is of images behind `faulty`, and that has `v1`.
fn begun(engine: &Engine, registry: &Registry, faulty: &Faulty, name: &str) -> World {
    let world = world(engine, name, &API.replace("image: \"", &format!("image: \"{}/", faulty.address())));
    push(engine, registry, &format!("{name}:v1"), "print=one");
    world.ok("deploy --env dev --all --version v1");
    world
}

/// A version is refused with this exit code and these words, and what ran goes on.
#[track_caller]
fn refused(world: &World, engine: &Engine, name: &str, version: &str, code: u8, says: &[&str]) {
    let before = engine.containers(name);
    let run = world.run(&format!("deploy --env dev --all --version {version}")).code(i32::from(code));
    for says in says {
        assert!(run.err.contains(says), "{says}: {}", run.err);
    }
    assert!(run.last().contains(&format!("{name}:{version}")) || run.last().contains("@sha256:"), "{}", run.err);
    assert_eq!(engine.containers(name), before, "nothing was changed");
    assert_eq!(world.now(name), "v1 healthy 1");
    assert_eq!(world.history(name), ["v1 succeeded"]);
}

#[test]
fn a_registry_in_trouble_condemns_nothing_and_what_it_refuses_is_said() {
    let (Some(engine), Some(registry)) = (engine::shared(), Registry::open()) else { return };
    let faulty = Faulty::before(&registry);
    let world = begun(&engine, &registry, &faulty, "wrongs");
    push(&engine, &registry, "wrongs:v2", "print=two");
    let login = format!("nobody is logged in to {0}: `docker login {0}` as root", faulty.address());
    let basic = "www-authenticate: Basic realm=\"x\"\r\n";
    let busy = "retry-after: 1\r\n";
    let cases: &[(Of, Wrong, u8, &[&str])] = &[
        (Of::All, Wrong::Says(401, basic, "UNAUTHORIZED"), 3, &["error[registry-denied]", &login]),
        (Of::Manifests, Wrong::Says(401, basic, "UNAUTHORIZED"), 3, &["error[registry-denied]", &login]),
        (Of::Manifests, Wrong::Says(403, "", "DENIED"), 3, &["error[registry-denied]", &login]),
        (
            Of::Manifests,
            Wrong::Says(429, busy, "TOOMANYREQUESTS"),
            5,
            &["error[registry-unreachable]", "toomanyrequests"],
        ),
        (Of::Manifests, Wrong::Says(500, "", "UNKNOWN"), 5, &["error[registry-unreachable]", "trying again helps"]),
        (Of::All, Wrong::Says(503, "", "UNAVAILABLE"), 5, &["error[registry-unreachable]"]),
        (Of::All, Wrong::Closes, 5, &["error[registry-unreachable]"]),
        (Of::Manifests, Wrong::Halves, 5, &["error[registry-unreachable]", "EOF"]),
        (Of::Blobs, Wrong::Halves, 5, &["error[registry-unreachable]", "EOF"]),
        (Of::Blobs, Wrong::Says(500, "", "UNKNOWN"), 5, &["error[registry-unreachable]"]),
        (Of::Pinned, Wrong::Alters, 2, &["error[registry-wrong]", "not the bytes of its digest"]),
        (Of::Blobs, Wrong::Alters, 2, &["error[registry-wrong]", "not the bytes of its digest"]),
    ];
    for (of, wrong, code, says) in cases {
        eprintln!("{of:?} {wrong:?}");
        faulty.does(*of, wrong.clone());
        refused(&world, &engine, "wrongs", "v2", *code, says);
    }
    faulty.is_well();
    world.ok("deploy --env dev --all --version v2");
    assert_eq!(world.served("wrongs"), "v2");
    world.ok("down --env dev --all");
}

#[test]
fn one_that_is_slow_is_waited_for_and_one_that_hangs_is_not() {
    let (Some(engine), Some(registry)) = (engine::shared(), Registry::open()) else { return };
    let faulty = Faulty::before(&registry);
    let world = begun(&engine, &registry, &faulty, "slowly");
    push(&engine, &registry, "slowly:v2", "print=two");
    faulty.does(Of::Manifests, Wrong::Hangs);
    let says = ["error[registry-unreachable]", "the registry does not go on: nothing came of it for 30 s"];
    refused(&world, &engine, "slowly", "v2", 5, &says);
    faulty.does(Of::All, Wrong::Slow(Duration::from_millis(700)));
    world.ok("deploy --env dev --all --version v2");
    assert_eq!(world.served("slowly"), "v2");
    world.ok("down --env dev --all");
}

#[test]
fn trouble_that_comes_in_the_middle_is_waited_for() {
    let (Some(engine), Some(registry)) = (engine::shared(), Registry::open()) else { return };
    let faulty = Faulty::before(&registry);
    let spec = API.replace("image: \"", &format!("image: \"{}/", faulty.address()));
    // Another app comes first, and lets this one wait after its image was found.
    let first = "  first:\n    command: [APP, \"{{ port }}\"]\n    route: { path: /first }\n    hooks: { before: [[/bin/sh, -c, \"while [ ! -e GO ]; do sleep 0.1; done\"]] }\n";
    let world = world(&engine, "midway", &spec.replace("port: 8080", "port: 8080\n    depends_on: [first]"));
    let go = world.path("go");
    let first = first.replace("GO", &go.display().to_string());
    let own = spec.replace("NAME", "midway").replace("port: 8080", "port: 8080\n    depends_on: [first]");
    world.spec(&(own + &first));
    for version in ["v1", "v2"] {
        push(&engine, &registry, &format!("midway:{version}"), &format!("print={version}"));
    }
    std::fs::write(&go, "").expect("a file");
    world.ok("deploy --env dev --all --version v1");
    let before = engine.containers("midway");
    std::fs::remove_file(&go).expect("the file");
    let deploy = world.spawn("deploy --env dev --all --version v2");
    let id = world.running();
    // Somebody prunes what the next container needs, and the registry is in trouble just then.
    faulty.does(Of::All, Wrong::Says(503, "", "UNAVAILABLE"));
    let reference = format!("reference={}/midway", faulty.address());
    let images = engine.docker(&["images", "-q", "--no-trunc", "--filter", &reference]);
    let used = engine.docker(&["inspect", "-f", "{{.Image}}", &before[0]]);
    let new: Vec<&str> = images.lines().filter(|image| *image != used).collect();
    assert_eq!(new.len(), 1, "{images} without {used}");
    engine.docker(&["rmi", "-f", new[0]]);
    std::fs::write(&go, "").expect("a file");
    let word = poll("a word about it", || {
        let waiting = text(&world.json(&format!("show {id}"))["waiting"]);
        waiting.contains("cannot be had").then_some(waiting)
    });
    assert!(word.contains("midway@sha256:") && word.contains("503"), "{word}");
    assert_eq!(text(&world.json("history --env dev --app midway")[0]["verdict"]), "running");
    assert_eq!(world.served("midway"), "v1", "traffic goes on");
    faulty.is_well();
    finish(deploy).code(0);
    assert_eq!(world.now("midway"), "v2 healthy 1");
    world.ok("down --env dev --all");
}

#[test]
fn an_image_for_another_machine_is_refused_before_anything_changes() {
    let (Some(engine), Some(registry)) = (engine::shared(), Registry::open()) else { return };
    let faulty = Faulty::before(&registry);
    let world = begun(&engine, &registry, &faulty, "alien");
    let image = Image::new("linux/s390x", &json!({ "Cmd": ["/app"] }), vec![vec![0; 1024]]);
    let other = registry.image("alien", "v2", &image);
    let ours = registry.manifest_as("alien", "v1", DOCKER).1;
    let index = |all: Vec<serde_json::Value>| json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": all });
    let of = |media: &str, digest: &str, size: usize, architecture: &str| {
        let platform = json!({ "os": "linux", "architecture": architecture });
        json!({ "mediaType": media, "digest": digest, "size": size, "platform": platform })
    };
    let size = registry.raw_manifest("alien", &other).1.len();
    let theirs = of("application/vnd.oci.image.manifest.v1+json", &other, size, "s390x");
    registry.manifest("alien", "v3", &index(vec![theirs.clone()]));
    let digest = deployctl_live::registry::digest_of(&ours);
    registry.manifest("alien", "v4", &index(vec![theirs, of(DOCKER, &digest, ours.len(), "amd64")]));
    let says = ["error[image-missing]", "is for linux/s390x, and the Docker Engine is one for linux/amd64"];
    refused(&world, &engine, "alien", "v2", 2, &says);
    refused(&world, &engine, "alien", "v3", 2, &["error[image-missing]", "no matching manifest for linux/amd64"]);
    let says = ["error[image-missing]", "manifest unknown", "build or push it, or check `image:` and the version"];
    refused(&world, &engine, "alien", "v9", 2, &says);
    // Of an index what is for this machine is taken.
    world.ok("deploy --env dev --all --version v4");
    assert_eq!(world.now("alien"), "v4 healthy 1");
    world.ok("down --env dev --all");
}
