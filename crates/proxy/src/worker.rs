//! A worker: one thread, one single-threaded runtime, its own pools. Nothing of a request leaves it.

use crate::conn::Conn;
use crate::flight::Watched;
use crate::limits::{PARK_SOON_TIME, TICK, TICK_IDLE, WARM_MAX, WARM_MAX_NEW};
use crate::serve;
use crate::shared::{Bound, Plan, Shared};
use crate::table::Table;
use crate::upstream::pool::Pool;
use slab::Slab;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;

/// Connections that other workers give.
pub(crate) type Given = UnboundedReceiver<(std::net::TcpStream, SocketAddr, Arc<Bound>)>;

/// A table with what this worker adds to it.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) epoch: u64,
    pub(crate) table: Arc<Table>,
    pub(crate) pools: Vec<Rc<Pool>>,
    /// Memory of the weighted choice, per service.
    pub(crate) choice: RefCell<Vec<Vec<i64>>>,
    /// Whose turn it is among equals.
    pub(crate) turn: Cell<usize>,
    /// Whether any service has its requests logged.
    logs: bool,
}

/// A worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    number: usize,
    local: RefCell<Rc<Local>>,
    conns: RefCell<Slab<Rc<Conn>>>,
    /// Of them, those that have buffers for HTTP/1.
    warm: RefCell<Slab<Rc<Conn>>>,
    /// When those were last looked at because of a new one.
    thinned: Cell<Instant>,
    flights: RefCell<Slab<Watched>>,
    nudge: Notify,
    /// Whether it looks at its requests often.
    alert: Cell<bool>,
    random: Cell<u64>,
}

impl Worker {
    fn new(shared: Arc<Shared>, number: usize) -> Self {
        let local = Local {
            epoch: 0,
            table: Arc::default(),
            pools: Vec::new(),
            choice: RefCell::default(),
            turn: Cell::new(number),
            logs: false,
        };
        let seed = u64::from(std::process::id()) << 32 | number as u64;
        Self {
            shared,
            number,
            local: RefCell::new(Rc::new(local)),
            conns: RefCell::default(),
            warm: RefCell::default(),
            thinned: Cell::new(Instant::now()),
            flights: RefCell::default(),
            nudge: Notify::new(),
            alert: Cell::new(false),
            random: Cell::new(seed ^ 0x9e37_79b9_7f4a_7c15),
        }
    }

    /// The newest table.
    pub(crate) fn local(&self) -> Rc<Local> {
        if self.local.borrow().epoch != self.shared.epoch() {
            self.renew();
        }
        self.local.borrow().clone()
    }

    fn renew(&self) {
        let (epoch, table) = self.shared.table();
        let before = self.local.borrow().clone();
        let mut old: HashMap<SocketAddr, Rc<Pool>> =
            before.pools.iter().map(|pool| (pool.address, pool.clone())).collect();
        let pools =
            table.pools.iter().map(|address| old.remove(address).unwrap_or_else(|| Rc::new(Pool::new(*address))));
        let pools = pools.collect();
        for gone in old.values() {
            gone.close();
        }
        let choice = table.services.iter().map(|service| vec![0; service.sides.len()]).collect();
        let turn = before.turn.clone();
        let logs = table.services.iter().any(|service| service.config.route.access_log);
        self.local.replace(Rc::new(Local { epoch, table, pools, choice: RefCell::new(choice), turn, logs }));
    }

    /// Whether any service has its requests logged.
    pub(crate) fn logs(&self) -> bool {
        self.local.borrow().logs
    }

    /// A number that is not the same again; not for secrets.
    pub(crate) fn random(&self) -> u64 {
        let mut x = self.random.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random.set(x);
        x.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn watch(&self, watched: Watched) -> usize {
        if !self.alert.get() {
            self.alert.set(true);
            self.nudge.notify_one();
        }
        self.flights.borrow_mut().insert(watched)
    }

    pub(crate) fn watched<T>(&self, key: usize, with: impl FnOnce(&mut Watched) -> T) -> T {
        with(&mut self.flights.borrow_mut()[key])
    }

    pub(crate) fn unwatch(&self, key: usize) {
        self.flights.borrow_mut().remove(key);
    }

    pub(crate) fn enter(&self, conn: Rc<Conn>) -> usize {
        self.shared.workers[self.number].connections.fetch_add(1, SeqCst);
        let mut conns = self.conns.borrow_mut();
        if conns.is_empty() {
            self.nudge.notify_one();
        }
        conns.insert(conn)
    }

    pub(crate) fn leave(&self, key: usize) {
        self.conns.borrow_mut().remove(key);
        self.shared.workers[self.number].connections.fetch_sub(1, SeqCst);
    }

    /// Counts a connection among those that have buffers. When they get many, those that are idle for a moment give theirs
    /// up at once: the next ones take over that memory instead of more.
    pub(crate) fn warm(&self, conn: &Rc<Conn>, new: bool) -> usize {
        let mut warm = self.warm.borrow_mut();
        if warm.len() >= if new { WARM_MAX_NEW } else { WARM_MAX } {
            let now = Instant::now();
            if now.saturating_duration_since(self.thinned.get()) >= PARK_SOON_TIME / 2 {
                self.thinned.set(now);
                warm.iter().for_each(|(_, conn)| conn.park_if_idle(now, PARK_SOON_TIME));
            }
        }
        warm.insert(conn.clone())
    }

    pub(crate) fn cold(&self, key: usize) {
        self.warm.borrow_mut().remove(key);
    }

    /// Ends what has taken too long, again and again.
    async fn look_after(&self) {
        let mut quiet = 0;
        loop {
            let nothing = self.conns.borrow().is_empty() && self.flights.borrow().is_empty();
            if nothing {
                self.alert.set(false);
                self.nudge.notified().await;
            }
            if self.alert.get() {
                tokio::time::sleep(TICK).await;
            } else {
                let _ = tokio::time::timeout(TICK_IDLE, self.nudge.notified()).await;
            }
            let now = Instant::now();
            quiet = if self.flights.borrow().is_empty() { quiet + 1 } else { 0 };
            if quiet > 40 {
                self.alert.set(false);
            }
            self.look(now);
        }
    }

    fn look(&self, now: Instant) {
        let now_ms = self.shared.clock.ms(now);
        for (_, watched) in self.flights.borrow_mut().iter_mut() {
            watched.look(now, now_ms);
        }
        for (_, conn) in self.conns.borrow().iter() {
            conn.look(now);
        }
        for pool in &self.local.borrow().pools {
            pool.sweep(now);
        }
    }
}

/// Runs worker `number` until the plan says that all is over.
pub(crate) fn run(shared: Arc<Shared>, number: usize, given: Given) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().event_interval(61).build()?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, main(Rc::new(Worker::new(shared, number)), given));
    Ok(())
}

async fn main(worker: Rc<Worker>, mut given: Given) {
    let mut plans = worker.shared.plan.subscribe();
    let mut tables = worker.shared.tables.subscribe();
    let looking = worker.clone();
    tokio::task::spawn_local(async move { looking.look_after().await });
    let mut accepting: Vec<(Arc<Bound>, JoinHandle<()>)> = Vec::new();
    loop {
        let plan = plans.borrow_and_update().clone();
        follow(&worker, &plan, &mut accepting);
        if plan.over {
            return;
        }
        tokio::select! {
            _ = plans.changed() => {}
            // Pools of instances that left are closed even if no request comes.
            _ = tables.changed() => drop(worker.local()),
            Some((stream, peer, bound)) = given.recv() => take(&worker, stream, peer, &bound),
        }
    }
}

fn follow(worker: &Rc<Worker>, plan: &Plan, accepting: &mut Vec<(Arc<Bound>, JoinHandle<()>)>) {
    let wanted = |bound: &Arc<Bound>| !plan.draining && plan.listeners.iter().any(|other| Arc::ptr_eq(other, bound));
    let gone: Vec<_> = accepting.extract_if(.., |(bound, _)| !wanted(bound)).collect();
    for (bound, task) in gone {
        task.abort();
        for (_, conn) in worker.conns.borrow().iter().filter(|(_, conn)| Arc::ptr_eq(&conn.bound, &bound)) {
            conn.set_leaving();
        }
        if !plan.draining {
            // Whoever connected before the listener closed is served.
            while let Some((stream, peer)) = bound.accept_waiting() {
                take(worker, stream, peer, &bound);
            }
        }
        bound.close();
    }
    for bound in plan.listeners.iter().filter(|bound| wanted(bound)) {
        if accepting.iter().any(|(other, _)| Arc::ptr_eq(other, bound)) {
            continue;
        }
        let Some(Ok(listener)) = bound.copy().map(TcpListener::from_std) else { continue };
        accepting.push((bound.clone(), tokio::task::spawn_local(accept(worker.clone(), listener, bound.clone()))));
    }
}

fn take(worker: &Rc<Worker>, stream: std::net::TcpStream, peer: SocketAddr, bound: &Arc<Bound>) {
    if stream.set_nonblocking(true).is_ok()
        && let Ok(stream) = TcpStream::from_std(stream)
    {
        tokio::task::spawn_local(serve::serve(worker.clone(), stream, peer, bound.clone()));
    }
}

async fn accept(worker: Rc<Worker>, listener: TcpListener, bound: Arc<Bound>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => match calmer(&worker) {
                None => drop(tokio::task::spawn_local(serve::serve(worker.clone(), stream, peer, bound.clone()))),
                Some(other) => {
                    if let Ok(stream) = stream.into_std() {
                        let _ = worker.shared.workers[other].give.send((stream, peer, bound.clone()));
                    }
                }
            },
            // Out of descriptors, mostly: those who wait stay in the backlog.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// A worker with clearly fewer connections than this one.
fn calmer(worker: &Worker) -> Option<usize> {
    let load = |number: usize| worker.shared.workers[number].connections.load(SeqCst);
    let least = (0..worker.shared.workers.len()).min_by_key(|number| load(*number))?;
    (load(least) + 4 < load(worker.number)).then_some(least)
}
