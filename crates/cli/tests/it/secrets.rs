//! Secrets are references: a value reaches the instance, and nothing else.

use super::API;
use super::http::get;
use super::world::{Ran, World, finish, kill, poll, text};
use rustix::process::Signal;
use std::io::Write;
use std::process::Stdio;

const VALUES: [&str; 3] = ["alpha-of-the-environment", "beta-of-a-file", "gamma-of-the-pipe"];

fn spec() -> String {
    let env = "env: { A: { secret: \"env:A_KEY\" }, B: { secret: \"file:b.key\" }, C: { secret: \"stdin:\" } }";
    API.replace("    route", &format!("    {env}\n    hooks: {{ before: [[sh, -c, 'test -n \"$A\"']] }}\n    route"))
}

/// Runs a command with the third value on its standard input.
fn piped(world: &World, args: &str, value: &str) -> Ran {
    let mut child = world.command(args).stdin(Stdio::piped()).spawn().expect("it starts");
    let mut input = child.stdin.take().expect("its input");
    writeln!(input, "{value}").expect("the value");
    drop(input);
    finish(child)
}

#[test]
fn a_value_reaches_the_instance_and_nothing_else() {
    let mut world = World::new(&spec());
    world.version("v1", "");
    world.fails(
        2,
        "deploy --env dev --app api --version v1",
        "[secret-missing]: the secret `env:A_KEY` cannot be read",
    );
    world.var("A_KEY", VALUES[0]);
    world
        .fails(
            2,
            "deploy --env dev --app api --version v1",
            "[secret-missing]: the secret `file:b.key` cannot be read: ",
        )
        .says("/p/b.key: No such file");
    world.write("p/b.key", &format!("{}\n", VALUES[1]));
    piped(&world, "deploy --env dev --app api --version v1", VALUES[2]).code(0);
    let url = world.url("dev", "api");
    for (name, value) in ["A", "B", "C"].iter().zip(VALUES) {
        assert_eq!(get(&format!("{url}/env/{name}")).body, value);
    }
    piped(&world, "deploy --env dev --app api --version v1", VALUES[2]).code(0).says("it is current and healthy");
    let plan = format!("plan --env dev --app api --version v1 --out {}", world.path("plan").display());
    piped(&world, &plan, "another").code(0);

    for pid in ["engine", "shim", "proxy"].iter().flat_map(|role| world.role(role)) {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).expect("its environment");
        let environment = String::from_utf8_lossy(&environment).into_owned();
        assert!(!VALUES.iter().any(|value| environment.contains(value)), "{pid} carries a secret in its environment");
    }
    let id = world.newest();
    let shown = [
        world.ok(&format!("show {id} --output json")).out,
        world.ok(&format!("show {id}")).out,
        world.ok("audit --output json --limit 10000").out,
        world.ok("logs --env dev --app api").out,
        world.read("plan"),
        world.processes().into_iter().map(|(_, args)| args + "\n").collect(),
    ];
    for text in shown {
        assert!(!VALUES.iter().any(|value| text.contains(value)), "a secret is shown in {text}");
    }
    for (path, bytes) in world.state_files() {
        let found = VALUES.iter().find(|value| bytes.windows(value.len()).any(|window| window == value.as_bytes()));
        assert_eq!(found, None, "a secret rests in {}", path.display());
    }
}

#[test]
fn a_restart_needs_no_source_and_another_value_is_another_release() {
    let mut world = World::new(&API.replace("    route", "    env: { A: { secret: \"env:A_KEY\" } }\n    route"));
    world.version("v1", "");
    world.var("A_KEY", "first");
    world.ok("deploy --env dev --app api --version v1");
    let value = |world: &World| get(&format!("{}/env/A", world.url("dev", "api"))).body;
    assert_eq!(value(&world), "first");
    world.var("A_KEY", "second");
    world.ok("deploy --env dev --app api --version v1").says("succeeded: deploy api v1 -> v1");
    assert_eq!(value(&world), "second");
    let changed = world.ok(&format!("diff {} {}", world.newest(), text(&world.json("history")[1]["id"]))).out;
    assert!(changed.starts_with("secrets.env:A_KEY: "), "{changed}");

    world.var("A_KEY", "");
    for (pid, _) in world.processes() {
        kill(pid, Signal::KILL);
    }
    poll("everything to come back", || (world.now("api") == "v1 healthy 1" && value(&world) == "second").then_some(()));
    world.ok("rollback --env dev --app api");
    assert_eq!(value(&world), "first", "from what is sealed with the older release");
    world.ok("restart --env dev --app api");
    assert_eq!(value(&world), "first");
}

#[test]
fn a_terminal_is_no_source() {
    let world = World::new(&API.replace("    route", "    env: { C: { secret: \"stdin:\" } }\n    route"));
    world.version("v1", "");
    let (_controller, terminal) = super::terminal::open();
    let child = world.command("deploy --env dev --app api --version v1").stdin(terminal).spawn().expect("it starts");
    finish(child).code(2).says("standard input is a terminal; pipe the value in");
    assert_eq!(world.json("history").as_array().map(Vec::len), Some(0));
}

#[test]
fn a_project_in_another_folder_is_the_same_release() {
    let spec = API.replace("    route", "    env: { B: { secret: \"file:keys/b.key\" } }\n    route");
    let world = World::new(&spec);
    world.version("v1", "");
    world.write("p/keys/b.key", "the value\n");
    world.ok("deploy --env dev --app api --version v1");
    for file in ["deployctl.yaml", "dist/v1/app.conf", "keys/b.key"] {
        world.write(&format!("q/{file}"), &world.read(&format!("p/{file}")));
    }
    let elsewhere = format!("deploy --env dev --app api --version v1 --project {}", world.path("q").display());
    world.ok(&elsewhere).says("it is current and healthy already");
    world.write("q/keys/b.key", "another value\n");
    world.ok(&elsewhere).says("succeeded: deploy api v1 -> v1");
    assert_eq!(get(&format!("{}/env/B", world.url("dev", "api"))).body, "another value", "read where the project is");
    let changed = world.ok(&format!("diff {} {}", world.newest(), text(&world.json("history")[1]["id"]))).out;
    assert!(changed.starts_with("secrets.file:keys/b.key: "), "{changed}");
}
