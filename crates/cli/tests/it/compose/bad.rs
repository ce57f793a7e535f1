//! What a Compose file must not say, and what the machine may lack.

use super::{SPEC, Shop};

const BASE: &str = "name: NAME\nservices:\n  web:\n    image: NAME:${VERSION}\n";

#[test]
fn what_is_wrong_with_a_compose_file_is_said_with_its_line() {
    let Some(shop) = Shop::new("wrong", SPEC, "compose.yaml", BASE) else { return };
    shop.world.ok("validate");
    let wrong = [
        ("services:\n  web:\n    image: x\n  bad\n", "compose.yaml:4:", "not YAML"),
        ("services:\n  web:\n    image: x\n    prots: [80]\n", "compose.yaml:4:", "prots"),
        (
            "services:\n  web:\n    image: x\n    network_mode: host\n",
            "compose.yaml:4:5: `services.web.network_mode` is not built yet",
            "",
        ),
        (
            "services:\n  web:\n    image: x\n    devices: [/dev/fuse]\n",
            "compose.yaml:4:5: `services.web.devices` is not built yet",
            "",
        ),
        ("services:\n  web:\n    image: \"x:${TAG}\"\n", "compose.yaml:3:15: the variable `TAG` has no value", ""),
        ("services:\n  web:\n    image: \"x:${TAG:?give one}\"\n", "compose.yaml:3:", "give one"),
        ("services:\n  web:\n    image: x\n    volumes: [/data]\n", "compose.yaml:4:", "a volume without a name"),
        (
            "services:\n  web:\n    image: x\n    ports: [\"80:80\", \"81:81\"]\n",
            "compose.yaml:2:3",
            "publishes the port",
        ),
        ("services:\n  web:\n    image: x\n    x-deployctl: { rout: {} }\n", "compose.yaml:4:20", "rout"),
    ];
    for (text, place, what) in wrong {
        shop.file("compose.yaml", text);
        let said = shop.world.run("validate");
        assert_eq!(said.code, 2, "{text}\n{}", said.err);
        assert!(said.err.contains(place) && said.err.contains(what), "{text}\n{}", said.err);
    }
}

#[test]
fn what_is_wrong_in_the_specification_is_said_there() {
    let Some(shop) = Shop::new("told", SPEC, "compose.yaml", BASE) else { return };
    let wrong = [
        ("strategy: rolling", "`strategy` does not go with `target: compose`"),
        ("file: other.yaml", "the Compose file other.yaml cannot be read"),
        ("services: { wbe: {} }", "there is no service `wbe` in the Compose file"),
        ("services: { web: { route: {} } }", "it is not said which port of `web` takes the requests"),
        ("images: { db: \"x:1\" }", "there is no service `db` in the Compose file"),
    ];
    for (key, what) in wrong {
        shop.world.spec(
            &SPEC.replace("{ target: compose }", &format!("{{ target: compose, {key} }}")).replace("NAME", "told"),
        );
        let said = shop.world.run("validate");
        assert_eq!(said.code, 2, "{key}\n{}", said.err);
        assert!(said.err.contains(what), "{key}\n{}", said.err);
    }
    shop.world.spec(&SPEC.replace("NAME", "told"));
    shop.world.fails(2, "deploy --env dev --app told.none --version v1", "no such service");
}

#[test]
fn where_compose_is_missing_it_is_said_what_to_install() {
    let Some(mut shop) = Shop::new("lacking", SPEC, "compose.yaml", BASE) else { return };
    let empty = shop.world.path("nothing");
    std::fs::create_dir_all(&empty).expect("a folder");
    shop.world.var("DOCKER_CONFIG", &empty);
    shop.world.fails(2, "validate", "install its plugin");
}

#[test]
fn a_project_of_one_environment_is_not_that_of_another() {
    let spec = SPEC.replace("{ dev: {} }", "{ dev: {}, prod: {} }");
    let Some(shop) = Shop::new("shared", &spec, "compose.yaml", BASE) else { return };
    shop.engine.image("shared:v1", "", &[]);
    shop.deploy("v1").code(0);
    let said = shop.world.run("deploy --env prod --app shared --version v1");
    assert_ne!(said.code, 0);
    assert!(said.err.contains("the Compose project `shared` is that of p/dev/default"), "{}", said.err);
    let named = spec.replace(
        "compose }",
        "compose, project_name: \"shared-{{ environment }}\", in: { dev: { project_name: shared } } }",
    );
    shop.world.spec(&named.replace("NAME", "shared"));
    shop.world.ok("deploy --env prod --app shared --version v1");
    shop.world.ok("down --env prod --app shared");
    shop.down();
}
