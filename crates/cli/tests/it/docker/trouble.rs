//! Trouble of the engine, and what others do to it.

use super::{API, engine, world};
use crate::it::world::{World, finish, kill, poll, text};
use rustix::process::Signal;

/// What a deployment waits for, as `show` says it.
fn waits_for(world: &World, what: &str) {
    let id = world.running();
    poll(what, || {
        let waiting = text(&world.json(&format!("show {id}"))["waiting"]);
        waiting.contains(what).then_some(())
    });
}

#[test]
fn a_docker_engine_that_stands_still_is_waited_for() {
    let Some(engine) = engine::alone() else { return };
    let world = world(&engine, "still", &API.replace("route: {}", "route: {}\n    instances: 2"));
    engine.image("still:v1", "", &[]);
    engine.image("still:v2", "", &[]);
    world.ok("deploy --env dev --all --version v1");
    let before = engine.containers("still");
    let deploy = world.spawn("deploy --env dev --all --version v2");
    poll("a new container", || engine.containers("still").iter().any(|name| !before.contains(name)).then_some(()));
    engine.signal(Signal::STOP);
    waits_for(&world, "does not answer within 10 s");
    assert_eq!(text(&world.status("dev", "still")["health"]), "unknown");
    assert_eq!(world.served("still"), "v1", "traffic goes on");
    engine.signal(Signal::CONT);
    let done = finish(deploy).code(0);
    assert!(done.err.contains("the Docker Engine at"), "{}", done.err);
    assert_eq!(world.now("still"), "v2 healthy 2");
    world.ok("down --env dev --app still");
}

#[test]
fn a_docker_engine_that_is_restarted_is_waited_for() {
    let Some(engine) = engine::alone() else { return };
    let world = world(&engine, "again", API);
    engine.image("again:v1", "", &[]);
    engine.image("again:v2", "", &[]);
    world.ok("deploy --env dev --all --version v1");
    let before = engine.containers("again");
    let deploy = world.spawn("deploy --env dev --all --version v2");
    poll("a new container", || engine.containers("again").iter().any(|name| !before.contains(name)).then_some(()));
    engine.restart();
    finish(deploy).code(0);
    assert_eq!(world.history("again"), ["v2 succeeded", "v1 succeeded"]);
    poll("health", || (world.now("again") == "v2 healthy 1").then_some(()));
    poll("an answer", || (world.served("again") == "v2").then_some(()));
    // Nothing but the restart policy, and nobody to ask for it.
    engine.restart();
    poll("health", || (world.now("again") == "v2 healthy 1").then_some(()));
    world.ok("down --env dev --app again");
}

#[test]
fn after_a_reboot_secrets_are_back_in_memory() {
    let Some(engine) = engine::alone() else { return };
    let spec = API.replace("port: 8080", "port: 8080\n    secrets: { key: \"env:KEY\" }");
    let mut world = world(&engine, "reboot", &spec);
    engine.image("reboot:v1", "", &[]);
    world.var("KEY", "a-value");
    world.ok("deploy --env dev --all --version v1");
    let state = engine.containers("reboot")[0].rsplit_once('.').expect("the state's mark").1.to_owned();
    // As it is when the machine comes up: nobody of us runs, memory is empty, and the engine tries what it ran.
    kill(world.role("engine")[0], Signal::KILL);
    engine.down();
    std::fs::remove_dir_all(format!("/dev/shm/deployctl-{state}")).expect("the secrets");
    engine.up();
    poll("health", || (world.now("reboot") == "v1 healthy 1").then_some(()));
    let get = |path: &str| crate::it::http::get(&format!("{}{path}", world.url("dev", "reboot"))).body;
    poll("the secret", || (get("/secret/key") == "a-value").then_some(()));
    world.ok("down --env dev --app reboot");
}

#[test]
fn an_engine_that_is_away_refuses_what_begins_and_changes_nothing() {
    let Some(engine) = engine::shared() else { return };
    let mut world = world(&engine, "away", API);
    world.var("DOCKER_HOST", format!("unix://{}", world.path("no").display()));
    let run = world.run("deploy --env dev --all --version v1").code(5);
    assert!(run.last().starts_with("error[target-unreachable]: "), "{}", run.err);
    assert!(run.last().contains("cannot be reached: there is no socket"), "{}", run.err);
    assert!(run.err.contains("systemctl start docker"), "{}", run.err);
    assert_eq!(world.json("history"), serde_json::json!([]));
    let other = self::world(&engine, "away", API);
    let mut other = other;
    other.var("DOCKER_HOST", "tcp://10.0.0.5:2375");
    let run = other.run("deploy --env dev --all --version v1").code(2);
    assert!(run.last().contains("DOCKER_HOST is `tcp://10.0.0.5:2375`: without TLS"), "{}", run.err);
}

#[test]
fn an_image_that_others_removed_is_said_before_anything_changes() {
    let Some(engine) = engine::shared() else { return };
    let world = world(&engine, "pruned", &API.replace("port: 8080", "port: 8080\n    strategy: recreate"));
    engine.image("pruned:v1", "", &[]);
    engine.image("pruned:v2", "print=two", &[]);
    world.ok("deploy --env dev --all --version v1");
    world.ok("deploy --env dev --all --version v2");
    let before = engine.containers("pruned");
    engine.docker(&["rmi", "-f", "pruned:v1"]);
    let run = world.run("rollback --env dev --app pruned").code(3);
    assert!(run.last().contains("pruned cannot go back to v1: what it runs is not kept any more"), "{}", run.err);
    // Whether it is in the registry of names without a host depends on where this runs.
    let run = world.run("deploy --env dev --all --version v1");
    assert!(run.code != 0 && run.last().contains("the image pruned:v1 cannot be had"), "{}", run.err);
    assert_eq!(engine.containers("pruned"), before);
    assert_eq!(world.now("pruned"), "v2 healthy 1");
    world.ok("down --env dev --app pruned");
}

#[test]
fn a_version_is_one_image_for_good() {
    let Some(engine) = engine::shared() else { return };
    let world = world(&engine, "moving", API);
    engine.image("moving:v1", "", &[]);
    world.ok("deploy --env dev --all --version v1");
    engine.image("moving:v1", "print=other", &[]);
    world.fails(2, "deploy --env dev --all --version v1", "v1");
    assert_eq!(world.now("moving"), "v1 healthy 1");
    world.ok("down --env dev --app moving");
}

#[test]
fn two_states_on_one_engine_do_not_meet() {
    let Some(engine) = engine::shared() else { return };
    let one = world(&engine, "twice", API);
    let two = world(&engine, "twice", API);
    engine.image("twice:v1", "", &[]);
    engine.image("twice:v2", "", &[]);
    one.ok("deploy --env dev --all --version v1");
    two.ok("deploy --env dev --all --version v2");
    assert_eq!((one.served("twice"), two.served("twice")), ("v1".into(), "v2".into()));
    assert_eq!(engine.containers("twice").len(), 2);
    two.ok("down --env dev --all");
    assert_eq!(one.now("twice"), "v1 healthy 1");
    let spec = API.replace("NAME", "twice").replace("port: 8080", "port: 8080\n    volumes: [\"data:/data\"]");
    one.spec(&spec);
    two.spec(&spec);
    one.ok("deploy --env dev --all --version v2");
    let run = two.run("deploy --env dev --all --version v2").code(1);
    let clash = "there is a volume p_dev_default_twice_data that this state of deployctl did not make";
    assert!(run.err.contains(clash), "{}", run.err);
    assert_eq!(one.now("twice"), "v2 healthy 1");
    one.ok("down --env dev --all");
}

#[test]
fn what_a_container_lacks_is_said_and_what_ran_stays() {
    let Some(engine) = engine::shared() else { return };
    let world = world(&engine, "lacks", API);
    engine.image("lacks:v1", "", &[]);
    engine.image("lacks:v2", "", &[]);
    world.ok("deploy --env dev --all --version v1");
    let cases = [
        ("networks: [nowhere]", "network nowhere not found"),
        ("networks: [bridge, nowhere]", "network nowhere not found"),
        ("volumes: [\"/no/such/folder:/data:ro\"]", "/no/such/folder"),
        ("user: nobody-at-all", "nobody-at-all"),
        ("command: [/no/such/program]", "\"/no/such/program\""),
        ("capabilities: { add: [NO_SUCH] }", "NO_SUCH"),
    ];
    for (more, says) in cases {
        world.spec(&API.replace("NAME", "lacks").replace("port: 8080", &format!("port: 8080\n    {more}")));
        let run = world.run("deploy --env dev --all --version v2").code(1);
        assert!(run.err.contains(says), "{more}: {}", run.err);
        assert_eq!(world.now("lacks"), "v1 healthy 1", "{more}");
        assert_eq!(engine.containers("lacks").len(), 1, "{more}");
    }
    world.ok("down --env dev --app lacks");
}

#[test]
fn what_was_changed_by_hand_is_shown_and_replaced_by_the_next_deployment() {
    let Some(engine) = engine::shared() else { return };
    let world = world(&engine, "edited", &API.replace("port: 8080", "port: 8080\n    limits: { memory: 512MiB }"));
    engine.image("edited:v1", "", &[]);
    engine.docker(&["network", "create", "other"]);
    world.ok("deploy --env dev --all --version v1");
    let edits: [(&[&str], &str); 4] = [
        (&["update", "--memory", "300m", "--memory-swap", "600m"], "its memory limit is 300 MiB, not 512 MiB"),
        (&["update", "--restart", "no"], "its restart policy is `no`, not `unless-stopped`"),
        (&["network", "connect", "other"], "it was connected to the network other"),
        (&["rename"], "it was renamed to by-hand"),
    ];
    for (edit, says) in edits {
        let name = engine.containers("edited")[0].clone();
        let last: &[&str] = if edit == ["rename"] { &["by-hand"] } else { &[] };
        engine.docker(&[edit, &[name.as_str()], last].concat());
        let status = poll(says, || {
            let status = world.status("dev", "edited");
            text(&status["instances"][0]["drift"]).contains(says).then_some(status)
        });
        assert!(text(&status["detail"]).contains("was changed by hand"), "{status}");
        assert_eq!(text(&status["health"]), "healthy", "it goes on");
        world.ok("deploy --env dev --all --version v1");
        let status = world.status("dev", "edited");
        assert_eq!((text(&status["instances"][0]["drift"]), text(&status["detail"])), ("-".into(), "-".into()));
        assert_ne!(text(&status["instances"][0]["container"]), name);
        assert_eq!(engine.containers("edited").len(), 1);
    }
    let nothing = world.ok("deploy --env dev --all --version v1");
    assert!(nothing.err.contains("nothing was changed"), "{}", nothing.err);
    world.ok("down --env dev --app edited");
    engine.docker(&["network", "rm", "other"]);
}

#[test]
fn a_full_disk_is_waited_for() {
    let Some(engine) = engine::alone() else { return };
    let world = world(&engine, "full", API);
    engine.image("full:v1", "", &[]);
    engine.image("full:v2", "", &[]);
    world.ok("deploy --env dev --all --version v1");
    let filler = engine.containers_folder().join("filler");
    let mut file = std::fs::File::create(&filler).expect("a file");
    // A small file system of its own: were it not, this must not fill the machine's.
    let is_full = (0..32 * 1024).any(|_| std::io::Write::write_all(&mut file, &[1; 4096]).is_err());
    if !is_full {
        std::fs::remove_file(&filler).expect("the file");
        panic!("{} is on no small file system of its own", engine.containers_folder().display());
    }
    drop(file);
    let deploy = world.spawn("deploy --env dev --all --version v2");
    waits_for(&world, "cannot be made: no space left on device");
    assert_eq!(world.served("full"), "v1");
    std::fs::remove_file(&filler).expect("the file");
    finish(deploy).code(0);
    assert_eq!(world.now("full"), "v2 healthy 1");
    world.ok("down --env dev --app full");
}
