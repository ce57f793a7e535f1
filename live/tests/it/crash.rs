//! A sample of the crash matrix; `cargo xtask crash` runs all of it.

use deployctl_live::crash::{Apps, Options, run};
use deployctl_live::kube;
use std::path::Path;
use std::process::Command;

/// The binary under test, which another package makes.
fn deployctl(beside: &Path) -> std::path::PathBuf {
    let folder = beside.parent().expect("a folder");
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--package", "deployctl", "--target-dir"]);
    build.arg(folder.parent().expect("the target folder"));
    if folder.ends_with("release") {
        build.arg("--release");
    }
    assert!(build.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo").success());
    folder.join("deployctl")
}

#[test]
fn a_sample_of_crashes_leaves_everything_as_it_must_be() {
    sample(Apps::Processes, 16, 4);
}

#[test]
fn a_sample_of_crashes_leaves_containers_as_they_must_be() {
    match crate::lacking_for_docker() {
        None => sample(Apps::Containers, 8, 4),
        Some(what) => eprintln!("skipped: it needs {what}"),
    }
}

#[test]
fn kube_a_sample_of_crashes_leaves_objects_as_they_must_be() {
    match crate::must_be_there(kube::lacking()) {
        None => sample(Apps::Objects, 12, 6),
        Some(what) => eprintln!("skipped: it needs {what}"),
    }
}

fn sample(apps: Apps, cases: usize, at_a_time: usize) {
    let _turn = crate::alone();
    let app = Path::new(env!("CARGO_BIN_EXE_deployctl-live-app"));
    let scratch = tempfile::tempdir().unwrap();
    let report = run(&Options {
        apps,
        deployctl: deployctl(app),
        app: app.into(),
        scratch: scratch.path().into(),
        sample: Some(cases),
        seed: 1,
        at_a_time,
        flows: None,
        cases: None,
        notes: None,
        verbose: false,
    });
    let report = report.unwrap();
    if !report.lacking.is_empty() {
        eprintln!("not run: {}", report.lacking.join("; "));
        assert_ne!(std::env::var("DEPLOYCTL_LIVE").as_deref(), Ok("all"), "{:?}", report.lacking);
    }
    assert_eq!(report.cases, cases);
    assert!(report.wrong.is_empty(), "{}", report.wrong.join("\n"));
}
