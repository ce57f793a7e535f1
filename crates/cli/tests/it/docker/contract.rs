//! The contract of drivers, on real containers: Docker, proxy and driver put together as the engine has them.

use super::engine::{self, Engine};
use crate::it::contract::{Cast, no_secrets, scope};
use crate::it::world::World;
use async_trait::async_trait;
use deployctl_core::config::{
    Artifact, ArtifactFormat, DockerConfig, LatePart, LateText, Limits, TargetConfig, Volume,
};
use deployctl_core::desired::JobGate;
use deployctl_core::driver::Driver;
use deployctl_core::id::{InstanceId, JobId, Scope, Sha256Hex};
use deployctl_core::instance::InstanceSeen;
use deployctl_core::login::Login;
use deployctl_core::release::Release;
use deployctl_driver_docker::{Docker, DockerOptions, Endpoint};
use deployctl_driver_managed::Managed;
use deployctl_proxy::ProxyRouter;
use deployctl_testkit::contract::{Bench, Character, Task};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::RwLockReadGuard;
use tokio::task::{JoinHandle, JoinSet};

const PORT: u16 = 8080;

deployctl_testkit::driver_contract!(match Containers::new(None).await {
    Some(bench) => bench,
    None => return,
});

/// The same, as if the engine were elsewhere: by TCP, and its containers by the ports that it publishes. But for
/// `looking_changes_nothing`, which claims, and a claim refuses the folder of this machine that a bench is known by.
mod by_tcp {
    use super::{Containers, free_port};

    deployctl_testkit::driver_contract! {
        match Containers::new(Some(free_port())).await {
            Some(bench) => bench,
            None => return,
        };
        observe_says_what_was_asked,
        converge_twice_is_converge_once,
        interrupted_anywhere_it_ends_the_same,
        the_way_down_leaves_nothing,
        what_was_taken_away_is_made_good,
        a_replaced_owner_starts_and_stops_nothing,
        who_shows_a_newer_fence_is_the_owner,
        a_replaced_owner_moves_no_traffic,
        a_replaced_owner_runs_and_kills_no_job,
        what_exits_at_once_is_said_with_its_last_lines,
        what_never_is_healthy_is_said_with_its_last_lines,
        who_waits_is_woken,
        out_of_reach_is_no_verdict,
        a_job_begins_once,
        a_job_that_fails_says_how,
        a_job_whose_caller_goes_away_begins_once,
        a_killed_job_is_gone_with_all_it_started,
        a_job_that_was_killed_before_never_begins,
    }
}

/// A state directory whose containers run on the shared engine, by a socket or a port of loopback of its own.
struct Containers {
    cast: Cast,
    engine: RwLockReadGuard<'static, Engine>,
    relay: Mutex<Option<JoinHandle<()>>>,
    port: Option<u16>,
}

impl Containers {
    async fn new(port: Option<u16>) -> Option<Self> {
        let engine = engine::shared_in_task().await?;
        let world = World::bare();
        let place = place(&world);
        let app = [LateText::plain("/app"), LateText(vec![LatePart::Port]), LateText::plain("0.0.0.0")];
        let target = |command| TargetConfig::Docker(target(command, &place));
        let mark = format!("BENCH={place}");
        let cast = Cast::new(world, mark, Some(image(&engine)), &app, target);
        let bench = Self { cast, engine, relay: Mutex::default(), port };
        bench.set_reachable(true).await;
        Some(bench)
    }

    fn socket(&self) -> PathBuf {
        self.cast.world.path("docker")
    }

    async fn relay(&self) -> JoinHandle<()> {
        let far = self.engine.socket_path();
        match self.port {
            None => {
                let near = Arc::new(UnixListener::bind(self.socket()).expect("a socket"));
                relay(far, move || accept_unix(Arc::clone(&near)))
            }
            Some(port) => {
                let near = Arc::new(TcpListener::bind(("127.0.0.1", port)).await.expect("a port"));
                relay(far, move || accept_tcp(Arc::clone(&near)))
            }
        }
    }
}

/// The folder of a bench, mounted into all of its containers.
fn place(world: &World) -> String {
    world.project().parent().expect("a folder").to_string_lossy().into_owned()
}

/// The one image of all releases.
fn image(engine: &Engine) -> Artifact {
    static IMAGE: OnceLock<String> = OnceLock::new();
    let id = IMAGE.get_or_init(|| {
        engine.image("contract:1", "", &[]);
        engine.docker(&["image", "inspect", "-f", "{{.Id}}", "contract:1"])
    });
    let sha256 = Sha256Hex::new(id.trim_start_matches("sha256:")).expect("a digest");
    Artifact { sha256, format: ArtifactFormat::ImageId }
}

fn target(command: Vec<LateText>, place: &str) -> DockerConfig {
    DockerConfig {
        image: "contract".into(),
        command: Some(command),
        env: BTreeMap::from([("BENCH".into(), LateText::plain(place))]),
        secrets: BTreeMap::new(),
        port: Some(PORT),
        user: None,
        limits: Limits::default(),
        volumes: vec![Volume { source: place.into(), path: place.into(), read_only: false }],
        networks: Vec::new(),
        read_only: true,
        tmpfs: Vec::new(),
        capabilities_add: Vec::new(),
        capabilities_drop: Vec::new(),
        log_bytes_max: 1 << 20,
        compose: None,
    }
}

/// A port of loopback that nobody has.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

async fn accept_unix(near: Arc<UnixListener>) -> std::io::Result<UnixStream> {
    near.accept().await.map(|(client, _)| client)
}

async fn accept_tcp(near: Arc<TcpListener>) -> std::io::Result<TcpStream> {
    near.accept().await.map(|(client, _)| client)
}

/// Takes connections and passes them on to `far` until it is aborted, with all that are open.
fn relay<S, F>(far: PathBuf, accept: impl Fn() -> F + Send + 'static) -> JoinHandle<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = std::io::Result<S>> + Send,
{
    tokio::spawn(async move {
        let mut open = JoinSet::new();
        while let Ok(mut client) = accept().await {
            let far = far.clone();
            open.spawn(async move {
                if let Ok(mut engine) = UnixStream::connect(far).await {
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut engine).await;
                }
            });
        }
    })
}

#[async_trait]
impl Bench for Containers {
    fn driver(&self) -> Arc<dyn Driver> {
        let state = self.cast.world.state();
        let host = Some(match self.port {
            None => format!("unix://{}", self.socket().display()),
            Some(port) => format!("tcp://127.0.0.1:{port}"),
        });
        let endpoint = Endpoint { host, ..Endpoint::default() };
        let options = DockerOptions {
            state: state.clone(),
            secrets: Arc::new(no_secrets),
            logins: Arc::new(|_| Ok(Login::Anonymous)),
            endpoint,
        };
        let docker = Arc::new(Docker::new(options));
        let router = ProxyRouter::new(state, env!("CARGO_BIN_EXE_deployctl").into());
        Arc::new(Managed::new(docker.clone(), docker, Arc::new(router), self.cast.releases()))
    }

    fn scope(&self) -> Scope {
        scope()
    }

    fn release(&self, character: Character) -> Arc<Release> {
        self.cast.release(character)
    }

    fn job(&self, task: Task) -> JobGate {
        self.cast.job(task)
    }

    async fn alive(&self) -> Vec<InstanceId> {
        self.cast.alive()
    }

    async fn begun(&self, job: &JobId) -> usize {
        self.cast.begun(job)
    }

    async fn working(&self, job: &JobId) -> usize {
        self.cast.working(job)
    }

    async fn take_away(&self, instance: &InstanceSeen) -> bool {
        let id = format!("label=io.deployctl.id={}", instance.id);
        let mounted = format!("volume={}", place(&self.cast.world));
        let names = self.engine.docker(&["ps", "--filter", &id, "--filter", &mounted, "--format", "{{.Names}}"]);
        assert_eq!(names.lines().count(), 1, "{id}: {names}");
        self.engine.docker(&["rm", "-f", &names]);
        true
    }

    /// An engine that is away: nobody listens on its socket, and what was connected is cut off.
    async fn set_reachable(&self, reachable: bool) -> bool {
        let new = if reachable { Some(self.relay().await) } else { None };
        let relay = std::mem::replace(&mut *self.relay.lock().unwrap(), new);
        if let Some(relay) = relay {
            relay.abort();
            let _ = relay.await;
            if self.port.is_none() {
                std::fs::remove_file(self.socket()).expect("the socket");
            }
        }
        true
    }
}

impl Drop for Containers {
    /// A case that fails leaves its containers.
    fn drop(&mut self) {
        let mounted = format!("volume={}", place(&self.cast.world));
        let left = self.engine.docker(&["ps", "-aq", "--filter", &mounted]);
        if !left.is_empty() {
            self.engine.docker(&[&["rm", "-f"], &*left.lines().collect::<Vec<_>>()].concat());
        }
    }
}
