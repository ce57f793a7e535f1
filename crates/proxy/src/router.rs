//! The data plane as the control plane sees it: publishes tables, starts and upgrades proxy processes.

use crate::client::{self, Client};
use crate::files::Files;
use crate::stats;
use crate::wire::{Op, Running, State};
use async_trait::async_trait;
use deployctl_core::fault::{Applied, Fault, FaultKind};
use deployctl_core::route::{RouteTable, Router, Traffic};
use deployctl_sys::lock::Lock;
use deployctl_sys::{crash, durable};
use futures_util::future::{join_all, select_all};
use std::collections::{BTreeSet, HashMap};
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a process may take for an answer; one that says nothing for three times that is ended.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// How long a process may take to serve after its start.
const START_TIME: Duration = Duration::from_secs(15);
/// How long another writer may keep us waiting.
const WRITER_TIME: Duration = Duration::from_secs(20);
/// How long [`Router::changed`] waits for a change, at most.
const CHANGE_TIME: Duration = Duration::from_secs(2);

/// The data plane of one state directory: the durable table, and the processes that work by it.
#[derive(Clone, Debug)]
pub struct ProxyRouter {
    state: PathBuf,
    binary: PathBuf,
    files: Files,
    /// Per process, the last change that [`Router::changed`] saw.
    seen: Arc<Mutex<HashMap<u32, u64>>>,
}

impl ProxyRouter {
    /// The data plane of `state`; `binary` is what `binary proxy --state STATE` starts a process with.
    pub fn new(state: PathBuf, binary: PathBuf) -> Self {
        let state = std::path::absolute(&state).unwrap_or(state);
        let files = Files::new(&state);
        Self { state, binary, files, seen: Arc::default() }
    }

    /// Starts a proxy process if the durable table has listeners and none serves. Returns when it serves.
    pub async fn ensure(&self) -> Result<(), Fault> {
        if self.read_table()?.listeners.is_empty() {
            return Ok(());
        }
        if serving(&self.processes().await?).is_some() {
            return Ok(());
        }
        let _writer = self.writer().await?;
        self.start_if_none().await
    }

    /// The proxy process that serves, and those that finish; the serving one first. Of which build it is tells whether
    /// to [`ProxyRouter::upgrade`].
    pub async fn running(&self) -> Result<Vec<Running>, Fault> {
        let mut all: Vec<_> = self.processes().await?.into_iter().map(|(_, running)| running).collect();
        all.sort_by_key(|running| (running.state != State::Serving, running.pid));
        Ok(all)
    }

    /// The proxy process that serves, if one does.
    pub async fn build(&self) -> Result<Option<Running>, Fault> {
        Ok(self.running().await?.into_iter().find(|running| running.state == State::Serving))
    }

    /// Starts a process from `binary` that takes the listening sockets over; the present one finishes what it has and
    /// leaves. Returns when the new one serves. If it cannot, the present one serves on and the fault says why.
    pub async fn upgrade(&self, binary: &Path) -> Result<(), Fault> {
        let _writer = self.writer().await?;
        let before = serving(&self.processes().await?).map(|running| running.pid);
        crash::point("router.before-upgrade");
        self.start(binary, before).await
    }

    /// Lets every proxy process finish what it has and leave; nothing takes connections then.
    pub async fn stop(&self) -> Result<(), Fault> {
        let _writer = self.writer().await?;
        for (mut client, _) in self.processes().await? {
            client.ask(Op::Stop, ANSWER_TIME).await?;
        }
        Ok(())
    }

    fn read_table(&self) -> Result<RouteTable, Fault> {
        self.files.read_table().map_err(|e| {
            Fault::platform(format!("the published route table: {e}")).hint("it is proxy/routes.json below the state")
        })
    }

    /// Excludes every other writer of this state.
    async fn writer(&self) -> Result<Lock, Fault> {
        let files = self.files.clone();
        let waiting = tokio::task::spawn_blocking(move || {
            files.make()?;
            let give_up = Instant::now() + WRITER_TIME;
            loop {
                match Lock::try_exclusive(&files.writer_lock())? {
                    Some(lock) => return Ok(Some(lock)),
                    None if Instant::now() > give_up => return Ok(None),
                    None => {}
                }
            }
        });
        let lock: io::Result<Option<Lock>> = waiting.await.unwrap_or_else(|e| Err(io::Error::other(e)));
        lock.map_err(|e| Fault { applied: Applied::No, ..Fault::platform(format!("locking the data plane: {e}")) })?
            .ok_or_else(|| Fault {
                applied: Applied::No,
                ..Fault::platform("another process keeps the data plane locked")
            })
    }

    async fn processes(&self) -> Result<Vec<(Client, Running)>, Fault> {
        let clients = client::all(&self.files).await.map_err(|e| Fault {
            applied: Applied::No,
            ..Fault::platform(format!("looking for the data plane: {e}"))
        })?;
        let asked = join_all(clients.into_iter().map(|mut client| async move {
            Ok::<_, Fault>(client.hello(ANSWER_TIME).await?.map(|running| (client, running)))
        }));
        asked.await.into_iter().filter_map(Result::transpose).collect()
    }

    async fn start_if_none(&self) -> Result<(), Fault> {
        match serving(&self.processes().await?) {
            Some(_) => Ok(()),
            None => self.start(&self.binary, None).await,
        }
    }

    /// Starts a process and waits until another one than `before` serves, and that one does not any more.
    async fn start(&self, binary: &Path, before: Option<u32>) -> Result<(), Fault> {
        let binary = &std::path::absolute(binary).unwrap_or_else(|_| binary.to_owned());
        let spawned = spawn(binary, &self.state, &self.files.process_log());
        let mut child = spawned.map_err(|e| Fault {
            applied: Applied::No,
            ..Fault::platform(format!("starting the data plane from {}: {e}", binary.display()))
        })?;
        crash::point("router.after-spawn");
        let give_up = Instant::now() + START_TIME;
        loop {
            // Who does not answer now may answer in a moment, or be gone.
            let processes = self.processes().await.unwrap_or_default();
            let ours =
                processes.iter().any(|(_, running)| running.state == State::Serving && running.pid == child.id());
            let old =
                processes.iter().any(|(_, running)| running.state == State::Serving && Some(running.pid) == before);
            if ours && !old {
                // Somebody must take note of its end, or it stays in the process table until we end ourselves.
                std::thread::spawn(move || child.wait());
                return Ok(());
            }
            if let Ok(Some(status)) = child.try_wait() {
                let said = last_lines(&self.files.process_log());
                return Err(Fault::platform(format!("the data plane ended at its start ({status}): {said}")));
            }
            if Instant::now() > give_up {
                let _ = child.kill();
                let _ = child.wait();
                let said = last_lines(&self.files.process_log());
                return Err(Fault::platform(format!("the data plane does not come up in {START_TIME:?}: {said}")));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn check(&self, published: &RouteTable, table: &RouteTable) -> Result<(), Fault> {
        let conflict = |why: String| Err(Fault::refused(FaultKind::Conflict, why));
        if table.fence < published.fence {
            return conflict(format!(
                "a newer writer (fence {}) published routes after this one (fence {})",
                published.fence.0, table.fence.0
            ));
        }
        if table.generation != published.generation + 1 {
            return conflict(format!(
                "routes of generation {} cannot follow generation {}: somebody else published meanwhile",
                table.generation, published.generation
            ));
        }
        Ok(())
    }
}

fn serving(processes: &[(Client, Running)]) -> Option<&Running> {
    processes.iter().map(|(_, running)| running).find(|running| running.state == State::Serving)
}

fn spawn(binary: &Path, state: &Path, log: &Path) -> io::Result<std::process::Child> {
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(log)?;
    Command::new(binary)
        .arg("proxy")
        .arg("--state")
        .arg(state)
        .current_dir("/")
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_for_the_proxy)))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
}

/// The engine's environment may hold secrets of applications; the data plane gets what is meant for it.
fn is_for_the_proxy(name: &str) -> bool {
    name.starts_with("DEPLOYCTL_PROXY_")
        || name.starts_with("DEPLOYCTL_CRASH")
        || name == "DEPLOYCTL_STATE"
        || name == "RUST_BACKTRACE"
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().rev().take(3).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
}

#[async_trait]
impl Router for ProxyRouter {
    async fn table(&self) -> Result<RouteTable, Fault> {
        self.read_table()
    }

    async fn publish(&self, table: RouteTable) -> Result<(), Fault> {
        let _writer = self.writer().await?;
        let published = self.read_table()?;
        let generation = table.generation;
        // The same table again: somebody was interrupted before all had acknowledged it.
        if table != published {
            self.check(&published, &table)?;
            if !table.listeners.is_empty() {
                self.start_if_none().await?;
            }
            for (mut client, running) in self.processes().await? {
                if running.state == State::Serving {
                    client.ask(Op::Prepare(Box::new(table.clone())), ANSWER_TIME).await?;
                }
            }
            let bytes = serde_json::to_vec(&table).map_err(|e| Fault::refused(FaultKind::Bug, e.to_string()))?;
            let path = self.files.table();
            crash::point("router.before-table");
            let written = tokio::task::spawn_blocking(move || durable::replace(&path, &bytes, 0o600)).await;
            written
                .unwrap_or_else(|e| Err(io::Error::other(e)))
                .map_err(|e| Fault::platform(format!("writing the route table: {e}")))?;
            crash::point("router.after-table");
        } else if !table.listeners.is_empty() {
            self.start_if_none().await?;
        }
        let told = join_all(
            self.processes()
                .await?
                .into_iter()
                .map(|(mut client, _)| async move { client.ask(Op::Load(generation), ANSWER_TIME).await }),
        );
        for answer in told.await {
            answer.map_err(|fault| Fault { applied: Applied::Yes, ..fault })?;
        }
        crash::point("router.after-load");
        Ok(())
    }

    async fn can_listen(&self, address: &str) -> Result<(), Fault> {
        let at = crate::table::address(address).map_err(|why| Fault::refused(FaultKind::Spec, why))?;
        crate::bind::could(at)
    }

    async fn traffic(&self) -> Result<Traffic, Fault> {
        let clients = client::all(&self.files).await.map_err(|e| Fault {
            applied: Applied::No,
            ..Fault::platform(format!("looking for the data plane: {e}"))
        })?;
        let asked =
            join_all(clients.into_iter().map(|mut client| async move { client.ask(Op::Traffic, ANSWER_TIME).await }));
        let mut sum = Traffic::default();
        let mut ejected = BTreeSet::new();
        for answer in asked.await {
            let Some(traffic) = answer?.and_then(|answer| answer.traffic) else { continue };
            sum.generation = sum.generation.into_iter().chain(traffic.generation).min();
            for (instance, count) in traffic.in_flight {
                *sum.in_flight.entry(instance).or_default() += count;
            }
            for (scope, held) in traffic.held {
                *sum.held.entry(scope).or_default() += held;
            }
            for (scope, sides) in traffic.stats {
                let scope = sum.stats.entry(scope).or_default();
                for (revision, more) in sides {
                    stats::add(scope.entry(revision).or_default(), &more);
                }
            }
            ejected.extend(traffic.ejected);
        }
        sum.ejected = ejected.into_iter().collect();
        Ok(sum)
    }

    async fn changed(&self) {
        let waiting = async {
            let clients = client::all(&self.files).await.unwrap_or_default();
            let waits = clients.into_iter().map(|mut client| {
                let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(&client.pid).copied();
                Box::pin(async move {
                    let op = Op::Wait { seen: seen.unwrap_or(0), ms: CHANGE_TIME.as_millis() as u64 };
                    let answer = client.ask(op, CHANGE_TIME * 2).await;
                    (client.pid, answer.ok().flatten().and_then(|answer| answer.seen))
                })
            });
            let waits: Vec<_> = waits.collect();
            if waits.is_empty() {
                return std::future::pending().await;
            }
            let ((pid, seen), _, _) = select_all(waits).await;
            let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            match seen {
                Some(seen) => drop(all.insert(pid, seen)),
                None => drop(all.remove(&pid)),
            }
        };
        let _ = tokio::time::timeout(CHANGE_TIME, waiting).await;
    }
}
