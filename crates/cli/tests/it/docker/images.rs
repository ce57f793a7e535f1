//! Whose images are whose, and what they take of the disk.

use super::{API, engine, world};
use crate::it::world::{poll, text};

#[test]
fn what_one_state_lets_go_of_another_keeps() {
    let Some(engine) = engine::shared() else { return };
    engine.image("base:held", "", &[]);
    let spec = API.replace("port: 8080", "port: 8080\n    build: {}");
    let (one, two) = (world(&engine, "held", &spec), world(&engine, "held", &spec));
    let build = |world: &crate::it::world::World, version: &str| {
        world.write("p/Dockerfile", &format!("FROM base:held\nENV WORD={version}\n"));
        world.ok(&format!("deploy --env dev --all --version {version} --build-here"));
        engine.docker(&["image", "inspect", "-f", "{{.Id}}", &format!("held:{version}")])
    };
    let first = build(&one, "v1");
    // The other has the same bytes under the same name, and goes on to a release after that.
    assert_eq!(build(&two, "v1"), first);
    build(&two, "v2");
    let holders = || {
        let names = engine.docker(&["image", "inspect", "-f", "{{join .RepoTags \" \"}}", &first]);
        names.split_whitespace().filter(|name| name.starts_with("deployctl-holds/")).count()
    };
    assert_eq!(holders(), 2);
    // The first forgets it: it has had six others since.
    for version in ["v3", "v4", "v5", "v6", "v7", "v8", "v9"] {
        build(&one, version);
    }
    poll("the first to let go of it", || (holders() == 1).then_some(()));
    two.ok("rollback --env dev --all");
    assert_eq!(two.now("held"), "v1 healthy 1");
    one.ok("down --env dev --all");
    two.ok("down --env dev --all");
}

#[test]
fn an_image_that_a_release_needs_does_not_count_as_left_over() {
    let Some(engine) = engine::shared() else { return };
    engine.image("base:loose", "", &[]);
    let world = world(&engine, "loose", &API.replace("port: 8080", "port: 8080\n    build: {}"));
    for version in ["v1", "v2"] {
        world.write("p/Dockerfile", &format!("FROM base:loose\nENV WORD={version}\n"));
        world.ok(&format!("deploy --env dev --all --version {version} --build-here"));
    }
    // Its tag is gone, and no container is made from it.
    engine.docker(&["rmi", "-f", "loose:v1"]);
    world.ok("rollback --env dev --all");
    assert_eq!(world.now("loose"), "v1 healthy 1");
    world.ok("down --env dev --all");
}

#[test]
fn the_disk_is_shown() {
    let Some(engine) = engine::shared() else { return };
    engine.image("base:disk", "", &[]);
    let more = "port: 8080\n    build: {}\n    volumes: [\"data:/data\"]";
    let world = world(&engine, "disk", &API.replace("port: 8080", more));
    let empty = world.json("disk");
    assert_eq!(empty["engine"], serde_json::Value::Null, "{empty}");
    world.write("p/Dockerfile", "FROM base:disk\nENV WORD=disk\n");
    world.ok("deploy --env dev --all --version v1 --build-here");
    let folder = engine.docker(&["volume", "inspect", "-f", "{{.Mountpoint}}", "p_dev_default_disk_data"]);
    std::fs::write(format!("{folder}/much"), vec![1; 3 << 20]).expect("a file");
    let disk = world.json("disk");
    let engine_disk = &disk["engine"];
    assert_eq!(engine_disk["images"]["count"], 1, "{disk}");
    assert!(engine_disk["images"]["bytes"].as_u64().expect("bytes") > 100_000, "{disk}");
    assert!(engine_disk["free_bytes"].as_u64().expect("bytes") > 0, "{disk}");
    assert_eq!(text(&engine_disk["volumes"][0]["name"]), "p_dev_default_disk_data", "{disk}");
    assert!(engine_disk["volumes"][0]["bytes"].as_u64().expect("bytes") >= 3 << 20, "{disk}");
    assert!(disk["state"]["free_bytes"].as_u64().expect("bytes") > 0, "{disk}");
    let said = world.ok("disk").out;
    for words in ["p_dev_default_disk_data", "free", "images of deployctl", "images that nothing needs"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    world.ok("down --env dev --all");
}
