//! When Compose is asked: only for what has to do with a Compose file.

use super::Shop;

const SPEC: &str = "project: p
environments: { dev: {} }
apps:
  NAME: { target: compose }
  other:
    command: [APP, \"{{ port }}\"]
    route: { path: /other }
    drain: 1s
  after:
    command: [APP, \"{{ port }}\"]
    route: { path: /after }
    depends_on: [NAME]
";

const FILE: &str = "name: NAME\nservices:\n  web:\n    image: NAME:${VERSION}\n";

#[test]
fn an_app_that_has_nothing_to_do_with_compose_does_not_ask_it() {
    let Some(mut shop) = Shop::new("asked", SPEC, "compose.yaml", FILE) else { return };
    let empty = shop.world.path("nothing");
    std::fs::create_dir_all(&empty).expect("a folder");
    shop.world.var("DOCKER_CONFIG", &empty);
    shop.world.ok("deploy --env dev --app other --version v1");
    shop.world.ok("plan --env dev --app other --version v2");
    for needs in ["--app after", "--app asked", "--app asked.web", "--all"] {
        let args = format!("deploy --env dev {needs} --version v1");
        shop.world.fails(2, &args, "install its plugin");
    }
    assert_eq!(shop.world.served("other"), "v1");
    // A broken file of the one is no trouble of the other.
    shop.file("compose.yaml", "services: [\n");
    shop.world.ok("deploy --env dev --app other --version v2");
    shop.world.ok("down --env dev --app other");
}
