//! Images in archives.

use crate::make::{Folder, Tar, about, amd64, can_run, config, elf, image, report};
use deployctl_readiness::{Kind, Target};
use serde_json::{Value, json};

const AMD64: u16 = 62;
const ARM64: u16 = 183;

/// An image of which nothing is to be said for Docker.
fn good() -> Value {
    config(&json!({
        "Entrypoint": ["/app"], "User": "10001", "ExposedPorts": { "8080/tcp": {} },
        "Healthcheck": { "Test": ["CMD", "/app", "check"] },
        "Labels": { "org.opencontainers.image.revision": "abc", "org.opencontainers.image.source": "https://x.example" },
    }))
}

fn app() -> Vec<u8> {
    Tar::new().file("app", 0o755, &elf(AMD64, None)).bytes()
}

/// The good image with another configuration or other layers.
fn with(key: &str, value: Value) -> Value {
    let mut config = good();
    config["config"][key] = value;
    config
}

fn docker(config: &Value, layers: &[Vec<u8>]) -> Vec<String> {
    about(&image(config, layers), Target::Docker)
}

#[test]
fn of_a_good_image_nothing_is_said() {
    let report = image(&good(), &[app()]);
    assert_eq!(about(&report, Target::Docker), Vec::<String>::new());
    assert_eq!(about(&report, Target::Kubernetes), ["health-ignored: there is a HEALTHCHECK"]);
    assert_eq!(can_run(&report), [("docker", true), ("kubernetes", true), ("process", false)].into());
    assert_eq!(
        about(&report, Target::Process),
        ["!wrong-kind: a process runs no image; give it the program or an archive"]
    );
}

#[test]
fn what_would_not_start_is_found() {
    let layer = |mode, bytes: &[u8]| vec![Tar::new().file("app", mode, bytes).bytes()];
    for (config, layers, says) in [
        (good(), vec![Tar::new().file("other", 0o755, b"x").bytes()], "!program-missing: `/app` is not in the image"),
        (good(), layer(0o644, &elf(AMD64, None)), "!program-not-executable: /app is there, but may not be executed"),
        (good(), layer(0o755, &elf(ARM64, None)), "!program-platform: /app is for arm64, the image for linux/amd64"),
        (
            good(),
            layer(0o755, &elf(AMD64, Some("/lib64/ld-linux-x86-64.so.2"))),
            "!loader-missing: /app needs /lib64/ld-linux-x86-64.so.2, which is not in the image",
        ),
        (
            good(),
            layer(0o755, b"#!/bin/bash\n"),
            "!loader-missing: /app is run by /bin/bash, which is not in the image",
        ),
        (with("Entrypoint", json!(null)), vec![app()], "!image-no-command: there is nothing to start"),
        (with("Entrypoint", json!(["app"])), vec![app()], "!program-missing: `app` is not in the image"),
    ] {
        assert_eq!(docker(&config, &layers), [says]);
    }
    let mut arm = good();
    arm["architecture"] = "arm64".into();
    let found = docker(&arm, &[Tar::new().file("app", 0o755, &elf(ARM64, None)).bytes()]);
    assert_eq!(found, ["!image-platform: it is for linux/arm64, and is needed for linux/amd64"]);
}

#[test]
fn programs_are_found_as_the_kernel_finds_them() {
    let base = Tar::new()
        .file("usr/lib/ld.so", 0o755, &elf(AMD64, None))
        .link("lib", "usr/lib")
        .link("usr/local/bin/app", "../../../opt/app/./run")
        .file("opt/app/run", 0o755, &elf(AMD64, Some("/lib/ld.so")))
        .link("circle", "circle");
    let layers = [base.bytes()];
    for (entrypoint, folder) in
        [("app", "/"), ("./run", "/opt/app"), ("/usr/local/bin/app", "/"), ("/opt/../opt/app/run", "/")]
    {
        let mut config = with("Entrypoint", json!([entrypoint]));
        config["config"]["WorkingDir"] = folder.into();
        assert_eq!(docker(&config, &layers), Vec::<String>::new(), "{entrypoint}");
    }
    let path = json!(["PATH=/bin:/opt/app"]);
    let mut config = with("Entrypoint", json!(["run"]));
    assert_eq!(docker(&config, &layers), ["!program-missing: `run` is not in the image"]);
    config["config"]["Env"] = path;
    assert_eq!(docker(&config, &layers), Vec::<String>::new(), "PATH is the image's own");
    let circle = docker(&with("Entrypoint", json!(["/circle"])), &layers);
    assert_eq!(circle, ["!program-missing: `/circle` is not in the image"]);
}

#[test]
fn a_later_layer_takes_away_and_brings() {
    let upper = |tar: Tar| [app(), tar.bytes()];
    let gone = upper(Tar::new().file(".wh.app", 0o644, b""));
    assert_eq!(docker(&good(), &gone), ["!program-missing: `/app` is not in the image"]);
    let all = upper(Tar::new().file(".wh..wh..opq", 0o644, b""));
    assert_eq!(docker(&good(), &all), ["!program-missing: `/app` is not in the image"]);
    let back = upper(Tar::new().file(".wh.app", 0o644, b"").file("app", 0o755, &elf(AMD64, None)));
    assert_eq!(docker(&good(), &back), Vec::<String>::new());
}

#[test]
fn secrets_are_found_also_where_a_later_layer_hides_them() {
    let pem = format!("-----BEGIN {} KEY-----\n{}\n-----END\n", "EC PRIVATE", "A".repeat(64));
    let lower = Tar::new().file("app", 0o755, &elf(AMD64, None)).file("etc/tls/key.pem", 0o600, pem.as_bytes());
    let upper = Tar::new().file("etc/tls/.wh.key.pem", 0o644, b"");
    let found = docker(&good(), &[lower.bytes(), upper.bytes()]);
    let says = "secret-in-layer: etc/tls/key.pem: a private key; an upper layer hides it, and it is still there";
    assert_eq!(found, [says]);
    let found = docker(&with("Env", json!(["PATH=/bin", "DB_PASSWORD=h8sh-h8sh"])), &[app()]);
    assert_eq!(found, ["secret-in-env: DB_PASSWORD: its name says that it is secret"], "and never its value");
}

#[test]
fn what_is_not_as_it_should_be_is_said() {
    for (key, value, says) in [
        ("User", json!(""), "root-user: it names no user"),
        ("User", json!("root:root"), "root-user: USER is root"),
        ("ExposedPorts", json!(null), "no-port: EXPOSE says nothing"),
        ("Healthcheck", json!({ "Test": ["NONE"] }), "no-health: there is no HEALTHCHECK"),
        ("StopSignal", json!("SIGKILL"), "stop-signal: STOPSIGNAL is SIGKILL"),
        ("Volumes", json!({ "/data": {} }), "volume: /data"),
        ("Labels", json!(null), "no-revision: it lacks revision and source"),
    ] {
        assert_eq!(docker(&with(key, value), &[app()]), [says]);
    }
    let kubernetes = |key, value| about(&image(&with(key, value), &[app()]), Target::Kubernetes);
    assert!(kubernetes("User", json!("shop")).contains(&"user-by-name: `shop`; `runAsNonRoot` refuses it".into()));
    let port = kubernetes("ExposedPorts", json!({ "80/tcp": {} }));
    assert!(port.contains(&"privileged-port: 80/tcp as user `10001`".into()), "{port:?}");
    let shell = Tar::new().file("bin/sh", 0o755, &elf(AMD64, None)).bytes();
    let line = |line: &str| docker(&with("Entrypoint", json!(["/bin/sh", "-c", line])), std::slice::from_ref(&shell));
    assert_eq!(line("node server.js"), ["shell-form: `/bin/sh` runs `node server.js`"]);
    assert_eq!(line("exec node server.js"), Vec::<String>::new());
}

#[test]
fn a_layout_of_oci_is_read_for_the_platform_that_is_asked_for() {
    let folder = Folder::new();
    let mut tar = Tar::new().file("oci-layout", 0o644, b"{\"imageLayoutVersion\":\"1.0.0\"}");
    let mut manifests = Vec::new();
    let mut add = |bytes: Vec<u8>| {
        let hex = digest_of(&bytes);
        let size = bytes.len();
        tar = std::mem::replace(&mut tar, Tar::new()).file(&format!("blobs/sha256/{hex}"), 0o644, &bytes);
        json!({ "mediaType": "application/x", "digest": format!("sha256:{hex}"), "size": size })
    };
    for (name, machine) in [("arm64", ARM64), ("amd64", AMD64)] {
        let mut config = good();
        config["architecture"] = name.into();
        let config = add(config.to_string().into_bytes());
        let layer = add(Tar::new().file("app", 0o755, &elf(machine, None)).bytes());
        let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [layer] });
        let mut descriptor = add(manifest.to_string().into_bytes());
        descriptor["platform"] = json!({ "os": "linux", "architecture": name });
        manifests.push(descriptor);
    }
    let wanted = manifests[1]["digest"].as_str().unwrap().to_owned();
    let index = json!({ "schemaVersion": 2, "manifests": manifests });
    let bytes = tar.file("index.json", 0o644, index.to_string().as_bytes()).bytes();
    let report = report(&folder.write("image.tar", &bytes));
    assert_eq!(about(&report, Target::Docker), Vec::<String>::new());
    assert_eq!(report.subject.digest, Some(wanted));
    let Kind::Image(image) = &report.subject.kind else { panic!("it is an image") };
    assert_eq!((image.platform.clone(), image.platforms.len()), (Some(amd64()), 2));
}

fn digest_of(bytes: &[u8]) -> String {
    deployctl_live::registry::digest_of(bytes).trim_start_matches("sha256:").to_owned()
}

#[test]
fn damage_is_said_and_nothing_is_concluded_from_it() {
    let found = docker(&good(), &[b"this is no archive, but long enough to be taken for something".repeat(20)]);
    assert_eq!(found, ["scan-stopped: 0/layer.tar is no archive that can be read"]);
    let folder = Folder::new();
    let path = folder.write("image.tar", &crate::make::saved(&good(), &[app()]));
    let limits = deployctl_readiness::inspect::Limits { bytes_max: 600, ..Default::default() };
    let subject = deployctl_readiness::inspect::path(&path, &amd64(), &limits).unwrap();
    let report = deployctl_readiness::judge(subject, &amd64(), &[Target::Docker]);
    assert_eq!(about(&report, Target::Docker), ["scan-stopped: there is more than 0 MiB"]);
}
