//! A world of one case: its own project and state directory, and an end for everything that was started in it.

use super::binaries::Binaries;
use super::objects::{self, Shape};
use super::procs::Whose;
use super::running::{Ran, Running};
use super::traffic::Traffic;
use super::{containers, procs};
use crate::dockerd;
use serde_json::Value;
use sha2::Digest;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A command that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(90);

/// Between two requests to the Service of a world.
const BETWEEN: Duration = Duration::from_millis(20);

/// A port for the proxy of a world: not one that the kernel gives to others, nor that deployctl chooses itself, for instances
/// (from 20,000) or for direct addresses (from 12,000), in another world.
fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 40).unwrap_or(0) * 100;
    loop {
        let port = 6_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 4_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// One project with one state directory.
pub(crate) struct World {
    folder: PathBuf,
    /// A number that no other world has: its proxy's port, and in the name of its project, from which other ports come.
    port: u16,
    pub(crate) binaries: Binaries,
    /// `NAME=VALUE` for every command.
    pub(crate) vars: Vec<(String, String)>,
    /// What every command is run by.
    pub(crate) prefix: Vec<String>,
    /// What a version consists of, if the app is objects.
    shape: Option<Shape>,
    /// The state directory, if it has one.
    kept: PathBuf,
    /// Which machine the commands are run on, where there is one with a state that is elsewhere.
    machine: u8,
    /// Who asks meanwhile.
    traffic: Mutex<Option<Traffic>>,
}

impl World {
    /// A world in `folder`, which is made; `APP` and `HERE` in the specification stand for the server and the folder.
    pub(crate) fn new(folder: PathBuf, binaries: &Binaries, spec: &str, shape: Option<Shape>) -> Result<Self, String> {
        let (binaries, port, traffic) = (binaries.clone(), port(), Mutex::default());
        let kept = folder.join("state");
        let world =
            Self { kept, folder, port, binaries, vars: Vec::new(), prefix: Vec::new(), shape, traffic, machine: 1 };
        let here = world.folder.display().to_string();
        let spec = spec.replace("APP", &world.binaries.app.display().to_string()).replace("HERE", &here);
        let spec = spec.replace("PORT", &world.port.to_string());
        let make = || {
            let _ = std::fs::remove_dir_all(&world.folder);
            std::fs::create_dir_all(world.folder.join("p"))?;
            world.binaries.link(&world.state())?;
            std::fs::write(world.folder.join("p/deployctl.yaml"), spec)
        };
        make().map_err(|e| format!("{here}: {e}"))?;
        let is_made_first = !shape.is_some_and(|shape| shape.has_namespace);
        if let Some(cluster) = world.binaries.cluster.as_ref().filter(|_| is_made_first) {
            cluster.kubectl(&["create", "namespace", &world.project()])?;
        }
        Ok(world)
    }

    /// The state directory, or the folder of what a machine has of a state that is elsewhere.
    pub(crate) fn state(&self) -> PathBuf {
        let Some(cluster) = self.binaries.cluster.as_ref().filter(|_| self.is_kept_elsewhere()) else {
            return self.kept.clone();
        };
        let known = format!("{}\n{}", self.named_state(), cluster.kubeconfig().display());
        let digest = hex::encode(sha2::Sha256::digest(known.as_bytes()));
        self.home().join(".cache/deployctl/clusters").join(&digest[..12])
    }

    /// Whether its state is where its objects are.
    pub(crate) fn is_kept_elsewhere(&self) -> bool {
        self.shape.is_some_and(|shape| shape.keeps_state)
    }

    /// What commands are told of where the state is.
    fn named_state(&self) -> String {
        match self.is_kept_elsewhere() {
            true => format!("kubernetes://deployctl/{}", self.project()),
            false => self.kept.display().to_string(),
        }
    }

    fn home(&self) -> PathBuf {
        match self.is_kept_elsewhere() {
            true => self.folder.join(format!("machine-{}", self.machine)),
            false => self.folder.clone(),
        }
    }

    /// By what its processes are known.
    pub(crate) fn whose(&self) -> Whose<'_> {
        match self.is_kept_elsewhere() {
            true => Whose::Machines(&self.folder),
            false => Whose::State(&self.kept),
        }
    }

    /// From now on commands are run on another machine, if the state can be reached from there.
    pub(crate) fn move_on(&mut self) -> Result<(), String> {
        if !self.is_kept_elsewhere() {
            return Ok(());
        }
        self.machine += 1;
        self.binaries.link(&self.state()).map_err(|e| format!("{}: {e}", self.state().display()))
    }

    /// The data folder of an app.
    pub(crate) fn data(&self, app: &str) -> PathBuf {
        if let Some(docker) = &self.binaries.docker {
            return docker.volume(&format!("p{}_dev_default_{app}_data", self.port));
        }
        self.state().join(format!("data/p{}/dev/default", self.port)).join(app)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes the artifact of a version; `bad` is what is bad about it. As images all are there.
    pub(crate) fn version(&self, version: &str, bad: Option<&str>) -> Result<(), String> {
        if self.binaries.docker.is_some() || self.binaries.cluster.is_some() {
            return Ok(());
        }
        let folder = self.folder.join("p/dist").join(version);
        let make = || {
            std::fs::create_dir_all(&folder)?;
            std::fs::write(folder.join("VERSION"), format!("{version}\n"))?;
            bad.map_or(Ok(()), |bad| std::fs::write(folder.join("BAD"), bad))
        };
        make().map_err(|e| format!("{}: {e}", folder.display()))
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let program = self.binaries.deployctl.as_os_str();
        let mut command = match self.prefix.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.args(args).current_dir(self.folder.join("p")).env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", self.home());
        command.env("DEPLOYCTL_STATE", self.named_state()).env("DEPLOYCTL_ACTOR", "tester");
        command.envs(self.binaries.docker.iter().map(|docker| ("DOCKER_HOST", docker.host())));
        command.envs(dockerd::compose().map(|folder| ("DOCKER_CONFIG", folder)));
        command.envs(self.binaries.cluster.iter().map(|cluster| ("KUBECONFIG", cluster.kubeconfig())));
        command.envs(self.vars.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn spawn(&self, args: &[&str]) -> Result<Running, String> {
        self.manifests(args)?;
        let child = self.command(args).spawn();
        Ok(Running::new(child.map_err(|e| format!("deployctl cannot be started: {e}"))?))
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Result<Ran, String> {
        self.spawn(args)?.finish(LIMIT).map_err(|why| format!("`{}` {why}", args.join(" ")))
    }

    /// Runs a command that must succeed.
    pub(crate) fn ok(&self, args: &[&str]) -> Result<Ran, String> {
        self.run(args)?.ok(&args.join(" "))
    }

    /// What a command prints as JSON.
    pub(crate) fn json(&self, args: &[&str]) -> Result<Value, String> {
        let args = [args, &["--output", "json"]].concat();
        let ran = self.ok(&args)?;
        serde_json::from_str(&ran.out).map_err(|e| format!("`{}` printed no JSON ({e}): {}", args.join(" "), ran.out))
    }

    /// Stops everything and removes the folder.
    pub(crate) fn end(self) -> Result<(), String> {
        self.clear()?;
        std::fs::remove_dir_all(&self.folder).map_err(|e| format!("{}: {e}", self.folder.display()))
    }

    /// Stops everything and leaves the folder for a person.
    pub(crate) fn keep(self) -> PathBuf {
        let _ = self.clear();
        self.folder
    }

    fn clear(&self) -> Result<(), String> {
        let _ = self.answered();
        procs::kill_all(self.whose())?;
        if let Some(cluster) = &self.binaries.cluster {
            cluster.kubectl(&["delete", "namespace", &self.project(), "--wait=false", "--ignore-not-found"])?;
        }
        match &self.binaries.docker {
            Some(docker) => containers::remove(docker, &self.state(), &self.project()),
            None => Ok(()),
        }
    }

    /// Writes the manifests of the version that a command is about, if it is about one.
    fn manifests(&self, args: &[&str]) -> Result<(), String> {
        let version = args.iter().skip_while(|arg| **arg != "--version").nth(1);
        let (Some(shape), Some(version)) = (self.shape, version) else { return Ok(()) };
        let folder = self.folder.join("p/manifests");
        let text = shape.manifests(version, &self.folder.display().to_string(), &self.project());
        let made = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(folder.join("all.yaml"), text));
        made.map_err(|e| format!("{}: {e}", folder.display()))
    }

    /// Whether its objects are those of the version that is current, and answer as it, and nothing else is there. One may go back
    /// to the versions that are `kept`.
    pub(crate) fn objects(&self, current: Option<&str>, kept: &BTreeSet<String>) -> Result<(), String> {
        let (Some(shape), Some(cluster)) = (self.shape, &self.binaries.cluster) else { return Ok(()) };
        let all = objects::all(cluster, &self.project())?;
        objects::check(&all, shape, current, kept)?;
        let Some(version) = current else { return Ok(()) };
        match get(&objects::address(&all)?, "/version")? {
            (200, said) if said == version => Ok(()),
            said => Err(format!("{version} is current, but its Service says {said:?}")),
        }
    }

    /// Whether its namespace is there, if it has one.
    pub(crate) fn has_namespace(&self) -> Result<bool, String> {
        let Some(cluster) = &self.binaries.cluster else { return Ok(false) };
        let found = cluster.kubectl(&["get", "namespace", &self.project(), "--ignore-not-found", "-o", "name"])?;
        Ok(!found.trim().is_empty())
    }

    /// Somebody changes the settings of a version.
    pub(crate) fn is_changed_by_hand(&self, version: &str) -> Result<(), String> {
        let Some(cluster) = &self.binaries.cluster else { return Ok(()) };
        let (name, patch) = (format!("of-{version}"), "{\"data\":{\"SETTING\":\"theirs\"}}");
        cluster.kubectl(&["patch", "configmap", &name, "-n", &self.project(), "--type=merge", "-p", patch]).map(drop)
    }

    /// From now on somebody asks for one of these versions all the time.
    pub(crate) fn is_asked(&self, versions: &[&str]) -> Result<(), String> {
        let Some(cluster) = &self.binaries.cluster else { return Ok(()) };
        let address = objects::address(&objects::all(cluster, &self.project())?)?;
        let versions = versions.iter().map(|version| (*version).to_owned()).collect();
        *self.traffic() = Some(Traffic::begin(address, BETWEEN, versions));
        Ok(())
    }

    /// Whether all were answered, if somebody asked.
    pub(crate) fn answered(&self) -> Result<(), String> {
        let traffic = self.traffic().take();
        traffic.map_or(Ok(()), Traffic::end)
    }

    fn traffic(&self) -> MutexGuard<'_, Option<Traffic>> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn project(&self) -> String {
        format!("p{}", self.port)
    }

    /// Writes the project's Compose file.
    pub(crate) fn compose_file(&self, text: &str) -> Result<(), String> {
        let path = self.folder.join("p/compose.yaml");
        std::fs::write(&path, text.replace("PORT", &self.port.to_string()))
            .map_err(|e| format!("{}: {e}", path.display()))
    }

    /// Where its Compose file publishes.
    pub(crate) fn published(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Has Compose itself run the project in this version.
    pub(crate) fn compose_up(&self, version: &str) -> Result<(), String> {
        self.compose(&["up", "-d", "--quiet-pull"], version)
    }

    /// A command of Compose itself.
    pub(crate) fn compose(&self, args: &[&str], version: &str) -> Result<(), String> {
        let docker = self.binaries.docker.as_ref().ok_or("no Docker Engine")?;
        let mut command = Command::new("docker");
        command.arg("compose").args(args).current_dir(self.folder.join("p")).stdin(Stdio::null());
        command.env("DOCKER_HOST", docker.host()).env("VERSION", version);
        command.envs(dockerd::compose().map(|folder| ("DOCKER_CONFIG", folder)));
        let done = command.output().map_err(|e| format!("docker compose: {e}"))?;
        match done.status.success() {
            true => Ok(()),
            false => {
                Err(format!("docker compose {}: {}", args.join(" "), String::from_utf8_lossy(&done.stderr).trim()))
            }
        }
    }

    /// The services of which something runs that Compose started and nobody took over.
    pub(crate) fn run_by_compose(&self) -> Result<Vec<String>, String> {
        let docker = self.binaries.docker.as_ref();
        docker.map_or(Ok(Vec::new()), |docker| containers::of_compose(docker, &self.state(), &self.project()))
    }

    /// The containers that it has.
    pub(crate) fn containers(&self) -> Result<Vec<containers::Container>, String> {
        self.binaries.docker.as_ref().map_or(Ok(Vec::new()), |docker| containers::of(docker, &self.state()))
    }
}

/// Asks until there is an answer, at most for `limit`.
pub(crate) fn poll<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    let mut pause = Duration::from_millis(2);
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() > end {
            return None;
        }
        std::thread::sleep(pause);
        pause = (pause * 3 / 2).min(Duration::from_millis(50));
    }
}

/// The status and the body of `GET path` at `address`.
pub(crate) fn get(address: &str, path: &str) -> Result<(u16, String), String> {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|e| format!("GET {address}{path}: {e}"))?;
    let status = answer.get(9..12).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.trim().to_owned());
    match (status, body) {
        (Some(status), Some(body)) => Ok((status, body)),
        _ => Err(format!("GET {address}{path}: no whole answer: `{answer}`")),
    }
}
