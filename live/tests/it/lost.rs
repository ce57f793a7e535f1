//! A sample of the proof that no request is lost; `cargo xtask lost` is the whole of it.

use deployctl_live::lost::{self, Findings, Options};
use deployctl_live::{On, kube};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The binary of deployctl that was built beside this test; none, said by name, where it was not.
fn binary() -> Option<PathBuf> {
    let here = std::env::current_exe().unwrap();
    let built = here.ancestors().nth(2).unwrap().join("deployctl");
    if built.is_file() {
        return Some(built);
    }
    let why = format!("{} is not there: cargo build --package deployctl", built.display());
    assert!(std::env::var("DEPLOYCTL_LIVE").as_deref() != Ok("all"), "{why}");
    eprintln!("skipped: {why}");
    None
}

#[test]
fn nothing_is_lost_while_versions_engines_and_proxies_come_and_go() {
    let findings = sample(On::Processes);
    let all = findings.as_ref().map_or(String::new(), lost::summary);
    assert!(findings.is_none_or(|findings| findings.sent() > 1_000), "too little was done to show anything: {all}");
}

#[test]
fn nothing_is_lost_in_containers() {
    match crate::lacking_for_docker() {
        None => drop(sample(On::Docker)),
        Some(what) => eprintln!("skipped: it needs {what}"),
    }
}

#[test]
fn nothing_is_lost_at_the_published_port_of_a_compose_file() {
    match crate::lacking_for_compose() {
        None => drop(sample(On::Compose)),
        Some(what) => eprintln!("skipped: it needs {what}"),
    }
}

#[test]
fn kube_nothing_is_lost_in_updates_by_any_strategy() {
    let _turn = crate::alone();
    let traefik = || kube::traefik().is_none().then(|| "Traefik, which `cargo xtask kube build` makes".to_owned());
    if let Some(what) = kube::lacking().or_else(traefik) {
        assert!(std::env::var("DEPLOYCTL_LIVE").as_deref() != Ok("all"), "it needs {what}");
        return eprintln!("skipped: it needs {what}");
    }
    let Some(binary) = binary() else { return };
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/shop");
    let prepared = Command::new(example.join("prepare")).output().unwrap();
    assert!(prepared.status.success(), "{}", String::from_utf8_lossy(&prepared.stderr));
    let options = lost::Updates { binary, example, updates: 2, hasty: 0, beside: false, strategies: Vec::new() };
    let found = lost::updates(&options).unwrap();
    let all = lost::updates_table(&found);
    assert_eq!(lost::lost_by_us(&options, &found), 0, "{all}");
    let is_much = |rival: &lost::Rival| rival.report.answered > 200 && rival.took.len() == 2;
    assert!(found.len() == 4 && found.iter().all(is_much), "too little was done to show anything: {all}");
}

/// A sample of the proof; none where deployctl is not built.
fn sample(on: On) -> Option<Findings> {
    let _turn = crate::alone();
    let binary = binary()?;
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/shop");
    let prepared = Command::new(example.join("prepare")).output().unwrap();
    assert!(prepared.status.success(), "{}", String::from_utf8_lossy(&prepared.stderr));
    let options = Options {
        on,
        binary,
        example,
        deployments: 12,
        seed: 20,
        rate: 300,
        kills: 2,
        upgrades: 2,
        time: Some(Duration::from_secs(20)),
        slow: Duration::from_millis(700),
        tell: false,
    };
    let findings = lost::run(&options).unwrap();
    let all = lost::summary(&findings);
    assert_eq!(findings.failed(), 0, "{all}");
    assert!(findings.unexpected().is_empty(), "{all}");
    assert!(findings.steps.len() >= 4, "too little was done to show anything: {all}");
    assert_eq!((findings.kills, findings.upgrades), (2, 2), "{all}");
    Some(findings)
}
