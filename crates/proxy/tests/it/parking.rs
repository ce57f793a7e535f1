//! Idle connections of clients: what they cost, and that nothing is lost when they wake up.

use super::client::Client;
use super::support::{PATIENCE, Site, service, side, wait_until};
use super::upstream::Upstream;
use std::thread::sleep;
use std::time::Duration;

/// Anonymous memory of a process, in KiB.
fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// After this a connection is parked, if the machine is not too busy.
const A_WHILE: Duration = Duration::from_millis(250);

#[test]
fn idle_connections_take_little_memory() {
    let upstream = Upstream::named("v1");
    let services = vec![service("api", vec![side("v1", 1, &[upstream.address])])];
    let site = Site::start_with(&[("DEPLOYCTL_PROXY_THREADS", "1")], services);
    let pid = site.running()[0].pid;
    let idle = |count: usize| -> Vec<Client> {
        let used = |_| {
            let mut client = Client::connect(site.address);
            assert_eq!(client.get("/").status, 200);
            client
        };
        (0..count).map(used).collect()
    };
    let _first = idle(50);
    let before = resident_kib(pid);
    let mut clients = idle(500);
    let cost = resident_kib(pid).saturating_sub(before);
    // The buffers of the HTTP library alone would be 8,000 KiB.
    assert!(cost < 2_500, "500 idle connections take {cost} KiB");
    for client in &mut clients {
        assert_eq!(client.get("/").text(), "v1");
    }
    let cost = resident_kib(pid).saturating_sub(before);
    assert!(cost < 4_000, "500 idle connections that were used once more take {cost} KiB");
}

#[test]
fn requests_at_any_moment_around_the_parking_are_answered() {
    let upstream = Upstream::start(|seen, line| {
        let body = line.body(seen);
        line.ok([seen.target().as_bytes(), &body].concat());
    });
    let site = Site::simple(&[upstream.address]);
    let address = site.address;
    let threads: Vec<_> = (0..24)
        .map(|number| {
            std::thread::spawn(move || {
                let mut client = Client::connect(address);
                for turn in 0..8 {
                    let target = format!("/{number}/{turn}");
                    assert_eq!(client.get(&target).text(), target);
                    sleep(Duration::from_millis(90 + number * 3 + turn % 3));
                    let post = format!(
                        "POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /next HTTP/1.1\r\n"
                    );
                    client.send(post).unwrap();
                    assert_eq!(client.answer().unwrap().text(), format!("{target}hello"));
                    // The next head has begun: that takes its time, and is no idleness.
                    sleep(Duration::from_millis(number * 10));
                    assert_eq!(client.ask("Host: a\r\n\r\n").text(), "/next");
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn what_is_counted_per_connection_goes_on_when_it_wakes_up() {
    let upstream = Upstream::named("v1");
    let site = Site::simple(&[upstream.address]);
    let mut client = Client::connect(site.address);
    for _ in 0..3 {
        assert_eq!(client.get("/").status, 200);
        sleep(A_WHILE);
    }
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").unwrap();
    assert_eq!(client.answer().unwrap().status, 200, "the second one is bad, not the first");
    let refused = client.answer().unwrap();
    assert_eq!((refused.status, refused.text()), (400, "400 Bad Request: there is more than one Host\n"));
    assert!(client.at_end());
    assert_eq!(upstream.count(), 4);
}

#[test]
fn parked_connections_end_as_others_do() {
    let upstream = Upstream::named("v1");
    let site = Site::simple(&[upstream.address]);
    let parked = || {
        let mut client = Client::connect(site.address);
        assert_eq!(client.get("/").status, 200);
        client
    };
    let (mut leaving, closing) = (parked(), parked());
    let pid = site.running()[0].pid;
    sleep(A_WHILE);
    drop(closing);
    wait_until("the client's end is seen", || site.running()[0].connections == 1);
    site.change(|table| table.listeners.clear()).unwrap();
    let last = leaving.get("/");
    assert_eq!((last.status, last.field("connection")), (200, "close"), "one more request, and it is told");
    assert!(leaving.at_end());
    wait_until("it is forgotten", || site.running()[0].connections == 0);
    assert_eq!(site.running()[0].pid, pid);
    // One more that waits while the process is told to leave.
    let listener = site.listener();
    site.change(|table| table.listeners.push(listener)).unwrap();
    let mut waiting = parked();
    sleep(A_WHILE);
    let process = deployctl_sys::process::number(pid).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
    waiting.reader.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(waiting.at_end(), "it is closed after a moment, without a word");
}
