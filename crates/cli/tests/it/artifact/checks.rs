//! Whether targets can run what there is.

use crate::it::docker::engine;
use crate::it::world::{World, text};
use deployctl_live::registry::{Image, Registry};
use serde_json::{Value, json};

fn world() -> World {
    World::new("project: p\nenvironments: { dev: {} }\napps: { api: { command: [x] } }\n")
}

/// The codes that a report has, those that block with `!`.
fn codes(report: &Value) -> Vec<String> {
    let code = |one: &Value| format!("{}{}", if one["blocks"] == true { "!" } else { "" }, text(&one["code"]));
    report["findings"].as_array().expect("findings").iter().map(code).collect()
}

#[test]
fn files_are_for_processes_and_the_exit_code_says_so() {
    let world = world();
    std::fs::create_dir_all(world.path("p/dist")).expect("a folder");
    std::fs::copy(env!("CARGO_BIN_EXE_deployctl-testapp"), world.path("p/dist/app")).expect("a program");
    let process = world.ok("artifact check dist --target process");
    assert_eq!(process.last(), "dist: process can run it");
    let docker = world.run("artifact check dist --target process --target docker").code(1);
    assert_eq!(docker.last(), "dist: process can run it, docker cannot");
    assert!(
        docker.out.contains("docker: cannot run it: containers run images; build one from it (wrong-kind)"),
        "{}",
        docker.out
    );
    world.ok("artifact check dist").says("dist: process can run it, docker and kubernetes cannot");
    let other = world.run("artifact check dist/app --target process --platform linux/s390x").code(1);
    assert!(other.out.contains("error[program-platform]"), "{}", other.out);
    let report = world.json("artifact check dist/app --target process");
    assert_eq!((text(&report["kind"]), text(&report["targets"][0]["can_run"])), ("file".into(), "true".into()));
    let sarif = world.run("artifact check dist --output sarif").code(0).json();
    assert_eq!(
        (text(&sarif["version"]), sarif["runs"][0]["results"].as_array().map(Vec::len)),
        ("2.1.0".into(), Some(1))
    );
    world.fails(2, "status --output sarif", "error[bad-usage]: --output sarif is for `artifact check` alone");
    world.fails(2, "artifact check ./gone.tar", "there is no file or folder ./gone.tar");
    world.fails(2, "artifact check gone-1.0.whl", "there is no file or folder gone-1.0.whl");
    world.fails(2, "artifact check dist --try", "--try starts images; dist is a file");
}

#[test]
fn an_engine_that_was_named_and_is_away_is_said_before_any_registry_is_asked() {
    let mut world = world();
    let socket = world.path("no");
    world.var("DOCKER_HOST", format!("unix://{}", socket.display()));
    let ran = world.run("artifact check shop:v1").code(5);
    assert!(ran.err.contains(&socket.display().to_string()), "{}", ran.err);
    assert!(!ran.err.contains("registry"), "{}", ran.err);
}

#[test]
fn an_image_in_a_registry_is_looked_at_layer_by_layer() {
    let Some(registry) = Registry::open() else { return };
    let world = world();
    let name = format!("{}/shop", registry.address());
    let config = json!({ "Entrypoint": ["/app"], "Env": ["API_TOKEN=h8sh-h8sh"] });
    registry.image("shop", "v1", &Image::new("linux/amd64", &config, vec![tar(&[("etc/x", "text")])]));
    let ran =
        world.run(&format!("artifact check {name}:v1 --target docker --platform linux/amd64 --output json")).code(1);
    assert!(!ran.out.contains("h8sh"), "{}", ran.out);
    let found = codes(&ran.json());
    for code in ["!program-missing", "secret-in-env", "root-user", "no-port", "no-health", "no-revision"] {
        assert!(found.contains(&code.to_owned()), "{found:?} lacks {code}");
    }
    let arm = world
        .run(&format!("artifact check {name}:v1 --target kubernetes --platform linux/arm64 --output json"))
        .code(1);
    assert!(codes(&arm.json()).contains(&"!image-platform".to_owned()), "{}", arm.out);
    registry.image("shop", "latest", &Image::new("linux/amd64", &config, vec![tar(&[("app", "#!/app\n")])]));
    let latest = world.json(&format!("artifact check {name}:latest --platform linux/amd64"));
    assert!(codes(&latest).contains(&"mutable-tag".to_owned()));
    world.fails(2, &format!("artifact check {name}:v9"), "error[image-missing]");
}

/// An archive of executable files.
fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("its mode");
    }
    let mut pack = std::process::Command::new("tar");
    pack.args(["-c", "-C"]).arg(folder.path()).arg(".");
    pack.output().expect("tar").stdout
}

#[test]
fn an_image_in_the_engine_is_started_and_asked_to_end() {
    let Some(engine) = engine::shared() else { return };
    let mut world = world();
    world.var("DOCKER_HOST", engine.socket());
    engine.image("tried:ends", "term=ends", &["EXPOSE 8080", "USER 10001"]);
    engine.image("tried:goes-on", "", &[]);
    engine.image("tried:exits", "exit=3", &[]);
    engine.image("tried:nothing", "", &["CMD [\"/nothing\"]"]);
    let report = world.json("artifact check tried:ends --target docker --try");
    assert_eq!(text(&report["trial"]["outcome"]), "ended");
    assert_eq!(codes(&report), ["local-only", "no-health", "no-revision"]);
    let report = world.json("artifact check tried:goes-on --target docker --try --within 1");
    assert_eq!(text(&report["trial"]["outcome"]), "went_on");
    assert!(codes(&report).contains(&"ignores-sigterm".to_owned()), "{report}");
    let report = world.json("artifact check tried:exits --target docker --try");
    assert_eq!((text(&report["trial"]["outcome"]), text(&report["trial"]["exit_code"])), ("exited".into(), "3".into()));
    let nothing = world.run("artifact check tried:nothing --target docker --try").code(1);
    assert!(nothing.out.contains("error[not-started]") && nothing.out.contains("\"/nothing\""), "{}", nothing.out);
    assert!(nothing.out.contains("error[program-missing]"), "{}", nothing.out);
    let left = engine.docker(&["ps", "-a", "--filter", "label=io.deployctl.trial", "--format", "{{.Names}}"]);
    assert_eq!(left, "", "no container is left");
    world.fails(
        2,
        "artifact check tried:gone --try",
        "error[image-missing]: the Docker Engine has no image tried:gone",
    );
    engine.docker(&["save", "-o", &world.path("p/saved.tar").display().to_string(), "tried:ends"]);
    let report = world.json("artifact check saved.tar --target docker");
    assert_eq!(codes(&report), ["no-health", "no-revision"]);
}
