//! An API server in trouble, in the middle of a deployment: it is waited for, and condemns nothing.

use super::cluster::{self, Cluster};
use super::{WEB, image, settles, world};
use crate::it::world::{World, finish, poll, text};
use deployctl_live::kube::faulty::{Faulty, Of, Wrong};
use std::io::Read;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

/// Where Debian's `libfaketime` puts it.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
const GONE: &str = r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old resource version","reason":"Expired","code":410}}"#;

/// A world that reaches the cluster by way of something that can do wrong.
fn by(cluster: &Cluster, faulty: &Faulty, name: &str) -> World {
    let world = world(cluster, name);
    world.write("kubeconfig", &cluster.kubeconfig_by(&faulty.url()));
    world
}

/// Each of these is done so often to the first that ask for it; all the time where it has no number.
fn cases() -> Vec<(&'static str, Of, Wrong, Option<usize>)> {
    let busy = "retry-after: 1\r\n";
    vec![
        ("too many", Of::Applies, Wrong::Says(429, busy, "TooManyRequests"), Some(3)),
        ("errors", Of::Applies, Wrong::Says(500, "", "InternalError"), Some(3)),
        ("away", Of::Applies, Wrong::Says(503, "", "ServiceUnavailable"), Some(3)),
        ("conflicts", Of::Applies, Wrong::Says(409, "", "Conflict"), Some(3)),
        ("connections that are closed", Of::Applies, Wrong::Closes, Some(3)),
        ("answers that are lost", Of::Applies, Wrong::Swallows, Some(1)),
        ("a slow server", Of::All, Wrong::Slow(Duration::from_millis(200)), None),
        ("watches that are too old", Of::Watches, Wrong::Tells(GONE), None),
        ("watches that are refused", Of::Watches, Wrong::Says(500, "", "InternalError"), None),
        ("watches that are not allowed", Of::Watches, Wrong::Says(403, "", "Forbidden"), None),
        ("watches that end at once", Of::Watches, Wrong::Cuts(Duration::from_millis(300)), None),
        ("watches that say nothing", Of::Watches, Wrong::Hangs, None),
    ]
}

#[test]
fn kube_an_api_server_in_trouble_condemns_nothing() {
    let Some(cluster) = cluster::shared() else { return };
    let faulty = Faulty::before(&cluster.0).expect("a proxy");
    let world = by(&cluster, &faulty, "wrongs");
    world.ok("deploy --env dev --all --version v1");
    let mut history = vec!["v1 succeeded"];
    for (number, (what, of, wrong, times)) in cases().into_iter().enumerate() {
        eprintln!("{what}");
        let before = faulty.met();
        match times {
            Some(times) => faulty.does_times(of, wrong, times),
            None => faulty.does(of, wrong),
        }
        let version = ["v2", "v1"][number % 2];
        world.ok(&format!("deploy --env dev --all --version {version}"));
        assert_eq!(image(&cluster, "wrongs"), format!("deployctl.test/web:{version}"), "{what}");
        // Watches that end at once are not begun again at once, so a later case may see none.
        assert!(faulty.met() - before >= times.unwrap_or(0), "{what}: it was met");
        faulty.is_well();
        history.insert(0, ["v2 succeeded", "v1 succeeded"][number % 2]);
        assert_eq!(world.history("wrongs"), history, "{what}");
    }
    settles(&world, "wrongs", "v1 healthy 2");
    world.ok("down --env dev --app wrongs");
}

#[test]
fn kube_an_api_server_that_can_look_but_not_write_is_told_of_and_waited_for() {
    let Some(cluster) = cluster::shared() else { return };
    let faulty = Faulty::before(&cluster.0).expect("a proxy");
    let world = by(&cluster, &faulty, "busy");
    world.ok("deploy --env dev --all --version v1");
    faulty.does(Of::Applies, Wrong::Says(429, "retry-after: 1\r\n", "TooManyRequests"));
    let deploy = world.spawn("deploy --env dev --all --version v2");
    let id = world.running();
    let word = poll("word of it", || {
        let waiting = text(&world.json(&format!("show {id}"))["waiting"]);
        waiting.contains("`test` is asked too much at the moment").then_some(waiting)
    });
    assert!(word.contains("Deployment/web (kubernetes/dev/web.yaml:10)"), "{word}");
    assert!(word.contains("TooManyRequests, in its words") && word.contains("trying again"), "{word}");
    faulty.is_well();
    finish(deploy).code(0);
    assert_eq!(world.history("busy"), ["v2 succeeded", "v1 succeeded"]);
    world.ok("down --env dev --app busy");
}

#[test]
fn kube_a_server_that_refuses_before_anything_began_ends_the_command() {
    let Some(cluster) = cluster::shared() else { return };
    let faulty = Faulty::before(&cluster.0).expect("a proxy");
    let world = by(&cluster, &faulty, "refuses");
    for (wrong, says) in [
        (Wrong::Says(429, "", "TooManyRequests"), "`test` is asked too much at the moment"),
        (Wrong::Says(500, "", "InternalError"), "the API server of `test` is in trouble (status 500)"),
        (Wrong::Closes, "the API server of `test` cannot be reached"),
    ] {
        faulty.does(Of::All, wrong);
        let why = world.run("deploy --env dev --all --version v1").code(5);
        assert!(why.err.contains(says), "{says}: {}", why.err);
        faulty.is_well();
    }
    assert_eq!(world.history("refuses"), Vec::<String>::new());
}

#[test]
fn kube_a_token_that_is_worth_nothing_any_more_is_renewed_meanwhile() {
    let Some(cluster) = cluster::shared() else { return };
    let world = world(&cluster, "token");
    let account = || {
        cluster.kubectl(&["create", "serviceaccount", "deployer", "-n", "token"]);
        let token = cluster.kubectl(&["create", "token", "deployer", "-n", "token"]);
        let mut config: serde_json::Value = serde_json::from_str(&cluster.kubeconfig()).expect("a kubeconfig");
        config["users"][0]["user"] = serde_json::json!({ "token": token.trim() });
        world.write("kubeconfig", &config.to_string());
    };
    let binding = ["create", "rolebinding", "deployer", "-n", "token", "--clusterrole=cluster-admin"];
    cluster.kubectl(&[&binding[..], &["--serviceaccount=token:deployer"]].concat());
    account();
    // Long enough under way for the token to end meanwhile.
    world.write("p/kubernetes/dev/web.yaml", &WEB.replace("replicas: 2", "replicas: 2\n  minReadySeconds: 5"));
    world.ok("deploy --env dev --all --version v1");
    let deploy = world.spawn("deploy --env dev --all --version v2");
    poll("the deployment to begin", || (image(&cluster, "token") == "deployctl.test/web:v2").then_some(()));
    let id = world.running();
    cluster.kubectl(&["delete", "serviceaccount", "deployer", "-n", "token"]);
    poll("word of it", || {
        let waiting = text(&world.json(&format!("show {id}"))["waiting"]);
        waiting.contains("`test` does not know these credentials (any more)").then_some(())
    });
    account();
    finish(deploy).code(0);
    settles(&world, "token", "v2 healthy 2");
    assert_eq!(world.history("token"), ["v2 succeeded", "v1 succeeded"]);
    world.ok("down --env dev --app token");
}

#[test]
fn kube_a_clock_that_is_an_hour_wrong_makes_no_difference() {
    let Some(cluster) = cluster::shared() else { return };
    if !Path::new(FAKETIME).is_file() {
        assert!(std::env::var("DEPLOYCTL_LIVE").is_err(), "a wrong clock needs Debian's libfaketime");
        return eprintln!("skipped: a wrong clock needs Debian's libfaketime");
    }
    // By plain HTTP: the cluster's certificate is younger than that.
    let faulty = Faulty::before(&cluster.0).expect("a proxy");
    for (name, clock) in [("late", "-1h"), ("early", "+1h")] {
        let mut world = by(&cluster, &faulty, name);
        for (variable, value) in [
            ("LD_PRELOAD", FAKETIME),
            ("FAKETIME", clock),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("NO_FAKE_STAT", "1"),
        ] {
            world.var(variable, value);
        }
        // An engine that a command starts does not get these variables.
        let mut engine = engine(&world);
        world.ok("deploy --env dev --all --version v1");
        let wrong = text(&world.json("history")[0]["started_at"]);
        let now = cluster.kubectl(&["get", "namespace", name, "-o", "jsonpath={.metadata.creationTimestamp}"]);
        assert_ne!(wrong.get(..13), now.trim().get(..13), "the clock is an hour wrong");
        let why = world.run("deploy --env dev --all --version v404").code(1);
        assert!(why.last().to_lowercase().contains("image"), "{}", why.err);
        // What crashed before does not count, whoever's clock says so.
        world.ok("deploy --env dev --all --version v2");
        settles(&world, name, "v2 healthy 2");
        assert_eq!(world.history(name), ["v2 succeeded", "v404 rolled_back restored", "v1 succeeded"]);
        world.ok(&format!("down --env dev --app {name}"));
        let _ = engine.kill();
        engine.wait().expect("its end");
    }
}

/// An engine with the variables of the world's commands, as soon as it can be asked.
fn engine(world: &World) -> Child {
    let state = world.state().display().to_string();
    let mut engine = world.command_of(&["engine", "--state", &state]).spawn().expect("an engine");
    let mut said = String::new();
    engine.stdout.take().expect("its output").read_to_string(&mut said).expect("its word");
    engine
}
