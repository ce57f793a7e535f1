//! Limits and users. What needs root is said when there is none.

use crate::world::*;
use deployctl_core::fault::FaultKind;
use deployctl_core::instance::*;
use deployctl_core::time::Span;
use deployctl_node::records::{self, RunState};

#[tokio::test]
async fn open_files_are_limited() {
    let world = World::new();
    let node = world.node();
    let mut app = App::script("api", "ulimit -n; while :; do sleep 1000; done");
    app.process.limits.files = Some(77);
    let spec = app.instance(0);
    node.start(&spec, FENCE).await.unwrap();
    until_ready(&node, &spec).await;
    assert_eq!(std::fs::read_to_string(folder(&world, &spec).log()).unwrap(), "77\n");
}

#[tokio::test]
async fn one_that_needs_more_memory_than_it_may_have_says_so() {
    let world = World::new();
    let node = world.node();
    // A shell that doubles a text until it is stopped.
    let mut app = App::script("api", "x=0123456789abcdef; while :; do x=$x$x; done");
    app.process.limits.memory_bytes = Some(48 << 20);
    let spec = app.instance(0);
    node.start(&spec, FENCE).await.unwrap();
    let (reason, _) = until_failed(&node, &spec).await;
    let state: RunState = records::read(&folder(&world, &spec).state()).unwrap().unwrap();
    if state.cgroups.is_empty() {
        assert_eq!(state.notes.len(), 1, "a limit that holds per process only is said");
    } else {
        assert_eq!(reason, "killed by SIGKILL: it needed more than its 48 MiB of memory");
    }
    node.stop(&spec.scope, &spec.id, Span::ms(0), FENCE).await.unwrap();
    until_gone(&node, &spec).await;
    assert!(state.cgroups.iter().all(|group| !group.exists()), "{:?}", state.cgroups);
}

#[tokio::test]
async fn processor_time_is_limited_or_refused() {
    let world = World::new();
    let node = world.node();
    let mut app = App::script("api", "cat /proc/self/cgroup; while :; do sleep 1000; done");
    app.process.limits.cpu_millis = Some(250);
    let spec = app.instance(0);
    match node.start(&spec, FENCE).await {
        Err(fault) => {
            assert_eq!(fault.kind, FaultKind::Denied);
            assert!(fault.message.starts_with("`limits.cpu` cannot be had"), "{fault}");
        }
        Ok(()) => {
            until_ready(&node, &spec).await;
            let log = std::fs::read_to_string(folder(&world, &spec).log()).unwrap();
            assert!(log.contains(spec.id.as_str()), "not in its group: {log}");
            let state: RunState = records::read(&folder(&world, &spec).state()).unwrap().unwrap();
            let quota = std::fs::read_to_string(state.cgroups[0].join("cpu.cfs_quota_us"));
            let quota = quota.or_else(|_| std::fs::read_to_string(state.cgroups[0].join("cpu.max"))).unwrap();
            assert_eq!(quota.split_ascii_whitespace().next(), Some("25000"));
        }
    }
}

#[tokio::test]
async fn an_instance_runs_as_its_user_with_its_data() {
    if !rustix::process::geteuid().is_root() {
        return skipped("running as another user", "root");
    }
    let world = World::new();
    // A state folder below one that only root may enter would be out of reach.
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(world.state.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let node = world.node();
    let script = "id -u; id -g; id -G; echo $HOME; echo x > $TMPDIR/a && echo y > $DATA/b && echo written; \
                  cat /proc/self/status | grep NoNewPrivs; while :; do sleep 1000; done";
    let mut app = App::script("api", script);
    app.process.user = Some("nobody".into());
    let data = deployctl_core::config::LateText(vec![deployctl_core::config::LatePart::Data]);
    app.process.env.insert("DATA".into(), deployctl_core::config::EnvValue::Text(data));
    let spec = app.instance(0);
    node.start(&spec, FENCE).await.unwrap();
    until_ready(&node, &spec).await;
    let log = std::fs::read_to_string(folder(&world, &spec).log()).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines, ["65534", "65534", "65534", "/nonexistent", "written", "NoNewPrivs:\t1"]);
    let mode = std::fs::metadata(world.state.path()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o711, "others may pass, not look");
}

#[tokio::test]
async fn a_user_that_does_not_exist_is_refused_before_anything_is_touched() {
    let world = World::new();
    let node = world.node();
    let mut app = App::script("api", "true");
    app.process.user = Some("no-such-user".into());
    let spec = app.instance(0);
    let fault = node.start(&spec, FENCE).await.unwrap_err();
    assert_eq!(
        (fault.kind, fault.message.as_str()),
        (FaultKind::Spec, "there is no user `no-such-user` in /etc/passwd")
    );
    assert!(node.list(&spec.scope).await.unwrap().is_empty());
}
