//! Recreate, rolling, blue-green and canary, as they are seen from outside.

use super::API;
use super::http::{get, get_with};
use super::world::{World, finish, poll, text};
use std::sync::atomic::{AtomicBool, Ordering};

fn with_strategy(strategy: &str) -> World {
    let world = World::new(&format!("{API}    strategy: {strategy}\n"));
    for version in ["v1", "v2"] {
        world.version(version, "");
    }
    world.ok("deploy --env dev --app api --version v1");
    world
}

/// Sends requests until `done`; how many were answered, and how many not by `GET /version` of a version.
fn under_load(url: &str, work: impl FnOnce()) -> (usize, Vec<String>) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let (mut count, mut bad) = (0, Vec::new());
            while !done.load(Ordering::Relaxed) {
                let answer = get(&format!("{url}/version"));
                count += 1;
                if answer.status != 200 || !answer.body.starts_with('v') {
                    bad.push(format!("{answer:?}"));
                }
            }
            (count, bad)
        });
        work();
        done.store(true, Ordering::Relaxed);
        client.join().expect("the client")
    })
}

#[test]
fn no_strategy_loses_a_request() {
    let world = World::new(API);
    for version in ["v1", "v2"] {
        world.version(version, "");
    }
    world.version("v3", "health=500");
    let spec =
        |strategy: &str| world.spec(&format!("{API}    instances: 2\n    strategy: {strategy}\n").replace("5s", "1s"));
    spec("rolling");
    world.ok("deploy --env dev --app api --version v1");
    let url = world.url("dev", "api");
    for strategy in ["recreate", "rolling", "blue-green", "{ canary: { steps: [50%], hold: 100ms } }"] {
        let (count, bad) = under_load(&url, || {
            spec(strategy);
            world.ok("deploy --env dev --app api --version v2");
            world.fails(1, "deploy --env dev --app api --version v3", "what ran before runs again");
            world.ok("deploy --env dev --app api --version v1");
        });
        assert!(bad.is_empty(), "{strategy}: {} of {count} lost: {:?}", bad.len(), &bad[..bad.len().min(3)]);
        assert_eq!(world.now("api"), "v1 healthy 2", "{strategy}");
        assert_eq!(world.url("dev", "api"), url, "the address stays");
        assert_eq!(world.role("app").len(), 2, "{strategy} leaves nothing behind");
    }
    let words: Vec<String> =
        world.json("history").as_array().into_iter().flatten().map(|h| text(&h["strategy"])).collect();
    assert_eq!(words[0..3], ["canary", "canary", "canary"]);
    assert!(words.contains(&"recreate".into()) && words.contains(&"blue-green".into()), "{words:?}");
}

#[test]
fn recreate_keeps_data_and_never_runs_two() {
    let world = World::new(
        r#"
project: p
environments: { dev: {} }
apps:
  db:
    artifact: dist/{{ version }}
    command: [sh, -c, "mkdir $0/held || exit 9; trap 'rmdir $0/held; exit 0' TERM; echo {{ version }} >>$0/log; while :; do sleep 0.02; done", "{{ data }}"]
    strategy: recreate
    drain: 5s
"#,
    );
    for version in ["v1", "v2"] {
        world.version(version, "");
        world.ok(&format!("deploy --env dev --app db --version {version}"));
    }
    world.ok("rollback --env dev --app db");
    world.ok("restart --env dev --app db").says("succeeded: restart db");
    world.ok("down --env dev --app db").says("succeeded: down db");
    assert_eq!(world.now("db"), "- down 0");
    world.ok("deploy --env dev --app db --version v2");
    assert_eq!(world.read("state/data/p/dev/default/db/log"), "v1\nv2\nv1\nv1\nv2\n");
    assert!(world.path("state/data/p/dev/default/db/held").is_dir());
}

/// As when a lock, a port or a store is not free yet.
#[test]
fn one_exit_of_the_old_version_does_not_end_the_way_back() {
    let world = World::new(
        r#"
project: p
environments: { dev: {} }
apps:
  db:
    artifact: dist/{{ version }}
    command: [sh, -c, "test {{ version }} = v1 || { touch $0/once; echo bad; exit 4; }; rm $0/once && exit 3; while :; do sleep 0.02; done", "{{ data }}"]
    strategy: recreate
"#,
    );
    world.version("v1", "");
    world.version("v2", "");
    world.ok("deploy --env dev --app db --version v1");
    let ran = world.run("deploy --env dev --app db --version v2").code(1);
    assert!(ran.last().starts_with("rolled back: deploy db v1 -> v2 in dev: v2 did not come up: "), "{}", ran.err);
    assert_eq!(world.now("db"), "v1 healthy 1");
    assert_eq!(text(&world.json("status")[0]["instances"][0]["restarts"]), "1", "it did exit");
}

#[test]
fn a_canary_gets_its_share_and_testers_get_theirs() {
    let world = with_strategy("{ canary: { steps: [10%], hold: 1h, sticky: cookie } }");
    let child = world.spawn("deploy --env dev --app api --version v2");
    let url = format!("{}/version", world.url("dev", "api"));
    poll("the canary's share", || (get_with(&url, &[("deployctl-revision", "new")]).body == "v2").then_some(()));
    let held = poll("the hold", || {
        let shown = world.json(&format!("show {}", world.newest()));
        text(&shown["waiting"]).contains("held for").then_some(shown)
    });
    assert_eq!(held["shares"].to_string(), r#"{"v1":"90%","v2":"10%"}"#);
    assert_eq!(get_with(&url, &[("deployctl-revision", "old")]).body, "v1");
    let all: Vec<_> = (0..100).map(|_| get(&url)).collect();
    let new = all.iter().filter(|answer| answer.body == "v2").count();
    assert_eq!(new, 10, "10 of 100 requests without a cookie");
    for answer in all.iter().filter(|answer| answer.body == "v2").chain(&all[..3]) {
        let cookie = answer.header("set-cookie").and_then(|cookie| cookie.split(';').next()).expect("a cookie");
        let again: Vec<_> = (0..5).map(|_| get_with(&url, &[("cookie", cookie)]).body).collect();
        assert!(again.iter().all(|body| *body == answer.body), "{cookie}: {} then {again:?}", answer.body);
    }
    world.ok(&format!("cancel {} --reason enough", world.newest())).says("is being turned back");
    finish(child).code(1).says("cancelled: deploy api v1 -> v2 in dev: cancelled by tester");
    assert_eq!(get_with(&url, &[("deployctl-revision", "new")]).body, "v1");
}

#[test]
fn a_canary_that_fails_requests_is_turned_back_with_the_counts() {
    let world = World::new(&format!(
        "{API}    strategy: {{ canary: {{ steps: [50%], hold: 100ms, analysis: {{ requests_min: 30 }} }} }}\n"
    ));
    for (version, conf) in [("v1", ""), ("v2", "work=500"), ("v3", "")] {
        world.version(version, conf);
    }
    world.ok("deploy --env dev --app api --version v1");
    let url = format!("{}/work", world.url("dev", "api"));
    let child = world.spawn("deploy --env dev --app api --version v2");
    let done = AtomicBool::new(false);
    let ran = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                get(&url);
            }
        });
        let ran = finish(child);
        done.store(true, Ordering::Relaxed);
        ran
    });
    let said = ran.code(1).says("rolled back").last().to_owned();
    assert!(said.contains("requests failed on the canary, 0 of "), "the counts are told: {said}");
    assert_eq!(world.served("api"), "v1");

    let child = world.spawn("deploy --env dev --app api --version v3");
    let waiting = poll("the wait for requests", || {
        let shown = world.json(&format!("show {}", world.newest()));
        text(&shown["waiting"]).strip_prefix("too few requests to compare (30 wanted on each side)").map(str::to_owned)
    });
    assert!(waiting.contains("0 of 0 on the old release"), "{waiting}");
    for _ in 0..80 {
        assert_eq!(get(&url).status, 200);
    }
    finish(child).code(0);
    assert_eq!(world.served("api"), "v3");
}
