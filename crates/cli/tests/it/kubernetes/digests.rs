//! Images of a real registry: pinned when a release is made, and pulled by the node by what they were then.

use super::cluster::shared;
use super::{SPEC, image, settles, world};
use deployctl_live::kube::packed;
use deployctl_live::registry::Registry;

#[test]
fn kube_tags_are_pinned_to_digests_and_a_version_is_one_image_for_good() {
    let Some(cluster) = shared() else { return };
    let Some(mut registry) = Registry::open() else { return };
    cluster.0.mirror(registry.address()).expect("a way to the registry");
    let world = world(&cluster, "pinned");
    let name = format!("{}/web", registry.address());
    let spec = SPEC.replace("NAME", "pinned").replace("    pin_tags: false\n", "").replace("deployctl.test/web", &name);
    world.spec(&spec);
    let pod = cluster.0.programs().pod();
    let push = |tag: &str, more: &[(std::path::PathBuf, &str)]| {
        let files = [&[(pod.clone(), "/pod")], more].concat();
        registry.image("web", tag, &packed(&files, &["/pod"]).expect("an image"))
    };
    let first = push("v1", &[]);
    world.ok("deploy --env dev --all --version v1");
    settles(&world, "pinned", "v1 healthy 2");
    assert_eq!(image(&cluster, "pinned"), format!("{name}:v1@{first}"));
    // The tag moves: what it means now is another version's.
    let other = push("v1", &[(pod.clone(), "/other")]);
    assert_ne!(first, other);
    world.fails(2, "deploy --env dev --all --version v1", "[version-changed]");
    let second = push("v2", &[(pod.clone(), "/another")]);
    // What the registry does not have is told before anything changes; what it cannot say is waited for.
    let why = world.fails(2, "deploy --env dev --all --version v404", "[image-missing]");
    assert!(why.err.contains("web:v404"), "{}", why.err);
    registry.down();
    let why = world.fails(5, "deploy --env dev --all --version v2", "[registry-unreachable]");
    assert!(why.err.contains("(asked 5 times)"), "{}", why.err);
    assert_eq!(world.history("pinned"), ["v1 succeeded"]);
    assert_eq!(image(&cluster, "pinned"), format!("{name}:v1@{first}"));
    registry.up();
    world.ok("deploy --env dev --all --version v2");
    assert_eq!(image(&cluster, "pinned"), format!("{name}:v2@{second}"));
    // The way back needs no registry, and knows which image it was.
    registry.down();
    world.ok("rollback --env dev --app pinned");
    assert_eq!(image(&cluster, "pinned"), format!("{name}:v1@{first}"));
    settles(&world, "pinned", "v1 healthy 2");
    world.ok("down --env dev --app pinned");
}
