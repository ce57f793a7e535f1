//! Images of a real registry on loopback: pulled by digest, for good, and let go of.

use super::engine::{self, Engine};
use super::{API, world};
use crate::it::world::{World, kill, poll};
use deployctl_live::registry::{PASSWORD, Registry, USER};
use rustix::process::Signal;

/// Puts an image of the test server there, and takes it away from the engine.
fn push(registry: &Registry, engine: &Engine, name: &str, conf: &str) {
    let name = format!("{}/{name}", registry.address());
    engine.image(&name, conf, &[]);
    engine.docker(&["push", &name]);
    engine.docker(&["rmi", "-f", &name]);
}

/// A world whose app `NAME` is of images of the registry.
fn from(registry: &Registry, engine: &Engine, name: &str) -> World {
    world(engine, name, &API.replace("image: \"", &format!("image: \"{}/", registry.address())))
}

/// The digests under which the engine has images of a repository.
fn had(engine: &Engine, registry: &Registry, name: &str) -> Vec<String> {
    let reference = format!("reference={}/{name}", registry.address());
    let all = engine.docker(&["images", "-a", "--digests", "--filter", &reference, "--format", "{{.Digest}}"]);
    all.lines().filter(|line| line.starts_with("sha256:")).map(str::to_owned).collect()
}

#[test]
fn a_version_is_pulled_by_its_digest_and_again_when_it_is_gone() {
    let Some(engine) = engine::shared() else { return };
    let Some(mut registry) = Registry::open() else { return };
    let world = from(&registry, &engine, "pulled");
    push(&registry, &engine, "pulled:v1", "print=one");
    push(&registry, &engine, "pulled:v2", "print=two");
    world.ok("deploy --env dev --all --version v1");
    let first = had(&engine, &registry, "pulled");
    assert_eq!(first.len(), 1, "by digest: {first:?}");
    world.ok("deploy --env dev --all --version v2");
    // Others prune what does not run; the way back has it again, and the tag is not asked any more.
    push(&registry, &engine, "pulled:v1", "print=moved");
    engine.docker(&["rmi", "-f", &format!("{}/pulled@{}", registry.address(), first[0])]);
    assert!(!had(&engine, &registry, "pulled").contains(&first[0]));
    world.fails(2, "deploy --env dev --all --version v1", "[version-changed]");
    let before = engine.containers("pulled");
    registry.down();
    let away = world.run("rollback --env dev --all").code(3);
    for says in ["pulled cannot go back to v1: what it runs is not kept any more", "cannot be had"] {
        assert!(away.last().contains(says), "{}", away.err);
    }
    assert_eq!(engine.containers("pulled"), before);
    registry.up();
    world.ok("rollback --env dev --all");
    assert_eq!(world.served("pulled"), "v1");
    assert!(world.ok("logs --env dev --app pulled").out.contains("one"), "not what the tag names now");
    // What is known and there needs no registry.
    registry.down();
    world.ok("deploy --env dev --all --version v2");
    let unknown = world.run("deploy --env dev --all --version v9").code(5);
    assert!(unknown.last().contains("pulled:v9 cannot be had"), "{}", unknown.err);
    registry.up();
    let unknown = world.run("deploy --env dev --all --version v9").code(2);
    assert!(unknown.last().contains("pulled:v9 cannot be had") && unknown.err.contains("push it"), "{}", unknown.err);
    world.ok("down --env dev --all");
}

#[test]
fn what_nothing_goes_back_to_is_let_go_of() {
    let Some(engine) = engine::shared() else { return };
    let Some(registry) = Registry::open() else { return };
    engine.image("base:2", "", &[]);
    let made = "  made:\n    target: docker\n    image: \"made:{{ version }}\"\n    build: {}\n    port: 8080\n    drain: 1s\n";
    let spec = API.replace("image: \"", &format!("image: \"{}/", registry.address()));
    let world = world(&engine, "many", &(spec + made));
    world.write("p/Dockerfile", "FROM base:2\n");
    let versions: Vec<String> = (1..=9).map(|number| format!("v{number}")).collect();
    let mut digests = Vec::new();
    for version in &versions {
        push(&registry, &engine, &format!("many:{version}"), &format!("print={version}"));
        world.ok(&format!("deploy --env dev --all --version {version} --build-here"));
        let new: Vec<String> =
            had(&engine, &registry, "many").into_iter().filter(|digest| !digests.contains(digest)).collect();
        assert_eq!(new.len(), 1, "{version}: {new:?}");
        digests.extend(new);
    }
    poll("the oldest images to be let go of", || {
        let left = had(&engine, &registry, "many");
        let gone = digests.iter().take_while(|digest| !left.contains(digest)).count();
        (gone >= 2 && left.len() == digests.len() - gone).then_some(())
    });
    let left = had(&engine, &registry, "many");
    assert!(digests[3..].iter().all(|digest| left.contains(digest)), "the current and the last five stay: {left:?}");
    poll("the oldest builds to be let go of", || {
        let left = engine.docker(&["images", "--format", "{{.Tag}}", "made"]);
        (!left.lines().any(|tag| tag == "v1") && left.lines().any(|tag| tag == "v4")).then_some(())
    });
    world.ok("rollback --env dev --app many --version v5");
    world.ok("rollback --env dev --app made --version v5");
    assert_eq!((world.served("many"), world.now("made")), ("v5".into(), "v5 healthy 1".into()));
    world.ok("down --env dev --all");
}

#[test]
fn a_registry_is_told_who_logged_in() {
    let Some(engine) = engine::shared() else { return };
    let Some(registry) = Registry::closed() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().display().to_string();
    let name = format!("{}/closed:v1", registry.address());
    engine.image(&name, "", &[]);
    engine.docker(&["--config", &config, "login", "-u", USER, "-p", PASSWORD, registry.address()]);
    engine.docker(&["--config", &config, "push", &name]);
    engine.docker(&["rmi", "-f", &name]);
    let image = format!("image: \"{}/", registry.address());
    let mut world = world(&engine, "closed", &API.replace("image: \"", &image));
    let refused = world.run("deploy --env dev --all --version v1");
    assert_ne!(refused.code, 0);
    let says = format!("nobody is logged in to {0}: `docker login {0}` as ", registry.address());
    assert!(refused.last().starts_with("error[registry-denied]") && refused.err.contains(&says), "{}", refused.err);
    world.var("DOCKER_CONFIG", config);
    kill(world.role("engine")[0], Signal::TERM);
    poll("its end", || world.role("engine").is_empty().then_some(()));
    world.ok("deploy --env dev --all --version v1");
    assert_eq!(world.served("closed"), "v1");
    for (path, bytes) in world.state_files() {
        let is_there = bytes.windows(PASSWORD.len()).any(|piece| piece == PASSWORD.as_bytes());
        assert!(!is_there, "{}", path.display());
    }
    world.ok("down --env dev --app closed");
}
