//! A data plane of a state of its own, with a table that tests change.

use deployctl_core::config::Route;
use deployctl_core::fault::Fault;
use deployctl_core::id::{AppName, EnvName, Fence, InstanceId, ProjectName, RegionName, Revision, Scope, Sha256Hex};
use deployctl_core::route::{Listener, Mode, RouteTable, Router, Service, Side, Traffic};
use deployctl_core::time::Span;
use deployctl_proxy::{ProxyRouter, Running, State};
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The process to run as the data plane.
pub(crate) fn binary() -> PathBuf {
    env!("CARGO_BIN_EXE_deployctl-proxy-testbed").into()
}

/// A loopback address that nobody listens on, outside of the range that clients' ports are from.
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let start = 10_000 + (std::process::id() % 200) as u16 * 100;
        let port = start + NEXT.fetch_add(1, SeqCst);
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return listener.local_addr().unwrap();
        }
    }
}

/// Polls until `what` holds.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn scope(app: &str) -> Scope {
    Scope {
        project: ProjectName::new("shop").unwrap(),
        environment: EnvName::new("dev").unwrap(),
        region: RegionName::default_region(),
        app: AppName::new(app).unwrap(),
    }
}

pub(crate) fn revision(name: &str) -> Revision {
    Revision { release: Sha256Hex::of(name.as_bytes()), nonce: 0 }
}

pub(crate) fn instance(name: &str) -> InstanceId {
    InstanceId::new(name).unwrap()
}

pub(crate) fn route() -> Route {
    Route {
        listen: Vec::new(),
        published: Vec::new(),
        hosts: Vec::new(),
        redirect_hosts: Vec::new(),
        path: "/".into(),
        strip: false,
        https_only: false,
        tls: None,
        body_bytes_max: None,
        timeout: Span::secs(15),
        hold: Span::secs(10),
        h2: false,
        error_pages: BTreeMap::new(),
        access_log: false,
    }
}

/// A side with a weight and instances named `NAME-N`.
pub(crate) fn side(name: &str, weight: u32, addresses: &[SocketAddr]) -> (Revision, Side) {
    let instances = addresses.iter().enumerate();
    let instances = instances.map(|(n, address)| (instance(&format!("{name}-{n}")), address.to_string())).collect();
    (revision(name), Side { weight, instances })
}

pub(crate) fn service(app: &str, sides: Vec<(Revision, Side)>) -> Service {
    Service {
        scope: scope(app),
        route: route(),
        mode: Mode::Open,
        sides: sides.into_iter().collect(),
        newest: None,
        sticky: None,
        check: None,
        drain: Span::secs(10),
    }
}

/// A data plane.
pub(crate) struct Site {
    pub(crate) state: tempfile::TempDir,
    pub(crate) router: ProxyRouter,
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) address: SocketAddr,
}

impl Site {
    /// Nothing runs yet; `address` is where it will listen by [`Site::start`].
    pub(crate) fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        let router = ProxyRouter::new(state.path().to_owned(), binary());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { state, router, runtime, address: free_address() }
    }

    /// Serves `services` by host and path at `address`.
    pub(crate) fn start(services: Vec<Service>) -> Self {
        let site = Self::new();
        let listener = site.listener();
        site.change(|table| {
            table.listeners = vec![listener];
            table.services = services;
        })
        .unwrap();
        site
    }

    /// The same, by a process with more in its environment.
    pub(crate) fn start_with(variables: &[(&str, &str)], services: Vec<Service>) -> Self {
        let site = Self::new();
        let mut command = std::process::Command::new(binary());
        let mut child =
            command.args(["proxy", "--state"]).arg(site.state.path()).envs(variables.iter().copied()).spawn().unwrap();
        wait_until("it serves", || site.running().first().is_some_and(|one| one.state == State::Serving));
        std::thread::spawn(move || child.wait());
        let listener = site.listener();
        site.change(|table| {
            table.listeners = vec![listener];
            table.services = services;
        })
        .unwrap();
        site
    }

    /// Serves one service with one side.
    pub(crate) fn simple(addresses: &[SocketAddr]) -> Self {
        Self::start(vec![service("api", vec![side("v1", 1, addresses)])])
    }

    pub(crate) fn listener(&self) -> Listener {
        Listener {
            address: self.address.to_string(),
            tls: false,
            only: None,
            environment: "shop/dev".into(),
            published: false,
        }
    }

    pub(crate) fn block<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Publishes the table with a change.
    pub(crate) fn change(&self, change: impl FnOnce(&mut RouteTable)) -> Result<(), Fault> {
        self.block(async {
            let mut table = self.router.table().await?;
            table.generation += 1;
            table.fence = Fence(table.fence.0.max(1));
            change(&mut table);
            self.router.publish(table).await
        })
    }

    /// Publishes with the first service changed.
    pub(crate) fn service(&self, change: impl FnOnce(&mut Service)) {
        self.change(|table| change(&mut table.services[0])).unwrap();
    }

    pub(crate) fn traffic(&self) -> Traffic {
        self.block(self.router.traffic()).unwrap()
    }

    pub(crate) fn running(&self) -> Vec<Running> {
        self.block(self.router.running()).unwrap()
    }

    pub(crate) fn in_flight(&self, name: &str) -> u64 {
        self.traffic().in_flight.get(&instance(name)).copied().unwrap_or(0)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let running = self.block(self.router.running()).unwrap_or_default();
        for process in running {
            kill(process.pid);
        }
    }
}

/// Ends a process that this test started.
pub(crate) fn kill(pid: u32) {
    if let Some(pid) = deployctl_sys::process::number(pid) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}
