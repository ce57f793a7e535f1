//! The control socket of a proxy process.

use crate::handover;
use crate::process::Process;
use crate::wire::{self, Answer, Op};
use deployctl_core::fault::Fault;
use deployctl_sys::socket::SocketPath;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

/// The longest request: a table with everything in it.
const REQUEST_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The longest wait for a change.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Binds the control socket at `path`; the folder is for the owner only. It appears there when it listens: a socket that
/// refuses connections is that of a dead process, and whoever finds one removes it.
pub(crate) fn bind(path: &Path) -> io::Result<UnixListener> {
    let early = path.with_extension("early");
    match std::fs::remove_file(&early) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(SocketPath::new(&early)?.as_path())?;
    std::fs::rename(early, path)?;
    Ok(listener)
}

pub(crate) async fn serve(process: Rc<Process>, listener: UnixListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::task::spawn_local(converse(process.clone(), stream))),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn converse(process: Rc<Process>, stream: UnixStream) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    loop {
        line.clear();
        match (&mut stream).take(REQUEST_BYTES_MAX).read_line(&mut line).await {
            Ok(1..) => {}
            _ => return,
        }
        let (answer, fds) = match wire::read(&line) {
            Ok(op) => answer(&process, op).await,
            Err(fault) => (Answer::fault(fault), Vec::new()),
        };
        let Ok(mut text) = serde_json::to_vec(&answer) else { return };
        text.push(b'\n');
        if stream.write_all(&text).await.is_err() {
            return;
        }
        if !fds.is_empty() && send(stream.get_ref(), fds).await.is_err() {
            return;
        }
    }
}

/// The descriptors go by a blocking handle on a thread of their own: the successor may be slow.
async fn send(stream: &UnixStream, fds: Vec<std::os::fd::OwnedFd>) -> io::Result<()> {
    for _ in 0..500 {
        stream.writable().await?;
        let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        match handover::send(stream, &borrowed) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(Duration::from_millis(10)).await
            }
            other => return other,
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

async fn answer(process: &Rc<Process>, op: Op) -> (Answer, Vec<std::os::fd::OwnedFd>) {
    let done = |result: Result<(), Fault>| result.map_or_else(Answer::fault, |()| Answer::ok());
    let answer = match op {
        Op::Hello => Answer { hello: Some(process.hello()), ..Answer::ok() },
        Op::Prepare(table) => done(process.prepare(*table)),
        Op::Load(generation) => done(process.reload(generation)),
        Op::Traffic => Answer { traffic: Some(process.traffic()), ..Answer::ok() },
        Op::Wait { seen, ms } => {
            let limit = Duration::from_millis(ms).min(WAIT_MAX);
            let changes = &process.shared.changes;
            let count = tokio::time::timeout(limit, changes.after(seen)).await.unwrap_or_else(|_| changes.count());
            Answer { seen: Some(count), ..Answer::ok() }
        }
        Op::HandOver => match process.sockets() {
            Ok((sockets, fds)) => return (Answer { sockets, ..Answer::ok() }, fds),
            Err(error) => Answer::fault(Fault::platform(format!("handing over: {error}"))),
        },
        Op::TookOver => {
            process.stop_taking(true);
            Answer::ok()
        }
        Op::Stop => {
            process.stop_taking(false);
            Answer::ok()
        }
    };
    (answer, Vec::new())
}
