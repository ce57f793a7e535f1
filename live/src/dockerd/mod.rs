//! A Docker Engine of its own, with its own socket, folders and network, and images made from files of this machine.

mod bridge;
mod image;
mod plugin;

pub use bridge::Bridge;
pub use image::{archive, import};
pub use plugin::{buildx, compose};

use crate::stage::kill;
use serde_json::Value;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Where the programs are; often not in the path of a user.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// It answers by then, and it has ended its containers by then.
const PATIENCE: Duration = Duration::from_secs(60);

/// What an engine of one's own needs and this machine lacks.
pub fn lacking() -> Option<&'static str> {
    lacking_of(&[])
}

/// What such an engine, and who needs `more` programs beside it, need and this machine lacks.
pub fn lacking_of(more: &[&'static str]) -> Option<&'static str> {
    let root = (!rustix::process::geteuid().is_root()).then_some("root");
    let mut programs = ["dockerd", "containerd", "docker", "ip"].into_iter().chain(more.iter().copied());
    root.or_else(|| programs.find(|name| find(name).is_none()))
}

/// Where a program is, also one that only root has in its path.
pub fn find(name: &str) -> Option<PathBuf> {
    PATH.split(':').map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
}

/// What a Compose project on such an engine needs and this machine lacks.
pub fn lacking_for_compose() -> Option<&'static str> {
    lacking().or_else(|| compose().is_none().then_some("Docker Compose, which `cargo xtask compose` builds"))
}

/// An engine that runs. Dropping it ends its containers and itself, and removes its folder and its [`Bridge`].
pub struct Dockerd {
    // In the order in which they go.
    folder: tempfile::TempDir,
    engine: Child,
    bridge: Bridge,
}

impl Dockerd {
    /// Starts one. Needs root, `ip`, and Docker's `dockerd` and `docker`.
    pub fn start() -> Result<Self, String> {
        let bridge = Bridge::make()?;
        let folder = tempfile::Builder::new().prefix("deployctl-dockerd-").tempdir().map_err(|e| e.to_string())?;
        let at = |name: &str| folder.path().join(name);
        let log = std::fs::File::create(at("log")).map_err(|e| e.to_string())?;
        let mut command = Command::new("dockerd");
        command.arg("--data-root").arg(at("data")).arg("--exec-root").arg(at("exec")).arg("-p").arg(at("pid"));
        command.args(["-H", &format!("unix://{}", at("s").display())]);
        command.args(bridge.flags());
        command.env("PATH", PATH).stdin(Stdio::null());
        command.stdout(log.try_clone().map_err(|e| e.to_string())?).stderr(log);
        let engine = command.spawn().map_err(|e| format!("dockerd cannot be started: {e}"))?;
        let engine = Self { folder, engine, bridge };
        let end = Instant::now() + PATIENCE;
        while engine.docker(&["version"]).is_err() {
            if Instant::now() > end {
                let log = std::fs::read_to_string(engine.folder.path().join("log")).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(3).collect();
                return Err(format!("the Docker Engine does not come up: {}", last.join("; ")));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(engine)
    }

    /// For `DOCKER_HOST`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The address of this machine as its containers see it.
    pub fn gateway(&self) -> String {
        self.bridge.gateway()
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    /// Where the files of a volume are.
    pub fn volume(&self, name: &str) -> PathBuf {
        self.folder.path().join("data/volumes").join(name).join("_data")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(["-H", &self.host()]).args(args).env("PATH", PATH).stdin(Stdio::null());
        command
    }

    /// What a command of Docker's own client prints.
    pub fn docker(&self, args: &[&str]) -> Result<String, String> {
        printed(self.command(args).output(), args)
    }

    /// Makes the image `name` of these files (from, to), with the libraries that they need.
    pub fn image(&self, name: &str, files: &[(PathBuf, &str)], command: &str) -> Result<(), String> {
        let change = format!("CMD {command}");
        import(self.command(&["import", "--change", &change, "-", name]), &archive(files)?)
    }

    /// A call of the engine's own interface, without a client between; its answer, if that is well.
    pub fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let ask = || -> std::io::Result<String> {
            let mut stream = UnixStream::connect(self.socket())?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let body = if body.is_null() { String::new() } else { body.to_string() };
            let length = body.len();
            // An answer in one piece, and the connection's end after it: HTTP/1.0.
            let head =
                format!("{method} {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {length}");
            stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer = ask().map_err(|e| format!("{method} {path}: {e}"))?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        match head.get(9..10) {
            Some("2" | "3") => Ok(serde_json::from_str(body).unwrap_or(Value::Null)),
            _ => Err(format!("{method} {path}: {}: {body}", head.lines().next().unwrap_or_default())),
        }
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        if let Ok(all) = self.docker(&["ps", "-q"]) {
            let all: Vec<&str> = all.lines().collect();
            if !all.is_empty() {
                let _ = self.docker(&[&["kill"], &all[..]].concat());
            }
        }
        // Their devices would outlive the engine.
        let _ = self.docker(&["network", "prune", "-f"]);
        let pid = i32::try_from(self.engine.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let end = Instant::now() + PATIENCE;
        while matches!(self.engine.try_wait(), Ok(None)) {
            if Instant::now() > end {
                kill(self.engine.id());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn printed(done: std::io::Result<Output>, args: &[&str]) -> Result<String, String> {
    let done = done.map_err(|e| format!("docker cannot be run: {e}"))?;
    match done.status.success() {
        true => Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned()),
        false => Err(format!("docker {}: {}", args.join(" "), String::from_utf8_lossy(&done.stderr).trim())),
    }
}
