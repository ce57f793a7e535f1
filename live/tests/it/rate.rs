//! The schedule is kept whatever the server does.

use crate::faulty::{Faulty, Treatment};
use crate::load_for;
use deployctl_live::{Kind, Load, Rates, Target};
use std::time::Duration;

#[test]
fn two_thousand_a_second_on_one_thread() {
    let _turn = crate::together();
    let server = Faulty::start(|_| Treatment::Good);
    let rates = Load::mixed(Target::parse("http://x").unwrap(), 2_000).rates;
    assert_eq!(rates.kept + rates.fresh + rates.upload + rates.h2, 2_000);
    let rates = Rates { kept: 1_750, fresh: 250, ..Rates::default() };
    let report = Load { rates, ..load_for(server.address) }.run_for(Duration::from_millis(1200));
    assert_eq!((report.failed(), report.skipped), (0, 0), "{}", report.summary());
    // The schedule alone decides how many: up to its end, none is missing and none too many.
    let due = 2_000.0 * report.duration_ms / 1e3;
    assert!(report.sent as f64 <= due + 2.0, "{} sent, {due} due", report.sent);
    assert!(report.sent as f64 >= due - 2.0 * (report.behind_ms_max + 50.0), "{} sent, {due} due", report.sent);
    assert_eq!(report.versions[0].version, "v1.0.0");
    assert_eq!(report.versions[0].answers, report.answered);
}

#[test]
fn a_server_that_hangs_slows_nothing_down() {
    let _turn = crate::together();
    // Every tenth request is never answered: the others go on, and the ones that wait count from when they were due.
    let server = Faulty::start(|n| if n % 10 == 0 { Treatment::Silence } else { Treatment::Good });
    let rates = Rates { kept: 200, ..Rates::default() };
    let load = Load { rates, timeout: Duration::from_secs(2), ..load_for(server.address) };
    let report = load.run_for(Duration::from_secs(1));
    assert_eq!(report.lost, server.badly(), "{}", report.summary());
    assert!(server.requests() >= 150, "only {} requests were sent", server.requests());
}

#[test]
fn too_many_in_flight_are_skipped_and_told() {
    let _turn = crate::together();
    let server = Faulty::start(|_| Treatment::Silence);
    let rates = Rates { kept: 500, ..Rates::default() };
    let load = Load { rates, in_flight_max: 10, timeout: Duration::from_millis(900), ..load_for(server.address) };
    let report = load.run_for(Duration::from_millis(500));
    assert_eq!(report.kinds[&Kind::Kept].sent, 10, "{}", report.summary());
    assert!(report.skipped > 50 && report.summary().contains("skipped"), "{}", report.summary());
}
