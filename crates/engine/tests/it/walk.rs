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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_saved_plan_notices_that_its_target_moved() {
    use deployctl_core::ask::{Deploy, SavedPlan};
    let world = World::default();
    let engine = world.engine().await;
    let v = |version: &str| deploy(vec![leg("api", version, config(Strategy::BlueGreen))]);
    assert_eq!(verdict(&engine, &v("v1")).await.0, "succeeded");
    // A plan of before there was such a thing, and one of a target that says nothing: as they were.
    let old = serde_json::to_string(&engine.plan(&v("v2")).await.unwrap()).unwrap();
    assert!(!old.contains("foreseen"), "{old}");
    let (web, db) = (("Deployment/web", "image: a -> b"), ("Service/db", "port: 1 -> 2"));
    world.fake.previews(Ok(&[web, db]));
    let saved = engine.plan(&v("v2")).await.unwrap();
    let changes = &saved.plan.legs[0].changes;
    assert_eq!(changes[..], ["change Deployment/web: image: a -> b", "change Service/db: port: 1 -> 2"]);
    let text = serde_json::to_string(&saved).unwrap();
    assert_eq!(SavedPlan::parse(&text).unwrap(), saved);
    let asked = |plan: &str| Deploy { plan: Some(plan.to_owned()), ..v("v2") };
    let moves: [(&[(&str, &str)], &str); 4] = [
        (
            &[("Deployment/web", "image: c -> b"), db],
            "of Deployment/web it would do otherwise now: change Deployment/web: image: c",
        ),
        (&[web], "of Service/db it would do otherwise now: nothing of it would change"),
        (&[], "of Deployment/web it would do otherwise now: nothing"),
        (
            &[web, db, ("ConfigMap/a", "created")],
            "of ConfigMap/a it would do otherwise now: change ConfigMap/a: created",
        ),
    ];
    for (now, why) in moves {
        world.fake.previews(Ok(now));
        let refused = engine.deploy(&asked(&text)).await.unwrap_err();
        assert_eq!((refused.kind, refused.code.as_str()), (RefusedKind::Conflict, "plan-stale"));
        assert!(
            refused.message.starts_with("the plan is stale: somebody changed what api in dev finds: "),
            "{refused}"
        );
        assert!(refused.message.contains(why), "{refused}");
    }
    world.fake.previews(Err("`image` is held by kubectl-edit"));
    let refused = engine.deploy(&asked(&text)).await.unwrap_err();
    assert_eq!((refused.kind, refused.code.as_str()), (RefusedKind::Conflict, "plan-stale"));
    assert!(refused.message.ends_with("any more: `image` is held by kubectl-edit"), "{refused}");
    // Its order is nothing.
    world.fake.previews(Ok(&[db, web]));
    assert_eq!(verdict(&engine, &asked(&text)).await.0, "succeeded");
    world.fake.previews(Ok(&[]));
    let back = engine.rollback(&rollback("api")).await;
    assert_eq!(end(&engine, &id_of(back)).await.closed.unwrap().verdict.word(), "succeeded");
    let refused = engine.deploy(&asked(&old)).await.unwrap_err();
    assert_eq!(refused.message, "the plan is stale: api in dev changed since it was made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_of_before_targets_said_what_they_change_is_done() {
    let world = World::default();
    let engine = world.engine().await;
    let v = || deploy(vec![leg("api", "v1", config(Strategy::BlueGreen))]);
    let old = serde_json::to_string(&engine.plan(&v()).await.unwrap()).unwrap();
    assert!(!old.contains("foreseen"), "{old}");
    world.fake.previews(Ok(&[("Deployment/web", "created")]));
    let asked = deployctl_core::ask::Deploy { plan: Some(old), ..v() };
    assert_eq!(verdict(&engine, &asked).await.0, "succeeded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_that_has_its_name_beforehand_begins_once() {
    use deployctl_core::ask::{Deploy, Rollback};
    let world = World::default();
    let engine = world.engine().await;
    let name = |name: &str| Some(deployctl_core::id::DeploymentId::new(name).unwrap());
    let v = |version: &str| deploy(vec![leg("api", version, config(Strategy::BlueGreen))]);
    let first = Deploy { id: name("named-1"), ..v("v1") };
    let id = id_of(engine.deploy(&first).await);
    assert_eq!(Some(id.clone()), name("named-1"));
    assert_eq!(id_of(engine.deploy(&first).await), id, "asked again while it is under way");
    assert_eq!(end(&engine, &id).await.closed.unwrap().verdict.word(), "succeeded");
    let second = Deploy { id: name("named-2"), ..v("v2") };
    assert_eq!(end(&engine, &id_of(engine.deploy(&second).await)).await.closed.unwrap().verdict.word(), "succeeded");
    let back = Rollback { id: name("named-3"), ..rollback("api") };
    let id = id_of(engine.rollback(&back).await);
    end(&engine, &id).await;
    // By an engine that knows nothing but the journal, and of what is long over.
    let other = world.engine().await;
    assert_eq!(id_of(other.deploy(&second).await).as_str(), "named-2");
    assert_eq!(id_of(other.rollback(&back).await), id);
    assert_eq!(other.history(&Selection::default(), 10).await.unwrap().len(), 3);
    assert_eq!(world.fake.is(&scope("api")).parts.keys().next().unwrap().release, release_id(&v("v1").legs[0]));
}
