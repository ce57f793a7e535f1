//! A sample of the proof that no request is lost; `cargo xtask lost` is the whole of it.

use deployctl_live::On;
use deployctl_live::lost::{self, Findings, Options};
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
    if let Some(what) = lacking() {
        assert!(std::env::var("DEPLOYCTL_LIVE").as_deref() != Ok("all"), "this needs {what}");
        eprintln!("skipped: it needs {what}");
        return;
    }
    sample(On::Docker);
}

/// What a Docker Engine of its own needs and is not there.
fn lacking() -> Option<&'static str> {
    let has = |name: &str| {
        ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/bin"].iter().any(|at| Path::new(at).join(name).is_file())
    };
    match () {
        () if !rustix::process::geteuid().is_root() => Some("root"),
        () if !has("dockerd") => Some("dockerd"),
        () if !has("docker") => Some("docker"),
        () if !has("ip") => Some("ip"),
        () => None,
    }
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
        beside: 0,
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
