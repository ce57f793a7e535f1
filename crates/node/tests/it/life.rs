//! Start, list, stop, forget; exits, restarts, output.

use crate::world::*;
use deployctl_core::config::*;
use deployctl_core::fault::FaultKind;
use deployctl_core::id::Fence;
use deployctl_core::instance::*;
use deployctl_core::time::Span;
use futures_util::StreamExt;
use std::time::Instant;

#[tokio::test]
async fn a_server_comes_up_answers_and_goes() {
    let world = World::new();
    let node = world.node();
    let mut app = App::server("api");
    app.process.env.insert("MODE".into(), EnvValue::Text(text("test")));
    let spec = app.instance(0);
    node.start(&spec, FENCE).await.unwrap();
    node.start(&spec, FENCE).await.unwrap();
    let seen = until_ready(&node, &spec).await;
    assert_eq!(world.workers().len(), 1, "asked twice, started once: {:?}", world.processes());
    assert_eq!(seen.pid, Some(world.workers()[0].pid));
    assert_eq!(get(&seen, "/env/MODE").await, "test");
    assert_eq!(get(&seen, "/env/DEPLOYCTL_STATE").await, world.state.path().to_str().unwrap());
    assert_eq!(get(&seen, "/env/DEPLOYCTL_INSTANCE").await, spec.id.as_str());
    assert_eq!(get(&seen, "/env/DEPLOYCTL_VERSION").await, "v1.0.0");
    assert_eq!(get(&seen, "/env/CARGO_MANIFEST_DIR").await, "", "nothing of the engine's own environment");
    let refused = node.forget(&spec.scope, &spec.id, FENCE).await.unwrap_err();
    assert_eq!(refused.kind, FaultKind::Conflict);
    node.stop(&spec.scope, &spec.id, Span::secs(5), FENCE).await.unwrap();
    until_gone(&node, &spec).await;
    eventually("no process is left", || world.processes().is_empty()).await;
    node.forget(&spec.scope, &spec.id, FENCE).await.unwrap();
    assert!(node.list(&spec.scope).await.unwrap().is_empty());
    assert!(!folder(&world, &spec).path().exists());
}

#[tokio::test]
async fn one_that_exits_at_once_has_failed_with_its_last_lines() {
    let world = World::new();
    let node = world.node();
    let spec = App::script("api", "echo one; echo 'cannot reach the database' >&2; exit 3").instance(0);
    node.start(&spec, FENCE).await.unwrap();
    let (reason, lines) = until_failed(&node, &spec).await;
    assert_eq!(reason, "exit 3");
    assert_eq!(lines, ["one", "cannot reach the database"]);
    node.stop(&spec.scope, &spec.id, Span::secs(5), FENCE).await.unwrap();
    until_gone(&node, &spec).await;
}

#[tokio::test]
async fn what_cannot_be_run_says_why() {
    let world = World::new();
    let node = world.node();
    let file = world.state.path().join("plain");
    std::fs::write(&file, "x").unwrap();
    let script = world.state.path().join("script");
    std::fs::write(&script, "#!/nowhere/python\n").unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    for (app, program, why) in [
        ("a", "./missing".to_owned(), "no such file"),
        ("b", file.display().to_string(), "it is not executable"),
        (
            "c",
            script.display().to_string(),
            "it is there, but the interpreter of its first line, or its loader, is missing",
        ),
    ] {
        let spec = App::new(app, vec![text(&program)]).instance(0);
        node.start(&spec, FENCE).await.unwrap();
        let (reason, lines) = until_failed(&node, &spec).await;
        let cwd = folder(&world, &spec).scratch();
        assert_eq!(reason, format!("cannot run {program} in {}: {why}", cwd.display()));
        assert!(lines.is_empty(), "{lines:?}");
    }
    let spec = App::new("d", vec![text("no-such-program")]).instance(0);
    node.start(&spec, FENCE).await.unwrap();
    let (reason, _) = until_failed(&node, &spec).await;
    assert!(reason.starts_with("cannot run no-such-program: it is neither in the artifact's folder "), "{reason}");
}

#[tokio::test]
async fn an_instance_that_was_healthy_is_restarted_until_it_loops() {
    let world = World::new();
    let node = world.node();
    let spec = App::server("api").instance(0);
    node.start(&spec, FENCE).await.unwrap();
    let mut seen = until_ready(&node, &spec).await;
    for round in 1..=2 {
        let before = seen.pid;
        get(&seen, "/die").await;
        until(&node, &spec, |state| *state != InstanceState::Ready).await;
        seen = until_ready(&node, &spec).await;
        assert_eq!(seen.restarts, round);
        assert_ne!(seen.pid, before);
    }
    get(&seen, "/die").await;
    let (reason, lines) = until_failed(&node, &spec).await;
    assert_eq!(reason, "exit 3; it ended 3 times within 60 s");
    assert_eq!(lines, [format!("listening on {}", seen.address.unwrap().rsplit_once(':').unwrap().1)]);
}

#[tokio::test]
async fn one_that_ignores_the_request_to_end_is_killed_with_all_that_it_started() {
    let world = World::new();
    let node = world.node();
    let script = "trap '' TERM; (trap '' TERM; setsid sleep 1000 & setsid sh -c 'exec sleep 1001 9>&-' & wait) & \
                  echo up; while :; do sleep 1000; done";
    let spec = App::script("api", script).instance(0);
    node.start(&spec, FENCE).await.unwrap();
    until_ready(&node, &spec).await;
    eventually("all of its processes run", || world.workers().len() >= 4).await;
    let begun = Instant::now();
    node.stop(&spec.scope, &spec.id, Span::ms(300), FENCE).await.unwrap();
    assert_eq!(node.list(&spec.scope).await.unwrap()[0].state, InstanceState::Stopping);
    until_gone(&node, &spec).await;
    assert!(begun.elapsed().as_millis() >= 300, "it had its time");
    assert!(world.workers().is_empty(), "{:?}", world.processes());
}

#[tokio::test]
async fn a_shorter_grace_overrides_a_longer_one() {
    let world = World::new();
    let node = world.node();
    let spec = App::script("api", "trap '' TERM; while :; do sleep 1000; done").instance(0);
    node.start(&spec, FENCE).await.unwrap();
    until_ready(&node, &spec).await;
    node.stop(&spec.scope, &spec.id, Span::secs(3600), FENCE).await.unwrap();
    node.stop(&spec.scope, &spec.id, Span::ms(10), FENCE).await.unwrap();
    until_gone(&node, &spec).await;
}

#[tokio::test]
async fn output_is_read_by_tail_and_followed() {
    let world = World::new();
    let node = world.node();
    let script = "for i in 1 2 3; do echo line $i; done; until [ -e $TMPDIR/go ]; do sleep 0.01; done; echo more; \
                  while :; do sleep 1000; done";
    let spec = App::script("api", script).instance(0);
    node.start(&spec, FENCE).await.unwrap();
    until_ready(&node, &spec).await;
    let query = LogQuery { tail: 2, follow: false };
    let lines: Vec<LogLine> = node.logs(&spec.scope, query).map(|line| line.unwrap()).collect().await;
    let lines: Vec<&str> = lines.iter().map(|line| line.line.as_str()).collect();
    assert_eq!(lines, ["line 2", "line 3"]);
    let mut follow = node.logs(&spec.scope, LogQuery { tail: 1, follow: true });
    assert_eq!(follow.next().await.unwrap().unwrap().line, "line 3");
    std::fs::write(scratch(&world, &spec, "go"), "").unwrap();
    let more = follow.next().await.unwrap().unwrap();
    assert_eq!((more.line.as_str(), &more.instance), ("more", &spec.id));
}

#[tokio::test]
async fn a_replaced_owner_is_refused() {
    let world = World::new();
    let node = world.node();
    let spec = App::script("api", "while :; do sleep 1000; done").instance(0);
    node.start(&spec, Fence(5)).await.unwrap();
    until_ready(&node, &spec).await;
    let refused = node.stop(&spec.scope, &spec.id, Span::ms(0), Fence(4)).await.unwrap_err();
    assert_eq!(refused.message, "shop/dev/default/api: the owner with fence 4 was replaced by one with 5");
    let other = App::script("api", "sleep 1001").instance(1);
    assert_eq!(node.start(&other, Fence(4)).await.unwrap_err().kind, FaultKind::Conflict);
    assert_eq!(node.list(&spec.scope).await.unwrap().len(), 1);
    // A new owner that finds nothing to do has shown its fence all the same.
    node.admit(&spec.scope, Fence(6)).await.unwrap();
    assert_eq!(node.start(&other, Fence(5)).await.unwrap_err().kind, FaultKind::Conflict);
    assert_eq!(node.admit(&spec.scope, Fence(5)).await.unwrap_err().kind, FaultKind::Conflict);
}

#[tokio::test]
async fn secrets_reach_the_instance_and_no_file() {
    let mut world = World::new();
    let reference = SecretRef("env:API_KEY".into());
    world.secrets.insert(reference.clone(), std::sync::Arc::from(&b"s3cr3t-value"[..]));
    let node = world.node();
    let mut app = App::server("api");
    app.process.env.insert("API_KEY".into(), EnvValue::Secret(reference));
    let spec = app.instance(0);
    node.start(&spec, FENCE).await.unwrap();
    let seen = until_ready(&node, &spec).await;
    assert_eq!(get(&seen, "/env/API_KEY").await, "s3cr3t-value");
    for (_, line) in world.processes() {
        assert!(!line.contains("s3cr3t"), "in a process list: {line}");
    }
    let mut folders = vec![world.state.path().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => folders.push(entry.path()),
                kind if kind.is_file() => {
                    let text = String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()).into_owned();
                    assert!(!text.contains("s3cr3t"), "in {}", entry.path().display());
                }
                _ => {}
            }
        }
    }
    // A restart by the shim has them too.
    get(&seen, "/die").await;
    until(&node, &spec, |state| *state != InstanceState::Ready).await;
    let seen = until_ready(&node, &spec).await;
    assert_eq!(get(&seen, "/env/API_KEY").await, "s3cr3t-value");
}

#[tokio::test]
async fn output_is_kept_within_bounds_while_the_instance_prints() {
    use std::os::unix::fs::MetadataExt;
    let world = World::new();
    let node = world.node();
    let script = "i=0; while [ $i -lt 20000 ]; do echo \"line $i of many that are longer than they need to be\"; \
                  i=$((i+1)); done; echo the end; while :; do sleep 1000; done";
    let mut app = App::script("api", script);
    app.process.log_bytes_max = 64 * 1024;
    let spec = app.instance(0);
    node.start(&spec, FENCE).await.unwrap();
    until_ready(&node, &spec).await;
    let log = folder(&world, &spec).log();
    let kept = || std::fs::metadata(&log).map_or(u64::MAX, |log| log.blocks() * 512);
    let query = || LogQuery { tail: 2, follow: false };
    eventually("all is printed, little is kept", || {
        kept() <= 96 * 1024 && std::fs::metadata(&log).is_ok_and(|log| log.len() > 1_000_000)
    })
    .await;
    let mut last = Vec::new();
    while last.last().is_none_or(|line| line != "the end") {
        last = node.logs(&spec.scope, query()).map(|line| line.unwrap().line).collect().await;
    }
    assert_eq!(last, ["line 19999 of many that are longer than they need to be", "the end"]);
}
