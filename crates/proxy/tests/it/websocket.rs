//! Connections that leave HTTP.

use super::client::Client;
use super::support::{Site, binary, service, side, wait_until};
use super::upstream::{Line, Seen, Upstream};
use deployctl_core::time::Span;
use std::io::{Read, Write};

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: abc\r\n\r\n";

/// Takes the upgrade and sends back what it gets.
fn echo(seen: &Seen, line: &mut Line) {
    if !seen.fields.contains_key("upgrade") || seen.target() == "/refused" {
        return line.ok("plain");
    }
    assert_eq!(seen.fields["connection"], "upgrade");
    line.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n");
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = line.reader.read(&mut buffer) {
        if buffer[..count].starts_with(&[0x88]) {
            line.write([0x88, 0]);
            break;
        }
        line.write(&buffer[..count]);
    }
    line.close();
}

fn open(site: &Site) -> Client {
    let mut client = Client::connect(site.address);
    client.send(UPGRADE).unwrap();
    let answer = client.head().unwrap();
    assert_eq!((answer.status, answer.field("upgrade"), answer.field("connection")), (101, "websocket", "upgrade"));
    assert_eq!(answer.field("sec-websocket-accept"), "x");
    client
}

fn read(client: &mut Client, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    client.reader.read_exact(&mut bytes).unwrap();
    bytes
}

#[test]
fn bytes_go_both_ways_and_are_counted_as_in_flight() {
    let upstream = Upstream::start(echo);
    let site = Site::simple(&[upstream.address]);
    let mut client = open(&site);
    client.send(b"\x81\x02hi").unwrap();
    assert_eq!(read(&mut client, 4), b"\x81\x02hi");
    assert_eq!(site.in_flight("v1-0"), 1);
    drop(client);
    wait_until("it is not in flight any more", || site.in_flight("v1-0") == 0);
}

#[test]
fn a_connection_that_was_idle_for_a_while_is_upgraded() {
    let upstream = Upstream::start(echo);
    let site = Site::simple(&[upstream.address]);
    let mut client = Client::connect(site.address);
    assert_eq!(client.get("/refused").text(), "plain");
    std::thread::sleep(std::time::Duration::from_millis(250));
    client.send([UPGRADE.as_bytes(), b"\x81\x05early"].concat()).unwrap();
    assert_eq!(client.head().unwrap().status, 101);
    assert_eq!(read(&mut client, 7), b"\x81\x05early");
    // Not HTTP any more, so never parked.
    std::thread::sleep(std::time::Duration::from_millis(250));
    client.send(b"\x81\x02hi").unwrap();
    assert_eq!(read(&mut client, 4), b"\x81\x02hi");
}

#[test]
fn bytes_sent_too_early_are_not_lost() {
    let upstream = Upstream::start(echo);
    let site = Site::simple(&[upstream.address]);
    let mut client = Client::connect(site.address);
    client.send([UPGRADE.as_bytes(), b"\x81\x02hi"].concat()).unwrap();
    assert_eq!(client.head().unwrap().status, 101);
    assert_eq!(read(&mut client, 4), b"\x81\x02hi");
}

#[test]
fn a_refused_upgrade_leaves_the_connection_as_it_was() {
    let upstream = Upstream::start(echo);
    let site = Site::simple(&[upstream.address]);
    let mut client = Client::connect(site.address);
    let answer = client.ask(UPGRADE.replace("/ws", "/refused") + "GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((answer.status, answer.text()), (200, "plain"));
    assert_eq!(client.answer().unwrap().text(), "plain");
    assert_eq!(upstream.last().target(), "/next");
}

#[test]
fn what_outlives_the_drain_is_closed_with_1001_at_the_border_of_a_frame() {
    let upstream = Upstream::start(echo);
    let mut short = service("api", vec![side("v1", 1, &[upstream.address])]);
    short.drain = Span::ms(150);
    let site = Site::start(vec![short]);
    let mut client = open(&site);
    client.send(b"\x81\x02hi").unwrap();
    assert_eq!(read(&mut client, 4), b"\x81\x02hi");
    site.service(|service| service.sides.clear());
    assert_eq!(read(&mut client, 4), [0x88, 0x02, 0x03, 0xe9]);
    assert!(client.at_end());
    wait_until("it is not in flight any more", || site.in_flight("v1-0") == 0);
}

#[test]
fn within_a_frame_it_is_cut() {
    let upstream = Upstream::start(echo);
    let mut short = service("api", vec![side("v1", 1, &[upstream.address])]);
    short.drain = Span::ms(50);
    let site = Site::start(vec![short]);
    let mut client = open(&site);
    client.send(b"\x81\x05hi").unwrap();
    assert_eq!(read(&mut client, 4), b"\x81\x05hi");
    site.service(|service| service.sides.clear());
    let mut rest = Vec::new();
    let _ = client.reader.read_to_end(&mut rest);
    assert_eq!(rest, b"", "something was put into the middle of a frame");
}

#[test]
fn it_survives_the_upgrade_of_the_proxy() {
    let upstream = Upstream::start(echo);
    let site = Site::simple(&[upstream.address]);
    let mut client = open(&site);
    site.block(site.router.upgrade(&binary())).unwrap();
    client.reader.get_mut().write_all(b"\x81\x02ho").unwrap();
    assert_eq!(read(&mut client, 4), b"\x81\x02ho");
    assert_eq!(site.in_flight("v1-0"), 1);
    drop(client);
    wait_until("the predecessor has left", || site.running().len() == 1);
}
