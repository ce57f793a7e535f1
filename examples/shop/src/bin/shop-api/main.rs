//! The API: HTTP/1.1, a thread per connection.

mod pages;
mod streams;

use shop::conn::{Conn, Connections, NoHead};
use shop::http::{Head, reason};
use shop::release::Release;
use shop::stop::Stop;
use shop::store::Client;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// What all connections share.
struct Api {
    release: Release,
    store: Mutex<Client>,
    /// Whether the store answered once since the start.
    store_seen: AtomicBool,
}

fn main() -> Result<(), String> {
    let mut stop = Stop::on_signals().map_err(|e| e.to_string())?;
    let release = Release::load()?;
    let version = release.version.clone();
    let store = std::env::var("DB").map_err(|_| "the variable DB does not say where the store is".to_owned())?;
    let address = shop::args::address();
    let listener = TcpListener::bind(&address).map_err(|e| format!("{address}: {e}"))?;
    println!("api {version}: listening on {address}, store at {store}");
    let api = Arc::new(Api { release, store: Mutex::new(Client::new(store)), store_seen: AtomicBool::new(false) });
    let connections = Arc::new(Connections::default());
    let stopping = Arc::new(AtomicBool::new(false));
    let acceptor = {
        let (connections, stopping) = (Arc::clone(&connections), Arc::clone(&stopping));
        std::thread::spawn(move || accept(&listener, &api, &connections, &stopping))
    };
    stop.wait(None);
    println!("api {version}: stopping");
    stopping.store(true, Ordering::SeqCst);
    let _ = TcpStream::connect(&address); // wakes the acceptor
    let _ = acceptor.join();
    connections.stop();
    println!("api {version}: stopped");
    Ok(())
}

/// Takes connections until told to stop, and then those that wait already.
fn accept(listener: &TcpListener, api: &Arc<Api>, connections: &Arc<Connections>, stopping: &AtomicBool) {
    loop {
        if stopping.load(Ordering::SeqCst) && listener.set_nonblocking(true).is_err() {
            return;
        }
        match listener.accept() {
            Ok((stream, _)) => begin(stream, api, connections),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
            Err(e) => eprintln!("api: a connection could not be accepted: {e}"),
        }
    }
}

fn begin(stream: TcpStream, api: &Arc<Api>, connections: &Arc<Connections>) {
    let _ = stream.set_nonblocking(false).and_then(|()| stream.set_nodelay(true));
    let mut conn = connections.open(stream);
    let api = Arc::clone(api);
    let thread = std::thread::Builder::new().stack_size(128 * 1024);
    if let Err(e) = thread.spawn(move || serve(&api, &mut conn)) {
        eprintln!("api: a connection was dropped: {e}");
    }
}

fn serve(api: &Api, conn: &mut Conn) -> io::Result<()> {
    loop {
        let head = match conn.head() {
            Ok(head) => head,
            Err(NoHead::End | NoHead::Broken) => return Ok(()),
            Err(NoHead::Bad(status, why)) => return refuse(conn, status, why),
        };
        if head.path() == "/ws" && head.wants_websocket() {
            return streams::websocket(conn, &head);
        }
        pages::answer(api, conn, &head)?;
        if conn.stopping() || !head.keeps_alive() {
            return Ok(());
        }
        conn.set_idle();
    }
}

fn refuse(conn: &mut Conn, status: u16, why: &str) -> io::Result<()> {
    conn.send(format!(
        "HTTP/1.1 {status} {}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{why}\n",
        reason(status),
        why.len() + 1
    ).as_bytes())?;
    conn.linger()
}

/// `Connection: close` where this is the connection's last answer.
fn connection_header(conn: &Conn, head: &Head) -> &'static str {
    if conn.stopping() || !head.keeps_alive() { "Connection: close\r\n" } else { "" }
}
