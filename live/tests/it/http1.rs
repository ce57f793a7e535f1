//! What of HTTP/1.1 counts as lost, and what does not.

use crate::faulty::{Faulty, Treatment};
use crate::{load_for, losses};
use deployctl_live::{Kind, Load, Loss, Rates, Report};
use std::collections::BTreeMap;
use std::time::Duration;

const WHILE: Duration = Duration::from_millis(700);

/// Every seventh request is treated badly: exactly these are lost, each in the way it was.
fn every_seventh(treatment: Treatment, rates: Rates) -> (Faulty, Report) {
    let server = Faulty::start(move |n| if n % 7 == 0 { treatment } else { Treatment::Good });
    let running = Load { rates, ..load_for(server.address) }.start();
    crate::until("many requests were treated badly", || server.badly() > 20);
    let report = running.finish();
    assert_eq!(report.sent, server.requests(), "{treatment:?}: every request arrived once\n{}", report.summary());
    (server, report)
}

#[test]
fn loses_exactly_what_was_lost_on_kept_alive_connections() {
    let _turn = crate::together();
    let treatments = [
        (Treatment::Dropped, Loss::NoAnswer),
        (Treatment::Reset, Loss::NoAnswer),
        (Treatment::CutLength, Loss::Truncated),
        (Treatment::CutChunks, Loss::Truncated),
        (Treatment::Status(502), Loss::GatewayStatus),
        (Treatment::Status(503), Loss::GatewayStatus),
        (Treatment::Status(504), Loss::GatewayStatus),
        (Treatment::Nonsense, Loss::Malformed),
    ];
    std::thread::scope(|scope| {
        for (treatment, loss) in treatments {
            scope.spawn(move || {
                let (server, report) = every_seventh(treatment, Rates { kept: 200, ..Rates::default() });
                let expected = BTreeMap::from([(loss, server.badly())]);
                assert_eq!(losses(&report, Kind::Kept), expected, "{treatment:?}\n{}", report.summary());
                assert_eq!(report.lost, server.badly());
                assert_eq!(report.answered, server.requests() - server.badly());
            });
        }
    });
}

#[test]
fn loses_exactly_what_was_lost_on_fresh_connections_and_of_uploads() {
    let _turn = crate::together();
    let rates = Rates { fresh: 300, upload: 100, ..Rates::default() };
    let (server, report) = every_seventh(Treatment::Dropped, rates);
    assert_eq!(report.lost, server.badly(), "{}", report.summary());
    assert_eq!(report.kinds[&Kind::Fresh].sent, report.kinds[&Kind::Fresh].connections);
    assert!(losses(&report, Kind::Upload)[&Loss::NoAnswer] > 0, "{}", report.summary());
}

#[test]
fn other_statuses_are_answers() {
    let _turn = crate::together();
    let (server, report) = every_seventh(Treatment::Status(500), Rates { kept: 400, ..Rates::default() });
    assert_eq!(report.failed(), 0, "{}", report.summary());
    assert_eq!(report.kinds[&Kind::Kept].status[&500], server.badly());
}

#[test]
fn an_announced_close_loses_nothing() {
    let _turn = crate::together();
    let server = Faulty::start(|n| if n % 3 == 0 { Treatment::GoodAndLast } else { Treatment::Good });
    let rates = Rates { kept: 400, ..Rates::default() };
    let report = Load { rates, ..load_for(server.address) }.run_for(WHILE);
    assert_eq!(report.failed(), 0, "{}", report.summary());
    assert_eq!(report.kinds[&Kind::Kept].closed_between, 0, "none was taken up again");
    assert!(server.connections() >= server.requests() / 3);
}

#[test]
fn a_close_between_requests_loses_nothing() {
    let _turn = crate::together();
    // 32 connections in turn: each rests for half a second, time enough for the close to arrive.
    let rates = Rates { kept: 64, ..Rates::default() };
    let (_, report) = crate::undisturbed(|| {
        let server = Faulty::start(|n| if n % 3 == 0 { Treatment::GoodThenClosed } else { Treatment::Good });
        let report = Load { rates, ..load_for(server.address) }.run_for(Duration::from_millis(1300));
        (server, report)
    });
    assert_eq!(report.failed(), 0, "{}", report.summary());
    assert!(report.kinds[&Kind::Kept].closed_between > 5, "{}", report.summary());
}

#[test]
fn a_close_that_crosses_the_request_is_a_loss() {
    let _turn = crate::together();
    // The second request of each connection is read, and the connection closed: not seen before it was sent.
    let rates = Rates { kept: 400, ..Rates::default() };
    let (server, report) = crate::undisturbed(|| {
        let server = Faulty::start(|n| if n > 32 && n % 32 == 0 { Treatment::Dropped } else { Treatment::Good });
        let report = Load { rates, ..load_for(server.address) }.run_for(WHILE);
        (server, report)
    });
    assert_eq!(losses(&report, Kind::Kept), BTreeMap::from([(Loss::NoAnswer, server.badly())]));
    assert!(server.badly() > 3);
}

#[test]
fn silence_is_a_loss_after_the_timeout() {
    let _turn = crate::together();
    let server = Faulty::start(|n| if n == 5 { Treatment::Silence } else { Treatment::Good });
    let rates = Rates { kept: 100, ..Rates::default() };
    let load = Load { rates, timeout: Duration::from_secs(2), ..load_for(server.address) };
    let report = load.run_for(Duration::from_millis(300));
    assert_eq!(losses(&report, Kind::Kept), BTreeMap::from([(Loss::Timeout, 1)]), "{}", report.summary());
    assert_eq!(report.losses[0].detail, "no complete answer within 2s");
}

#[test]
fn a_refused_connection_is_told_apart() {
    let _turn = crate::together();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let rates = Rates { fresh: 100, ..Rates::default() };
    let report = Load { rates, ..load_for(nobody) }.run_for(Duration::from_millis(300));
    assert_eq!((report.lost, report.answered), (0, 0));
    assert!(report.unconnected > 10 && report.unconnected == report.sent, "{}", report.summary());
    assert_eq!(report.failed(), report.sent);
}
