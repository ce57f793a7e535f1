//! A Docker Engine of its own, with its own socket, folders and network, and images made from files of this machine.

use crate::stage::kill;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The programs are often not in the path of a user.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// It answers by then, and it has ended its containers by then.
const PATIENCE: Duration = Duration::from_secs(60);

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
        let tree = tempfile::tempdir().map_err(|e| e.to_string())?;
        lay_out(files, tree.path())?;
        let mut tar = Command::new("tar");
        tar.args(["-c", "--owner=0", "--group=0", "-C"]).arg(tree.path()).arg(".");
        let archive = tar.output().map_err(|e| format!("tar: {e}"))?.stdout;
        let args = ["import", "--change", &format!("CMD {command}"), "-", name];
        let mut import = self.command(&args);
        let import = import.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut import = import.map_err(|e| format!("docker: {e}"))?;
        let given = import.stdin.take().map_or(Ok(()), |mut into| into.write_all(&archive));
        given.map_err(|e| format!("docker takes no archive: {e}"))?;
        printed(import.wait_with_output(), &args).map(drop)
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

/// A network for the containers of one engine, with an address range of its own. Dropping it removes it.
///
/// With it an engine shares nothing with another one on the machine: not the bridge, whose usual name every engine claims for
/// itself, and no packet filter, whose rules every engine writes anew. So its containers reach this machine and each other
/// (unless somebody else's filter forbids that), and nothing else.
#[derive(Debug)]
pub struct Bridge {
    name: String,
    number: u8,
}

impl Bridge {
    /// The name of the network's device.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What `dockerd` is to be started with.
    pub fn flags(&self) -> Vec<String> {
        let pool = format!("base=10.96.{}.0/24,size=28", self.number);
        let flags = ["--bridge", &self.name, "--iptables=false", "--ip6tables=false", "--ip-masq=false"];
        flags.into_iter().chain(["--default-address-pool", &pool]).map(str::to_owned).collect()
    }

    /// The address of this machine in it.
    fn gateway(&self) -> String {
        format!("10.97.{}.1", self.number)
    }

    /// Makes one. Needs root and `ip`.
    pub fn make() -> Result<Self, String> {
        let taken = ip(&["-o", "addr"])?;
        for number in (1..=254).filter(|number| !taken.contains(&format!("10.97.{number}."))) {
            let name = format!("dctl{number}");
            match ip(&["link", "add", &name, "type", "bridge"]) {
                Ok(_) => {}
                // Somebody else was faster.
                Err(why) if why.contains("File exists") => continue,
                Err(why) => return Err(why),
            }
            let bridge = Self { name, number };
            ip(&["addr", "add", &format!("{}/24", bridge.gateway()), "dev", &bridge.name])?;
            ip(&["link", "set", &bridge.name, "up"])?;
            return Ok(bridge);
        }
        Err("no range of 10.97.0.0/16 is free".into())
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = ip(&["link", "del", &self.name]);
    }
}

fn ip(args: &[&str]) -> Result<String, String> {
    let done = Command::new("ip").args(args).env("PATH", PATH).output().map_err(|e| format!("ip: {e}"))?;
    match done.status.success() {
        true => Ok(String::from_utf8_lossy(&done.stdout).into_owned()),
        false => Err(format!("ip {}: {}", args.join(" "), String::from_utf8_lossy(&done.stderr).trim())),
    }
}

fn printed(done: std::io::Result<Output>, args: &[&str]) -> Result<String, String> {
    let done = done.map_err(|e| format!("docker cannot be run: {e}"))?;
    match done.status.success() {
        true => Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned()),
        false => Err(format!("docker {}: {}", args.join(" "), String::from_utf8_lossy(&done.stderr).trim())),
    }
}

/// Copies files (from, to) into a folder that becomes the root of an image, with the libraries that they need.
pub(crate) fn lay_out(files: &[(PathBuf, &str)], tree: &Path) -> Result<(), String> {
    let put = |from: &Path, to: &str| {
        let to = tree.join(to.trim_start_matches('/'));
        let made = to.parent().map_or(Ok(()), std::fs::create_dir_all);
        made.and_then(|()| std::fs::copy(from, &to)).map_err(|e| format!("{}: {e}", from.display()))
    };
    for (from, to) in files {
        put(from, to)?;
    }
    for library in libraries(files)? {
        put(Path::new(&library), &library)?;
    }
    Ok(())
}

/// The shared libraries of programs, as `ldd` tells them.
fn libraries(files: &[(PathBuf, &str)]) -> Result<BTreeSet<String>, String> {
    let mut all = BTreeSet::new();
    for (file, _) in files {
        let told = Command::new("ldd").arg(file).output().map_err(|e| format!("ldd: {e}"))?;
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        all.extend(
            told.split_whitespace().filter(|word| word.starts_with('/') && !word.ends_with(':')).map(str::to_owned),
        );
    }
    Ok(all)
}
