//! A server of HTTP/1.1 that treats some requests badly and knows how many.

use rustix::net::sockopt::set_socket_linger;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// It is answered; a body comes back.
    Good,
    /// It is answered, and the connection is closed, as announced.
    GoodAndLast,
    /// It is answered, and the connection is closed without a word.
    GoodThenClosed,
    /// The connection is closed after the request was read.
    Dropped,
    /// The connection is reset after the request was read.
    Reset,
    /// Half of the answer, then the end.
    CutLength,
    /// An answer in chunks without the last one.
    CutChunks,
    /// A status.
    Status(u16),
    /// Bytes that are no answer.
    Nonsense,
    /// Never answered.
    Silence,
}

/// The server; it goes on until the test process ends.
pub(crate) struct Faulty {
    pub(crate) address: SocketAddr,
    treated: Arc<Treated>,
}

struct Treated {
    requests: AtomicU64,
    badly: AtomicU64,
    connections: AtomicU64,
    treat: Box<dyn Fn(u64) -> Treatment + Send + Sync>,
}

impl Faulty {
    /// A server that treats request number `n`, from 1, as `treat` says.
    pub(crate) fn start(treat: impl Fn(u64) -> Treatment + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let zero = || AtomicU64::new(0);
        let treated =
            Arc::new(Treated { requests: zero(), badly: zero(), connections: zero(), treat: Box::new(treat) });
        let shared = Arc::clone(&treated);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                shared.connections.fetch_add(1, SeqCst);
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { address, treated }
    }

    /// Requests that arrived.
    pub(crate) fn requests(&self) -> u64 {
        self.treated.requests.load(SeqCst)
    }

    /// Requests that were treated otherwise than well.
    pub(crate) fn badly(&self) -> u64 {
        self.treated.badly.load(SeqCst)
    }

    /// Connections that were made.
    pub(crate) fn connections(&self) -> u64 {
        self.treated.connections.load(SeqCst)
    }
}

fn serve(stream: TcpStream, treated: &Treated) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        let mut line = String::new();
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let treatment = (treated.treat)(treated.requests.fetch_add(1, SeqCst) + 1);
        if !matches!(treatment, Treatment::Good | Treatment::GoodAndLast | Treatment::GoodThenClosed) {
            treated.badly.fetch_add(1, SeqCst);
        }
        if !answer(reader.get_ref(), treatment, body)? {
            return Ok(());
        }
    }
}

/// Whether the connection goes on.
fn answer(mut stream: &TcpStream, treatment: Treatment, body: Vec<u8>) -> std::io::Result<bool> {
    let body = if body.is_empty() { b"v1.0.0".to_vec() } else { body };
    let length = body.len();
    let mut send = |head: String, body: &[u8]| stream.write_all(&[head.as_bytes(), body].concat());
    let head = |status: u16, more: &str| format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n{more}\r\n");
    match treatment {
        Treatment::Good => send(head(200, ""), &body)?,
        Treatment::GoodAndLast => send(head(200, "Connection: close\r\n"), &body)?,
        Treatment::GoodThenClosed => send(head(200, ""), &body)?,
        Treatment::Dropped => {}
        Treatment::Reset => set_socket_linger(stream, Some(Duration::ZERO))?,
        Treatment::CutLength => send(head(200, ""), &body[..length / 2])?,
        Treatment::CutChunks => {
            send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nv1.0.\r\n".into(), b"")?
        }
        Treatment::Status(status) => send(head(status, ""), &body)?,
        Treatment::Nonsense => send("SSH-2.0-no\r\n\r\n".into(), b"")?,
        Treatment::Silence => std::thread::sleep(Duration::from_secs(3600)),
    }
    Ok(matches!(treatment, Treatment::Good | Treatment::Status(_)))
}
