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
