//! Ports of instances.

use crate::world::*;
use deployctl_core::config::*;
use deployctl_core::instance::*;
use deployctl_core::time::Span;

#[tokio::test]
async fn the_address_of_a_recreate_app_outlives_its_instances() {
    let world = World::new();
    let node = world.node();
    let mut app = App::server("db");
    app.config.strategy = Strategy::Recreate;
    let spec = app.instance(0);
    let address = node.stable_address(&spec.scope).await.unwrap();
    node.start(&spec, FENCE).await.unwrap();
    assert_eq!(until_ready(&node, &spec).await.address, Some(address.clone()));
    node.stop(&spec.scope, &spec.id, Span::secs(5), FENCE).await.unwrap();
    until_gone(&node, &spec).await;
    node.forget(&spec.scope, &spec.id, FENCE).await.unwrap();
    app.process.env.insert("NEW".into(), EnvValue::Text(text("release")));
    let next = app.instance(0);
    assert_ne!(next.id, spec.id);
    drop(node);
    let node = world.node();
    node.start(&next, FENCE).await.unwrap();
    assert_eq!(until_ready(&node, &next).await.address, Some(address));
}

#[tokio::test]
async fn a_stable_port_that_somebody_took_is_a_clear_failure() {
    let world = World::new();
    let node = world.node();
    let mut app = App::server("db");
    app.config.strategy = Strategy::Recreate;
    let spec = app.instance(0);
    let address = node.stable_address(&spec.scope).await.unwrap();
    let _taker = std::net::TcpListener::bind(&address).unwrap();
    node.start(&spec, FENCE).await.unwrap();
    let (reason, _) = until_failed(&node, &spec).await;
    let port = address.rsplit_once(':').unwrap().1;
    assert!(reason.starts_with(&format!("port {port} is taken by pid {} (", std::process::id())), "{reason}");
}

#[tokio::test]
async fn many_instances_have_a_port_each_outside_the_ephemeral_range() {
    let world = World::new();
    let node = world.node();
    let app = App::server("api");
    let specs: Vec<InstanceSpec> = (0..6).map(|slot| app.instance(slot)).collect();
    let starts = specs.iter().map(|spec| node.start(spec, FENCE));
    for started in futures_util::future::join_all(starts).await {
        started.unwrap();
    }
    let mut ports = std::collections::BTreeSet::new();
    for spec in &specs {
        let address = until_ready(&node, spec).await.address.unwrap();
        ports.insert(address.rsplit_once(':').unwrap().1.parse::<u16>().unwrap());
    }
    assert_eq!(ports.len(), 6);
    assert!(ports.iter().all(|port| *port < 32_768), "{ports:?}");
}
