//! A real Docker Engine for these tests alone, on a socket and a network of its own; images from the test server.

use crate::it::world::{kill, poll};
use deployctl_live::dockerd::{self, Bridge, archive, import};
use rustix::process::Signal;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The engine of this test program. Who only uses it shares it; who restarts it has it alone.
pub(crate) struct Engine {
    folder: PathBuf,
    /// None of an engine that somebody else started.
    bridge: Option<Bridge>,
    /// Ends the engine, and removes its folder, when the test program is gone.
    _watchman: Option<Child>,
    process: Mutex<Option<Child>>,
}

static ENGINE: OnceLock<Option<RwLock<Engine>>> = OnceLock::new();

/// The engine, shared; none, with a word about it, where there is no `dockerd`.
pub(crate) fn shared() -> Option<RwLockReadGuard<'static, Engine>> {
    engine().map(RwLock::blocking_read)
}

/// The engine, shared by who waits in a task.
pub(crate) async fn shared_in_task() -> Option<RwLockReadGuard<'static, Engine>> {
    match engine() {
        Some(engine) => Some(engine.read().await),
        None => None,
    }
}

/// The engine, alone.
pub(crate) fn alone() -> Option<RwLockWriteGuard<'static, Engine>> {
    engine().map(RwLock::blocking_write)
}

fn engine() -> Option<&'static RwLock<Engine>> {
    ENGINE.get_or_init(|| with(&[]).then(|| RwLock::new(Engine::start()))).as_ref()
}

/// Whether the machine has what these tests need, and `more`; if not, they say so and are skipped, or fail where all must run.
pub(crate) fn with(more: &[&'static str]) -> bool {
    let lacking = dockerd::lacking_of(more);
    if let Some(what) = lacking {
        assert!(std::env::var("DEPLOYCTL_LIVE").is_err(), "the tests with a real Docker Engine need {what}");
        eprintln!("skipped: it needs {what}");
    }
    lacking.is_none()
}

impl Engine {
    fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("deployctl-docker-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        // The engine first, so that it ends its containers.
        let script = "cat >/dev/null; cd /; for name in pid containerd.pid; do pid=$(cat \"$0/$name\"); kill $pid; i=0; \
                      while [ -e /proc/$pid/exe ] && [ $i -lt 300 ]; do sleep 0.1; i=$((i+1)); done; done; \
                      umount \"$0/data/containers\"; while umount \"$0/data\"; do :; done; rm -rf \"$0\"; ip link del \"$1\"";
        let bridge = Bridge::make().expect("a network");
        let mut watchman = Command::new("setsid");
        watchman.args(["sh", "-c", script]).arg(&folder).arg(bridge.name());
        let watchman = watchman.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let watchman = Some(watchman.expect("sh"));
        let engine = Self { folder, bridge: Some(bridge), _watchman: watchman, process: Mutex::default() };
        engine.mounts();
        engine.containerd();
        engine.up();
        engine
    }

    /// One that is started by somebody else, with its socket in `folder`.
    pub(crate) fn elsewhere(folder: PathBuf) -> Self {
        Self { folder, bridge: None, _watchman: None, process: Mutex::default() }
    }

    /// What the engine writes of containers has a small disk of its own. Its folder is a shared mount already, or it would
    /// make one of its own over that.
    fn mounts(&self) {
        let small = self.containers_folder();
        std::fs::create_dir_all(&small).expect("a folder");
        let (data, small) = (small.parent().expect("a folder").display(), small.display());
        let all = [
            format!("--bind {data} {data}"),
            format!("--make-shared {data}"),
            format!("-t tmpfs -o size=64m tmpfs {small}"),
        ];
        for args in all {
            let done = Command::new("mount").args(args.split(' ')).status();
            assert!(done.is_ok_and(|status| status.success()), "mount {args}");
        }
    }

    pub(crate) fn socket(&self) -> String {
        format!("unix://{}", self.socket_path().display())
    }

    pub(crate) fn socket_path(&self) -> PathBuf {
        self.folder.join("s")
    }

    /// Where the engine writes what it knows of containers: a disk of its own.
    pub(crate) fn containers_folder(&self) -> PathBuf {
        self.folder.join("data/containers")
    }

    /// What runs the containers, beside the engine as on every real machine: it outlives the engine's crashes.
    fn containerd(&self) {
        let log = std::fs::File::create(self.folder.join("containerd.log")).expect("a log");
        let mut command = daemon("containerd");
        command.arg("--address").arg(self.folder.join("c")).arg("--root").arg(self.folder.join("containerd"));
        command.arg("--state").arg(self.folder.join("containerd-state"));
        command.stdout(log.try_clone().expect("a log")).stderr(log);
        let pid = command.spawn().expect("containerd").id();
        std::fs::write(self.folder.join("containerd.pid"), pid.to_string()).expect("a file");
        poll("containerd", || std::os::unix::net::UnixStream::connect(self.folder.join("c")).ok());
    }

    /// Starts it, and waits until it answers.
    pub(crate) fn up(&self) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.folder.join("log")).expect("a log");
        let mut command = daemon("dockerd");
        command.arg("--containerd").arg(self.folder.join("c")).arg("--data-root").arg(self.folder.join("data"));
        command.arg("--exec-root").arg(self.folder.join("exec")).arg("-p").arg(self.folder.join("pid"));
        command.args(["-H", &self.socket(), "--max-download-attempts", "2"]);
        command.args(self.bridge.iter().flat_map(Bridge::flags));
        command.stdout(log.try_clone().expect("a log")).stderr(log);
        let _ = std::fs::remove_file(self.folder.join("pid"));
        *self.process.lock().unwrap() = Some(command.spawn().expect("dockerd"));
        self.answers();
    }

    /// Waits until it answers.
    pub(crate) fn answers(&self) {
        poll("the Docker Engine", || self.try_docker(&["version"]).then_some(()));
    }

    /// Kills it, without a chance to tidy up.
    pub(crate) fn crash(&self) {
        let mut process = self.process.lock().unwrap();
        let mut process = process.take().expect("it runs");
        kill(process.id(), Signal::KILL);
        process.wait().expect("its end");
    }

    /// Restarts it as its service would: what it runs is ended, and started again by their restart policy.
    pub(crate) fn restart(&self) {
        self.down();
        self.up();
    }

    /// Stops it as its service would, with all that it runs.
    pub(crate) fn down(&self) {
        self.signal(Signal::TERM);
        self.process.lock().unwrap().take().expect("it runs").wait().expect("its end");
    }

    /// Such as STOP, after which it answers nobody, and CONT.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.process.lock().unwrap().as_ref().expect("it runs").id(), signal);
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(["-H", &self.socket()]).args(args).stdin(Stdio::null());
        command
    }

    fn try_docker(&self, args: &[&str]) -> bool {
        self.command(args).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    /// What a command of Docker's own client prints, if it does.
    pub(crate) fn try_docker_says(&self, args: &[&str]) -> String {
        let done = self.command(args).output().map(|done| done.stdout).unwrap_or_default();
        String::from_utf8_lossy(&done).trim().to_owned()
    }

    /// What a command of Docker's own client prints.
    #[track_caller]
    pub(crate) fn docker(&self, args: &[&str]) -> String {
        let done = self.command(args).output().expect("docker");
        assert!(done.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }

    /// The names of the containers of an app, running or not.
    pub(crate) fn containers(&self, app: &str) -> Vec<String> {
        let scope = format!("label=io.deployctl.scope=p/dev/default/{app}");
        let all = self.docker(&["ps", "-a", "--filter", &scope, "--format", "{{.Names}}"]);
        all.lines().map(str::to_owned).collect()
    }

    /// Makes the image `name` of the test server, with this `app.conf` and these other instructions.
    pub(crate) fn image(&self, name: &str, conf: &str, changes: &[&str]) {
        let mut args = vec!["import", "--change", "WORKDIR /", "--change", "CMD [\"/app\", \"8080\", \"0.0.0.0\"]"];
        args.extend(changes.iter().flat_map(|change| ["--change", change]));
        args.extend(["-", name]);
        import(self.command(&args), &tree(conf)).unwrap_or_else(|why| panic!("no image {name}: {why}"));
    }
}

fn daemon(name: &str) -> Command {
    let mut command = Command::new("env");
    command.arg(name).env("PATH", dockerd::PATH).stdin(Stdio::null());
    command
}

/// The test server, a shell and what a script sleeps by, as an archive.
fn tree(conf: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file");
    write("app.conf", conf);
    write("passwd", "root:x:0:0::/:/app\nnobody:x:65534:65534::/:/app\n");
    let files = [
        (env!("CARGO_BIN_EXE_deployctl-testapp").into(), "app"),
        ("/bin/sh".into(), "bin/sh"),
        ("/bin/sleep".into(), "bin/sleep"),
        (folder.path().join("app.conf"), "app.conf"),
        (folder.path().join("passwd"), "etc/passwd"),
    ];
    archive(&files).expect("an archive")
}
