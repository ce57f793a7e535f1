//! Tables: who may publish, what is refused, what survives.

use super::client::{Client, get};
use super::support::{Site, free_address, kill, service, side, wait_until};
use super::upstream::Upstream;
use deployctl_core::fault::{Applied, FaultKind};
use deployctl_core::id::Fence;
use deployctl_core::route::Router;
use deployctl_proxy::State;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

#[test]
fn only_the_next_generation_of_no_older_writer() {
    let site = Site::simple(&[]);
    site.change(|table| table.fence = Fence(7)).unwrap();
    let fault = site.change(|table| table.fence = Fence(6)).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Conflict);
    assert_eq!(fault.message, "a newer writer (fence 7) published routes after this one (fence 6)");
    let fault = site.change(|table| table.generation += 1).unwrap_err();
    assert_eq!((fault.kind, fault.applied), (FaultKind::Conflict, Applied::No));
    assert_eq!(fault.message, "routes of generation 4 cannot follow generation 2: somebody else published meanwhile");
    let same = site.block(site.router.table()).unwrap();
    site.block(site.router.publish(same)).expect("telling the same again is no conflict");
}

#[test]
fn an_address_that_somebody_has_is_refused_by_name() {
    let site = Site::simple(&[]);
    let taken = TcpListener::bind(free_address()).unwrap();
    let address = taken.local_addr().unwrap();
    let add = |table: &mut deployctl_core::route::RouteTable| {
        let mut more = table.listeners[0].clone();
        more.address = address.to_string();
        table.listeners.push(more);
    };
    let fault = site.change(add).unwrap_err();
    assert_eq!((fault.kind, fault.applied), (FaultKind::Conflict, Applied::No));
    let start = format!("cannot listen on {address}: the port is in use by pid {} (`", std::process::id());
    assert!(fault.message.starts_with(&start), "{}", fault.message);
    assert_eq!(site.block(site.router.table()).unwrap().generation, 1, "nothing was published");
    drop(taken);
    site.change(add).expect("it is free now");

    let other = Site::new();
    let mut listener = other.listener();
    listener.address = site.address.to_string();
    let fault = other.change(|table| table.listeners = vec![listener]).unwrap_err();
    let owner = format!(
        "cannot listen on {}: the port belongs to the deployctl with --state {} (pid {})",
        site.address,
        site.state.path().display(),
        site.running()[0].pid
    );
    assert_eq!((fault.kind, fault.message), (FaultKind::Conflict, owner));
    assert!(fault.hint.unwrap().starts_with("two states share nothing"));
}

#[test]
fn a_table_that_makes_no_sense_is_refused() {
    let site = Site::simple(&[]);
    let fault = site.change(|table| table.listeners[0].address = "localhost".into()).unwrap_err();
    assert_eq!((fault.kind, fault.message.as_str()), (FaultKind::Spec, "`localhost` is not IP:PORT"));
    let fault = site.change(|table| table.listeners[0].tls = true).unwrap_err();
    let why = format!("{} speaks TLS, but no service behind it has a certificate", site.address);
    assert_eq!((fault.kind, fault.message), (FaultKind::Spec, why));
}

#[test]
fn a_killed_process_comes_up_from_its_table_alone() {
    let upstream = Upstream::named("v1");
    let site = Site::simple(&[upstream.address]);
    let before = site.running();
    assert_eq!((before.len(), before[0].state, before[0].generation), (1, State::Serving, 1));
    kill(before[0].pid);
    wait_until("it is gone", || site.running().is_empty());
    assert!(site.block(site.router.build()).unwrap().is_none());
    site.block(site.router.ensure()).unwrap();
    assert_eq!(get(site.address, "/").text(), "v1");
    let after = site.block(site.router.build()).unwrap().unwrap();
    assert!(after.pid != before[0].pid && after.generation == 1, "{after:?}");
    site.block(site.router.ensure()).unwrap();
    assert_eq!(site.running(), site.running(), "one is enough");
    assert_eq!(site.traffic().generation, Some(1));
}

#[test]
fn nothing_runs_where_nothing_listens() {
    let site = Site::new();
    site.block(site.router.ensure()).unwrap();
    site.change(|_| {}).unwrap();
    assert!(site.running().is_empty());
    assert_eq!(site.traffic().generation, None);
    assert_eq!(site.block(site.router.table()).unwrap().generation, 1);
}

#[test]
fn a_process_that_does_not_answer_is_named_and_replaced() {
    let site = Site::simple(&[]);
    let pid = deployctl_sys::process::number(site.running()[0].pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let fault = site.block(site.router.traffic()).unwrap_err();
    assert_eq!(fault.message, format!("the data plane (pid {}) does not answer", pid.as_raw_nonzero()));
    assert!(fault.hint.unwrap().contains("the engine ends it"));
    site.block(site.router.ensure()).unwrap();
    let now: Vec<u32> = site.running().iter().map(|running| running.pid).collect();
    assert!(now.len() == 1 && now[0] != pid.as_raw_nonzero().get().unsigned_abs(), "{now:?} instead of {pid:?}");
    // What wakes up late is gone, not merely replaced.
    assert!(rustix::process::test_kill_process(pid).is_err(), "it is still there");
    assert_eq!(site.block(site.router.traffic()).unwrap().generation, Some(1));
}

#[test]
fn the_state_is_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::simple(&[]);
    let mode = |name: &str| std::fs::metadata(site.state.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("proxy"), mode("proxy/routes.json"), mode("proxy/proxy.log")), (0o700, 0o600, 0o600));
}

#[test]
fn a_listener_that_goes_ends_kept_connections_politely() {
    let upstream = Upstream::named("v1");
    let site = Site::simple(&[upstream.address]);
    let mut kept = Client::connect(site.address);
    assert_eq!(kept.get("/").field("connection"), "");
    let other = free_address();
    site.change(|table| table.listeners[0].address = other.to_string()).unwrap();
    assert_eq!(get(other, "/").text(), "v1");
    wait_until("the old address refuses", || TcpStream::connect(site.address).is_err());
    let last = kept.get("/");
    assert_eq!((last.text(), last.field("connection")), ("v1", "close"), "a request was lost with its listener");
    assert!(kept.at_end());
}

#[test]
fn what_is_in_flight_is_counted_until_it_ends() {
    let go_on = Arc::new(AtomicBool::new(false));
    let wait = go_on.clone();
    let old = Upstream::start(move |_, line| {
        line.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
        wait_until("the test goes on", || wait.load(SeqCst));
        line.write("cd");
    });
    let new = Upstream::named("v2");
    let site = Site::simple(&[old.address]);
    let mut client = Client::connect(site.address);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    client.head().unwrap();
    site.service(|service| service.sides = [side("v2", 1, &[new.address])].into());
    assert_eq!(site.in_flight("v1-0"), 1, "an instance that left is still reported");
    assert_eq!(get(site.address, "/").text(), "v2");
    go_on.store(true, SeqCst);
    let mut turns = 0;
    while site.in_flight("v1-0") > 0 {
        site.block(site.router.changed());
        turns += 1;
        assert!(turns < 50, "it is never over");
    }
    assert!(
        !site.traffic().in_flight.contains_key(&super::support::instance("v1-0")),
        "who left and is idle is forgotten"
    );
    let mut body = [0; 4];
    std::io::Read::read_exact(&mut client.reader, &mut body).unwrap();
    assert_eq!(&body, b"abcd");
}

#[test]
fn streams_of_an_instance_that_left_are_cut_when_the_drain_is_over() {
    let stream = |kind: &'static str| {
        Upstream::start(move |_, line| {
            line.write(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
            ));
            let mut peer = Client { reader: std::io::BufReader::new(line.reader.get_ref().try_clone().unwrap()) };
            assert!(peer.at_end());
        })
    };
    for (kind, whole) in [("text/event-stream", true), ("application/x-ndjson", false)] {
        let upstream = stream(kind);
        let mut short = service("api", vec![side("v1", 1, &[upstream.address])]);
        short.drain = deployctl_core::time::Span::ms(100);
        let site = Site::start(vec![short]);
        let mut client = Client::connect(site.address);
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        client.head().unwrap();
        assert_eq!(client.chunk().unwrap().unwrap(), b"abc");
        site.service(|service| service.sides.clear());
        match client.chunk() {
            Ok(None) => assert!(whole, "{kind}: a part was passed as the whole"),
            Ok(Some(more)) => panic!("{kind}: {more:?}"),
            Err(_) => assert!(!whole, "{kind}: event streams end, they do not break"),
        }
        wait_until("nothing is in flight", || site.in_flight("v1-0") == 0);
    }
}

#[test]
fn a_process_that_starts_with_a_taken_address_serves_the_rest() {
    let upstream = Upstream::named("v1");
    let site = Site::simple(&[upstream.address]);
    let second = free_address();
    site.change(|table| {
        let mut more = table.listeners[0].clone();
        more.address = second.to_string();
        table.listeners.push(more);
    })
    .unwrap();
    kill(site.running()[0].pid);
    wait_until("it is gone", || site.running().is_empty());
    let taken = TcpListener::bind(second).unwrap();
    site.block(site.router.ensure()).unwrap();
    assert_eq!(get(site.address, "/").text(), "v1");
    drop(taken);
    wait_until("the other address is served too", || {
        Client::try_connect(second).is_ok_and(|mut client| client.get("/").text() == "v1")
    });
}

#[test]
fn waiting_for_a_change_can_be_dropped() {
    let site = Site::simple(&[]);
    for _ in 0..20 {
        let waited = site.block(async { tokio::time::timeout(Duration::from_millis(1), site.router.changed()).await });
        drop(waited);
    }
    assert_eq!(site.traffic().generation, Some(1));
    std::io::stdout().flush().unwrap();
}
