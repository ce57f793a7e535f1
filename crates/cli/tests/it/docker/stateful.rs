//! What an image says of its own health, and what holds for those who keep data.

use super::{API, engine, world};
use crate::it::world::poll;

/// What the engine tells of the containers of an app since then: `start` and `die`, in order.
fn lives(engine: &super::Engine, app: &str, since: &str) -> Vec<String> {
    let scope = format!("label=io.deployctl.scope=p/dev/default/{app}");
    let instances = "label=io.deployctl.kind=instance";
    let filters = ["--filter", &scope, "--filter", instances, "--filter", "event=start", "--filter", "event=die"];
    let window = ["events", "--since", since, "--until", "0s", "--format", "{{.Action}}"];
    engine.docker(&[&window[..], &filters].concat()).lines().map(str::to_owned).collect()
}

#[test]
fn an_image_says_itself_whether_it_is_healthy() {
    let Some(engine) = engine::shared() else { return };
    let spec = API.replace("    health: { http: /healthz, within: 10s, interval: 200ms }\n", "");
    let world = world(&engine, "own", &spec);
    let check = |test: &str| format!("HEALTHCHECK --interval=200ms --retries=2 CMD [\"/bin/sh\", \"-c\", \"{test}\"]");
    engine.image("own:well", "", &[&check("exit 0")]);
    engine.image("own:sick", "print=last words", &[&check("echo too hot; exit 1")]);
    engine.image("own:turns", "", &[&check("[ ! -e /etc/sick ]")]);
    world.ok("deploy --env dev --all --version well");
    assert_eq!(world.now("own"), "well healthy 1");
    let sick = world.run("deploy --env dev --all --version sick").code(1);
    for says in ["the image's health check: too hot", "last words"] {
        assert!(sick.err.contains(says), "{}", sick.err);
    }
    assert_eq!(world.now("own"), "well healthy 1");
    world.ok("deploy --env dev --all --version turns");
    engine.docker(&["exec", &engine.containers("own")[0], "/bin/sh", "-c", ": > /etc/sick"]);
    poll("sickness", || (world.now("own") == "turns down 1").then_some(()));
    // What the specification says goes before what the image says.
    world.spec(&API.replace("NAME", "own"));
    world.ok("deploy --env dev --all --version sick");
    assert_eq!(world.now("own"), "sick healthy 1");
    world.ok("down --env dev --app own");
}

#[test]
fn who_keeps_data_is_never_there_twice_and_its_volumes_stay() {
    let Some(engine) = engine::shared() else { return };
    let more = "port: 8080\n    volumes: [\"data:/data\"]\n    hooks: { before: [[/app, job]] }";
    let world = world(&engine, "keeps", &API.replace("port: 8080", more));
    engine.image("keeps:v1", "", &["VOLUME /more"]);
    engine.image("keeps:v2", "exit=4", &["VOLUME /more"]);
    engine.image("keeps:v3", "", &["VOLUME /more"]);
    let since = engine.docker(&["info", "-f", "{{.SystemTime}}"]);
    let volumes = || {
        let all = engine.docker(&["volume", "ls", "-q"]);
        all.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>()
    };
    world.ok("deploy --env dev --all --version v1");
    let name = engine.containers("keeps")[0].clone();
    let mounts = engine.docker(&["inspect", "-f", "{{range .Mounts}}{{.Name}} {{end}}", &name]);
    let jobs = || {
        let path = engine.docker(&["volume", "inspect", "-f", "{{.Mountpoint}}", "p_dev_default_keeps_data"]);
        std::fs::read_to_string(format!("{path}/jobs")).expect("the volume").lines().count()
    };
    world.run("deploy --env dev --all --version v2").code(1);
    assert_eq!(world.now("keeps"), "v1 healthy 1");
    world.ok("deploy --env dev --all --version v3");
    world.ok("rollback --env dev --app keeps");
    world.ok("restart --env dev --app keeps");
    world.ok("down --env dev --app keeps");
    assert_eq!(jobs(), 3, "one hook for each deploy");
    let left = volumes();
    assert_eq!(mounts.split_whitespace().count(), 2);
    assert!(mounts.split_whitespace().all(|volume| left.contains(volume)), "{mounts}: {left:?}");
    let instances = lives(&engine, "keeps", &since);
    // The engine gives what happened until the last full second.
    let alternate = instances.chunks(2).all(|pair| pair == ["start", "die"] || pair == ["start"]);
    assert!(instances.len() >= 10 && alternate, "two were there at once: {instances:?}");
}
