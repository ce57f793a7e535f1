//! Trouble of the world, people who change their mind, engines that die.

use crate::world::{
    World, by, command, config, deploy, end, eventually, id_of, leg, release_id, rollback, scope, verdict,
};
use deployctl_core::ask::RefusedKind;
use deployctl_core::config::{AppConfig, Hooks, Strategy};
use deployctl_core::deployment::command::Command;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trouble_of_the_target_condemns_nothing() {
    let world = World::default();
    let engine = world.engine().await;
    assert_eq!(verdict(&engine, &deploy(vec![leg("api", "v1", config(Strategy::BlueGreen))])).await.0, "succeeded");
    let id = id_of(engine.deploy(&deploy(vec![leg("api", "v2", config(Strategy::BlueGreen))])).await);
    world.fake.fail_next(6);
    assert_eq!(end(&engine, &id).await.closed.unwrap().verdict.word(), "succeeded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_target_never_takes_is_turned_back_with_its_words() {
    let world = World::default();
    let engine = world.engine().await;
    world.fake.refuse_for_good("there is no user `nobody-here`");
    let (word, _, why) = verdict(&engine, &deploy(vec![leg("api", "v1", config(Strategy::BlueGreen))])).await;
    // Nothing was begun, so nothing had to be taken back.
    assert_eq!(word, "rolled_back");
    assert!(why.contains("there is no user `nobody-here`"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_deployment_is_refused_and_named() {
    let world = World::default();
    let engine = world.engine().await;
    let v1 = leg("api", "v1", config(Strategy::BlueGreen));
    world.fake.make_silent(&release_id(&v1));
    let id = id_of(engine.deploy(&deploy(vec![v1])).await);
    let refused = engine.deploy(&deploy(vec![leg("api", "v2", config(Strategy::BlueGreen))])).await.unwrap_err();
    assert_eq!((refused.kind, refused.code.as_str()), (RefusedKind::Conflict, "lease-held"));
    assert_eq!(refused.blocked_by, Some(id.clone()));
    world.fake.speak();
    assert_eq!(end(&engine, &id).await.closed.unwrap().verdict.word(), "succeeded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_turns_back_and_pause_stands_still() {
    let world = World::default();
    let engine = world.engine().await;
    assert_eq!(verdict(&engine, &deploy(vec![leg("api", "v1", config(Strategy::BlueGreen))])).await.0, "succeeded");
    let v2 = leg("api", "v2", config(Strategy::BlueGreen));
    world.fake.make_silent(&release_id(&v2));
    let id = id_of(engine.deploy(&deploy(vec![v2.clone()])).await);
    engine.steer(&id, Command::Pause, &by()).await.unwrap();
    let refused = engine.steer(&id, Command::Pause, &by()).await.unwrap_err();
    assert_eq!(refused.message, "the deployment is paused already");
    engine.steer(&id, Command::Resume, &by()).await.unwrap();
    engine.steer(&id, Command::Cancel, &by()).await.unwrap();
    let closed = end(&engine, &id).await.closed.unwrap();
    assert_eq!((closed.verdict.word(), closed.restored), ("cancelled", true));
    assert_eq!(closed.reason, "cancelled by somebody@here");
    let refused = engine.steer(&id, Command::Cancel, &by()).await.unwrap_err();
    assert_eq!(refused.message, "the deployment has ended already: cancelled");
}

/// Paused, the time goes on when the walk has nothing more to do: it has seen the job end before the command knows of it.
#[tokio::test(start_paused = true)]
async fn a_job_that_a_cancel_ends_did_not_fail() {
    let world = World::default();
    let engine = world.engine().await;
    assert_eq!(verdict(&engine, &deploy(vec![leg("api", "v1", config(Strategy::BlueGreen))])).await.0, "succeeded");
    let hooks = Hooks { before: vec![command("./announce")], ..Hooks::default() };
    let v2 = leg("api", "v2", AppConfig { hooks, ..config(Strategy::BlueGreen) });
    let id = id_of(engine.deploy(&deploy(vec![v2])).await);
    eventually("the hook was started", || world.fake.jobs_started().len() == 1).await;
    engine.steer(&id, Command::Cancel, &by()).await.unwrap();
    let closed = end(&engine, &id).await.closed.unwrap();
    assert_eq!((closed.verdict.word(), closed.restored), ("cancelled", true));
    assert_eq!(closed.reason, "cancelled by somebody@here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rollback_of_what_is_under_way_cancels_it() {
    let world = World::default();
    let engine = world.engine().await;
    assert_eq!(verdict(&engine, &deploy(vec![leg("api", "v1", config(Strategy::BlueGreen))])).await.0, "succeeded");
    let v2 = leg("api", "v2", config(Strategy::BlueGreen));
    world.fake.make_silent(&release_id(&v2));
    let id = id_of(engine.deploy(&deploy(vec![v2])).await);
    assert_eq!(id_of(engine.rollback(&rollback("api")).await), id);
    assert_eq!(end(&engine, &id).await.closed.unwrap().verdict.word(), "cancelled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_engine_goes_on_and_the_old_one_is_fenced_off() {
    let world = World::default();
    let old = world.engine().await;
    let v1 = leg("api", "v1", config(Strategy::BlueGreen));
    world.fake.make_silent(&release_id(&v1));
    let id = id_of(old.deploy(&deploy(vec![v1.clone()])).await);
    eventually("the instances were started", || !world.fake.is(&scope("api")).parts.is_empty()).await;
    // The old engine is not dead, only late: whatever it still does must be refused.
    let new = world.engine().await;
    eventually("the old engine's effects are refused", || world.fake.refused() > 0).await;
    world.fake.speak();
    assert_eq!(end(&new, &id).await.closed.unwrap().verdict.word(), "succeeded");
    new.verify(None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_rests_is_kept() {
    let world = World::default();
    let engine = world.engine().await;
    assert_eq!(verdict(&engine, &deploy(vec![leg("api", "v1", config(Strategy::BlueGreen))])).await.0, "succeeded");
    let was = world.fake.is(&scope("api"));
    world.fake.wipe(&scope("api"));
    eventually("what was taken away is back", || world.fake.is(&scope("api")) == was).await;
}

/// Looked at before the fence was shown, what is seen may be changed by an owner that was replaced; observed after converging, an
/// instance that became healthy in between would complete a waypoint without its traffic.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_shows_the_fence_then_observes_then_converges() {
    let world = World::default();
    let engine = world.engine().await;
    let v1 = leg("api", "v1", config(Strategy::BlueGreen));
    let place = v1.scope.clone();
    world.fake.make_silent(&release_id(&v1));
    let id = id_of(engine.deploy(&deploy(vec![v1])).await);
    let looks = || world.fake.asked(&place).iter().filter(|what| **what == "admit").count();
    eventually("it looks again", || looks() >= 3).await;
    let asked = world.fake.asked(&place);
    let begin = asked.iter().position(|what| *what == "admit").unwrap();
    assert!(!asked[..begin].contains(&"converge"), "{asked:?}");
    for look in asked[begin..].chunks_exact(3) {
        assert_eq!(look, ["admit", "observe", "converge"], "{asked:?}");
    }
    world.fake.speak();
    assert_eq!(end(&engine, &id).await.closed.unwrap().verdict.word(), "succeeded");
}
