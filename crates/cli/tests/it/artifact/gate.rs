//! A version whose image must be signed.

use crate::it::docker::engine;
use crate::it::world::World;
use deployctl_live::registry::Registry;
use deployctl_live::registry::signer::Signer;

const API: &str = r#"
project: p
environments: { dev: {}, prod: { after: dev } }
apps:
  NAME:
    target: docker
    image: "HOST/NAME:{{ version }}"
    port: 8080
    route: {}
    health: { http: /healthz, within: 10s, interval: 200ms }
    drain: 1s
    verify: { key: cosign.pub }
"#;

fn world(engine: &engine::Engine, registry: &Registry, name: &str, spec: &str) -> World {
    let mut world = World::new(&spec.replace("NAME", name).replace("HOST", registry.address()));
    world.var("DOCKER_HOST", engine.socket());
    world
}

/// Pushes an image of the test server: its digest.
fn push(engine: &engine::Engine, registry: &Registry, name: &str, version: &str) -> String {
    let image = format!("{}/{name}:{version}", registry.address());
    engine.image(&image, &format!("print={version}"), &[]);
    engine.docker(&["push", &image]);
    engine.docker(&["rmi", &image]);
    let accept = "application/vnd.docker.distribution.manifest.v2+json";
    deployctl_live::registry::digest_of(&registry.manifest_as(name, version, accept).1)
}

#[test]
fn only_what_is_signed_is_taken_in() {
    let (Some(engine), Some(registry)) = (engine::shared(), Registry::open()) else { return };
    let world = world(&engine, &registry, "gated", API);
    let (signer, other) = (Signer::p256(), Signer::p256());
    let deploy = "deploy --env dev --all --version";
    let v1 = push(&engine, &registry, "gated", "v1");
    world.fails(2, &format!("{deploy} v1"), "error[key-unusable]: the key with which gated must be signed");
    world.write("p/cosign.pub", "no key");
    world.fails(2, &format!("{deploy} v1"), "there is no PUBLIC KEY in PEM in it");
    world.write("p/cosign.pub", &signer.pem);
    let says = format!("nobody with this key signed {}/gated@{v1}: it has no signature", registry.address());
    world.fails(3, &format!("{deploy} v1"), &says);
    assert_eq!(engine.containers("gated"), Vec::<String>::new(), "nothing began");
    signer.sign(&registry, "gated", &v1);
    world.ok(&format!("{deploy} v1"));
    assert_eq!(world.served("gated"), "v1");
    let v2 = push(&engine, &registry, "gated", "v2");
    other.sign(&registry, "gated", &v2);
    let refused = world.fails(3, &format!("{deploy} v2"), "one is of another key, or was altered");
    assert!(
        refused.last().starts_with("error[not-signed]: no artifact for gated v2: nobody with this key signed "),
        "{}",
        refused.last()
    );
    assert_eq!((world.served("gated"), world.history("gated").len()), ("v1".into(), 1));
    // The signature of a known version is looked for again, and it is gone.
    world.write("p/cosign.pub", &other.pem);
    world.fails(3, &format!("{deploy} v1"), "one is of another key, or was altered");
    world.ok("down --env dev --app gated");
}

#[test]
fn a_promotion_is_checked_where_it_goes() {
    let (Some(engine), Some(registry)) = (engine::shared(), Registry::open()) else { return };
    let spec = API.replace("    verify: { key: cosign.pub }", "    in: { prod: { verify: { key: cosign.pub } } }");
    let world = world(&engine, &registry, "raised", &spec);
    let signer = Signer::ed25519();
    world.write("p/cosign.pub", &signer.pem);
    let v1 = push(&engine, &registry, "raised", "v1");
    world.ok("deploy --env dev --all --version v1");
    let promote = "promote --all --from dev --to prod";
    world.fails(3, promote, "nobody with this key signed");
    // Another image under the tag, signed: the one that was current is meant.
    let moved = push(&engine, &registry, "raised", "v2");
    signer.sign(&registry, "raised", &moved);
    let tag = format!("{}/raised", registry.address());
    world.ok(&format!("artifact promote {tag}@{moved} :v1 --replace --only-image"));
    world.fails(3, promote, &format!("nobody with this key signed {tag}@{v1}"));
    signer.sign(&registry, "raised", &v1);
    world.ok(promote);
    world.ok("down --env dev --all");
    world.ok("down --env prod --all");
}
