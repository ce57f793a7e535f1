//! Reading files.

use deployctl_spec::{Code, Spec, find_project};
use std::fs;
use std::path::Path;

const GOOD: &str = "{ project: p, environments: { dev: {} }, apps: { a: { command: [./a], artifact: dist } } }";

fn failed(dir: &Path) -> (Code, String) {
    let errors = Spec::load(dir, &[]).expect_err("refused");
    (errors.0[0].code, errors.to_string())
}

#[test]
fn no_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let (code, said) = failed(dir.path());
    assert_eq!(code, Code::NotFound);
    assert!(said.contains("there is no `deployctl.yaml` in /"), "{said}");
    assert!(said.contains("`deployctl init` writes one"), "{said}");
}

#[test]
fn both_files() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("deployctl.yml"), GOOD).expect("written");
    assert!(Spec::load(dir.path(), &[]).is_ok());
    fs::write(dir.path().join("deployctl.yaml"), GOOD).expect("written");
    let (code, said) = failed(dir.path());
    assert_eq!(code, Code::Contradiction);
    assert!(said.contains("both deployctl.yaml and deployctl.yml are in"), "{said}");
}

#[test]
fn not_a_text() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("deployctl.yaml");
    fs::write(&file, b"a: x\n\xff\xfe\x00garbage").expect("written");
    let (code, said) = failed(dir.path());
    assert_eq!(code, Code::Unreadable);
    assert!(said.contains("`deployctl.yaml` is not text: line 2 is not UTF-8"), "{said}");
    fs::write(&file, vec![b'#'; 2 << 20]).expect("written");
    assert_eq!(failed(dir.path()).0, Code::TooLarge);
    fs::remove_file(&file).expect("removed");
    fs::create_dir(&file).expect("a directory in its place");
    assert_eq!(failed(dir.path()).0, Code::Unreadable);
}

#[test]
fn an_overlay_that_is_missing() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("deployctl.yaml"), GOOD).expect("written");
    let errors = Spec::load(dir.path(), &["nowhere.yaml".into()]).expect_err("refused");
    assert!(errors.to_string().contains("error[spec-not-found]: cannot read `nowhere.yaml`: "), "{errors}");
    let overlay = dir.path().join("local.yaml");
    fs::write(&overlay, "apps: { a: { instances: 2 } }").expect("written");
    let spec = Spec::load(dir.path(), &[overlay]).expect("fine");
    assert_eq!(spec.sources().len(), 2);
}

#[test]
fn the_project_is_found_from_below() {
    let dir = tempfile::tempdir().expect("a directory");
    let below = dir.path().join("a/b");
    fs::create_dir_all(&below).expect("directories");
    fs::write(dir.path().join("deployctl.yaml"), GOOD).expect("written");
    assert_eq!(find_project(&below).as_deref(), Some(dir.path()));
    let spec = Spec::load(dir.path(), &[]).expect("fine");
    assert_eq!(spec.dir(), dir.path());
}
