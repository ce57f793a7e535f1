//! The proxy process: starts, takes over from a predecessor, works by tables, drains, ends.

use crate::access_log::AccessLog;
use crate::bind;
use crate::client::Blocking;
use crate::control;
use crate::files::Files;
use crate::handover;
use crate::health::Checks;
use crate::limits::{HELD_MAX, LEAVING_IDLE_TIME};
use crate::shared::{Bound, Plan, Port, Shared};
use crate::table::{Clock, ListenKey, Registry, Table, address};
use crate::wire::{Op, Running, Socket, State};
use crate::worker;
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::route::{RouteTable, Traffic};
use deployctl_sys::crash;
use deployctl_sys::lock::Lock;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

/// How long a predecessor may take for each answer.
const HAND_OVER_TIME: Duration = Duration::from_secs(10);
/// How long a process that leaves waits for requests that are held or not answered, whatever their routes allow.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(300);
/// Between the cut of what outlives the drain and the end of the process.
const FAREWELL_TIME: Duration = Duration::from_secs(3);

/// Why the proxy process cannot work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something of the operating system failed.
    #[error("{doing}")]
    Io {
        /// What was being done.
        doing: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The durable table cannot be used.
    #[error("the published route table cannot be used: {0}")]
    Table(String),
}

fn doing(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { doing: what.into(), source }
}

/// The body of `deployctl proxy --state DIR`: serves by the durable table of `state` until it is told to leave. If a
/// proxy of this state serves already, takes its listening sockets over; no connection is lost.
pub fn run(state: &Path) -> Result<(), Error> {
    // A session of its own: the terminal that somebody deployed from may close.
    let _ = rustix::process::setsid();
    lift_limit();
    let files = Files::new(state);
    files.make().map_err(doing("making the folder of the data plane"))?;
    let inherited = inherit(&files)?;
    let clock = Clock::new();
    let log = AccessLog::start(files.access_log()).map_err(doing("starting the access log"))?;
    let (ports, given): (Vec<_>, Vec<_>) = (0..threads())
        .map(|_| {
            let (give, given) = tokio::sync::mpsc::unbounded_channel();
            (Port { connections: 0.into(), give }, given)
        })
        .unzip();
    let shared = Arc::new(Shared::new(clock, ports, log, number("DEPLOYCTL_PROXY_HELD_MAX").unwrap_or(HELD_MAX)));
    let mut workers = Vec::new();
    for (number, given) in given.into_iter().enumerate() {
        let shared = shared.clone();
        let thread = std::thread::Builder::new().name(format!("worker-{number}"));
        workers
            .push(thread.spawn(move || worker::run(shared, number, given)).map_err(doing("starting a worker thread"))?);
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(doing("starting the runtime"))?;
    let result = tokio::task::LocalSet::new().block_on(&runtime, Process::main(files, shared.clone(), inherited));
    shared.plan.send_replace(Plan { over: true, ..Plan::default() });
    for worker in workers {
        let _ = worker.join();
    }
    result
}

fn threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    number("DEPLOYCTL_PROXY_THREADS").unwrap_or(cores / 2).clamp(1, 64)
}

/// What a person set in the environment.
fn number<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

/// Each connection takes one descriptor, or two; the usual soft limit is for programs that use `select`.
fn lift_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}

/// What a process begins with.
struct Inherited {
    lock: OwnedFd,
    listeners: Vec<Arc<Bound>>,
    predecessor: Option<Blocking>,
}

fn inherit(files: &Files) -> Result<Inherited, Error> {
    let give_up = Instant::now() + HAND_OVER_TIME;
    loop {
        if let Some(lock) = Lock::try_exclusive(&files.lock()).map_err(doing("locking the data plane"))? {
            let lock =
                rustix::io::fcntl_dupfd_cloexec(lock.as_fd(), 3).map_err(|e| doing("keeping the lock")(e.into()))?;
            return Ok(Inherited { lock, listeners: Vec::new(), predecessor: None });
        }
        match take_over(files) {
            Ok(inherited) => return Ok(inherited),
            Err(error) if Instant::now() >= give_up => {
                return Err(doing("taking over from the proxy that holds the lock")(error));
            }
            // It may be just starting or just leaving.
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn take_over(files: &Files) -> io::Result<Inherited> {
    for (_, path) in files.sockets()? {
        let Ok(mut predecessor) = Blocking::connect(&path, HAND_OVER_TIME) else { continue };
        let Ok(Some(hello)) = predecessor.ask(Op::Hello).map(|answer| answer.hello) else { continue };
        if hello.state != State::Serving || hello.pid == std::process::id() {
            continue;
        }
        let sockets = predecessor.ask(Op::HandOver)?.sockets;
        let mut fds = handover::receive(predecessor.stream(), sockets.len() + 1)?.into_iter();
        crash::point("proxy.handed-over");
        let lock = fds.next().ok_or_else(|| io::Error::other("the predecessor sent no lock"))?;
        let listeners = sockets.iter().zip(fds).filter_map(|(socket, fd)| {
            let key = ListenKey { only: socket.only.clone(), environment: socket.environment.clone() };
            Some(Arc::new(Bound::new(key, socket.tls, address(&socket.address).ok()?, fd.into())))
        });
        return Ok(Inherited { lock, listeners: listeners.collect(), predecessor: Some(predecessor) });
    }
    Err(io::Error::other("no proxy answers as the one that serves"))
}

/// The control side of the process.
pub(crate) struct Process {
    files: Files,
    pub(crate) shared: Arc<Shared>,
    registry: RefCell<Registry>,
    table: RefCell<Arc<Table>>,
    listeners: RefCell<Vec<Arc<Bound>>>,
    /// Bound for a table to come.
    prepared: RefCell<Vec<Arc<Bound>>>,
    lock: RefCell<Option<OwnedFd>>,
    state: Cell<State>,
    checks: RefCell<Checks>,
    binary: PathBuf,
    pub(crate) leave: tokio::sync::Notify,
}

impl Process {
    async fn main(files: Files, shared: Arc<Shared>, inherited: Inherited) -> Result<(), Error> {
        let Inherited { lock, listeners, predecessor } = inherited;
        let process = Rc::new(Self {
            registry: RefCell::new(Registry::new(shared.clock)),
            files,
            shared,
            table: RefCell::default(),
            listeners: RefCell::default(),
            prepared: RefCell::new(listeners),
            lock: RefCell::new(Some(lock)),
            state: Cell::new(State::Starting),
            checks: RefCell::default(),
            binary: std::env::current_exe().unwrap_or_default(),
            leave: tokio::sync::Notify::new(),
        });
        let socket = process.files.socket(std::process::id());
        // The socket comes first: whoever publishes after this tells us, whoever published before wrote what we read.
        let listener = control::bind(&socket).map_err(doing("making the control socket"))?;
        tokio::task::spawn_local(control::serve(process.clone(), listener));
        crash::point("proxy.socket-bound");
        let table = process.files.read_table().map_err(|e| Error::Table(e.to_string()))?;
        process.begin(table)?;
        process.state.set(State::Serving);
        if let Some(mut predecessor) = predecessor {
            crash::point("proxy.before-took-over");
            // A predecessor that died meanwhile takes no connections either.
            let _ = predecessor.ask(Op::TookOver);
            crash::point("proxy.after-took-over");
        }
        process.until_leave().await;
        process.drain().await;
        let _ = std::fs::remove_file(socket);
        Ok(())
    }

    /// Works by the first table. What cannot be bound or read now does not keep the rest from being served.
    fn begin(self: &Rc<Self>, source: RouteTable) -> Result<(), Error> {
        if let Err(fault) = self.load(source.clone()) {
            eprintln!("{}: trying again every second", fault.message);
            self.load_partly(source)?;
            let process = self.clone();
            tokio::task::spawn_local(async move {
                loop {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    let whole = process.files.read_table().ok().is_none_or(|table| process.load(table).is_ok());
                    if whole || process.state.get() != State::Serving {
                        return;
                    }
                }
            });
        }
        Ok(())
    }

    fn load_partly(self: &Rc<Self>, mut source: RouteTable) -> Result<(), Error> {
        source.listeners.retain(|listener| bind::bound(listener, &self.known()).is_ok());
        let bad = self.load(source.clone()).err();
        if bad.is_some() {
            // A certificate or a page is gone: plain HTTP goes on.
            source.listeners.retain(|listener| !listener.tls);
            for service in &mut source.services {
                service.route.error_pages.clear();
            }
        }
        self.load(source).map_err(|fault| Error::Table(fault.message))
    }

    fn known(&self) -> Vec<Arc<Bound>> {
        self.listeners.borrow().iter().chain(self.prepared.borrow().iter()).cloned().collect()
    }

    fn bind_all(&self, source: &RouteTable) -> Result<Vec<Arc<Bound>>, Fault> {
        let known = self.known();
        source.listeners.iter().map(|listener| bind::bound(listener, &known)).collect()
    }

    /// Makes sure that `source` can be worked by: reads its files, binds its listeners.
    pub(crate) fn prepare(&self, source: RouteTable) -> Result<(), Fault> {
        if self.state.get() == State::Draining {
            return Ok(());
        }
        let bound = self.bind_all(&source)?;
        let before = self.table.borrow().clone();
        self.registry.borrow_mut().compile(source, &before).map_err(|why| Fault::refused(FaultKind::Spec, why))?;
        self.prepared.replace(bound);
        Ok(())
    }

    /// Works by the durable table from now on.
    pub(crate) fn reload(self: &Rc<Self>, generation: u64) -> Result<(), Fault> {
        let source = self.files.read_table().map_err(|e| Fault::platform(format!("reading the route table: {e}")))?;
        if source.generation < generation {
            return Err(Fault::platform(format!("the route table of generation {generation} is not there yet")));
        }
        self.load(source)
    }

    fn load(self: &Rc<Self>, source: RouteTable) -> Result<(), Fault> {
        let draining = self.state.get() == State::Draining;
        let bound = if draining { Vec::new() } else { self.bind_all(&source)? };
        let before = self.table.borrow().clone();
        let table =
            self.registry.borrow_mut().compile(source, &before).map_err(|why| Fault::refused(FaultKind::Spec, why))?;
        let table = Arc::new(table);
        crash::point("proxy.before-install");
        self.shared.install(table.clone());
        self.registry.borrow_mut().settle(&table, &before, Instant::now());
        self.table.replace(table.clone());
        if !draining {
            self.prepared.borrow_mut().clear();
            self.listeners.replace(bound.clone());
            self.shared.plan.send_replace(Plan { listeners: bound, draining: false, over: false });
            self.checks.borrow_mut().follow(&table, &self.shared);
        }
        crash::point("proxy.after-install");
        Ok(())
    }

    pub(crate) fn hello(&self) -> Running {
        Running {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").into(),
            binary: self.binary.clone(),
            generation: self.table.borrow().source.generation,
            state: self.state.get(),
            connections: self.shared.connections(),
        }
    }

    pub(crate) fn traffic(&self) -> Traffic {
        let mut registry = self.registry.borrow_mut();
        registry.sweep();
        let table = self.table.borrow();
        let now_ms = self.shared.clock.ms(Instant::now());
        let mut ejected = HashSet::new();
        for side in table.services.iter().flat_map(|service| &service.sides) {
            let fit = side.members.iter().filter(|member| member.instance.fit(now_ms)).count();
            let out = side.members.iter().filter(|member| fit > 0 && !member.instance.fit(now_ms));
            ejected.extend(out.map(|member| member.instance.id.clone()));
        }
        let mut in_flight = std::collections::BTreeMap::new();
        for instance in registry.instances() {
            *in_flight.entry(instance.id.clone()).or_default() += instance.in_flight.load(SeqCst);
        }
        let mut ejected: Vec<_> = ejected.into_iter().collect();
        ejected.sort();
        Traffic {
            generation: Some(table.source.generation),
            in_flight,
            stats: registry.stats(),
            ejected,
            held: registry.held(),
        }
    }

    /// The sockets to hand over, and with which descriptors: first the lock, then a copy of each.
    pub(crate) fn sockets(&self) -> io::Result<(Vec<Socket>, Vec<OwnedFd>)> {
        let lock = self.lock.borrow();
        let lock: BorrowedFd<'_> = lock.as_ref().ok_or_else(|| io::Error::other("it handed over already"))?.as_fd();
        let mut fds = vec![lock.try_clone_to_owned()?];
        let mut sockets = Vec::new();
        for bound in self.listeners.borrow().iter() {
            let Some(copy) = bound.copy() else { continue };
            fds.push(copy.into());
            sockets.push(Socket {
                address: bound.address.to_string(),
                tls: bound.tls,
                only: bound.key.only.clone(),
                environment: bound.key.environment.clone(),
            });
        }
        Ok((sockets, fds))
    }

    /// Takes no more connections; with a successor the listening sockets live on in it.
    pub(crate) fn stop_taking(&self, successor: bool) {
        if self.state.replace(State::Draining) == State::Draining {
            return;
        }
        self.shared.draining.store(true, SeqCst);
        self.checks.borrow_mut().stop();
        self.listeners.borrow_mut().clear();
        self.prepared.borrow_mut().clear();
        self.shared.plan.send_replace(Plan { listeners: Vec::new(), draining: successor, over: false });
        self.lock.replace(None);
        self.leave.notify_one();
    }

    async fn until_leave(&self) {
        use tokio::signal::unix::{SignalKind, signal};
        let terminate = async {
            match signal(SignalKind::terminate()) {
                Ok(mut signal) => drop(signal.recv().await),
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.leave.notified() => {}
            () = terminate => self.stop_taking(false),
        }
    }

    /// Waits for the connections that are left, and cuts what outlives the longest drain (or hold and answer time).
    async fn drain(&self) {
        let table = self.table.borrow().clone();
        let longest = table.services.iter().map(|service| {
            let route = &service.config.route;
            service.config.drain.0.max((route.hold.0 + route.timeout.0).min(REQUEST_TIME_MAX))
        });
        let longest = longest.max().unwrap_or_default();
        let end = Instant::now() + longest.max(LEAVING_IDLE_TIME + Duration::from_secs(2));
        while self.shared.connections() > 0 && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for instance in self.registry.borrow().instances() {
            instance.cut_at.store(0, SeqCst);
        }
        let end = Instant::now() + FAREWELL_TIME;
        while self.shared.connections() > 0 && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
