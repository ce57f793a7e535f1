//! Many deployments at once, and a journal with a long past.

use crate::world::{World, config, deploy, end, id_of, leg, release_id};
use deployctl_core::config::Strategy;

const MANY: usize = 1_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_deployments_at_once_all_end_also_across_a_new_engine() {
    let world = World::default();
    let engine = world.engine().await;
    let legs: Vec<_> = (0..MANY).map(|n| leg(&format!("app-{n}"), "v1", config(Strategy::BlueGreen))).collect();
    for leg in &legs {
        world.fake.make_silent(&release_id(leg));
    }
    let mut ids = Vec::new();
    for leg in legs {
        ids.push(id_of(engine.deploy(&deploy(vec![leg])).await));
    }
    drop(engine);
    let engine = world.engine().await;
    world.fake.speak();
    for id in ids {
        assert_eq!(end(&engine, &id).await.closed.unwrap().verdict.word(), "succeeded");
    }
}

/// Whoever watches from the first moment on sees the end: the walk begins to show itself at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_watches_from_the_first_moment_on_sees_the_end() {
    let world = World::default();
    let engine = world.engine().await;
    for n in 0..MANY / 2 {
        let leg = leg(&format!("app-{n}"), "v1", config(Strategy::BlueGreen));
        let id = id_of(engine.deploy(&deploy(vec![leg])).await);
        let watchers = futures_util::future::join_all((0..4).map(|_| engine.watch(&id))).await;
        for watcher in watchers {
            let ended = watcher.unwrap().wait_for(|view| view.closed.is_some()).await.map(|view| view.closed.is_some());
            assert_eq!(ended.ok(), Some(true), "the watcher of {id} was let go before the end");
        }
    }
}

#[tokio::test]
async fn the_same_new_version_in_several_environments_at_once() {
    let world = World::default();
    let engine = world.engine().await;
    let asks: Vec<_> = ["dev", "test", "stage", "prod"]
        .map(|environment| {
            let mut leg = leg("app", "v1", config(Strategy::BlueGreen));
            leg.scope.environment = environment.parse().unwrap();
            deploy(vec![leg])
        })
        .into();
    for answer in futures_util::future::join_all(asks.iter().map(|ask| engine.deploy(ask))).await {
        let id = id_of(answer);
        assert_eq!(end(&engine, &id).await.closed.unwrap().verdict.word(), "succeeded");
    }
}
