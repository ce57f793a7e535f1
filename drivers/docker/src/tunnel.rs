//! Ways by SSH to containers of another machine: a port of this machine's loopback each, through one `ssh` that outlives the
//! engine of deployctl, as the proxy does that sends requests by them.

use crate::address::{Address, Ssh};
use crate::client::USUAL;
use crate::connect::{denied, ssh, unreachable};
use crate::layout::{self, Layout};
use deployctl_core::fault::Fault;
use deployctl_core::id::InstanceId;
use deployctl_runner::fence::make_private;
use deployctl_runner::trouble::trouble;
use deployctl_sys::process::Identity;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::Mutex;

/// Its socket, in its folder. Named without it: an address of a socket holds few bytes.
const SOCKET: &str = "socket";
const LOG: &str = "log";
/// A port that was free a moment ago may be taken: so often another one is tried.
const TRIES: usize = 5;
/// A machine that is there says no by then.
const ANSWER: Duration = Duration::from_secs(5);
/// Nothing listens there; that it is asked for shows whether anything may be.
const NOWHERE: &str = "127.0.0.1:1";

/// The ways of one state to the containers of one machine.
pub(crate) struct Tunnel {
    ssh: Ssh,
    at: Address,
    folder: PathBuf,
    /// A file for each.
    kept: PathBuf,
    ways: Mutex<Ways>,
}

#[derive(Default)]
struct Ways {
    is_read: bool,
    /// What goes there, if it runs.
    master: Option<Identity>,
    all: BTreeMap<InstanceId, Way>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Way {
    /// Of this machine's loopback.
    port: u16,
    /// The container's own address there.
    to: String,
    /// Whether the present master has it; after a start nobody knows, and it is asked for again.
    #[serde(skip)]
    is_open: bool,
}

impl Way {
    fn spec(&self) -> String {
        format!("127.0.0.1:{}:{}", self.port, self.to)
    }
}

impl Tunnel {
    pub(crate) fn new(ssh: Ssh, layout: &Layout) -> Self {
        let (folder, kept) = (layout.tunnel(), layout.ways());
        Self { at: Address::Ssh { ssh: ssh.clone() }, ssh, folder, kept, ways: Mutex::default() }
    }

    /// Where on this machine the container of `id` answers, which has the address `to` there.
    pub(crate) async fn way(&self, id: &InstanceId, to: &str) -> Result<String, Fault> {
        let mut ways = self.ways.lock().await;
        self.read(&mut ways)?;
        self.ensure_master(&mut ways).await?;
        let known = ways.all.get(id).cloned();
        match &known {
            Some(way) if way.to == to && way.is_open => return Ok(format!("127.0.0.1:{}", way.port)),
            // The container was started again, and has another address.
            Some(old) if old.to != to => drop(self.tell("cancel", Some(&old.spec())).await),
            _ => {}
        }
        let mut port = known.map(|way| way.port);
        for _ in 0..TRIES {
            let way = Way { port: port.take().map_or_else(free_port, Ok)?, to: to.to_owned(), is_open: true };
            layout::write(&self.kept.join(id.as_str()), &way)?;
            // One that is open already stays as it is.
            let done = self.tell("forward", Some(&way.spec())).await?;
            if done.status.success() {
                let address = format!("127.0.0.1:{}", way.port);
                ways.all.insert(id.clone(), way);
                return Ok(address);
            }
            ways.all.remove(id);
        }
        Err(unreachable(&self.at, "no port of 127.0.0.1 can be forwarded there"))
    }

    /// Whether the way to the container of `id` leads there, as far as that machine: what is not there any more is made again.
    pub(crate) async fn leads(&self, id: &InstanceId) -> Result<(), Fault> {
        let to = self.ways.lock().await.all.get(id).map(|way| way.to.clone());
        let Some(to) = to else { return Ok(()) };
        self.way(id, &to).await?;
        // That machine says no at once, if it hears us: a connection that was cut may come to life again, or not.
        let mut command = self.master(&["-W", NOWHERE]);
        match tokio::time::timeout(ANSWER, command.output()).await {
            Ok(done) => done.map(drop).map_err(|e| ssh::not_started(&e, &self.at)),
            Err(_) => Err(unreachable(&self.at, "the way there does not answer")),
        }
    }

    /// The container of `id` is gone. With the last one goes the tunnel.
    pub(crate) async fn close(&self, id: &InstanceId) -> Result<(), Fault> {
        let mut ways = self.ways.lock().await;
        self.read(&mut ways)?;
        let Some(way) = ways.all.remove(id) else { return Ok(()) };
        let spec = way.spec();
        let last = ways.all.is_empty();
        let said = if last { self.tell("exit", None) } else { self.tell("cancel", Some(&spec)) };
        // Where there is none any more, there is nothing to be closed.
        drop(Box::pin(said).await);
        if last {
            ways.master = None;
        }
        let path = self.kept.join(id.as_str());
        layout::remove(&path).map_err(|e| trouble("what is known of containers cannot be removed:", &path, &e))
    }

    fn read(&self, ways: &mut Ways) -> Result<(), Fault> {
        if ways.is_read {
            return Ok(());
        }
        let folder = &self.folder;
        make_private(folder).map_err(|e| trouble("no folder for the tunnel can be made at", folder, &e))?;
        for entry in std::fs::read_dir(&self.kept).into_iter().flatten().flatten() {
            let id = entry.file_name().to_str().and_then(|name| InstanceId::new(name).ok());
            if let (Some(id), Some(way)) = (id, layout::read::<Way>(&entry.path())?) {
                ways.all.insert(id, way);
            }
        }
        ways.is_read = true;
        Ok(())
    }

    /// Has the `ssh` that holds the ways run: the one that does, or a new one.
    async fn ensure_master(&self, ways: &mut Ways) -> Result<(), Fault> {
        if ways.master.as_ref().is_some_and(Identity::is_alive) {
            return Ok(());
        }
        ways.all.values_mut().for_each(|way| way.is_open = false);
        ways.master = self.running().await?;
        if ways.master.is_none() {
            self.is_allowed().await?;
            self.start().await?;
            ways.master = self.running().await?;
        }
        match ways.master {
            Some(_) => Ok(()),
            None => Err(unreachable(&self.at, "`ssh` ends as soon as it is connected")),
        }
    }

    async fn start(&self) -> Result<(), Fault> {
        let _ = std::fs::remove_file(self.folder.join(SOCKET));
        let log = self.folder.join(LOG);
        let _ = std::fs::remove_file(&log);
        let log_text = log.to_string_lossy().into_owned();
        let mut command = ssh::command(&self.ssh, &["-f", "-N", "-T", "-M", "-S", SOCKET, "-E", &log_text], &[]);
        // What is connected goes to the background, and goes on when this process ends.
        command.current_dir(&self.folder).stdout(Stdio::null()).stderr(Stdio::null());
        let begun = self.ended(command.status()).await?;
        if begun.success() {
            return Ok(());
        }
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        Err(ssh::why(begun.code(), &said, &self.ssh, &self.at))
    }

    /// The one that listens on the socket, if one does.
    async fn running(&self) -> Result<Option<Identity>, Fault> {
        let said = self.tell("check", None).await?;
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        let pid = said.split_once("pid=").and_then(|(_, rest)| rest.split(')').next()?.parse().ok());
        Ok(pid.and_then(|pid| Identity::of(pid).ok().flatten()))
    }

    /// Whether that machine passes connections on at all. Else every container would look as if nothing listened there.
    async fn is_allowed(&self) -> Result<(), Fault> {
        // What is said first counts where it is said twice. What becomes of a connection is no error to `ssh`.
        let more = ["-T", "-o", "ControlPath=none", "-o", "LogLevel=INFO", "-W", NOWHERE];
        let said = self.done(ssh::command(&self.ssh, &more, &[])).await?;
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        if !said.contains("administratively prohibited") {
            return Ok(());
        }
        let why = format!("the server of SSH on {} passes no connections on", self.ssh.host);
        Err(denied(&self.at, &why)
            .hint("containers there are reached through it: `AllowTcpForwarding yes` in sshd_config"))
    }

    /// Has the master do something.
    async fn tell(&self, what: &str, forward: Option<&str>) -> Result<Output, Fault> {
        let mut words = vec!["-O", what];
        words.extend(forward.iter().flat_map(|spec| ["-L", spec]));
        self.done(self.master(&words)).await
    }

    /// What goes by the master's socket, whatever machine is meant: its settings would only add ways of their own.
    fn master(&self, words: &[&str]) -> Command {
        let mut command = Command::new("ssh");
        command.args(["-F", "/dev/null", "-o", "BatchMode=yes", "-S", SOCKET]).args(words).args(["--", &self.ssh.host]);
        command.current_dir(&self.folder).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    async fn done(&self, mut command: Command) -> Result<Output, Fault> {
        self.ended(command.output()).await
    }

    async fn ended<T>(&self, done: impl Future<Output = io::Result<T>>) -> Result<T, Fault> {
        match tokio::time::timeout(USUAL, done).await {
            Ok(done) => done.map_err(|e| ssh::not_started(&e, &self.at)),
            Err(_) => Err(unreachable(&self.at, "`ssh` does not come to an end")),
        }
    }
}

fn free_port() -> Result<u16, Fault> {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    free.map(|address| address.port()).map_err(|e| Fault::platform(format!("no port of 127.0.0.1 is free: {e}")))
}
