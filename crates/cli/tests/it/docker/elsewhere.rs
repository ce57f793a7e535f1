//! Engines that are not on this machine, by TLS and by SSH: what works there, and what is said when it does not.

use super::API;
use super::far::{self, Far};
use crate::it::world::{World, finish, poll, text};
use std::time::{Duration, Instant};

fn image(far: &Far, name: &str, conf: &str) {
    far.engine.image(name, conf, &[]);
}

/// Where an instance of the app is reached.
fn address(world: &World, app: &str) -> String {
    text(&world.status("dev", app)["instances"][0]["address"])
}

/// Deployed, turned back, rolled back, taken down: all that the engine of this machine does.
fn a_life(far: &Far, world: &World, app: &str) {
    let spec = API.replace("NAME", app);
    world.spec(&spec.replace("route: {}", "route: {}\n    instances: 2"));
    image(far, &format!("{app}:v1"), "");
    image(far, &format!("{app}:v2"), "print=two");
    image(far, &format!("{app}:bad"), "print=no such table\nexit=3");
    image(far, &format!("{app}:sick"), "health=500");
    world.ok("deploy --env dev --all --version v1");
    assert_eq!((world.now(app), world.served(app)), ("v1 healthy 2".into(), "v1".into()));
    let bad = world.run("deploy --env dev --all --version bad").code(1);
    assert!(bad.err.contains("exit 3") && bad.err.contains("no such table"), "{}", bad.err);
    assert_eq!((world.now(app), world.served(app)), ("v1 healthy 2".into(), "v1".into()));
    world.ok("deploy --env dev --all --version v2");
    assert_eq!(world.served(app), "v2");
    assert_eq!(far.engine.containers(app).len(), 2, "the old ones are gone");
    let disk = &world.json("disk")["engine"];
    assert!(disk["free_bytes"].is_null(), "what is free here says nothing of there: {disk}");
    let logs = world.ok(&format!("logs --env dev --app {app}")).out;
    assert!(logs.contains("two") && logs.contains("listening on 8080"), "{logs}");
    world.ok(&format!("rollback --env dev --app {app}"));
    assert_eq!(world.served(app), "v1");
    world.spec(&spec.replace("route: {}", "route: {}\n    instances: 2").replace("within: 10s", "within: 1s"));
    let sick = world.run("deploy --env dev --all --version sick").code(1);
    assert!(sick.err.contains("GET /healthz: 500 Internal Server Error (asked at "), "{}", sick.err);
    world.ok(&format!("down --env dev --app {app}"));
    assert_eq!(far.engine.containers(app), Vec::<String>::new());
}

/// Nothing goes to the machine and back while a deployment is under way: it waits and goes on, and nothing is condemned.
fn a_cut(far: &Far, world: &World, app: &str, says: &str) {
    image(far, &format!("{app}:v1"), "");
    // Not healthy at once, so that it is cut off before it is.
    image(far, &format!("{app}:v2"), "health=flaky:10");
    world.ok("deploy --env dev --all --version v1");
    let deploy = world.spawn("deploy --env dev --all --version v2");
    let scope = format!("label=io.deployctl.scope=p/dev/default/{app}");
    poll("a new container that runs", || {
        let running = far.engine.docker(&["ps", "--filter", &scope, "--format", "{{.Names}}"]);
        (running.lines().count() == 2).then_some(())
    });
    far.cut(true);
    let begun = Instant::now();
    let id = world.running();
    poll(says, || text(&world.json(&format!("show {id}"))["waiting"]).contains(says).then_some(()));
    assert_eq!(text(&world.status("dev", app)["health"]), "unknown");
    poll("longer than it may take to be healthy", || (begun.elapsed() > Duration::from_secs(11)).then_some(()));
    far.cut(false);
    finish(deploy).code(0);
    assert_eq!(world.history(app), ["v2 succeeded", "v1 succeeded"]);
    poll("health", || (world.now(app) == "v2 healthy 1").then_some(()));
    poll("an answer", || (world.served(app) == "v2").then_some(()));
    world.ok(&format!("down --env dev --app {app}"));
    assert_eq!(far.engine.containers(app), Vec::<String>::new());
}

#[test]
fn an_engine_by_tls_publishes_ports_on_the_address_that_names_it() {
    let Some(far) = far::shared() else { return };
    let world = far.by_tls("tls", API);
    image(&far, "tls:v0", "");
    world.ok("deploy --env dev --all --version v0");
    assert!(address(&world, "tls").starts_with(&format!("{}:", far.address())), "{}", address(&world, "tls"));
    // Another one after a restart; it is looked at again.
    let before = address(&world, "tls");
    far.engine.docker(&["restart", "-t", "0", &far.engine.containers("tls")[0]]);
    poll("another port", || (address(&world, "tls") != before && address(&world, "tls") != "-").then_some(()));
    poll("an answer", || (world.now("tls") == "v0 healthy 1" && world.served("tls") == "v0").then_some(()));
    a_life(&far, &world, "tls");
}

#[test]
fn an_engine_by_ssh_is_reached_through_ssh_and_so_are_its_containers() {
    let Some(far) = far::shared() else { return };
    let world = far.by_ssh("ssh", API);
    image(&far, "ssh:v0", "");
    world.ok("deploy --env dev --all --version v0");
    assert!(address(&world, "ssh").starts_with("127.0.0.1:"), "{}", address(&world, "ssh"));
    let published =
        far.engine.docker(&["ps", "--filter", "label=io.deployctl.scope=p/dev/default/ssh", "--format", "{{.Ports}}"]);
    assert_eq!(published, "", "nothing of it is open to that machine's network");
    let masters = || {
        world.processes().iter().filter(|(_, args)| args.contains("-N -T -M")).map(|(pid, _)| *pid).collect::<Vec<_>>()
    };
    let [master] = masters()[..] else { panic!("one for all: {:?}", world.processes()) };
    // It goes on when the engine of deployctl does not, and another one goes on with it.
    crate::it::world::kill(world.role("engine")[0], rustix::process::Signal::KILL);
    assert_eq!((world.served("ssh"), world.now("ssh")), ("v0".into(), "v0 healthy 1".into()));
    assert_eq!(masters(), [master]);
    // One that is gone is replaced, by the same ports.
    let before = address(&world, "ssh");
    crate::it::world::kill(master, rustix::process::Signal::KILL);
    poll("another one", || (masters().len() == 1 && masters() != [master]).then_some(()));
    poll("an answer", || (world.now("ssh") == "v0 healthy 1" && world.served("ssh") == "v0").then_some(()));
    assert_eq!(address(&world, "ssh"), before);
    a_life(&far, &world, "ssh");
    poll("its end", || masters().is_empty().then_some(()));
}

#[test]
fn an_engine_by_tls_that_is_cut_off_is_waited_for() {
    let Some(far) = far::alone() else { return };
    a_cut(&far, &far.by_tls("cuttls", API), "cuttls", "the Docker Engine at tcp://");
}

#[test]
fn an_engine_by_ssh_that_is_cut_off_is_waited_for() {
    let Some(far) = far::alone() else { return };
    a_cut(&far, &far.by_ssh("cutssh", API), "cutssh", "the Docker Engine at ssh://");
}

#[test]
fn what_needs_this_machine_is_refused_before_anything_changes() {
    let Some(far) = far::shared() else { return };
    let mut world = far.by_tls("needs", API);
    world.var("KEY", "a-value");
    image(&far, "needs:v1", "");
    let cases = [
        ("secrets: { key: \"env:KEY\" }", "`secrets` are files in this machine's memory"),
        ("volumes: [\"/etc:/data:ro\"]", "`/etc` under `volumes` is a folder of this machine"),
    ];
    for (more, says) in cases {
        world.spec(&API.replace("NAME", "needs").replace("port: 8080", &format!("port: 8080\n    {more}")));
        for command in ["plan", "deploy"] {
            let run = world.run(&format!("{command} --env dev --all --version v1")).code(2);
            assert!(run.last().contains(says), "{}", run.err);
            assert!(run.last().contains("cannot see this machine"), "{}", run.err);
        }
    }
    assert_eq!(world.json("history"), serde_json::json!([]));
    assert_eq!(far.engine.containers("needs"), Vec::<String>::new());
}

#[test]
fn a_context_and_a_build_lead_to_the_same_engine() {
    let Some(far) = far::shared() else { return };
    let build = "port: 8080\n    build: {}";
    let mut world = World::new(&API.replace("NAME", "context").replace("port: 8080", build));
    world.var("DOCKER_CONFIG", world.path("docker-client"));
    world.var("DOCKER_BUILDKIT", "0");
    let docker = format!(
        "host=tcp://{}:2376,ca={f}/ca.pem,cert={f}/cert.pem,key={f}/key.pem",
        far.address(),
        f = far.file("").display()
    );
    let mut create = std::process::Command::new("docker");
    create.args(["context", "create", "far", "--docker", &docker]).env("DOCKER_CONFIG", world.path("docker-client"));
    assert!(create.output().expect("docker").status.success(), "docker context create");
    world.var("DOCKER_CONTEXT", "far");
    image(&far, "contextbase:1", "");
    world.write("p/Dockerfile", "FROM contextbase:1\nLABEL built=here\n");
    world.ok("deploy --env dev --all --version v1 --build-here");
    assert_eq!(world.served("context"), "v1");
    assert_eq!(far.engine.docker(&["image", "inspect", "-f", "{{.Config.Labels.built}}", "context:v1"]), "here");
    // A state stays with its engine, whatever is said later.
    world.var("DOCKER_CONTEXT", "default");
    crate::it::world::kill(world.role("engine")[0], rustix::process::Signal::KILL);
    assert_eq!(world.now("context"), "v1 healthy 1");
    world.ok("down --env dev --app context");
    assert_eq!(far.engine.containers("context"), Vec::<String>::new());
}

#[test]
fn what_is_wrong_with_tls_is_said() {
    let Some(far) = far::shared() else { return };
    let mut world = far.by_tls("faulty", API);
    let host = |world: &mut World, host: &str| world.var("DOCKER_HOST", format!("tcp://{host}"));
    let refused = |world: &World, code: i32, says: &str| {
        let run = world.run("deploy --env dev --all --version v1").code(code);
        assert!(run.last().contains(says), "{}", run.err);
        assert_eq!(world.json("history"), serde_json::json!([]));
        // The next case is another engine, to another state.
        crate::it::world::kill(world.role("engine")[0], rustix::process::Signal::KILL);
        std::fs::remove_dir_all(world.state().join("docker")).expect("its folder");
    };
    let others = far.file("others");
    let ca = others.join("ca.pem");
    world.var("DOCKER_CERT_PATH", &others);
    refused(&world, 3, &format!("its certificate is from nobody in {}", ca.display()));
    std::fs::copy(far.file("ca.pem"), &ca).expect("a copy");
    refused(&world, 3, "it does not take our certificate");
    world.var("DOCKER_CERT_PATH", world.path("no-such-folder"));
    refused(&world, 3, "no-such-folder/ca.pem cannot be used");
    world.var("DOCKER_CERT_PATH", far.file(""));
    host(&mut world, &format!("{}:2377", far.address()));
    refused(&world, 5, "nothing listens there (connection refused)");
    host(&mut world, &format!("{}:2222", far.address()));
    refused(&world, 5, "it does not speak TLS there");
    let cases =
        [("expired.pem", "its certificate expired"), ("nameless.pem", "its certificate is not made out to 10.94.")];
    for (certificate, says) in cases {
        let mut server = far.speaks_tls(certificate, 2378);
        host(&mut world, &format!("{}:2378", far.address()));
        refused(&world, 3, says);
        server.kill().and_then(|()| server.wait()).expect("its end");
    }
    host(&mut world, "no-such-host.invalid:2376");
    refused(&world, 5, "the name `no-such-host.invalid` is not known");
}

#[test]
fn what_is_wrong_with_ssh_is_said() {
    let Some(far) = far::shared() else { return };
    let mut world = far.by_ssh("faulty", API);
    let refused = |world: &World, code: i32, says: &str| {
        let run = world.run("deploy --env dev --all --version v1").code(code);
        assert!(run.last().contains(says), "{}", run.err);
        crate::it::world::kill(world.role("engine")[0], rustix::process::Signal::KILL);
        std::fs::remove_dir_all(world.state().join("docker")).expect("its folder");
    };
    far.as_user(&mut world, "me", "nobody-known");
    refused(&world, 3, &format!("the key of {} is not known, and deployctl says yes to none", far.address()));
    assert!(!far.file("nobody-known").exists(), "nor is it kept");
    let other = std::fs::read_to_string(far.file("other.pub")).expect("a key");
    std::fs::write(far.file("wrongly-known"), format!("[{}]:2222 {other}", far.address())).expect("a file");
    far.as_user(&mut world, "me", "wrongly-known");
    refused(&world, 3, "is another one than the one that is known");
    far.as_user(&mut world, "other", "known");
    refused(&world, 3, &format!("{} lets us not in", far.address()));
    far.as_user(&mut world, "me", "known");
    world.var("DOCKER_HOST", format!("ssh://root@{}:2299", far.address()));
    refused(&world, 5, "Connection refused");
    world.var("DOCKER_HOST", "ssh://no-such-host.invalid");
    refused(&world, 5, "Could not resolve hostname no-such-host.invalid");
    let known = std::fs::read_to_string(far.file("host.pub")).expect("a key");
    std::fs::write(far.file("also-known"), format!("[{}]:2223 {known}", far.address())).expect("a file");
    far.as_user(&mut world, "me", "also-known");
    world.var("DOCKER_HOST", format!("ssh://root@{}:2223", far.address()));
    let cases: [(&[&str], i32, &str); 3] = [
        (&["SetEnv=PATH=/nowhere"], 3, "there is no `docker` on"),
        (&["SetEnv=DOCKER_HOST=unix:///no/such/socket"], 5, "/no/such/socket"),
        (
            &["ForceCommand=echo 'dial unix /s: connect: permission denied' >&2; exit 1"],
            3,
            "root may not use the engine's socket",
        ),
    ];
    for (settings, code, says) in cases {
        far.sshd_with("more.pid", 2223, settings);
        refused(&world, code, says);
        far.end_sshd("more.pid");
        poll("its end", || std::net::TcpStream::connect(format!("{}:2223", far.address())).err());
    }
    world.var("PATH", "/nowhere");
    refused(&world, 5, "`ssh` cannot be run here");
}

#[test]
fn a_server_of_ssh_that_passes_nothing_on_is_said_and_condemns_nothing() {
    let Some(far) = far::shared() else { return };
    let mut world = far.by_ssh("closed", API);
    image(&far, "closed:v1", "");
    let known = std::fs::read_to_string(far.file("host.pub")).expect("a key");
    std::fs::write(far.file("closed-known"), format!("[{}]:2224 {known}", far.address())).expect("a file");
    far.as_user(&mut world, "me", "closed-known");
    world.var("DOCKER_HOST", format!("ssh://root@{}:2224", far.address()));
    far.sshd_with("closed.pid", 2224, &["AllowTcpForwarding=no"]);
    let deploy = world.spawn("deploy --env dev --all --version v1");
    let id = world.running();
    let says = "passes no connections on";
    poll(says, || world.ok(&format!("show {id}")).out.contains(says).then_some(()));
    far.end_sshd("closed.pid");
    poll("its end", || std::net::TcpStream::connect(format!("{}:2224", far.address())).err());
    far.sshd_with("closed.pid", 2224, &[]);
    finish(deploy).code(0);
    assert_eq!(world.served("closed"), "v1");
    world.ok("down --env dev --app closed");
    far.end_sshd("closed.pid");
}
