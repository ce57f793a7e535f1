//! A load: what it consists of, and running it.

use crate::arrivals;
use crate::held;
use crate::http2::Http2;
use crate::outcome::Kind;
use crate::report::Report;
use crate::tally::Tally;
use crate::wire::Target;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;

/// What a load consists of.
#[derive(Clone, Debug)]
pub struct Load {
    /// Where it goes.
    pub target: Target,
    /// Requests that are sent when they are due.
    pub rates: Rates,
    /// Requests of which a fixed number is always open.
    pub held: Held,
    /// What is asked for.
    pub paths: Paths,
    /// How many kept-alive HTTP/1.1 connections are used in turn, at least.
    pub kept_connections: u32,
    /// How many HTTP/2 connections are used in turn.
    pub h2_connections: u32,
    /// The size of an upload.
    pub upload_bytes: usize,
    /// A request without a complete answer after this long is lost; on a WebSocket, a message that did not come back.
    pub timeout: Duration,
    /// When so many requests are in flight, further ones are skipped, and the report says so.
    pub in_flight_max: usize,
}

/// Requests a second, by kind of client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// See [`Kind::Kept`].
    pub kept: u32,
    /// See [`Kind::Fresh`].
    pub fresh: u32,
    /// See [`Kind::Upload`].
    pub upload: u32,
    /// See [`Kind::H2`].
    pub h2: u32,
}

/// Requests that are always open, by kind of client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// See [`Kind::Slow`].
    pub slow: u32,
    /// See [`Kind::Stream`].
    pub streams: u32,
    /// See [`Kind::Websocket`].
    pub websockets: u32,
    /// How long a WebSocket is used before the client closes it.
    pub websocket_life: Duration,
    /// The pause between two messages on it.
    pub websocket_pause: Duration,
}

/// What is asked for; as the example application has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// Answers the plain version.
    pub version: String,
    /// Sends the body back.
    pub upload: String,
    /// Takes seconds.
    pub slow: String,
    /// Server-sent events; the last one is called `end`.
    pub stream: String,
    /// A WebSocket that sends messages back.
    pub websocket: String,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            version: "/version".into(),
            upload: "/echo".into(),
            slow: "/slow?ms=5000".into(),
            stream: "/stream?n=20&ms=250".into(),
            websocket: "/ws".into(),
        }
    }
}

impl Load {
    /// Nothing yet: a load to be filled in.
    pub fn none(target: Target) -> Self {
        let held = Held {
            websocket_life: Duration::from_secs(5),
            websocket_pause: Duration::from_millis(250),
            ..Held::default()
        };
        Self {
            target,
            rates: Rates::default(),
            held,
            paths: Paths::default(),
            kept_connections: 32,
            h2_connections: 4,
            upload_bytes: 32 * 1024,
            timeout: Duration::from_secs(30),
            in_flight_max: 20_000,
        }
    }

    /// Something of everything, `rate` requests a second in all, with slow ones, streams and WebSockets beside.
    pub fn mixed(target: Target, rate: u32) -> Self {
        let (fresh, h2, upload) = (rate / 8, rate / 4, rate / 100);
        let rates = Rates { kept: rate - fresh - h2 - upload, fresh, upload, h2 };
        let none = Self::none(target);
        let held = Held { slow: 20, streams: 10, websockets: 20, ..none.held };
        Self { rates, held, ..none }
    }

    /// Begins it, on a thread of its own, until [`Running::finish`].
    pub fn start(self) -> Running {
        let (stop, stopped) = watch::channel(false);
        let thread = std::thread::spawn(move || run(self, stopped));
        Running { stop, thread }
    }

    /// Runs it for so long.
    pub fn run_for(self, duration: Duration) -> Report {
        let running = self.start();
        std::thread::sleep(duration);
        running.finish()
    }

    fn kinds(&self) -> Vec<Kind> {
        let Rates { kept, fresh, upload, h2 } = self.rates;
        let Held { slow, streams, websockets, .. } = self.held;
        [
            (Kind::Kept, kept),
            (Kind::Fresh, fresh),
            (Kind::Upload, upload),
            (Kind::H2, h2),
            (Kind::Slow, slow),
            (Kind::Stream, streams),
            (Kind::Websocket, websockets),
        ]
        .into_iter()
        .filter_map(|(kind, wanted)| (wanted > 0).then_some(kind))
        .collect()
    }
}

/// A load that runs.
pub struct Running {
    stop: watch::Sender<bool>,
    thread: JoinHandle<Report>,
}

impl Running {
    /// Sends nothing more, waits for what is in flight, each up to the timeout, and tells what became of all.
    pub fn finish(self) -> Report {
        let _ = self.stop.send(true);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// What all clients of a load share.
pub(crate) struct Context {
    pub(crate) load: Load,
    pub(crate) tally: Tally,
    pub(crate) h2: Http2,
    pub(crate) stopped: watch::Receiver<bool>,
}

impl Context {
    pub(crate) fn stopping(&self) -> bool {
        *self.stopped.borrow()
    }

    /// Pauses, shorter if the load is to stop.
    pub(crate) async fn rest(&self, pause: Duration) {
        let mut stopped = self.stopped.clone();
        let _ = tokio::time::timeout(pause, stopped.wait_for(|stop| *stop)).await;
    }
}

fn run(load: Load, stopped: watch::Receiver<bool>) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap_or_else(|e| panic!("the load cannot start its runtime: {e}"));
    let (tally, h2) = (Tally::new(&load.kinds()), Http2::new(load.h2_connections));
    let context = Rc::new(Context { load, tally, h2, stopped });
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let held = held::start(&context);
        arrivals::run(&context).await;
        context.tally.note_end();
        for client in held {
            let _ = client.await;
        }
    });
    context.tally.report()
}
