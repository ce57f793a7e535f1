//! A world of one case: its own project and state directory, and an end for everything that was started in it.

use super::{containers, procs};
use crate::On;
use crate::dockerd::{self, Dockerd};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// A command that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(90);

/// The binaries of a run, copied so that a build meanwhile changes nothing, with a state to link the copies from.
#[derive(Clone)]
pub(crate) struct Binaries {
    pub(crate) deployctl: PathBuf,
    pub(crate) app: PathBuf,
    template: PathBuf,
    /// What runs the containers, if that is what is deployed.
    pub(crate) docker: Option<Arc<Dockerd>>,
}

impl Binaries {
    /// Copies the binaries into `scratch`.
    pub(crate) fn prepare(scratch: &Path, deployctl: &Path, app: &Path, on: On) -> Result<Self, String> {
        let template = scratch.join("template");
        let docker = match on {
            On::Processes => None,
            On::Docker | On::Compose => Some(Arc::new(containers::engine(app, scratch)?)),
        };
        let copies = Self { deployctl: scratch.join("deployctl"), app: scratch.join("app"), template, docker };
        let copy = |from: &Path, to: &Path| {
            std::fs::copy(from, to).map(drop).map_err(|e| format!("{} cannot be copied: {e}", from.display()))
        };
        copy(deployctl, &copies.deployctl)?;
        copy(app, &copies.app)?;
        copies.known_to_template()?;
        Ok(copies)
    }

    /// The same binary with some bytes more, in `folder`: another build.
    pub(crate) fn other_build(&self, folder: &Path) -> Result<Self, String> {
        let other = folder.join("deployctl");
        let make = || {
            std::fs::create_dir_all(folder)?;
            std::fs::copy(&self.deployctl, &other)?;
            std::fs::OpenOptions::new().append(true).open(&other)?.write_all(b"another build")
        };
        make().map_err(|e| format!("{}: {e}", other.display()))?;
        Ok(Self { deployctl: other, ..self.clone() })
    }

    /// One command has the copy made from which every world's is linked.
    fn known_to_template(&self) -> Result<(), String> {
        let made = Command::new(&self.deployctl)
            .args(["status", "--state"])
            .arg(&self.template)
            .env_clear()
            .stdin(Stdio::null())
            .output();
        let made = made.map_err(|e| format!("{}: {e}", self.deployctl.display()))?;
        procs::kill_all(&self.template)?;
        if made.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&made.stderr).into_owned()) }
    }

    fn link(&self, state: &Path) -> std::io::Result<()> {
        let folder = state.join("bin");
        std::fs::create_dir_all(&folder)?;
        for entry in std::fs::read_dir(self.template.join("bin"))?.flatten() {
            let to = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                std::fs::create_dir(&to)?;
                std::fs::hard_link(entry.path().join("deployctl"), to.join("deployctl"))?;
            } else {
                std::fs::copy(entry.path(), to)?;
            }
        }
        Ok(())
    }
}

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

/// A command that ended.
#[derive(Clone, Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn ok(self, what: &str) -> Result<Self, String> {
        if self.code == Some(0) {
            Ok(self)
        } else {
            Err(format!("`{what}` ended with {:?}: {}", self.code, self.err.trim()))
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
}

impl World {
    /// A world in `folder`, which is made; `APP` and `HERE` in the specification stand for the server and the folder.
    pub(crate) fn new(folder: PathBuf, binaries: &Binaries, spec: &str) -> Result<Self, String> {
        let world = Self { folder, port: port(), binaries: binaries.clone(), vars: Vec::new(), prefix: Vec::new() };
        let here = world.folder.display().to_string();
        let spec = spec.replace("APP", &binaries.app.display().to_string()).replace("HERE", &here);
        let spec = spec.replace("PORT", &world.port.to_string());
        let make = || {
            use std::os::unix::fs::DirBuilderExt;
            let _ = std::fs::remove_dir_all(&world.folder);
            std::fs::create_dir_all(world.folder.join("p"))?;
            std::fs::DirBuilder::new().mode(0o700).create(world.state())?;
            binaries.link(&world.state())?;
            std::fs::write(world.folder.join("p/deployctl.yaml"), spec)
        };
        make().map_err(|e| format!("{here}: {e}"))?;
        Ok(world)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.join("state")
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
        if self.binaries.docker.is_some() {
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
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", &self.folder);
        command.env("DEPLOYCTL_STATE", self.state()).env("DEPLOYCTL_ACTOR", "tester");
        command.envs(self.binaries.docker.iter().map(|docker| ("DOCKER_HOST", docker.host())));
        command.envs(dockerd::compose().map(|folder| ("DOCKER_CONFIG", folder)));
        command.envs(self.vars.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn spawn(&self, args: &[&str]) -> Result<Running, String> {
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
        procs::kill_all(&self.state())?;
        match &self.binaries.docker {
            Some(docker) => containers::remove(docker, &self.state(), &self.project()),
            None => Ok(()),
        }
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

/// A command that runs; what it prints is read all the while.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) child: Child,
    out: std::thread::JoinHandle<String>,
    err: std::thread::JoinHandle<String>,
}

impl Running {
    fn new(mut child: Child) -> Self {
        let out = reader(child.stdout.take());
        let err = reader(child.stderr.take());
        Self { child, out, err }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end; kills it if that does not come in time.
    pub(crate) fn finish(mut self, limit: Duration) -> Result<Ran, String> {
        let ended = poll(limit, || self.has_ended().then_some(()));
        if ended.is_none() {
            let _ = self.child.kill();
        }
        let code = self.child.wait().ok().and_then(|status| status.code());
        let text = |thread: std::thread::JoinHandle<String>| thread.join().unwrap_or_default();
        let ran = Ran { code, out: text(self.out), err: text(self.err) };
        if ended.is_some() { Ok(ran) } else { Err(format!("hangs; it said: {}", ran.err.trim())) }
    }
}

fn reader(from: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(mut from) = from {
            let _ = from.read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    })
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
