//! What passes, and how.

use super::client::{Client, get, get_with};
use super::support::{Site, service, side, wait_until};
use super::upstream::Upstream;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

#[test]
fn requests_and_answers_pass_with_their_origin() {
    let upstream = Upstream::start(|seen, line| {
        let body = line.body(seen);
        let head = format!(
            "HTTP/1.1 201 Created\r\nX-One: 1\r\nx-one: 2\r\nConnection: X-Gone\r\nX-Gone: 1\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        line.write([head.as_bytes(), &body].concat());
    });
    let site = Site::simple(&[upstream.address]);
    let mut client = Client::connect(site.address);
    let lies =
        "X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n";
    let answer = client.ask(format!("POST /a?b=c HTTP/1.1\r\nHost: shop.example:81\r\n{lies}Connection: x-hop\r\nX-Hop: 1\r\nX-Mine: 2\r\nContent-Length: 5\r\n\r\nhello"));
    assert_eq!((answer.status, answer.text(), answer.field("x-gone")), (201, "hello", ""));
    let seen = upstream.last();
    assert_eq!(seen.line, "POST /a?b=c HTTP/1.1");
    for (name, value) in [
        ("host", "shop.example:81"),
        ("x-mine", "2"),
        ("content-length", "5"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "shop.example:81"),
        ("forwarded", "for=127.0.0.1;proto=http;host=\"shop.example:81\""),
    ] {
        assert_eq!(seen.fields.get(name).map(String::as_str), Some(value), "{name} in {}", seen.raw);
    }
    assert!(!seen.raw.contains("6.6.6.6") && !seen.fields.contains_key("x-hop"), "{}", seen.raw);
}

#[test]
fn heads_without_bodies() {
    let upstream = Upstream::start(|seen, line| match seen.target() {
        "/head" => line.write("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"),
        "/none" => line.write("HTTP/1.1 204 No Content\r\n\r\n"),
        "/same" => line.write("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 77\r\n\r\n"),
        "/early" => {
            line.write("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        }
        _ => line.write("HTTP/1.0 200 OK\r\n\r\nuntil the end"),
    });
    let site = Site::simple(&[upstream.address]);
    let mut client = Client::connect(site.address);
    client.send("HEAD /head HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(client.head().unwrap().field("content-length"), "5000");
    assert_eq!(client.get("/none").status, 204);
    client.send("GET /same HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(client.head().unwrap().status, 304);
    assert_eq!(client.get("/early").text(), "ok");
}

#[test]
fn answers_of_old_servers_end_with_the_connection() {
    let upstream = Upstream::start(|_, line| {
        line.write("HTTP/1.0 200 OK\r\n\r\nuntil ");
        line.write("the end");
        line.close();
    });
    let site = Site::simple(&[upstream.address]);
    let mut client = Client::connect(site.address);
    assert_eq!(client.get("/").text(), "until the end");
    assert_eq!(client.get("/").text(), "until the end");
}

#[test]
fn large_bodies_pass_both_ways_without_being_held() {
    const BYTES: usize = 64 * 1024 * 1024;
    let upstream = Upstream::start(|_, line| {
        // The answer begins before the request has ended: nothing between may wait for the whole.
        line.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n"));
        let mut buffer = vec![0; 256 * 1024];
        let mut left = BYTES;
        while left > 0 {
            let count = line.reader.read(&mut buffer).unwrap();
            assert!(count > 0);
            line.write(&buffer[..count]);
            left -= count;
        }
    });
    let site = Site::simple(&[upstream.address]);
    let mut client = Client::connect(site.address);
    let mut writer = client.reader.get_ref().try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {BYTES}\r\n\r\n");
        writer.write_all(head.as_bytes()).unwrap();
        let block: Vec<u8> = (0..1024 * 1024).map(|n| (n % 251) as u8).collect();
        for _ in 0..BYTES / block.len() {
            writer.write_all(&block).unwrap();
        }
    });
    let answer = client.answer().unwrap();
    sender.join().unwrap();
    assert_eq!(answer.body.len(), BYTES);
    assert!(answer.body.iter().enumerate().all(|(at, byte)| *byte == (at % (1024 * 1024) % 251) as u8));
    let pid = site.running()[0].pid;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak: usize =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok()).unwrap();
    assert!(peak < 40 * 1024, "the proxy took {peak} KiB for a body of 64 MiB");
}

#[test]
fn events_pass_as_they_come() {
    let go_on = Arc::new(AtomicBool::new(false));
    let wait = go_on.clone();
    let upstream = Upstream::start(move |_, line| {
        line.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n");
        wait_until("the first event arrived", || wait.load(SeqCst));
        line.write("9\r\ndata: 2\n\n\r\n0\r\n\r\n");
    });
    let site = Site::simple(&[upstream.address]);
    let mut client = Client::connect(site.address);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(client.head().unwrap().field("content-type"), "text/event-stream");
    assert_eq!(client.chunk().unwrap().unwrap(), b"data: 1\n\n");
    go_on.store(true, SeqCst);
    assert_eq!(client.chunk().unwrap().unwrap(), b"data: 2\n\n");
    assert_eq!(client.chunk().unwrap(), None);
}

#[test]
fn trailers_pass_both_ways() {
    let upstream = Upstream::start(|seen, line| {
        assert_eq!(line.body(seen), b"abc");
        line.write(
            "HTTP/1.1 200 OK\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n",
        );
    });
    let site = Site::simple(&[upstream.address]);
    let mut client = Client::connect(site.address);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-in: 1\r\n\r\n").unwrap();
    client.head().unwrap();
    assert_eq!(client.chunk().unwrap().unwrap(), b"ok");
    assert_eq!(client.chunk().unwrap(), None);
    assert_eq!(client.trailer().unwrap(), ["x-sum: 7"]);
}

#[test]
fn body_limits_hold_for_any_framing() {
    let upstream = Upstream::named("v1");
    let mut limited = service("api", vec![side("v1", 1, &[upstream.address])]);
    limited.route.body_bytes_max = Some(10);
    let site = Site::start(vec![limited]);
    let ask = |text: &str| Client::connect(site.address).ask(text).status;
    assert_eq!(ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789"), 200);
    assert_eq!(ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n"), 413);
    assert_eq!(ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n"), 413);
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(ask(&format!("{chunked}a\r\n0123456789\r\n0\r\n\r\n")), 200);
    assert_eq!(ask(&format!("{chunked}a\r\n0123456789\r\n1\r\nx\r\n0\r\n\r\n")), 413);
}

#[test]
fn expectations_are_met_by_the_proxy() {
    let upstream = Upstream::start(|seen, line| {
        let body = line.body(seen);
        line.ok(body);
    });
    let site = Site::simple(&[upstream.address]);
    let mut client = Client::connect(site.address);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n").unwrap();
    let mut line = [0; 25];
    client.reader.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(client.ask("abc").text(), "abc");
    assert!(!upstream.last().fields.contains_key("expect"));
}

#[test]
fn bad_answers_are_the_instances_fault() {
    let upstream = Upstream::start(|seen, line| {
        match seen.target() {
            "/garbage" => line.write("SSH-2.0-OpenSSH\r\n\r\n"),
            "/two-lengths" => line.write("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
            "/gzip-chunked" => line.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
            "/switch" => line.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
            "/half-head" => line.write("HTTP/1.1 200 OK\r\nContent-"),
            _ => {}
        }
        line.close();
    });
    let site = Site::simple(&[upstream.address]);
    for target in ["/garbage", "/two-lengths", "/gzip-chunked", "/switch", "/half-head", "/nothing"] {
        let answer = get(site.address, target);
        assert_eq!(answer.status, 502, "{target}: {}", answer.text());
    }
    assert_eq!(
        get(site.address, "/nothing").text(),
        "502 Bad Gateway: the instance closed the connection without an answer\n"
    );
}

#[test]
fn an_answer_that_breaks_off_is_not_passed_as_whole() {
    let upstream = Upstream::start(|seen, line| {
        match seen.target() {
            "/length" => line.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"),
            _ => line.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
        }
        line.close();
    });
    let site = Site::simple(&[upstream.address]);
    for target in ["/length", "/chunked"] {
        let mut client = Client::connect(site.address);
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).unwrap();
        assert!(client.answer().is_err(), "{target}: a part was passed as the whole");
    }
}

#[test]
fn http_1_0_clients_are_served() {
    let upstream = Upstream::named("v1");
    let site = Site::simple(&[upstream.address]);
    let mut client = Client::connect(site.address);
    client.send("GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    client.reader.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.0 200 OK\r\n") && text.ends_with("\r\n\r\nv1"), "{text}");
}

#[test]
fn the_access_log_has_a_line_for_each_request() {
    let upstream = Upstream::named("v1");
    let mut logged = service("api", vec![side("v1", 1, &[upstream.address])]);
    logged.route.access_log = true;
    let site = Site::start(vec![logged]);
    assert_eq!(get_with(site.address, "/x?secret=1", "").status, 200);
    let path = site.state.path().join("proxy/access.log");
    wait_until("the line is there", || std::fs::read_to_string(&path).is_ok_and(|text| text.ends_with('\n')));
    let line: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    for (key, value) in [
        ("client", "127.0.0.1"),
        ("method", "GET"),
        ("path", "/x"),
        ("instance", "v1-0"),
        ("scope", "shop/dev/default/api"),
    ] {
        assert_eq!(line[key], value, "{line}");
    }
    assert_eq!((&line["status"], &line["bytes"]), (&200.into(), &2.into()), "{line}");
}
