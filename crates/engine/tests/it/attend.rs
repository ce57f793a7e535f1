//! Several engines that reach one state.

use crate::world::{World, config, deploy, end, id_of, leg, migrating, release_id, rollback, verdict};
use deployctl_core::ask::{RefusedKind, Selection};
use deployctl_core::config::Strategy;
use deployctl_core::job::JobState;
use deployctl_core::objects::Objects;
use deployctl_engine::Engine;
use deployctl_store::{Hitch, MemoryObjects};
use std::time::Duration;

async fn words(engine: &Engine) -> Vec<String> {
    let history = engine.history(&Selection::default(), 10).await.unwrap();
    history.into_iter().map(|entry| entry.verdict).collect()
}

async fn looked_up(world: &World, jobs: usize) {
    crate::world::eventually("the job was started", || world.fake.jobs_started().len() == jobs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_changes_the_state_and_the_other_looks_on_until_it_is_free() {
    let (world, objects) = (World::default(), MemoryObjects::default());
    let a = world.one_of_several("a", objects.client([])).await;
    let b = world.one_of_several("b", objects.client([])).await;
    assert!(a.is_idle() && b.is_idle());
    assert_eq!(verdict(&a, &deploy(vec![leg("api", "v1", config(Strategy::BlueGreen))])).await.0, "succeeded");
    let id = id_of(a.deploy(&deploy(vec![leg("api", "v2", migrating(false))])).await);
    looked_up(&world, 1).await;
    assert!(!a.is_idle(), "it has the seat");
    let refused = b.deploy(&deploy(vec![leg("web", "v1", config(Strategy::BlueGreen))])).await.unwrap_err();
    assert_eq!((refused.kind, refused.code.as_str()), (RefusedKind::Conflict, "state-held"));
    assert_eq!(refused.message, format!("a@there changes something in this state: deployment {id} is under way there"));
    assert_eq!(refused.blocked_by.as_ref(), Some(&id));
    let cancel = deployctl_core::deployment::command::Command::Cancel;
    assert_eq!(b.steer(&id, cancel, &crate::world::by()).await.unwrap_err().code, "state-held");
    assert_eq!(words(&b).await, ["running", "succeeded"]);
    // Who looks on sees the end.
    let watching = tokio::spawn({
        let (b, id) = (b.clone(), id.clone());
        async move { end(&b, &id).await }
    });
    world.fake.end_jobs(&JobState::Succeeded);
    assert_eq!(end(&a, &id).await.closed.unwrap().verdict.word(), "succeeded");
    b.ask_anew().await;
    assert!(b.watch(&id).await.unwrap().borrow().closed.is_some(), "it shows what it saw before");
    let stands = b.status(&Selection::default()).await.unwrap().remove(0);
    assert!(stands.running.is_none() && stands.deployment.as_ref() == Some(&id), "{stands:?}");
    assert_eq!(watching.await.unwrap().closed.unwrap().verdict.word(), "succeeded");
    // And what it does then is upon what the other one did.
    let back = id_of(b.rollback(&rollback("api")).await);
    looked_up(&world, 2).await;
    world.fake.end_jobs(&JobState::Succeeded);
    assert_eq!(end(&b, &back).await.closed.unwrap().verdict.word(), "succeeded");
    assert_eq!(words(&a).await, ["succeeded", "succeeded", "succeeded"]);
    a.retire().await;
    b.retire().await;
    a.verify(None).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_engine_with_nothing_to_do_leaves_the_seat_and_does_not_come_back() {
    let (world, objects) = (World::default(), MemoryObjects::default());
    let a = world.one_of_several("a", objects.client([])).await;
    assert_eq!(verdict(&a, &deploy(vec![leg("api", "v1", config(Strategy::BlueGreen))])).await.0, "succeeded");
    // What is to be collected is, some time after the end.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let seat = || async { objects.get("seat").await.unwrap().unwrap() };
    let left = seat().await;
    assert_eq!((left.bytes.as_slice(), a.is_idle()), (&b"null"[..], true));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(seat().await.version, left.version, "it was taken again, for nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_silent_engine_left_is_gone_on_with_and_its_own_words_are_refused() {
    let (world, objects) = (World::default(), MemoryObjects::default());
    // It takes the seat, and is cut off from it soon after; it goes on with what it had begun, as a paused one would.
    let cut = (0..8).map(|_| None).chain([Some(Hitch::Killed)]);
    let a = world.one_of_several("a", objects.client(cut)).await;
    let id = id_of(a.deploy(&deploy(vec![leg("api", "v1", migrating(false))])).await);
    looked_up(&world, 1).await;
    let b = world.one_of_several("b", objects.client([])).await;
    let began = tokio::time::Instant::now();
    while b.is_idle() || words(&b).await != ["running"] || !has_taken(&b).await {
        assert!(began.elapsed() < Duration::from_secs(60), "it was never taken over");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(began.elapsed() > Duration::from_secs(2), "not before the lease is over: {:?}", began.elapsed());
    world.fake.end_jobs(&JobState::Succeeded);
    assert_eq!(end(&b, &id).await.closed.unwrap().verdict.word(), "succeeded");
    assert_eq!(words(&b).await, ["succeeded"]);
    b.verify(None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_looks_on_sees_what_is_waited_for() {
    let (world, objects) = (World::default(), MemoryObjects::default());
    let a = world.one_of_several("a", objects.client([])).await;
    let b = world.one_of_several("b", objects.client([])).await;
    let ask = leg("api", "v1", config(Strategy::BlueGreen));
    world.fake.make_silent(&release_id(&ask));
    let id = id_of(a.deploy(&deploy(vec![ask])).await);
    let began = tokio::time::Instant::now();
    loop {
        let [there, here] = [&a, &b].map(|engine| engine.watch(&id));
        let (there, here) = (there.await.unwrap().borrow().clone(), here.await.unwrap().borrow().clone());
        let instances = here.legs[0].instances.len();
        if here.waiting.is_some()
            && here.waiting == there.waiting
            && instances == there.legs[0].instances.len()
            && instances > 0
        {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{:?} and {:?}", here.waiting, there.waiting);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.fake.speak();
    assert_eq!(end(&b, &id).await.closed.unwrap().verdict.word(), "succeeded");
}

/// Whether the newest entries say that somebody took the deployment over.
async fn has_taken(engine: &Engine) -> bool {
    engine.audit(50).await.unwrap().iter().any(|entry| entry.event.contains("\"taken\""))
}
