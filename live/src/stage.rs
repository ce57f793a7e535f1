//! A state directory and a copy of the example, both of their own, and the commands of deployctl in them.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A self-signed certificate for `shop.localhost`. Its key is no secret.
pub const CERTIFICATE: &str = include_str!("../pem/shop.crt");
/// The key of [`CERTIFICATE`].
pub const CERTIFICATE_KEY: &str = include_str!("../pem/shop.key");

/// Where deployments happen. Dropping it ends every process of its state and removes it.
pub struct Stage {
    folder: tempfile::TempDir,
    binary: Mutex<PathBuf>,
    /// For every command, beside the environment of this process.
    vars: Vec<(String, String)>,
}

/// How a command ended.
#[derive(Clone, Debug)]
pub struct Done {
    /// The exit code; -1 if a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// How long it took.
    pub took: Duration,
}

impl Done {
    /// The last line on standard error, which is complete in itself.
    pub fn last_line(&self) -> &str {
        self.err.lines().last().unwrap_or_default()
    }
}

impl Stage {
    /// A copy of the prepared example in `example`, to be deployed by `binary`.
    pub fn set(binary: &Path, example: &Path) -> Result<Self, String> {
        let failed = |what: &str, e: &dyn std::fmt::Display| format!("the stage cannot be set: {what}: {e}");
        let folder = tempfile::Builder::new().prefix("deployctl-live-").tempdir().map_err(|e| failed("folder", &e))?;
        let (from, to) = (example.join("dist"), folder.path().join("shop/dist"));
        std::fs::create_dir_all(&to).map_err(|e| failed("folder", &e))?;
        let archives = std::fs::read_dir(&from).map_err(|e| failed("the example is not prepared", &e))?;
        for archive in archives.flatten().filter(|entry| entry.file_name().to_string_lossy().ends_with(".tar.gz")) {
            std::fs::copy(archive.path(), to.join(archive.file_name())).map_err(|e| failed("an archive", &e))?;
        }
        let spec = "deployctl.yaml";
        std::fs::copy(example.join(spec), folder.path().join("shop").join(spec)).map_err(|e| failed(spec, &e))?;
        Ok(Self { folder, binary: Mutex::new(binary.to_owned()), vars: Vec::new() })
    }

    /// Every command gets this variable from now on.
    pub fn set_var(&mut self, name: &str, value: String) {
        self.vars.push((name.to_owned(), value));
    }

    /// The project.
    pub fn project(&self) -> PathBuf {
        self.folder.path().join("shop")
    }

    /// The state directory.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Writes a file of the project.
    pub fn write(&self, name: &str, text: &str) -> Result<(), String> {
        let path = self.project().join(name);
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        made.and_then(|()| std::fs::write(&path, text)).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// The binary that commands are run with.
    pub fn binary(&self) -> PathBuf {
        self.binary.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Makes build number `number`: the same binary with other bytes at its end. Commands are run with it from now on.
    pub fn next_build(&self, number: u32) -> Result<(), String> {
        let before = self.binary();
        let next = self.folder.path().join(format!("deployctl-{number}"));
        let made = std::fs::copy(&before, &next)
            .and_then(|_| std::fs::OpenOptions::new().append(true).open(&next))
            .and_then(|mut file| file.write_all(b"+"));
        made.map_err(|e| format!("{}: {e}", next.display()))?;
        *self.binary.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = next;
        Ok(())
    }

    /// A command of deployctl, not started yet.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.binary());
        command.args(args).current_dir(self.project()).env("DEPLOYCTL_STATE", self.state());
        command.env_remove("DEPLOYCTL_CONFIG").stdin(Stdio::null());
        command.envs(self.vars.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a command of deployctl to its end.
    pub fn run(&self, args: &[&str]) -> Result<Done, String> {
        let begun = Instant::now();
        let Output { status, stdout, stderr } =
            self.command(args).output().map_err(|e| format!("{}: {e}", self.binary().display()))?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Done { code: status.code().unwrap_or(-1), out: text(stdout), err: text(stderr), took: begun.elapsed() })
    }

    /// Runs a command that must exit 0.
    pub fn must(&self, args: &[&str]) -> Result<Done, String> {
        let done = self.run(args)?;
        match done.code {
            0 => Ok(done),
            code => Err(format!("deployctl {} exits {code}:\n{}", args.join(" "), done.err)),
        }
    }

    /// What `status --output json` says of one app.
    pub fn status(&self, env: &str, app: &str) -> Result<serde_json::Value, String> {
        let done = self.must(&["status", "--env", env, "--app", app, "--output", "json"])?;
        let mut all: Vec<serde_json::Value> = serde_json::from_str(&done.out).map_err(|e| e.to_string())?;
        if all.len() == 1 { Ok(all.remove(0)) } else { Err(format!("{} apps answer to {app} in {env}", all.len())) }
    }

    /// The URL of an app.
    pub fn url(&self, env: &str, app: &str) -> Result<String, String> {
        let status = self.status(env, app)?;
        let url = status["urls"].as_array().and_then(|urls| urls.first()).and_then(|url| url.as_str());
        url.map(str::to_owned).ok_or_else(|| format!("{app} in {env} has no URL: {status}"))
    }

    /// Processes of this state in a role (`engine`, `proxy` or `shim`), by their command lines.
    pub fn processes(&self, role: &str) -> Vec<u32> {
        let wanted = [OsString::from(role), "--state".into(), self.state().into()];
        pids().filter(|pid| command_line(*pid).windows(3).any(|words| words == wanted)).collect()
    }

    /// Kills the engine as it is; says whether there was one.
    pub fn kill_engine(&self) -> bool {
        let engines = self.processes("engine");
        engines.iter().for_each(|pid| kill(*pid));
        !engines.is_empty()
    }

    /// Ends the engine in order and waits for its end.
    pub fn end_engine(&self) -> Result<(), String> {
        let end = Instant::now() + Duration::from_secs(10);
        let engines = self.processes("engine");
        engines.iter().for_each(|pid| signal(*pid, rustix::process::Signal::TERM));
        while !self.processes("engine").is_empty() {
            if Instant::now() > end {
                return Err("the engine does not end".into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn members(&self) -> Vec<u32> {
        let mark = [b"DEPLOYCTL_STATE=", self.state().as_os_str().as_encoded_bytes()].concat();
        let marked = |pid: &u32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|entry| entry == mark)
        };
        let mut all: Vec<u32> = pids().filter(marked).collect();
        all.extend(["engine", "proxy", "shim"].iter().flat_map(|role| self.processes(role)));
        all
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // The engine first, then the shims: they would start again what ends.
        for role in ["engine", "shim"] {
            self.processes(role).into_iter().for_each(kill);
        }
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            let left = self.members();
            if left.is_empty() || Instant::now() > end {
                return;
            }
            left.into_iter().for_each(kill);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The body of `GET path` over a connection of its own.
pub fn get(address: &str, host: &str, path: &str) -> Result<String, String> {
    let failed = |e: std::io::Error| format!("GET {path} from {address}: {e}");
    let mut stream = TcpStream::connect(address).map_err(failed)?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(failed)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(failed)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("GET {path}: no answer: {answer}"))?;
    match head.get(9..12) {
        Some("200") => Ok(body.trim().to_owned()),
        _ => Err(format!("GET {path}: {}", head.lines().next().unwrap_or_default())),
    }
}

/// All pids.
pub(crate) fn pids() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn command_line(pid: u32) -> Vec<OsString> {
    use std::os::unix::ffi::OsStringExt;
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    bytes.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec())).collect()
}

/// Kills a process, if it is there.
pub(crate) fn kill(pid: u32) {
    signal(pid, rustix::process::Signal::KILL);
}

fn signal(pid: u32, signal: rustix::process::Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// A file of that name somewhere below a folder.
pub(crate) fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    for entry in std::fs::read_dir(folder).ok()?.flatten() {
        let path = entry.path();
        if entry.file_name().to_str() == Some(name) {
            return Some(path);
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir())
            && let Some(found) = find(&path, name)
        {
            return Some(found);
        }
    }
    None
}

/// A port of 127.0.0.1 on which nobody listens now.
pub fn free_port() -> Result<u16, String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(|e| format!("no free port: {e}"))?;
    listener.local_addr().map(|address| address.port()).map_err(|e| e.to_string())
}

/// Lets this process have as many open files as it may.
pub(crate) fn lift_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}
