//! What a Compose project needs of the machine, and does not find.

use super::{SPEC, Shop};

#[test]
fn a_volume_or_network_of_others_that_is_missing_is_named() {
    let file = "name: NAME\nservices:\n  web:\n    image: NAME:${VERSION}\n    volumes: [\"data:/data\"]\n    networks: [far]\n\
                volumes: { data: { external: true, name: NAME-theirs } }\nnetworks: { far: { external: true, name: NAME-far } }\n";
    let Some(shop) = Shop::new("lacks2", SPEC, "compose.yaml", file) else { return };
    shop.engine.image("lacks2:v1", "", &[]);
    for (kind, name) in [("network", "lacks2-far"), ("volume", "lacks2-theirs")] {
        let said = shop.deploy("v1").code(1);
        let says = format!("there is no {kind} {name}, and the Compose file says that it is external");
        assert!(said.err.contains(&says), "{}", said.err);
        shop.engine.docker(&[kind, "create", name]);
    }
    shop.deploy("v1").code(0);
    shop.down();
    shop.engine.docker(&["network", "rm", "lacks2-far"]);
}

#[test]
fn a_port_that_somebody_else_listens_on_is_named_with_who_it_is() {
    let file = "name: NAME\nservices:\n  web:\n    image: NAME:${VERSION}\n    ports: [\"127.0.0.1:PORT:8080\"]\n";
    let Some(shop) = Shop::new("taken", SPEC, "compose.yaml", file) else { return };
    shop.engine.image("taken:v1", "", &[]);
    let holder = std::net::TcpListener::bind(("127.0.0.1", shop.port)).expect("the port");
    let said = shop.deploy("v1");
    assert_ne!(said.code, 0);
    let says = format!("the port is in use by pid {}", std::process::id());
    assert!(said.err.contains(&says) && said.err.contains(&shop.port.to_string()), "{}", said.err);
    drop(holder);
    shop.deploy("v1").code(0);
    assert_eq!(shop.get("/version"), "v1");
    shop.down();
}
