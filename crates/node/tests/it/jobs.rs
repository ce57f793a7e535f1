//! Jobs: once, to their end, and never twice by accident.

use crate::world::*;
use deployctl_core::config::Command;
use deployctl_core::id::{DeploymentId, JobId, job_id};
use deployctl_core::instance::Binding;
use deployctl_core::job::{JobSpec, JobState, Jobs};
use deployctl_core::time::Span;
use deployctl_node::Node;
use rustix::process::Signal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

fn job(script: &str) -> JobSpec {
    let app = App::script("api", "true");
    let deployment = DeploymentId::new("d-1").unwrap();
    let run = vec![text("/bin/sh"), text("-c"), text(script)];
    JobSpec {
        id: job_id(&deployment, &scope("api"), script, 0),
        scope: scope("api"),
        release: app.release(),
        binding: Binding::default(),
        command: Command { run, timeout: Span::secs(50), repeatable: false },
    }
}

/// Runs the job as the engine does, again and again, until it is not running any more.
async fn ended(node: &Node, job: &JobSpec) -> JobState {
    let begun = Instant::now();
    loop {
        let state = node.run(job, FENCE).await.unwrap();
        if state != JobState::Running {
            return state;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "the job does not end");
        node.changed(&job.scope, &job.id).await;
    }
}

fn mark(world: &World, id: &JobId, name: &str) -> PathBuf {
    world.layout().job(id).scratch().join(name)
}

/// How often the job's command began.
fn runs(world: &World, id: &JobId) -> usize {
    std::fs::read_to_string(mark(world, id, "runs")).unwrap_or_default().lines().count()
}

const COUNT: &str = "echo run >> $TMPDIR/runs; ";

#[tokio::test]
async fn a_job_runs_once_whoever_asks_and_how_often() {
    let world = World::new();
    let node = world.node();
    let job = job(&format!("{COUNT} [ $DEPLOYCTL_JOB_ID = $DEPLOYCTL_INSTANCE ]"));
    assert_eq!(ended(&node, &job).await, JobState::Succeeded);
    drop(node);
    let node = world.node();
    assert_eq!(ended(&node, &job).await, JobState::Succeeded);
    assert_eq!(runs(&world, &job.id), 1);
    eventually("its shim is gone", || world.processes().is_empty()).await;
}

#[tokio::test]
async fn a_job_that_fails_says_how() {
    let world = World::new();
    let node = world.node();
    let failed = JobState::Failed { reason: "exit 4".into(), last_lines: vec!["no such table".into()] };
    assert_eq!(ended(&node, &job("echo no such table; exit 4")).await, failed);
    let mut missing = job("");
    missing.command.run = vec![text("./no-migration")];
    let JobState::Failed { reason, .. } = ended(&node, &missing).await else { panic!("it cannot have run") };
    assert!(reason.starts_with("cannot run ./no-migration in ") && reason.ends_with(": no such file"), "{reason}");
}

#[tokio::test]
async fn a_job_that_hangs_is_killed_with_all_that_it_started() {
    let world = World::new();
    let node = world.node();
    let mut job = job("trap '' TERM; setsid sh -c \"trap '' TERM; sleep 1000\" & sleep 1001");
    job.command.timeout = Span::ms(200);
    let reason = "killed after 200 ms with all that it started".to_owned();
    assert_eq!(ended(&node, &job).await, JobState::Failed { reason, last_lines: vec![] });
    assert!(world.workers().is_empty(), "{:?}", world.processes());
}

#[tokio::test]
async fn a_hook_that_forks_away_does_not_hang_the_job_and_does_not_outlive_it() {
    let world = World::new();
    let node = world.node();
    let job = job("setsid sh -c 'exec >/dev/null 2>&1; sleep 1000' & exit 0");
    assert_eq!(ended(&node, &job).await, JobState::Succeeded);
    assert!(world.workers().is_empty(), "{:?}", world.processes());
}

#[tokio::test]
async fn a_job_goes_on_without_its_engine() {
    let world = World::new();
    let node = world.node();
    let job = job(&format!("{COUNT} until [ -e $TMPDIR/go ]; do sleep 0.01; done"));
    assert_eq!(node.run(&job, FENCE).await.unwrap(), JobState::Running);
    eventually("it runs", || runs(&world, &job.id) == 1).await;
    drop(node);
    let node = world.node();
    assert_eq!(node.run(&job, FENCE).await.unwrap(), JobState::Running);
    std::fs::write(mark(&world, &job.id, "go"), "").unwrap();
    assert_eq!(ended(&node, &job).await, JobState::Succeeded);
    assert_eq!(runs(&world, &job.id), 1);
}

#[tokio::test]
async fn a_job_whose_shim_was_killed_is_waited_for_and_its_end_is_unknown() {
    let world = World::new();
    let node = world.node();
    let job = job(&format!("{COUNT} until [ -e $TMPDIR/go ]; do sleep 0.01; done"));
    assert_eq!(node.run(&job, FENCE).await.unwrap(), JobState::Running);
    eventually("it runs", || runs(&world, &job.id) == 1).await;
    world.shims()[0].signal(Signal::KILL).unwrap();
    eventually("the shim is gone", || world.shims().is_empty()).await;
    assert_eq!(node.run(&job, FENCE).await.unwrap(), JobState::Running, "it still runs");
    std::fs::write(mark(&world, &job.id, "go"), "").unwrap();
    assert_eq!(ended(&node, &job).await, JobState::Unknown);
    assert_eq!(ended(&node, &job).await, JobState::Unknown, "and stays so");
    assert_eq!(runs(&world, &job.id), 1);
}

#[tokio::test]
async fn a_job_that_was_killed_with_its_shim_runs_again_only_if_it_may() {
    for repeatable in [false, true] {
        let world = World::new();
        let node = world.node();
        let mut job = job(&format!("{COUNT} [ -e $TMPDIR/second ] && exit 0; sleep 1000"));
        job.command.repeatable = repeatable;
        assert_eq!(node.run(&job, FENCE).await.unwrap(), JobState::Running);
        eventually("it runs", || runs(&world, &job.id) == 1).await;
        drop(node);
        std::fs::write(mark(&world, &job.id, "second"), "").unwrap();
        world.kill_everything();
        let node = world.node();
        let (wanted, count) = if repeatable { (JobState::Succeeded, 2) } else { (JobState::Unknown, 1) };
        assert_eq!(ended(&node, &job).await, wanted);
        assert_eq!(runs(&world, &job.id), count);
    }
}

#[tokio::test]
async fn killed_at_each_of_its_points() {
    for (point, wanted, count) in [
        ("shim.locked", JobState::Succeeded, 1),
        ("job.begun", JobState::Unknown, 0),
        ("job.ended", JobState::Unknown, 1),
        ("job.result-written", JobState::Succeeded, 1),
    ] {
        let world = World::new();
        let doomed = world.node_with_crash(point, "kill");
        let job = job(COUNT);
        let _ = doomed.run(&job, FENCE).await.unwrap();
        eventually(point, || world.passed(point)).await;
        drop(doomed);
        eventually("the shim is gone", || world.shims().is_empty()).await;
        let node = world.node();
        assert_eq!(ended(&node, &job).await, wanted, "{point}");
        assert_eq!(runs(&world, &job.id), count, "{point}");
    }
}

#[tokio::test]
async fn a_job_is_killed_on_request_also_without_its_shim() {
    for crash in [None, Some(Signal::KILL), Some(Signal::STOP)] {
        let world = World::new();
        let node = world.node();
        let job = job(&format!("{COUNT} setsid sleep 1000 & sleep 1001"));
        assert_eq!(node.run(&job, FENCE).await.unwrap(), JobState::Running);
        eventually("it runs", || world.workers().len() >= 3).await;
        if let Some(signal) = crash {
            world.shims()[0].signal(signal).unwrap();
        }
        if crash == Some(Signal::KILL) {
            eventually("the shim is gone", || world.shims().is_empty()).await;
        }
        node.kill(&job.scope, &job.id, FENCE).await.unwrap();
        assert!(world.workers().is_empty(), "{:?}", world.processes());
        let reason = "stopped before its end".to_owned();
        assert_eq!(ended(&node, &job).await, JobState::Failed { reason, last_lines: vec![] });
    }
}

#[tokio::test]
async fn a_job_that_was_killed_never_begins_whatever_comes_late() {
    let killed = JobState::Failed { reason: "stopped before its end".into(), last_lines: vec![] };
    for begun in [false, true] {
        let world = World::new();
        let mut job = job(&format!("{COUNT} sleep 1000"));
        job.command.repeatable = true;
        if begun {
            let node = world.node();
            assert_eq!(node.run(&job, FENCE).await.unwrap(), JobState::Running);
            eventually("it runs", || runs(&world, &job.id) == 1).await;
            drop(node);
            world.kill_everything();
        }
        let node = world.node();
        node.kill(&job.scope, &job.id, FENCE).await.unwrap();
        assert_eq!(ended(&node, &job).await, killed, "begun before: {begun}");
        assert_eq!(runs(&world, &job.id), usize::from(begun));
    }
}
