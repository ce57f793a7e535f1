//! A world of one test: its own project, state and home, and an end for everything that was started in it.

use serde_json::Value;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Nothing in these tests takes longer unless it hangs.
const LIMIT: Duration = Duration::from_secs(150);

/// A command that ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// The last line on standard error: the verdict.
    pub(crate) fn last(&self) -> &str {
        self.err.lines().last().unwrap_or_default()
    }

    /// Standard output, as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    #[track_caller]
    pub(crate) fn code(self, wanted: i32) -> Self {
        assert_eq!(self.code, wanted, "exit code; standard error:\n{}\nstandard output:\n{}", self.err, self.out);
        self
    }

    /// The last line of standard error has this in it.
    #[track_caller]
    pub(crate) fn says(self, wanted: &str) -> Self {
        assert!(self.last().contains(wanted), "wanted `{wanted}` in the last line of:\n{}", self.err);
        self
    }
}

/// A project `p` with its own state directory.
pub(crate) struct World {
    folder: tempfile::TempDir,
    binary: PathBuf,
    vars: Vec<(String, OsString)>,
}

/// The binary under test, copied beside the worlds once per build, so that each state directory can have it by link.
fn binary() -> &'static (PathBuf, String) {
    static BINARY: OnceLock<(PathBuf, String)> = OnceLock::new();
    BINARY.get_or_init(|| {
        let built = Path::new(env!("CARGO_BIN_EXE_deployctl"));
        let bytes = std::fs::read(built).expect("the binary");
        let digest = deployctl_core::id::Sha256Hex::of(&bytes).to_string();
        let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("deployctl-{}", &digest[..16]));
        if !copy.is_file() {
            let new = copy.with_extension(std::process::id().to_string());
            std::fs::copy(built, &new).expect("a copy of the binary");
            std::fs::rename(&new, &copy).expect("a copy of the binary");
            remove_old_copies();
        }
        (copy, digest)
    })
}

/// Copies of builds that nobody tests any more.
fn remove_old_copies() {
    let is_old = |file: &std::fs::DirEntry| {
        let age = file.metadata().and_then(|file| file.modified()).ok().and_then(|at| at.elapsed().ok());
        age.is_some_and(|age| age > Duration::from_secs(1800))
    };
    let files = std::fs::read_dir(env!("CARGO_TARGET_TMPDIR")).expect("the scratch folder").flatten();
    for file in files.filter(|file| file.file_name().to_string_lossy().starts_with("deployctl-")).filter(is_old) {
        let _ = std::fs::remove_file(file.path());
    }
}

impl World {
    /// An empty world: no state, no project.
    pub(crate) fn bare() -> Self {
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let folder = tempfile::Builder::new().prefix("w").tempdir_in(scratch).expect("a scratch folder");
        std::fs::create_dir(folder.path().join("home")).expect("a home");
        std::fs::create_dir(folder.path().join("p")).expect("a project");
        Self { folder, binary: binary().0.clone(), vars: Vec::new() }
    }

    /// A world with a project of this specification; `APP` in it stands for the test server.
    pub(crate) fn new(spec: &str) -> Self {
        let world = Self::bare();
        world.link_binary(&world.state());
        world.spec(spec);
        world
    }

    /// What the first command would do anyway, without copying a large debug binary for every test.
    pub(crate) fn link_binary(&self, state: &Path) {
        use std::os::unix::fs::{DirBuilderExt, MetadataExt};
        let (binary, digest) = binary();
        let folder = state.join("bin").join(digest);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).expect("a folder");
        std::fs::hard_link(binary, folder.join("deployctl")).expect("a link");
        let me = std::fs::metadata(binary).expect("the binary");
        let key = format!("{:x}-{:x}-{:x}-{:x}", me.dev(), me.ino(), me.size(), me.mtime_nsec() ^ (me.mtime() << 20));
        std::fs::write(state.join("bin").join(format!("{key}.sha256")), digest).expect("a file");
    }

    /// Another build from now on: the same binary with some bytes more.
    pub(crate) fn use_other_build(&mut self) {
        let other = self.path("other-build");
        std::fs::copy(&self.binary, &other).expect("a copy");
        let mut file = std::fs::OpenOptions::new().append(true).open(&other).expect("the copy");
        std::io::Write::write_all(&mut file, b"another build").expect("some bytes");
        self.binary = other;
    }

    pub(crate) fn binary(&self) -> &Path {
        &self.binary
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path("state")
    }

    pub(crate) fn project(&self) -> PathBuf {
        self.path("p")
    }

    /// Writes the specification.
    pub(crate) fn spec(&self, text: &str) {
        let text = text.replace("APP", env!("CARGO_BIN_EXE_deployctl-testapp"));
        self.write("p/deployctl.yaml", &text.replace("HERE", &self.folder.path().to_string_lossy()));
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(&path, text).expect("a file");
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Writes the artifact of a version, a folder, for the test server.
    pub(crate) fn version(&self, version: &str, conf: &str) {
        self.write(&format!("p/dist/{version}/app.conf"), &format!("# {version}\n{conf}\n"));
    }

    /// A variable for every command from now on.
    pub(crate) fn var(&mut self, name: &str, value: impl Into<OsString>) {
        self.vars.retain(|(known, _)| known != name);
        self.vars.push((name.into(), value.into()));
    }

    pub(crate) fn command(&self, args: &str) -> Command {
        let args: Vec<&str> = args.split_whitespace().collect();
        self.command_of(&args)
    }

    /// The binary in a cleared environment, in the project's folder.
    pub(crate) fn command_of(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(args).current_dir(self.project()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", self.path("home"));
        command.env("DEPLOYCTL_STATE", self.state()).env("DEPLOYCTL_ACTOR", "tester");
        command.env("GIT_CEILING_DIRECTORIES", env!("CARGO_TARGET_TMPDIR"));
        command.envs(self.vars.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the binary with these arguments, separated by blanks, to its end.
    #[track_caller]
    pub(crate) fn run(&self, args: &str) -> Ran {
        finish(self.command(args).spawn().expect("the binary starts"))
    }

    #[track_caller]
    pub(crate) fn ok(&self, args: &str) -> Ran {
        self.run(args).code(0)
    }

    /// It is refused or fails with this exit code, and the last line says this.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, args: &str, says: &str) -> Ran {
        self.run(args).code(code).says(says)
    }

    #[track_caller]
    pub(crate) fn json(&self, args: &str) -> Value {
        self.ok(&format!("{args} --output json")).json()
    }

    /// Starts it and does not wait.
    pub(crate) fn spawn(&self, args: &str) -> Child {
        self.command(args).spawn().expect("the binary starts")
    }

    /// Deployments of `app` in `dev`, newest first, as `VERSION VERDICT` with ` restored` if it was.
    pub(crate) fn history(&self, app: &str) -> Vec<String> {
        let all = self.json(&format!("history --env dev --app {app}"));
        let entry = |h: &Value| {
            let restored = if h["restored"] == true { " restored" } else { "" };
            format!("{} {}{restored}", text(&h["version"]), text(&h["verdict"]))
        };
        all.as_array().expect("an array").iter().map(entry).collect()
    }

    /// The status of an app in an environment.
    pub(crate) fn status(&self, env: &str, app: &str) -> Value {
        self.json(&format!("status --env {env} --app {app}"))[0].clone()
    }

    /// The version, the health and the number of instances of an app in `dev`, such as `v1 healthy 2`.
    pub(crate) fn now(&self, app: &str) -> String {
        let status = self.status("dev", app);
        let count = status["instances"].as_array().map_or(0, Vec::len);
        format!("{} {} {count}", text(&status["version"]), text(&status["health"]))
    }

    /// The URL of an app.
    pub(crate) fn url(&self, env: &str, app: &str) -> String {
        text(&self.status(env, app)["urls"][0])
    }

    /// What `GET /version` of an app in `dev` says through the proxy.
    pub(crate) fn served(&self, app: &str) -> String {
        crate::it::http::get(&format!("{}/version", self.url("dev", app))).body
    }

    /// The id of the newest deployment.
    pub(crate) fn newest(&self) -> String {
        text(&self.json("history")[0]["id"])
    }

    /// Waits until a deployment is under way and gives its id.
    pub(crate) fn running(&self) -> String {
        poll("a running deployment", || {
            let newest = self.json("history")[0].clone();
            (newest["verdict"] == "running").then(|| text(&newest["id"]))
        })
    }

    /// Waits until the newest deployment has a verdict and gives that.
    pub(crate) fn ended(&self) -> String {
        poll("the end of the deployment", || {
            let verdict = text(&self.json("history")[0]["verdict"]);
            (verdict != "running").then_some(verdict)
        })
    }

    /// Processes that belong to this world, with their arguments.
    pub(crate) fn processes(&self) -> Vec<(u32, String)> {
        let mark = self.folder.path().to_string_lossy().into_owned();
        processes_with(&mark)
    }

    /// Processes of a role: `engine`, `proxy`, `shim`, or of the test server: `app`.
    pub(crate) fn role(&self, role: &str) -> Vec<u32> {
        let is = |args: &str| match role {
            "app" => args.contains("deployctl-testapp "),
            role => args.split(' ').nth(1) == Some(role),
        };
        self.processes().into_iter().filter(|(_, args)| is(args)).map(|(pid, _)| pid).collect()
    }

    /// Every file below the state directory, with its bytes.
    pub(crate) fn state_files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        walk(&self.state(), &mut files);
        files
    }
}

fn walk(folder: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && entry.file_name() != "bin" {
            walk(&entry.path(), files);
        } else if kind.is_file() {
            files.push((entry.path(), std::fs::read(entry.path()).unwrap_or_default()));
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            for (pid, _) in left {
                kill(pid, rustix::process::Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

pub(crate) fn kill(pid: u32, signal: rustix::process::Signal) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
    let _ = rustix::process::kill_process(pid, signal);
}

/// Processes, other than this one, in whose arguments or environment `mark` stands.
pub(crate) fn processes_with(mark: &str) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if pid == std::process::id() {
            continue;
        }
        let bytes = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
        let args = String::from_utf8_lossy(&bytes("cmdline")).replace('\0', " ");
        if args.contains(mark) || String::from_utf8_lossy(&bytes("environ")).contains(mark) {
            found.push((pid, args));
        }
    }
    found
}

/// Waits for the end of a command and what it printed; one that hangs is killed and fails the test.
#[track_caller]
pub(crate) fn finish(mut child: Child) -> Ran {
    let read = |from: Option<Box<dyn std::io::Read + Send>>| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(mut from) = from {
                let _ = from.read_to_end(&mut text);
            }
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    let out = read(child.stdout.take().map(|out| Box::new(out) as _));
    let err = read(child.stderr.take().map(|err| Box::new(err) as _));
    let end = Instant::now() + LIMIT;
    let status = loop {
        match child.try_wait().expect("its end") {
            Some(status) => break Some(status),
            None if Instant::now() > end => {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    let (out, err) = (out.join().expect("its output"), err.join().expect("its output"));
    let Some(status) = status else { panic!("it hangs; standard error:\n{err}\nstandard output:\n{out}") };
    Ran { code: status.code().unwrap_or(-1), out, err }
}

/// Asks until there is an answer.
#[track_caller]
pub(crate) fn poll<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A JSON string's text; `-` for null.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
