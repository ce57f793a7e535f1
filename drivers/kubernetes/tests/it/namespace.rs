//! A namespace that comes with its app, data that goes when it is told, and pods that are made anew; cut off at every change.

use crate::server::Dies;
use crate::sides::{Has, World, is_through, run, scope};
use deployctl_core::config::{Amount, ManifestObject, Strategy, TargetConfig};
use deployctl_core::desired::{Desired, Waypoint};
use deployctl_core::driver::{Driver, Step, Way};
use deployctl_core::fault::Retry;
use deployctl_core::id::Fence;
use deployctl_core::strategy::{Goal, path, path_down};
use serde_json::{Value, json};

/// Far more than any walk takes.
const STEPS_MAX: usize = 100;

fn world() -> World {
    let mut world =
        World::new(&Strategy::Rolling { surge: Amount::Count(1), unavailable: Amount::Count(0) }, Has::Deployment);
    world.server.store().is_bare = true;
    for release in &mut world.releases {
        let TargetConfig::Kubernetes(config) = &mut release.config.target else { panic!("a cluster") };
        let more = [
            json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "data" }, "spec": {} }),
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop", "labels": { "team": "x" } } }),
        ];
        config.objects.extend(more.map(|object| ManifestObject { from: "more.yaml:1".into(), object }));
    }
    world
}

async fn walk(world: &mut World, path: &[Waypoint], way: &Way) {
    let mut driver = world.driver();
    for waypoint in path {
        for step in 0.. {
            assert!(step < STEPS_MAX, "it is not reached: {:#?}", world.server.store().objects);
            match driver.converge(&scope(), waypoint, &Way { fence: Fence(world.fence), ..way.clone() }).await {
                Ok(Step::Done) if is_through(&driver, waypoint).await => break,
                Ok(_) => {}
                Err(fault) => {
                    assert_ne!(fault.retry, Retry::Never, "{fault}");
                    (driver, world.fence) = (world.driver(), world.fence + 1);
                }
            }
        }
    }
}

/// Does it, cut off at every change once, and looks at what came of it each time.
fn at_every_change(act: impl AsyncFn(&mut World), looks: impl Fn(&World)) {
    let mut cuts = vec![None];
    let mut at = 1;
    while let Some(dies) = cuts.pop() {
        let mut world = world();
        run(async {
            world.server.store().dies = dies;
            act(&mut world).await;
        });
        looks(&world);
        if world.server.store().writes >= at && at < 60 {
            cuts.extend([Some(Dies::After(at)), Some(Dies::Before(at))]);
            at += 1;
        }
    }
    assert!(at > 8, "there was too little to be cut off at");
}

async fn up(world: &mut World) -> Vec<Waypoint> {
    let first = world.path(&Desired::nothing(), 0, true);
    walk(world, &first, &Way::default()).await;
    first
}

#[test]
fn the_namespace_is_made_before_anything_else() {
    at_every_change(
        async |world| drop(up(world).await),
        |world| {
            let space = world.server.get("/namespaces/shop").unwrap();
            assert_eq!(space["metadata"]["labels"]["team"], "x", "what the manifest says is applied");
            assert!(space["metadata"]["annotations"]["deployctl.io/made-for"].is_string(), "{space}");
            assert!(world.server.get("deployments/web").is_some());
        },
    );
}

#[test]
fn data_goes_when_it_is_told_and_the_namespace_with_it() {
    at_every_change(
        async |world| {
            let first = up(world).await;
            let way = Way { delete_data: true, ..Way::default() };
            walk(world, &path_down(&first[0].desired), &way).await;
        },
        |world| assert_eq!(world.server.store().objects.len(), 0, "{:#?}", world.server.store().objects),
    );
    // Not told, it stays, and can be told later, unless somebody else has something there.
    let mut world = world();
    run(async {
        let first = up(&mut world).await;
        walk(&mut world, &path_down(&first[0].desired), &Way::default()).await;
        assert!(
            world.server.get("persistentvolumeclaims/data").is_some() && world.server.get("deployments/web").is_none()
        );
        let lines = |deletes: bool| {
            let driver = world.driver();
            async move { driver.data(&scope(), deletes).await }
        };
        let said = lines(false).await.unwrap().unwrap();
        assert!(said.iter().all(|one| !one.goes && one.line.ends_with("only --delete-data deletes it")), "{said:?}");
        let theirs = json!({ "metadata": { "name": "theirs" } });
        world.server.store().objects.insert("/api/v1/namespaces/shop/configmaps/theirs".into(), theirs);
        let down = path_down(&Desired::nothing());
        let way = Way { delete_data: true, ..Way::default() };
        walk(&mut world, &down, &way).await;
        assert!(world.server.get("persistentvolumeclaims/data").is_none());
        assert!(world.server.get("configmaps/theirs").is_some() && world.server.get("/namespaces/shop").is_some());
        world.server.store().objects.remove("/api/v1/namespaces/shop/configmaps/theirs");
        walk(&mut world, &down, &way).await;
        assert_eq!(world.server.store().objects.len(), 0);
    });
}

#[test]
fn a_restart_changes_templates_once_and_its_way_back_changes_them_back() {
    let mark = |world: &World| {
        let web = world.server.get("deployments/web").unwrap();
        web["spec"]["template"]["metadata"]["annotations"]["deployctl.io/restarted"].clone()
    };
    let mut world = world();
    run(async {
        let first = up(&mut world).await;
        assert_eq!(mark(&world), Value::Null);
        let before = world.revision(0);
        let again = deployctl_core::id::Revision { nonce: 1, ..before.clone() };
        let to = |from: &Desired, revision| {
            let config = &world.releases[0].config;
            path(from, &Goal { to: revision, config, tested: false, alone: false })
        };
        let (forth, way) = (to(&first[0].desired, &again), Way { restart: true, ..Way::default() });
        let back = to(&forth[0].desired, &before);
        let other = world.path(&forth[0].desired, 1, true);
        walk(&mut world, &forth, &way).await;
        let marked = mark(&world);
        assert!(marked.is_string());
        walk(&mut world, &forth, &way).await;
        assert_eq!(mark(&world), marked);
        walk(&mut world, &other, &Way::default()).await;
        assert_eq!(mark(&world), marked, "another release keeps it");
        walk(&mut world, &forth, &Way { back: true, ..Way::default() }).await;
        assert_eq!(mark(&world), marked, "and so does the way back from that");
        walk(&mut world, &back, &Way { back: true, ..way }).await;
        assert_eq!(mark(&world), Value::Null, "a restart that is turned back has the pods of before");
    });
}
