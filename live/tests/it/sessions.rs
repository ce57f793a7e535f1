//! What of WebSockets and streams counts as lost, and what does not.

use crate::{load_for, losses};
use deployctl_live::{Held, Kind, Load, Loss, Report};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

/// Serves each connection by `serve`, with its number from 1.
fn server(serve: impl Fn(u64, &mut TcpStream) + Send + Sync + 'static) -> (std::net::SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicU64::new(0));
    let (counted, serve) = (Arc::clone(&count), Arc::new(serve));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let number = counted.fetch_add(1, SeqCst) + 1;
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || {
                read_head(&mut stream);
                serve(number, &mut stream);
            });
        }
    });
    (address, count)
}

fn read_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read_exact(&mut byte).is_err() {
            return;
        }
        head.push(byte[0]);
    }
}

const OPEN: &str = "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Sends messages back, each after a ping, until the client closes or `count` came; true if the client closed.
fn echo(stream: &mut TcpStream, count: usize) -> bool {
    for _ in 0..count {
        let mut start = [0; 6];
        if stream.read_exact(&mut start).is_err() {
            return true;
        }
        let mut data = vec![0; usize::from(start[1] & 0x7f)];
        stream.read_exact(&mut data).unwrap();
        data.iter_mut().zip(start[2..].iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        match start[0] & 0xf {
            0xa => continue,
            8 => {
                stream.write_all(&[&[0x88, data.len() as u8], &data[..]].concat()).unwrap();
                return true;
            }
            _ => stream.write_all(&[&[0x89, 0, 0x81, data.len() as u8], &data[..]].concat()).unwrap(),
        }
    }
    false
}

/// `serve` says whether it treated the WebSocket otherwise than well; the result has how many those were.
fn websockets(serve: impl Fn(u64, &mut TcpStream) -> bool + Send + Sync + 'static) -> (Report, u64) {
    let badly = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&badly);
    let (address, _) = server(move |number, stream| {
        stream.write_all(OPEN.as_bytes()).unwrap();
        counted.fetch_add(u64::from(serve(number, stream)), SeqCst);
    });
    let load = load_for(address);
    let millis = Duration::from_millis;
    let held = Held { websockets: 4, websocket_life: millis(200), websocket_pause: millis(10), ..load.held };
    let running = Load { held, ..load }.start();
    crate::until("some of them were treated badly", || badly.load(SeqCst) > 1);
    let report = running.finish();
    (report, badly.load(SeqCst))
}

#[test]
fn websockets_that_end_with_a_close_frame_are_not_lost() {
    let _turn = crate::together();
    let (report, badly) = websockets(|number, stream| {
        if echo(stream, if number % 3 == 0 { 4 } else { usize::MAX }) {
            return false;
        }
        let _ = stream.write_all(&[0x88, 2, 0x03, 0xe9]); // 1001
        let _ = stream.read_to_end(&mut Vec::new());
        true
    });
    let seen = &report.kinds[&Kind::Websocket];
    assert_eq!((report.failed(), seen.answered), (0, report.sent), "{}", report.summary());
    assert_eq!(seen.closed_with, BTreeMap::from([(1001, badly)]), "{}", report.summary());
}

#[test]
fn websockets_that_break_off_are_lost() {
    let _turn = crate::together();
    let (report, badly) = websockets(|number, stream| !echo(stream, if number % 3 == 0 { 4 } else { usize::MAX }));
    assert_eq!(losses(&report, Kind::Websocket), BTreeMap::from([(Loss::NoClose, badly)]), "{}", report.summary());
    assert!(report.losses[0].detail.contains("the connection was closed"), "{}", report.losses[0].detail);
}

#[test]
fn websockets_whose_messages_come_back_changed_are_lost() {
    let _turn = crate::together();
    let (report, badly) = websockets(|number, stream| {
        if number % 3 == 0 {
            stream.write_all(&[0x81, 1, b'?']).unwrap();
        }
        echo(stream, usize::MAX);
        number % 3 == 0
    });
    assert_eq!(losses(&report, Kind::Websocket), BTreeMap::from([(Loss::Malformed, badly)]), "{}", report.summary());
    assert_eq!(report.losses[0].detail, "`0` came back as `?`");
}

#[test]
fn streams_must_end_in_order() {
    let _turn = crate::together();
    let (address, count) = server(|number, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nevent:\r\n");
        let end: &[u8] = match number % 3 {
            0 => b"4\r\n end\r\n", // no last chunk
            1 => b"4\r\n end\r\n0\r\n\r\n",
            _ => b"0\r\n\r\n", // in order, but early
        };
        let _ = stream.write_all(end);
    });
    let load = load_for(address);
    let held = Held { streams: 3, ..load.held };
    let running = Load { held, ..load }.start();
    crate::until("some of them ended", || count.load(SeqCst) > 9);
    let report = running.finish();
    let count = count.load(SeqCst);
    assert_eq!(losses(&report, Kind::Stream), BTreeMap::from([(Loss::Truncated, count / 3)]), "{}", report.summary());
    assert_eq!(report.kinds[&Kind::Stream].ended_early, (count + 1) / 3);
}
