//! What the API answers.

use crate::{Api, connection_header, streams};
use shop::conn::Conn;
use shop::http::{Framing, Head, reason};
use std::io;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

const SLOW_MS_MAX: u64 = 600_000;
const BYTES_MAX: u64 = 1 << 30;

/// Answers one request.
pub(crate) fn answer(api: &Api, conn: &mut Conn, head: &Head) -> io::Result<()> {
    match (head.method(), head.path()) {
        (_, "/echo") => return streams::echo(conn, head),
        ("GET", "/stream") => return streams::events(api, conn, head),
        ("GET", "/bytes") => return streams::bytes(conn, head, head.number("n").unwrap_or(1024).min(BYTES_MAX)),
        _ => {}
    }
    if head.framing_of_body() != Framing::Length(0) {
        conn.body(head.framing_of_body(), |_, _| Ok(()))?;
    }
    let (status, body) = match (head.method(), head.path()) {
        ("POST", "/orders") => order(api),
        ("GET" | "HEAD", path) => page(api, head, path),
        _ => (405, "GET it; only /orders and /echo take other methods\n".into()),
    };
    if status >= 500 {
        println!("api {}: {} {}: {status}: {}", api.release.version, head.method(), head.path(), body.trim_end());
    }
    send(conn, head, status, &body)
}

fn page(api: &Api, head: &Head, path: &str) -> (u16, String) {
    match path {
        "/" => (200, home(api)),
        "/version" => (200, format!("{}\n", api.release.version)),
        "/healthz" => health(api),
        "/headers" => (200, format!("{}\n", head.headers_text())),
        "/status" => (head.number("code").and_then(|n| u16::try_from(n).ok()).unwrap_or(200), "as asked\n".into()),
        "/slow" => {
            let pause = head.number("ms").unwrap_or(5000).min(SLOW_MS_MAX);
            std::thread::sleep(Duration::from_millis(pause));
            (200, format!("{}\n", api.release.version))
        }
        "/ws" => (426, "this is a WebSocket\n".into()),
        _ => (404, "there is no such page\n".into()),
    }
}

fn home(api: &Api) -> String {
    let orders = ask(api, "GET orders").map_or("an unknown number of".into(), |n| n.to_string());
    let version = &api.release.version;
    format!(
        "<!doctype html>\n<title>shop</title>\n<h1>shop {version}</h1>\n<p>{orders} orders so far.</p>\n\
         <form method=post action=orders><button>Order</button></form>\n"
    )
}

fn order(api: &Api) -> (u16, String) {
    match ask(api, "ADD orders 1") {
        Ok(number) => (200, format!("order {number}\n")),
        Err(why) => (503, format!("{why}\n")),
    }
}

/// Healthy once the store answered in the protocol that this release needs. After that, a store that is away for a
/// while does not make the API unhealthy: it would take all instances out at once, and help nobody.
fn health(api: &Api) -> (u16, String) {
    let needed = api.release.store_protocol;
    match ask(api, "HELLO") {
        Ok(spoken) if spoken == i64::from(needed) => {
            api.store_seen.store(true, Ordering::Relaxed);
            (200, "healthy\n".into())
        }
        Ok(spoken) => (503, format!("the store speaks protocol {spoken}, this release needs {needed}\n")),
        Err(why) if api.store_seen.load(Ordering::Relaxed) => (200, format!("degraded: {why}\n")),
        Err(why) => (503, format!("{why}\n")),
    }
}

fn ask(api: &Api, line: &str) -> Result<i64, String> {
    api.store.lock().unwrap_or_else(PoisonError::into_inner).ask(line)
}

fn send(conn: &Conn, head: &Head, status: u16, body: &str) -> io::Result<()> {
    let kind = if body.starts_with('<') { "text/html; charset=utf-8" } else { "text/plain; charset=utf-8" };
    let length = body.len();
    let body = if head.method() == "HEAD" { "" } else { body };
    let reason = reason(status);
    let last = connection_header(conn, head);
    let answer =
        format!("HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{last}\r\n{body}");
    conn.send(answer.as_bytes())
}
