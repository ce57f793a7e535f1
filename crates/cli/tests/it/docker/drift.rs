//! What somebody does by hand to containers that run: it is shown, and the next deployment mends it.

use super::{API, engine, world};
use crate::it::world::{poll, text};

/// The specification with a network of its own.
fn spec() -> String {
    API.replace("port: 8080", "port: 8080\n    networks: [net-NAME]")
}

#[test]
fn a_container_that_was_cut_off_or_paused_is_shown_and_replaced() {
    let Some(engine) = engine::shared() else { return };
    let world = world(&engine, "cut", &spec());
    engine.image("cut:v1", "", &[]);
    engine.docker(&["network", "create", "net-cut"]);
    world.ok("deploy --env dev --all --version v1");
    let edits: [(&[&str], &str); 2] = [
        (&["network", "disconnect", "-f", "net-cut"], "it is not in the network net-cut"),
        (&["pause"], "somebody paused the container"),
    ];
    for (edit, says) in edits {
        let name = engine.containers("cut")[0].clone();
        engine.docker(&[edit, &[name.as_str()]].concat());
        let shown = poll(says, || {
            let status = world.status("dev", "cut");
            let one = &status["instances"][0];
            let said = format!("{} {} {}", text(&one["drift"]), text(&one["detail"]), text(&status["detail"]));
            (said.contains(says) && text(&status["health"]) != "healthy").then_some(status)
        });
        assert_eq!(text(&shown["version"]), "v1");
        world.ok("deploy --env dev --all --version v1");
        assert_eq!(world.now("cut"), "v1 healthy 1");
        assert_eq!(world.served("cut"), "v1");
        let after = engine.containers("cut");
        assert!(after.len() == 1 && after[0] != name, "{after:?} instead of {name}");
    }
    world.ok("down --env dev --app cut");
    engine.docker(&["network", "rm", "net-cut"]);
}

#[test]
fn what_is_stopped_or_removed_is_counted_until_it_is_back() {
    let Some(engine) = engine::shared() else { return };
    let world = world(&engine, "gone", &API.replace("route: {}", "route: {}\n    instances: 2"));
    engine.image("gone:v1", "health=flaky:8", &[]);
    world.ok("deploy --env dev --all --version v1");
    for by_hand in [&["rm", "-f"][..], &["stop", "-t", "0"]] {
        let name = engine.containers("gone")[0].clone();
        engine.docker(&[by_hand, &[name.as_str()]].concat());
        poll("a word about it", || (world.now("gone") == "v1 degraded 2").then_some(()));
        world.ok("deploy --env dev --all --version v1");
        assert_eq!(world.now("gone"), "v1 healthy 2");
    }
    world.ok("down --env dev --app gone");
}
