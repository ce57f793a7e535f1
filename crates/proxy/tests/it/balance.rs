//! Shares, clients that stay, instances that are taken out, counts.

use super::client::{Client, get, get_with};
use super::support::{Site, instance, revision, service, side, wait_until};
use super::upstream::Upstream;
use deployctl_core::config::Sticky;
use deployctl_core::route::ProxyCheck;
use deployctl_core::time::Span;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

#[test]
fn shares_are_exact() {
    let (old, new) = (Upstream::named("v1"), Upstream::named("v2"));
    let sides = vec![side("v1", 9000, &[old.address]), side("v2", 1000, &[new.address])];
    let site = Site::start(vec![service("api", sides)]);
    let mut client = Client::connect(site.address);
    for _ in 0..1000 {
        assert_eq!(client.get("/").status, 200);
    }
    // A share is exact per worker; the client's one connection is with one of them.
    assert_eq!((old.count(), new.count()), (900, 100));
    let traffic = site.traffic();
    let stats = &traffic.stats["shop/dev/default/api"];
    let (one, two) = (&stats[&revision("v1")], &stats[&revision("v2")]);
    assert_eq!((one.requests, two.requests, one.errors), (900, 100, 0));
    assert_eq!(two.latency.iter().sum::<u64>(), 100);
}

#[test]
fn a_client_stays_on_its_side_by_cookie() {
    let (old, new) = (Upstream::named("v1"), Upstream::named("v2"));
    let mut sticky = service("api", vec![side("v1", 50, &[old.address]), side("v2", 50, &[new.address])]);
    sticky.sticky = Some(Sticky::Cookie);
    let site = Site::start(vec![sticky]);
    let mut on_new = 0;
    for _ in 0..10 {
        let mut client = Client::connect(site.address);
        let first = client.get("/");
        let cookie = first.field("set-cookie").split(';').next().unwrap().to_owned();
        assert!(first.field("set-cookie").ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{first:?}");
        for _ in 0..5 {
            let again = get_with(site.address, "/", &format!("Cookie: a=b; {cookie}\r\n"));
            assert_eq!((again.text(), again.field("set-cookie")), (first.text(), ""));
        }
        on_new += usize::from(first.text() == "v2");
    }
    assert!((3..=7).contains(&on_new), "{on_new} of 10 are on a side of half the traffic");
    let nonsense = get_with(site.address, "/", "Cookie: deployctl-api=99999999\r\n");
    assert!(!nonsense.field("set-cookie").is_empty(), "a cookie that cannot be ours is replaced");
}

#[test]
fn a_client_stays_on_its_side_by_header() {
    let (old, new) = (Upstream::named("v1"), Upstream::named("v2"));
    let mut sticky = service("api", vec![side("v1", 50, &[old.address]), side("v2", 50, &[new.address])]);
    sticky.sticky = Some(Sticky::Header("X-User".into()));
    let site = Site::start(vec![sticky]);
    let served = |user: usize| get_with(site.address, "/", &format!("X-User: u{user}\r\n")).text().to_owned();
    let first: Vec<_> = (0..40).map(served).collect();
    assert_eq!(first, (0..40).map(served).collect::<Vec<_>>());
    let on_new = first.iter().filter(|name| *name == "v2").count();
    assert!((8..=32).contains(&on_new), "{on_new} of 40");
}

#[test]
fn the_less_busy_instance_is_taken() {
    let go_on = Arc::new(AtomicBool::new(false));
    let wait = go_on.clone();
    let slow = Upstream::start(move |_, line| {
        wait_until("the test goes on", || wait.load(SeqCst));
        line.ok("slow");
    });
    let quick = Upstream::named("quick");
    let site = Site::simple(&[slow.address, quick.address]);
    let mut waiting = Vec::new();
    while slow.count() == 0 {
        let mut client = Client::connect(site.address);
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        if client.reader.get_ref().set_read_timeout(Some(std::time::Duration::from_millis(300))).is_ok() {
            waiting.push(client);
        }
        let last = waiting.last_mut().unwrap();
        if last.answer().is_ok() {
            waiting.pop();
        }
    }
    for _ in 0..20 {
        assert_eq!(get(site.address, "/").text(), "quick");
    }
    assert_eq!(site.in_flight("v1-0"), 1);
    go_on.store(true, SeqCst);
    wait_until("it is answered", || site.in_flight("v1-0") == 0);
}

#[test]
fn failing_checks_take_an_instance_out_and_in_again_but_never_the_last() {
    let healthy = Arc::new(AtomicBool::new(false));
    let is_healthy = healthy.clone();
    let bad = Upstream::start(move |seen, line| match (seen.target(), is_healthy.load(SeqCst)) {
        ("/healthz", false) => line.write("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"),
        _ => line.ok("bad"),
    });
    let good = Upstream::named("good");
    let mut checked = service("api", vec![side("v1", 1, &[bad.address, good.address])]);
    let path = Some("/healthz".to_owned());
    checked.check = Some(ProxyCheck { path, interval: Span::ms(20), timeout: Span::secs(5), failures: 2 });
    let site = Site::start(vec![checked]);
    wait_until("it is out", || site.traffic().ejected == [instance("v1-0")]);
    for _ in 0..10 {
        assert_eq!(get(site.address, "/").text(), "good");
    }
    site.service(|service| service.sides = [side("v1", 1, &[bad.address])].into());
    assert_eq!(get(site.address, "/").text(), "bad", "the last one is never taken out");
    assert!(site.traffic().ejected.is_empty());
    healthy.store(true, SeqCst);
    site.service(|service| service.sides = [side("v1", 1, &[bad.address, good.address])].into());
    wait_until("it is in again", || get(site.address, "/").text() == "bad");
}

#[test]
fn a_refused_connection_is_tried_elsewhere_and_takes_the_instance_out() {
    let good = Upstream::named("good");
    let dead = super::support::free_address();
    let site = Site::simple(&[dead, good.address]);
    for _ in 0..20 {
        let mut client = Client::connect(site.address);
        let answer = client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
        assert_eq!((answer.status, answer.text()), (200, "good"), "a request that was never sent is lost");
    }
    assert_eq!(site.traffic().ejected, [instance("v1-0")]);
}

#[test]
fn nobody_there_is_502() {
    let site = Site::simple(&[super::support::free_address(), super::support::free_address()]);
    let answer = get(site.address, "/");
    assert_eq!((answer.status, answer.text()), (502, "502 Bad Gateway: the instance cannot be reached\n"));
    let stats = &site.traffic().stats["shop/dev/default/api"][&revision("v1")];
    assert_eq!((stats.requests, stats.errors), (1, 1), "a try is not a request");
}

#[test]
fn a_kept_connection_that_the_instance_closed_is_no_error() {
    let closed = Arc::new(AtomicUsize::new(0));
    let count = closed.clone();
    let upstream = Upstream::start(move |seen, line| {
        line.body(seen);
        if line.number == 1 && seen.fields.contains_key("x-drop") {
            // As a server does that gives up an idle connection just when the next request arrives.
            line.close();
            return;
        }
        line.ok("v1");
        if seen.fields.contains_key("x-close") {
            line.close();
            count.fetch_add(1, SeqCst);
        }
    });
    let site = Site::simple(&[upstream.address]);
    for method in ["GET", "PUT", "DELETE"] {
        let mut client = Client::connect(site.address);
        assert_eq!(client.get("/").status, 200);
        let answer = client.ask(format!("{method} / HTTP/1.1\r\nHost: a\r\nX-Drop: 1\r\n\r\n"));
        assert_eq!((answer.status, answer.text()), (200, "v1"), "{method}");
    }
    for turn in 1..=50 {
        let mut client = Client::connect(site.address);
        assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: a\r\nX-Close: 1\r\n\r\n").status, 200);
        wait_until("the instance closed it", || closed.load(SeqCst) == turn);
        let answer = client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
        assert_eq!(answer.status, 200, "a POST went into a connection that was closed");
    }
}

#[test]
fn what_may_have_been_done_is_not_done_again() {
    let upstream = Upstream::start(|seen, line| {
        line.body(seen);
        if seen.target() == "/die" { line.close() } else { line.ok("v1") }
    });
    let other = Upstream::start(|seen, line| {
        line.body(seen);
        if seen.target() == "/die" { line.close() } else { line.ok("v1") }
    });
    let site = Site::simple(&[upstream.address, other.address]);
    let mut client = Client::connect(site.address);
    for _ in 0..4 {
        client.get("/");
    }
    let before = upstream.count() + other.count();
    for request in
        ["POST /die HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", "POST /die HTTP/1.1\r\nHost: a\r\n\r\n"]
    {
        assert_eq!(client.ask(request).status, 502);
    }
    assert_eq!(upstream.count() + other.count(), before + 2, "a POST was sent twice");
}

#[test]
fn time_runs_out() {
    let upstream = Upstream::start(|_, line| {
        let mut client =
            super::client::Client { reader: std::io::BufReader::new(line.reader.get_ref().try_clone().unwrap()) };
        assert!(client.at_end(), "the proxy gives the connection up");
    });
    let mut hasty = service("api", vec![side("v1", 1, &[upstream.address])]);
    hasty.route.timeout = Span::ms(80);
    let site = Site::start(vec![hasty]);
    let answer = get(site.address, "/");
    assert_eq!((answer.status, answer.text()), (504, "504 Gateway Timeout: the instance did not answer in time\n"));
    wait_until("nothing is in flight", || site.in_flight("v1-0") == 0);
}
