//! Archives, folders, programs and Python packages.

use crate::make::{Folder, Tar, about, can_run, elf, report};
use deployctl_readiness::Target;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use zip::write::SimpleFileOptions;

const AMD64: u16 = 62;
const ARM64: u16 = 183;

fn process(path: &std::path::Path) -> Vec<String> {
    about(&report(path), Target::Process)
}

/// A zip archive with these files, and modes where they are not 0.
fn zip(files: &[(&str, u32, &str)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, mode, text) in files {
        let options = SimpleFileOptions::default();
        let options = if *mode == 0 { options } else { options.unix_permissions(*mode) };
        zip.start_file(*name, options).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_good_archive_is_for_processes_alone() {
    let folder = Folder::new();
    let tar = Tar::new().file("shop", 0o755, &elf(AMD64, None)).file("README", 0o644, b"text").bytes();
    for (name, bytes) in [
        ("shop.tar", tar.clone()),
        ("shop.tar.gz", gzip(&tar)),
        ("shop.tar.zst", zstd::encode_all(&tar[..], 1).unwrap()),
        ("shop.zip", zip(&[("shop", 0o755, "#!/bin/sh\n")])),
    ] {
        let report = report(&folder.write(name, &bytes));
        assert_eq!(about(&report, Target::Process), Vec::<String>::new(), "{name}");
        assert_eq!(can_run(&report), [("docker", false), ("kubernetes", false), ("process", true)].into(), "{name}");
        assert_eq!(about(&report, Target::Docker), ["!wrong-kind: containers run images; build one from it"]);
    }
}

#[test]
fn what_a_process_cannot_run_is_found() {
    let folder = Folder::new();
    let app = elf(AMD64, None);
    for (tar, says) in [
        (
            Tar::new().file("shop", 0o755, &elf(ARM64, None)),
            "!program-platform: shop is for arm64, not for linux/amd64",
        ),
        (Tar::new().file("shop", 0o644, &app), "!program-not-executable: shop may not be executed"),
        (Tar::new().file("README", 0o644, b"text"), "no-program: none of 1 files"),
        (Tar::new().file("../shop", 0o755, &app), "!unsafe-entry: ../shop: its path leads out of the archive"),
        (Tar::new().file("shop", 0o755, &app).device("null"), "!unsafe-entry: null: it is a device or a pipe"),
        (
            Tar::new().file("shop", 0o755, &app).link("a/b", "../../c"),
            "!unsafe-entry: a/b: it links to somewhere outside",
        ),
        (
            Tar::new().file("shop", 0o755, &app).file("app/.env", 0o644, b"API_TOKEN=h8sh-h8sh"),
            "secret-in-layer: app/.env: an .env file with secrets",
        ),
    ] {
        assert_eq!(process(&folder.write("shop.tar", &tar.bytes())), [says]);
    }
    // One of several platforms is enough.
    let both = Tar::new().file("arm", 0o755, &elf(ARM64, None)).file("amd", 0o755, &app).link("a/b", "../c");
    let found = process(&folder.write("shop.tar", &both.bytes()));
    assert_eq!(found, ["program-platform: arm is for arm64, not for linux/amd64"]);
}

#[test]
fn damage_is_found() {
    let folder = Folder::new();
    let tar = Tar::new().file("shop", 0o755, &vec![7; 50_000]).bytes();
    let packed = gzip(&tar);
    let found = process(&folder.write("shop.tar.gz", &packed[..packed.len() / 2]));
    assert!(found.len() == 1 && found[0].starts_with("!damaged: "), "{found:?}");
    let found = process(&folder.write("shop.tar", &tar[..20_000]));
    assert!(found[0].starts_with("!damaged: "), "{found:?}");
    let zip = zip(&[("shop", 0o755, "x")]);
    let found = process(&folder.write("shop.zip", &zip[..zip.len() - 10]));
    assert!(found[0].starts_with("!damaged: "), "{found:?}");
}

#[test]
fn folders_and_programs_are_looked_at_as_they_are() {
    let folder = Folder::new();
    let path = folder.write("dist/shop", &elf(ARM64, None));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let says = "!program-platform: shop is for arm64, not for linux/amd64";
    assert_eq!(process(&folder.path().join("dist")), [says]);
    assert_eq!(process(&path), ["!program-platform: it is for arm64, not for linux/amd64"]);
    assert_eq!(process(&folder.write("run", b"#!/bin/sh\nexec x")), Vec::<String>::new());
    assert_eq!(process(&folder.write("text", b"hello")), ["no-program: it is neither a program nor a script"]);
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    assert_eq!(process(&folder.path().join("empty")), ["!damaged: there is no file in it"]);
}

const METADATA: &str = "Metadata-Version: 2.1\nName: shop\nVersion: 1.0\nRequires-Python: >=3.11\n\nText: x\n";

#[test]
fn python_packages_are_known_by_what_is_in_them() {
    let folder = Folder::new();
    let scripts = "[console_scripts]\nshop = shop:main\n";
    let wheel = |scripts: &str| {
        zip(&[
            ("shop/__init__.py", 0, ""),
            ("shop-1.0.dist-info/METADATA", 0, METADATA),
            ("shop-1.0.dist-info/WHEEL", 0, "Wheel-Version: 1.0\n"),
            ("shop-1.0.dist-info/RECORD", 0, ""),
            ("shop-1.0.dist-info/entry_points.txt", 0, scripts),
        ])
    };
    let install = "python-needs-install: it is not installed by unpacking, with Python >=3.11";
    let found = process(&folder.write("shop-1.0-py3-none-any.whl", &wheel(scripts)));
    assert_eq!(found, [install]);
    let found = process(&folder.write("shop-1.0-py3-none-any.whl", &wheel("[other]\nx = y\n")));
    assert_eq!(found, [install, "python-no-command: there are no console scripts"]);
    let found = process(&folder.write("shop-1.0-cp311-cp311-manylinux_2_17_aarch64.whl", &wheel(scripts)));
    let says = "!python-platform: it is for manylinux_2_17_aarch64, not for linux/amd64";
    assert_eq!(found, [says, install]);
    let found = process(&folder.write("shop-1.0-cp311-cp311-macosx_11_0_arm64.manylinux1_x86_64.whl", &wheel(scripts)));
    assert_eq!(found, [install]);
    let found = process(&folder.write("shop-1.0-py3-none-any.whl", &zip(&[("x.py", 0, "")])));
    assert_eq!(found, ["!python-broken: it has no METADATA"]);
    let source = Tar::new().file("shop-1.0/PKG-INFO", 0o644, METADATA.as_bytes()).bytes();
    let found = process(&folder.write("shop-1.0.tar.gz", &gzip(&source)));
    assert_eq!(found[0], install);
    assert_eq!(found[1], "python-needs-build: it is a source distribution");
}
