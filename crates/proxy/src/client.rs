//! Speaks to proxy processes.

use crate::files::Files;
use crate::wire::{self, Answer, Op, Running};
use deployctl_core::fault::Fault;
use deployctl_sys::process::{self, Identity};
use deployctl_sys::socket::SocketPath;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};

/// A connection to the control socket of a proxy process.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) pid: u32,
    path: PathBuf,
    stream: tokio::io::BufReader<tokio::net::UnixStream>,
}

/// Connects to every proxy process that is alive; sockets of dead ones are removed.
pub(crate) async fn all(files: &Files) -> io::Result<Vec<Client>> {
    let mut clients = Vec::new();
    for (pid, path) in files.sockets()? {
        match connect(&path).await {
            Ok(stream) => clients.push(Client { pid, path, stream: tokio::io::BufReader::new(stream) }),
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
    /// Asks who it is. One that was stopped, or says nothing for three times `time`, is ended and its end waited for: it
    /// serves nobody, keeps the listeners, and must never wake up late. None then, as if it had ended by itself.
    pub(crate) async fn hello(&mut self, time: Duration) -> Result<Option<Running>, Fault> {
        for last in [false, false, true] {
            let fault = match self.ask(Op::Hello, time).await {
                Ok(answer) => return Ok(answer.and_then(|answer| answer.hello)),
                Err(fault) => fault,
            };
            let Some(process) = self.process() else { return Err(fault) };
            let is_stopped = process::stat(process.pid).is_some_and(|stat| stat.state == b'T');
            if last || is_stopped {
                return end(&process, time).await.map(|()| None).map_err(|e| Fault::platform(format!("{fault}: {e}")));
            }
            let Ok(again) = connect(&self.path).await else { return Ok(None) };
            self.stream = tokio::io::BufReader::new(again);
        }
        Ok(None)
    }

    /// The process at the other end, if it is a proxy.
    fn process(&self) -> Option<Identity> {
        let pid = self.stream.get_ref().peer_cred().ok()?.pid()?;
        let process = Identity::of(u32::try_from(pid).ok()?).ok()??;
        process::command_line(process.pid).contains(" proxy ").then_some(process)
    }

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
                    "if it was stopped or hangs, the engine ends it (`kill -9 {}`) and starts another one, within seconds",
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

/// Kills a process and waits for its end.
async fn end(process: &Identity, time: Duration) -> io::Result<()> {
    process.signal(rustix::process::Signal::KILL)?;
    let ended = async {
        while process.is_alive() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    Ok(tokio::time::timeout(time, ended).await?)
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
