//! Versions and their artifacts: one name, one content, from wherever it comes.

use super::API;
use super::world::World;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

/// Runs a tool of the machine in a folder of the world.
fn tool(world: &World, folder: &str, line: &str) {
    let done = Command::new("sh").args(["-c", line]).current_dir(world.path(folder)).output().expect("a shell");
    assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn other_bytes_under_a_known_version_are_refused() {
    let world = World::new(API);
    world.version("v1", "");
    world.ok("deploy --env dev --app api --version v1");
    world.version("v1", "print=changed");
    world.fails(2, "deploy --env dev --app api --version v1", "[version-changed]: api v1 is known as sha256");
    assert_eq!(world.history("api"), ["v1 succeeded"]);
    std::fs::remove_dir_all(world.path("p/dist")).expect("the artifacts are there");
    world.ok("deploy --env dev --app api --version v1").says("it is current and healthy already");
    world.fails(
        2,
        "deploy --env dev --app api --version v2",
        "[artifact-missing]: no artifact for api v2: there is no",
    );
    let pinned = "artifact: { path: \"dist/{{ version }}\", sha256: \"0000000000000000000000000000000000000000000000000000000000000000\" }";
    world.spec(&API.replace("artifact: dist/{{ version }}", pinned));
    world.fails(2, "deploy --env dev --app api --version v1", "but the specification says sha256 000000000000");
    world.version("v1", "");
    world
        .fails(2, "deploy --env dev --app api --version v1", "[artifact-missing]: no artifact for api v1: ")
        .says("expected was 0000000000");
    world.spec(API);
    for version in ["latest", "main", "../v1", "a;b", ""] {
        let ran = super::world::finish(
            world
                .command_of(&["deploy", "--env", "dev", "--app", "api", "--version", version])
                .spawn()
                .expect("starts"),
        );
        assert_eq!(ran.code, 2, "version `{version}`: {}", ran.err);
    }
}

#[test]
fn artifacts_of_every_kind() {
    let each = |artifact: &str| API.replace("artifact: dist/{{ version }}", &format!("artifact: {artifact}"));
    let world = World::new(API);
    world.version("tree", "print=hello");
    tool(
        &world,
        "p/dist/tree",
        "tar czf ../a.tar.gz . && tar c . | zstd -q >../a.tar.zst && zip -qr ../a.zip . && tar cf ../a.tar .",
    );
    for (version, artifact) in
        [("v1", "a.tar.gz"), ("v2", "a.tar.zst"), ("v3", "a.zip"), ("v4", "a.tar"), ("v5", "tree")]
    {
        world.spec(&each(&format!("dist/{artifact}")));
        world.ok(&format!("deploy --env dev --app api --version {version}"));
        assert_eq!(world.served("api"), version);
        assert!(world.ok("logs --env dev --app api").out.contains(" | hello"), "{artifact} is where it runs");
    }
    world.write("p/dist/run", "#!/bin/sh\nexec sleep 1000\n");
    tool(&world, "p/dist", "chmod +x run");
    world.spec(
        "project: p\nenvironments: { dev: {} }\napps: { one: { artifact: dist/run, command: [./run], drain: 1s } }\n",
    );
    world.ok("deploy --env dev --app one --version v1");

    for (name, make) in [
        ("up.tar", "tar cPf up.tar ../dist/tree"),
        ("link.tar", "ln -s /etc/passwd link; tar cf link.tar link"),
        ("cut.tar.gz", "head -c 60 a.tar.gz >cut.tar.gz"),
        ("no.zip", "echo nonsense >no.zip"),
    ] {
        tool(&world, "p/dist", make);
        world.spec(&each(&format!("dist/{name}")));
        world.fails(2, "deploy --env dev --app api --version v9", "[artifact-missing]");
    }
    world.spec(&each(
        "{ path: dist/tree, sha256: \"0000000000000000000000000000000000000000000000000000000000000000\" }",
    ));
    world.fails(2, "deploy --env dev --app api --version v9", "sha256");
    assert_eq!(world.history("api").len(), 5, "nothing was changed by what was refused");
}

#[test]
fn artifacts_over_http() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = server.local_addr().expect("its address");
    let spec = API.replace("dist/{{ version }}", &format!("{{ url: \"http://{address}/{{{{ version }}}}.tar.gz\" }}"));
    let world = World::new(&spec);
    world.version("v1", "");
    tool(&world, "p/dist/v1", "tar czf ../v1.tar.gz .");
    let bytes = std::fs::read(world.path("p/dist/v1.tar.gz")).expect("the archive");
    let serving = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = server.accept().expect("a connection");
            let mut head = [0; 1024];
            let count = stream.read(&mut head).expect("a request");
            let found = String::from_utf8_lossy(&head[..count]).starts_with("GET /v1.tar.gz ");
            let (status, body) = if found { ("200 OK", &bytes[..]) } else { ("404 Not Found", &b""[..]) };
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len())
                .expect("sent");
            stream.write_all(body).expect("sent");
        }
    });
    world.ok("deploy --env dev --app api --version v1");
    assert_eq!(world.served("api"), "v1");
    world.fails(2, "deploy --env dev --app api --version v2", "(404 Not Found)");
    serving.join().expect("the server");
    world.fails(5, "deploy --env dev --app api --version v3", "cannot be fetched").says("nothing was changed");
    world.ok("deploy --env dev --app api --version v1").says("it is current and healthy already");
}

#[test]
fn a_build_runs_in_a_clean_checkout_of_the_revision_and_only_then() {
    let spec = API.replace("    command", "    build: [sh, ./build]\n    command");
    let world = World::new(&spec);
    world.write(
        "p/build",
        "mkdir -p dist/$DEPLOYCTL_VERSION && cp source dist/$DEPLOYCTL_VERSION/app.conf && echo built",
    );
    world.write("p/source", "print=one\n");
    world.fails(2, "deploy --env dev --app api --version v1", "[no-revision]: api v1 is unknown, and");
    let git = "git -c user.name=t -c user.email=t@t -c init.defaultBranch=trunk";
    tool(
        &world,
        "p",
        &format!("{git} init -q && {git} add build source deployctl.yaml && {git} commit -qm one && git tag v1"),
    );
    world.write("p/source", "print=two\n");
    world.fails(
        2,
        "deploy --env dev --app api --version v1",
        "[local-changes]: api v1 is unknown, and the working tree has",
    );
    tool(&world, "p", &format!("{git} commit -qam two && git tag v2"));
    world.fails(2, "deploy --env dev --app api --version v7", "[no-revision]: api v7 is unknown, and no tag");
    let first = world.ok("deploy --env dev --app api --version v1");
    assert!(first.err.contains("api: building v1"), "{}", first.err);
    assert!(world.ok("logs --env dev --app api").out.contains(" | one"), "the revision's source, not the newest");
    world.ok("deploy --env dev --app api --version v2");
    assert!(!world.path("p/dist").exists(), "nothing was built in the working tree");
    assert!(
        !world.ok("deploy --env dev --app api --version v1").err.contains("building"),
        "a known version is not built"
    );
    assert!(!world.ok("rollback --env dev --app api").err.contains("building"));

    let plan = world.path("plan").display().to_string();
    tool(&world, "p", &format!("{git} tag v2-again"));
    assert!(world.ok(&format!("plan --env dev --app api --version v2-again --out {plan}")).err.contains("building"));
    let planned = world.ok(&format!("deploy --env dev --app api --version v2-again --plan {plan}"));
    assert!(!planned.err.contains("building"), "a plan names what was built for it: {}", planned.err);
    assert_eq!(world.served("api"), "v2-again");

    world.write("p/source", "print=three\n");
    world.ok("deploy --env dev --app api --version v3 --build-here");
    assert!(world.ok("logs --env dev --app api").out.contains(" | three"));
    let here = world.ok("diff v2 v3 --env dev --app api").out;
    assert!(here.contains("built_here: false -> true"), "the release is marked: {here}");
    world.write("p/build", "echo no compiler; exit 9");
    let ran = world.fails(
        2,
        "deploy --env dev --app api --version v4 --build-here",
        "[build-failed]: api v4 could not be built",
    );
    assert!(ran.err.contains("no compiler"), "what it printed is shown: {}", ran.err);
    let trees = Command::new("git").args(["worktree", "list"]).current_dir(world.project()).output().expect("git");
    assert_eq!(String::from_utf8_lossy(&trees.stdout).lines().count(), 1, "the checkouts are gone");
}
