//! Speaks to proxy processes.

use crate::files::Files;
use crate::wire::{self, Answer, Op};
use deployctl_core::fault::Fault;
use deployctl_sys::socket::SocketPath;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};

/// A connection to the control socket of a proxy process.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) pid: u32,
    stream: tokio::io::BufReader<tokio::net::UnixStream>,
}

/// Connects to every proxy process that is alive; sockets of dead ones are removed.
pub(crate) async fn all(files: &Files) -> io::Result<Vec<Client>> {
    let mut clients = Vec::new();
    for (pid, path) in files.sockets()? {
        match connect(&path).await {
            Ok(stream) => clients.push(Client { pid, stream: tokio::io::BufReader::new(stream) }),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => drop(std::fs::remove_file(&path)),
            // It is just leaving.
            Err(error) if error.kind() == io::ErrorKind::NotFound || is_end(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(clients)
}

async fn connect(path: &Path) -> io::Result<tokio::net::UnixStream> {
    let short = SocketPath::new(path)?;
    tokio::net::UnixStream::connect(short.as_path()).await
}

fn parse(line: &str) -> io::Result<Answer> {
    if line.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ended"));
    }
    Ok(serde_json::from_str(line)?)
}

impl Client {
    /// Asks, and waits for the answer at most `time`. None if the process ended instead: whatever it had is gone.
    pub(crate) async fn ask(&mut self, op: Op, time: Duration) -> Result<Option<Answer>, Fault> {
        let what = format!("the data plane (pid {})", self.pid);
        let asking = async {
            self.stream.write_all(&wire::write(op)?).await?;
            let mut answer = String::new();
            self.stream.read_line(&mut answer).await?;
            parse(&answer)
        };
        let answer: io::Result<Answer> = match tokio::time::timeout(time, asking).await {
            Ok(answer) => answer,
            Err(_) => {
                return Err(Fault::platform(format!("{what} does not answer")).hint(format!(
                    "it may be stopped: `kill -CONT {}` wakes it; `kill -9` ends it and it is started again",
                    self.pid
                )));
            }
        };
        match answer {
            Ok(Answer { fault: Some(fault), .. }) => Err(fault),
            Ok(answer) => Ok(Some(answer)),
            Err(error) if is_end(&error) => Ok(None),
            Err(error) => Err(Fault::platform(format!("{what}: {error}"))),
        }
    }
}

fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

/// A connection without a runtime, over which descriptors can come.
#[derive(Debug)]
pub(crate) struct Blocking(std::os::unix::net::UnixStream);

impl Blocking {
    pub(crate) fn connect(path: &Path, time: Duration) -> io::Result<Self> {
        let short = SocketPath::new(path)?;
        let stream = std::os::unix::net::UnixStream::connect(short.as_path())?;
        stream.set_read_timeout(Some(time))?;
        stream.set_write_timeout(Some(time))?;
        Ok(Self(stream))
    }

    /// Asks, and reads exactly the line of the answer.
    pub(crate) fn ask(&mut self, op: Op) -> io::Result<Answer> {
        self.0.write_all(&wire::write(op)?)?;
        let mut answer = String::new();
        BufReader::with_capacity(1, Read::by_ref(&mut self.0)).read_line(&mut answer)?;
        let answer = parse(&answer)?;
        match answer.fault {
            Some(fault) => Err(io::Error::other(fault.message)),
            None => Ok(answer),
        }
    }

    pub(crate) fn stream(&self) -> &std::os::unix::net::UnixStream {
        &self.0
    }
}
