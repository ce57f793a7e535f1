//! Images that are made from a Dockerfile, for a version that is not known yet.

use super::{API, engine, world};
use crate::it::world::World;

fn git(world: &World, script: &str) {
    let git = "git -c user.name=t -c user.email=t@example.com -c init.defaultBranch=main";
    let script = script.replace("git ", &format!("{git} "));
    let done =
        std::process::Command::new("sh").args(["-ec", &script]).current_dir(world.project()).output().expect("sh");
    assert!(done.status.success(), "{script}: {}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn an_image_is_built_in_a_clean_checkout_of_the_revision_and_only_then() {
    let Some(engine) = engine::shared() else { return };
    engine.image("base:1", "", &[]);
    let build = "port: 8080\n    build: { dockerfile: docker/Dockerfile.api, args: { WORD: two } }";
    let world = world(&engine, "built", &API.replace("port: 8080", build));
    world.write("p/docker/Dockerfile.api", "FROM base:1\nARG WORD\nENV WORD=$WORD\nCOPY app.conf /app.conf\n");
    world.write("p/app.conf", "print=from the checkout\n");
    git(
        &world,
        "git init -q; git remote add origin https://me:pw@example.com/shop.git; git add .; git commit -qm one; git tag v1",
    );
    let first = world.ok("deploy --env dev --all --version v1");
    assert!(first.err.contains("built: building v1: docker build --tag built:v1"), "{}", first.err);
    assert_eq!(world.served("built"), "v1");
    assert_eq!(crate::it::http::get(&format!("{}/env/WORD", world.url("dev", "built"))).body, "two");
    assert!(world.ok("logs --env dev --app built").out.contains("from the checkout"));
    let labels = engine.docker(&["image", "inspect", "-f", "{{json .Config.Labels}}", "built:v1"]);
    let labels: serde_json::Value = serde_json::from_str(&labels).expect("JSON");
    let head = std::fs::read_to_string(world.path("p/.git/refs/heads/main")).expect("the branch");
    assert_eq!(labels["org.opencontainers.image.revision"], head.trim());
    assert_eq!(labels["org.opencontainers.image.version"], "v1");
    assert_eq!(labels["org.opencontainers.image.source"], "https://example.com/shop.git");
    assert!(!world.ok("deploy --env dev --all --version v1").err.contains("building"), "it is known");

    world.write("p/docker/Dockerfile.api", "FROM base:1\nCOPI app.conf /app.conf\n");
    let changed = world.run("deploy --env dev --all --version v2").code(2);
    assert!(changed.last().contains("local-changes"), "{}", changed.err);
    git(&world, "git commit -qam two; git tag v2");
    let wrong = world.run("deploy --env dev --all --version v2").code(2);
    assert!(
        wrong.last().contains(
            "[build-failed]: built v2 could not be built: docker/Dockerfile.api:2: unknown instruction: COPI"
        ),
        "{}",
        wrong.err
    );
    assert!(wrong.err.contains("COPI"), "{}", wrong.err);
    assert_eq!(world.now("built"), "v1 healthy 1");
    // What is built here is of no revision, and says so.
    world.write("p/docker/Dockerfile.api", "FROM base:1\n");
    world.ok("deploy --env dev --all --version v3 --build-here");
    let labels = engine.docker(&["image", "inspect", "-f", "{{json .Config.Labels}}", "built:v3"]);
    assert!(!labels.contains("revision"), "{labels}");
    world.ok("rollback --env dev --all");
    assert_eq!(world.now("built"), "v1 healthy 1");
    world.ok("down --env dev --all");
    let id = engine.docker(&["image", "inspect", "-f", "{{.Id}}", "built:v1"]);
    engine.docker(&["rmi", "-f", &id]);
    let gone = world.run("deploy --env dev --all --version v1").code(2);
    assert!(gone.last().contains("the artifact of built v1 is not kept any more"), "{}", gone.err);
}
