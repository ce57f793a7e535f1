//! Releases that cannot come up, said at once and with what they printed; health checks and smoke tests of all kinds.

use super::API;
use super::world::{World, text};
use std::net::TcpListener;

/// Deploys `v2` over a good `v1`; what it says.
fn second(spec: &str, conf: &str, code: i32) -> String {
    let world = World::new(API);
    world.version("v1", "");
    world.version("v2", conf);
    world.ok("deploy --env dev --app api --version v1");
    world.spec(spec);
    let ran = world.run("deploy --env dev --app api --version v2").code(code);
    let (served, verdict) = if code == 0 { ("v2", "v2 succeeded") } else { ("v1", "v2 rolled_back restored") };
    assert_eq!(world.served("api"), served);
    assert_eq!(world.history("api")[0], verdict);
    assert_eq!(world.now("api"), format!("{served} healthy 1"));
    let last = ran.last().to_owned();
    assert!(code == 0 || last.starts_with("rolled back: deploy api v1 -> v2 in dev: "), "{last}");
    last
}

#[track_caller]
fn has(text: &str, wanted: &[&str]) {
    for piece in wanted {
        assert!(text.contains(piece), "wanted `{piece}` in: {text}");
    }
}

#[test]
fn a_program_that_cannot_run_is_reported_with_its_last_lines() {
    let no_check = API.replace("    health: { http: /healthz, within: 5s, interval: 200ms }\n", "");
    has(
        &second(API, "print=reading licence\nprint=no licence\nexit=3", 1),
        &["exit", "3", "reading licence | no licence"],
    );
    has(&second(API, "exit_after_ms=150\nhealth=500", 1), &["giving up after 150 ms"]);
    has(&second(&no_check, "exit=1", 1), &["v2 did not come up"]);
    has(&second(&format!("{API}    bake: 1m\n"), "exit_after_ms=300", 1), &["exit 7", "giving up after 300 ms"]);
    has(&second(&API.replace("APP", "./nothing-here"), "", 1), &["nothing-here", "v2 did not come up"]);
    has(&second(&API.replace("APP", "./app.conf"), "", 1), &["app.conf", "it is not executable"]);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its address").port().to_string();
    has(&second(&API.replace("{{ port }}", &format!("{port}\", \"{{{{ port }}}}")), "", 1), &["port", &port]);
}

#[test]
fn a_health_check_may_come_late_but_must_come() {
    let within = |span: &str| API.replace("within: 5s", &format!("within: {span}"));
    second(API, "health=flaky:3", 0);
    second(&API.replace("interval", "timeout: 2s, interval"), "health=slow:300", 0);
    has(&second(&within("300ms"), "health=500", 1), &["did not become healthy within 300 ms", "GET /healthz: 500"]);
    has(
        &second(&within("300ms").replace("interval", "timeout: 100ms, interval"), "health=hang", 1),
        &["within 300 ms", "no answer within"],
    );
    let command = |line: &str| API.replace("http: /healthz", &format!("command: [sh, -c, \"{line}\"]"));
    second(&command("test -f app.conf"), "", 0);
    has(
        &second(&command("echo queue is full; exit 5").replace("5s", "300ms"), "", 1),
        &["within 300 ms", "queue is full"],
    );
    second(&API.replace("http: /healthz", "tcp: true"), "health=500", 0);
}

#[test]
fn smoke_tests_turn_back_what_does_not_do_what_it_should() {
    let smoke = |test: &str| format!("{API}    smoke: [{test}]\n");
    second(&smoke("{ http: /version, expect: { body: \"{{ version }}\" } }"), "", 0);
    has(
        &second(&smoke("{ http: /version, expect: { body: other } }"), "", 1),
        &["smoke test #1 failed", "v2", "other"],
    );
    has(&second(&smoke("{ http: /nowhere }"), "", 1), &["smoke test #1 failed", "404"]);
    second(&smoke("{ run: [grep, -q, v2, app.conf] }"), "", 0);
    has(
        &second(&smoke("{ run: [sh, -c, 'echo no orders; exit 3'] }"), "", 1),
        &["smoke test #1 failed", "3", "no orders"],
    );
}

#[test]
fn health_asks_at_the_moment_and_status_does_not() {
    let rare = API.replace("interval: 200ms", "interval: 1h");
    let queue = "  queue:\n    artifact: dist/{{ version }}\n    command: [sleep, \"600\"]\n";
    let command = format!(
        "  worker:\n    artifact: dist/{{{{ version }}}}\n    command: [sleep, \"600\"]\n    health: {{ command: [sh, -c, \"{}\"], interval: 1h }}\n",
        "test ! -f HERE/sick || { echo queue is full; exit 5; }"
    );
    let world = World::new(&format!("{rare}    instances: 2\n{queue}{command}"));
    world.version("v1", &format!("health=until:{}", world.path("sick").display()));
    world.ok("deploy --env dev --all --version v1");
    world.ok("health --env dev --app api");
    world.ok("health --env dev --app worker");

    world.write("sick", "");
    let ran = world.run("health --env dev --app api --output json").code(1).says("api in dev is down");
    let api = ran.json()[0].clone();
    assert_eq!((text(&api["health"]), text(&api["version"])), ("down".into(), "v1".into()));
    for instance in api["instances"].as_array().expect("instances") {
        assert_eq!(
            (text(&instance["state"]), text(&instance["detail"])),
            ("unhealthy".into(), "GET /healthz: 500 Internal Server Error".into())
        );
    }
    let ran = world.run("health --env dev --app api").code(1);
    assert_eq!(ran.out.matches(": GET /healthz: 500 Internal Server Error").count(), 2, "each says why: {}", ran.out);
    let ran = world.run("health --env dev --app worker").code(1);
    has(&ran.out, &["the health check: exit 5: queue is full"]);
    assert_eq!(world.now("api"), "v1 healthy 2", "the newest that is known, by rule");

    std::fs::remove_file(world.path("sick")).expect("well again");
    world.ok("health --env dev --app api");
    let queue = world.json("health --env dev --app queue");
    assert_eq!(text(&queue[0]["health"]), "healthy");
    assert_eq!(text(&queue[0]["instances"][0]["detail"]), "it runs; it has no health check");
    has(&world.ok("health --env dev --app queue").out, &[": it runs; it has no health check"]);
}
