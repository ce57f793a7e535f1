//! What a person does on a good day, and with a bad version.

use crate::world::{World, config, deploy, end, id_of, leg, migrating, release_id, rollback, scope, verdict};
use deployctl_core::ask::{Answer, RefusedKind, Selection};
use deployctl_core::config::Strategy;
use deployctl_core::desired::JobKind;
use deployctl_core::job::JobState;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn good_better_broken_back() {
    let world = World::default();
    let engine = world.engine().await;
    let v = |version: &str| leg("api", version, config(Strategy::BlueGreen));
    assert_eq!(verdict(&engine, &deploy(vec![v("v1")])).await.0, "succeeded");
    assert_eq!(verdict(&engine, &deploy(vec![v("v2")])).await.0, "succeeded");
    let unchanged = engine.deploy(&deploy(vec![v("v2")])).await.unwrap();
    assert!(matches!(unchanged, Answer::Nothing { .. }), "{unchanged:?}");

    world.fake.make_bad(&release_id(&v("v3")));
    let (word, restored, why) = verdict(&engine, &deploy(vec![v("v3")])).await;
    assert_eq!((word, restored), ("rolled_back", true));
    assert!(why.contains("v3 did not come up") && why.contains("its last lines: no such table"), "{why}");
    assert_eq!(world.fake.is(&scope("api")).parts.keys().next().unwrap().release, release_id(&v("v2")));

    let nothing = engine.rollback(&rollback("api")).await.unwrap();
    let Answer::Nothing { why } = nothing else { panic!("nothing is left to undo") };
    assert_eq!(why, "the last deployment of api in dev was turned back already: nothing is left to undo");

    let mut to_v1 = rollback("api");
    to_v1.version = Some("v1".parse().unwrap());
    end(&engine, &id_of(engine.rollback(&to_v1).await)).await;
    assert_eq!(world.fake.is(&scope("api")).parts.keys().next().unwrap().release, release_id(&v("v1")));
    let refused = engine.rollback(&rollback("api")).await.unwrap_err();
    assert_eq!((refused.kind, refused.code.as_str()), (RefusedKind::Denied, "nothing-before"));

    let words: Vec<String> =
        engine.history(&Selection::default(), 10).await.unwrap().into_iter().map(|h| h.verdict).collect();
    assert_eq!(words, ["succeeded", "rolled_back", "succeeded", "succeeded"]);
    engine.verify(None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apps_that_go_together_go_back_together() {
    let world = World::default();
    let engine = world.engine().await;
    let all = |version: &str| {
        let legs = ["db", "worker", "api"].map(|app| leg(app, version, config(Strategy::Recreate)));
        deploy(legs.to_vec())
    };
    assert_eq!(verdict(&engine, &all("v1")).await.0, "succeeded");
    world.fake.make_bad(&release_id(&all("v2").legs[2]));
    assert_eq!(verdict(&engine, &all("v2")).await.0, "rolled_back");
    for (app, leg) in ["db", "worker", "api"].iter().zip(all("v1").legs) {
        let is = world.fake.is(&scope(app));
        assert_eq!(is.parts.keys().map(|r| &r.release).collect::<Vec<_>>(), [&release_id(&leg)], "{app}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_runs_once_and_is_undone() {
    let world = World::default();
    let engine = world.engine().await;
    assert_eq!(verdict(&engine, &deploy(vec![leg("api", "v1", config(Strategy::BlueGreen))])).await.0, "succeeded");
    let v2 = || deploy(vec![leg("api", "v2", migrating(false))]);
    let id = id_of(engine.deploy(&v2()).await);
    crate::world::eventually("the migration was started", || world.fake.jobs_started().len() == 1).await;
    world.fake.end_jobs(&JobState::Succeeded);
    assert_eq!(end(&engine, &id).await.closed.unwrap().verdict.word(), "succeeded");

    let id = id_of(engine.rollback(&rollback("api")).await);
    crate::world::eventually("the undo was started", || world.fake.jobs_started().len() == 2).await;
    assert_eq!(world.fake.jobs_started()[1].what, JobKind::Undo);
    world.fake.end_jobs(&JobState::Succeeded);
    assert_eq!(end(&engine, &id).await.closed.unwrap().verdict.word(), "succeeded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_no_way_back_over_a_migration_that_cannot_be_undone() {
    let world = World::default();
    let engine = world.engine().await;
    assert_eq!(verdict(&engine, &deploy(vec![leg("api", "v1", config(Strategy::BlueGreen))])).await.0, "succeeded");
    let v2 = leg("api", "v2", migrating(true));
    world.fake.make_bad(&release_id(&v2));
    let id = id_of(engine.deploy(&deploy(vec![v2])).await);
    crate::world::eventually("the migration was started", || world.fake.jobs_started().len() == 1).await;
    world.fake.end_jobs(&JobState::Succeeded);
    let closed = end(&engine, &id).await.closed.unwrap();
    assert_eq!((closed.verdict.word(), closed.restored), ("failed", false));
    assert!(closed.reason.contains("the migration of api cannot be undone"), "{}", closed.reason);

    let refused = engine.rollback(&rollback("api")).await.unwrap_err();
    assert_eq!((refused.kind, refused.code.as_str()), (RefusedKind::Denied, "across-migration"));
    let mut across = rollback("api");
    across.across_migration = true;
    assert_eq!(end(&engine, &id_of(engine.rollback(&across).await)).await.closed.unwrap().verdict.word(), "succeeded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_saved_plan_is_done_exactly_or_refused() {
    let world = World::default();
    let engine = world.engine().await;
    let v = |version: &str| deploy(vec![leg("api", version, config(Strategy::BlueGreen))]);
    assert_eq!(verdict(&engine, &v("v1")).await.0, "succeeded");
    let saved = engine.plan(&v("v2")).await.unwrap();
    let text = serde_json::to_string(&saved).unwrap();
    let altered = text.replace("\"instances\":2", "\"instances\":3");
    assert_ne!(text, altered);
    let refused = engine.deploy(&deployctl_core::ask::Deploy { plan: Some(altered), ..v("v2") }).await.unwrap_err();
    assert_eq!((refused.kind, refused.code.as_str()), (RefusedKind::Usage, "plan-altered"));
    let exact = deployctl_core::ask::Deploy { plan: Some(text), ..v("v2") };
    assert_eq!(verdict(&engine, &exact).await.0, "succeeded");
    let refused = engine.deploy(&exact).await.unwrap_err();
    assert_eq!((refused.kind, refused.code.as_str()), (RefusedKind::Conflict, "plan-stale"));
}
