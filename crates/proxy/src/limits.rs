//! Numbers that bound what a client or an instance can cost. `docs/proxy.md` lists them; keep the two in step.

use std::time::Duration;

/// The largest request head (request line and fields), in bytes; above it 431.
pub(crate) const HEAD_BYTES_MAX: usize = 32 * 1024;
/// The most fields of a request head; above it 431. The HTTP library reads no more than 100.
pub(crate) const FIELDS_MAX: usize = 100;
/// The longest request target, in bytes; above it 414.
pub(crate) const TARGET_BYTES_MAX: usize = 16 * 1024;
/// The largest trailer section and the longest chunk extension, in bytes.
pub(crate) const TRAILER_BYTES_MAX: usize = 8 * 1024;
/// The largest answer head of an instance, in bytes; above it 502.
pub(crate) const ANSWER_HEAD_BYTES_MAX: usize = 60 * 1024;
/// The most fields of an instance's answer head.
pub(crate) const ANSWER_FIELDS_MAX: usize = 128;
/// How long a client may take for one whole request head, however it trickles.
pub(crate) const HEAD_TIME: Duration = Duration::from_secs(15);
/// How long a TLS handshake may take.
pub(crate) const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// How long a kept-alive client connection may be without a request.
pub(crate) const IDLE_TIME: Duration = Duration::from_secs(75);
/// How long a request body may stand still, or a client may take none of an answer that waits for it.
pub(crate) const STALL_TIME: Duration = Duration::from_secs(60);
/// How long connecting to an instance may take.
pub(crate) const CONNECT_TIME: Duration = Duration::from_secs(2);
/// How long an unused connection to an instance is kept.
pub(crate) const POOL_IDLE_TIME: Duration = Duration::from_secs(30);
/// A request that must not be sent twice takes a kept connection only if it was in use this recently.
pub(crate) const POOL_FRESH_TIME: Duration = Duration::from_millis(500);
/// The most unused connections that a worker keeps to one instance.
pub(crate) const POOL_IDLE_MAX: usize = 256;
/// On how many instances a request is tried, at most.
pub(crate) const TRIES_MAX: usize = 3;
/// The most requests held for one service, if `DEPLOYCTL_PROXY_HELD_MAX` does not say otherwise; above it 503 at once.
pub(crate) const HELD_MAX: u64 = 16 * 1024;
/// The most streams of one HTTP/2 client connection at a time.
pub(crate) const STREAMS_MAX: u32 = 256;
/// How much of an answer waits in memory for one slow client connection, in bytes.
pub(crate) const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// The largest error page, in bytes.
pub(crate) const PAGE_BYTES_MAX: u64 = 256 * 1024;
/// Failures in a row by which an instance takes itself out for [`EJECT_TIME`].
pub(crate) const EJECT_FAILURES: u32 = 3;
/// How long such an instance is out.
pub(crate) const EJECT_TIME: Duration = Duration::from_secs(5);
/// How long an idle connection of a proxy that hands over, or of a listener that closes, waits for one more request.
pub(crate) const LEAVING_IDLE_TIME: Duration = Duration::from_secs(10);
/// How long a connection is read on after an answer that ends it early, so that the client gets to see that answer.
pub(crate) const LINGER_TIME: Duration = Duration::from_secs(1);
/// How often a worker looks for what has taken too long, while it has requests.
pub(crate) const TICK: Duration = Duration::from_millis(25);
/// How often a worker looks while it has only idle connections.
pub(crate) const TICK_IDLE: Duration = Duration::from_millis(500);
/// From when on a client connection without a request is parked: it gives its buffers back until something comes.
pub(crate) const PARK_TIME: Duration = Duration::from_millis(100);
/// The same when another one becomes active and too many are not parked.
pub(crate) const PARK_SOON_TIME: Duration = Duration::from_millis(5);
/// So many connections of a worker may be not parked when a new one comes.
pub(crate) const WARM_MAX_NEW: usize = 16;
/// The same when a parked one wakes up: more, so that a few busy connections are not parked again and again.
pub(crate) const WARM_MAX: usize = 64;
