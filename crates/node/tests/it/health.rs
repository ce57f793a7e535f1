//! When an instance is healthy, and when it never will be.

use crate::world::*;
use deployctl_core::config::*;
use deployctl_core::instance::*;
use deployctl_core::job::Jobs;
use deployctl_core::time::Span;

#[tokio::test]
async fn a_check_that_answers_500_and_then_200_and_500_again() {
    let world = World::new();
    let node = world.node();
    let mut app = App::server("api");
    app.config.health = Some(http("/file/well"));
    let spec = app.instance(0);
    node.start(&spec, FENCE).await.unwrap();
    let asked = |state: &InstanceState| {
        *state == InstanceState::Starting { waiting_for: "GET /file/well: 503 Service Unavailable".into() }
    };
    until(&node, &spec, asked).await;
    std::fs::write(scratch(&world, &spec, "well"), "").unwrap();
    until_ready(&node, &spec).await;
    std::fs::remove_file(scratch(&world, &spec, "well")).unwrap();
    let sick = until(&node, &spec, |state| *state != InstanceState::Ready).await;
    assert_eq!(sick.state, InstanceState::Unhealthy { reason: "GET /file/well: 503 Service Unavailable".into() });
    std::fs::write(scratch(&world, &spec, "well"), "").unwrap();
    let well = until_ready(&node, &spec).await;
    assert_eq!(well.restarts, 0, "an unhealthy instance is not restarted");
}

#[tokio::test]
async fn a_check_that_never_answers_fails_at_its_time_with_the_last_lines() {
    let world = World::new();
    let node = world.node();
    let mut app = App::server("api");
    app.config.health = Some(Health { within: Span::ms(400), timeout: Span::ms(100), ..http("/slow") });
    let spec = app.instance(0);
    node.start(&spec, FENCE).await.unwrap();
    let (reason, lines) = until_failed(&node, &spec).await;
    assert_eq!(reason, "it did not become healthy within 400 ms: GET /slow: no answer within 100 ms");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("listening on "), "{lines:?}");
}

#[tokio::test]
async fn one_that_never_listens() {
    let world = World::new();
    let node = world.node();
    let mut app = App::script("api", "echo thinking; while :; do sleep 1000; done");
    app.process.port = true;
    app.config.health = Some(Health { within: Span::ms(300), ..http("/healthz") });
    let spec = app.instance(0);
    node.start(&spec, FENCE).await.unwrap();
    let (reason, lines) = until_failed(&node, &spec).await;
    let port = node.list(&spec.scope).await.unwrap()[0].address.clone().unwrap();
    let port = port.rsplit_once(':').unwrap().1;
    assert_eq!(reason, format!("it did not become healthy within 300 ms: nothing listens on port {port}"));
    assert_eq!(lines, ["thinking"]);
}

#[tokio::test]
async fn a_neighbour_does_not_vouch_for_it() {
    let world = World::new();
    let node = world.node();
    let mut app = App::script("api", "until [ -e $TMPDIR/go ]; do sleep 0.01; done; while :; do sleep 1000; done");
    app.process.port = true;
    let spec = app.instance(0);
    node.start(&spec, FENCE).await.unwrap();
    until(
        &node,
        &spec,
        |state| matches!(state, InstanceState::Starting { waiting_for } if waiting_for.starts_with("nothing")),
    )
    .await;
    let address = node.list(&spec.scope).await.unwrap()[0].address.clone().unwrap();
    let _neighbour = std::net::TcpListener::bind(&address).unwrap();
    let (reason, _) = until_failed(&node, &spec).await;
    let port = address.rsplit_once(':').unwrap().1;
    let own = std::process::id();
    assert!(reason.starts_with(&format!("port {port} is taken by pid {own} (")), "{reason}");
}

#[tokio::test]
async fn a_child_of_the_instance_may_listen() {
    let world = World::new();
    let node = world.node();
    let mut app = App::script("api", &format!("setsid {TESTBED} serve $PORT & wait"));
    app.process.port = true;
    app.config.health = Some(http("/"));
    let spec = app.instance(0);
    node.start(&spec, FENCE).await.unwrap();
    let seen = until_ready(&node, &spec).await;
    assert_eq!(get(&seen, "/").await, "hello\n");
}

#[tokio::test]
async fn a_command_in_the_instances_own_place() {
    let world = World::new();
    let node = world.node();
    let mut app = App::script("worker", "while :; do sleep 1000; done");
    let script = "echo asked >&2; [ -e $TMPDIR/well ] || { echo \"$DEPLOYCTL_APP is not well\"; exit 7; }";
    let check = Check::Command(vec![text("/bin/sh"), text("-c"), text(script)]);
    app.config.health = Some(Health { check, ..http("") });
    let spec = app.instance(0);
    node.start(&spec, FENCE).await.unwrap();
    let first = until(
        &node,
        &spec,
        |state| matches!(state, InstanceState::Starting { waiting_for } if waiting_for.starts_with("the health check")),
    );
    let InstanceState::Starting { waiting_for } = first.await.state else { unreachable!() };
    assert!(waiting_for.starts_with("the health check: exit 7: "), "{waiting_for}");
    std::fs::write(scratch(&world, &spec, "well"), "").unwrap();
    until_ready(&node, &spec).await;
}

#[tokio::test]
async fn a_command_that_hangs_is_killed_with_what_it_started() {
    let world = World::new();
    let node = world.node();
    let mut app = App::script("worker", "while :; do sleep 1000; done");
    let check = Check::Command(vec![text("/bin/sh"), text("-c"), text("sleep 998 & sleep 999")]);
    app.config.health = Some(Health { check, within: Span::ms(200), timeout: Span::ms(100), ..http("") });
    let spec = app.instance(0);
    node.start(&spec, FENCE).await.unwrap();
    let (reason, _) = until_failed(&node, &spec).await;
    assert_eq!(reason, "it did not become healthy within 200 ms: the health check took longer than 100 ms");
    let checks = || world.processes().iter().filter(|(_, line)| line.starts_with("sleep 99")).count();
    eventually("no check is left", || checks() == 0).await;
}

#[tokio::test]
async fn a_smoke_test_says_what_it_got() {
    let world = World::new();
    let node = world.node();
    let spec = App::server("api").instance(0);
    node.start(&spec, FENCE).await.unwrap();
    let address = until_ready(&node, &spec).await.address.unwrap();
    let smoke = |path: &str, status, body: Option<&str>, contains: Option<&str>| Smoke::Http {
        path: path.into(),
        status,
        body: body.map(Into::into),
        contains: contains.map(Into::into),
    };
    for (test, wanted) in [
        (smoke("/", None, Some("hello"), None), Ok(())),
        (smoke("/", Some(200), None, Some("ell")), Ok(())),
        (smoke("/env/DEPLOYCTL_VERSION", None, Some("v1.0.0"), None), Ok(())),
        (smoke("/", None, Some("v2"), None), Err("GET /: the body is `hello`, `v2` was expected")),
        (smoke("/", None, None, Some("v2")), Err("GET /: the body `hello` does not contain `v2`")),
        (smoke("/", Some(204), None, None), Err("GET /: 200 OK, 204 was expected")),
        (smoke("/file/none", None, None, None), Err("GET /file/none: 503 Service Unavailable, 2xx was expected")),
        (smoke("/die", None, None, None), Err("GET /die: the connection was closed before the answer")),
    ] {
        let got = node.smoke(&address, &test).await.unwrap();
        assert_eq!(got, wanted.map_err(str::to_owned), "{test:?}");
    }
}
