//! A real Kubernetes cluster on this machine: a control plane and a node with real containers, in namespaces of its own.
//!
//! The node has a network, a process tree and mounts of its own, without a route to anywhere: nothing leaves it, and when
//! its first process ends, the kernel takes all of it away. What then still lies about (its cgroups, its folder, settings of the
//! machine that the kubelet changed) is put right by a keeper that outlives whoever started it.

mod config;
pub mod faulty;
mod gateway;
mod image;
mod keys;
mod network;
mod parts;
mod programs;
mod simulated;

pub use gateway::{Gateway, traefik};
pub use image::packed;
pub use parts::Part;
pub use programs::{Programs, helm, kustomize, lacking};
pub use simulated::Nodes;

use network::Network;
use parts::Running;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The name of the node.
pub const NODE: &str = "node";
/// The image that is there from the beginning: `live/kubernetes/pod`.
pub const POD: &str = "deployctl.test/pod:1";
/// All of it is ready by then, also where other tests want the processor too.
const PATIENCE: Duration = Duration::from_secs(120);
const KEEPER: &str = include_str!("../../kubernetes/keeper.sh");
const FIRST: &str = include_str!("../../kubernetes/node.sh");

/// A cluster that runs. Dropping it ends it with everything in it; so does the end of this program.
pub struct Cluster {
    programs: Programs,
    network: Network,
    folder: PathBuf,
    keeper: Child,
    first: u32,
    running: Mutex<BTreeMap<Part, Running>>,
    /// See [`Cluster::hurry`].
    hurries: AtomicBool,
}

impl Cluster {
    /// Starts one, and waits until pods can be run. Needs what [`lacking`] looks for.
    pub fn start() -> Result<Self, String> {
        Self::start_as("keep")
    }

    /// Starts one that stays when this program ends, until its folder is given to [`down`].
    pub fn start_for_good() -> Result<PathBuf, String> {
        let cluster = Self::start_as("stay")?;
        let folder = cluster.folder.clone();
        std::mem::forget(cluster);
        Ok(folder)
    }

    fn start_as(mode: &str) -> Result<Self, String> {
        let programs = Programs::find()?;
        let folder = tempfile::Builder::new().prefix("deployctl-kube-").tempdir().map_err(|e| e.to_string())?;
        let network = Network::make()?;
        let folder = folder.keep();
        for (name, text) in [("keeper.sh", KEEPER), ("node.sh", FIRST)] {
            write(&folder.join(name), text)?;
        }
        let keeper = keep(&folder, &network, &programs, mode)?;
        let mut cluster = Self {
            programs,
            network,
            folder,
            keeper,
            first: 0,
            running: Mutex::default(),
            hurries: AtomicBool::new(false),
        };
        cluster.first = cluster.wait_for("the first process", |cluster| cluster.look_for_first())?;
        write(&cluster.folder.join("first.pid"), &cluster.first.to_string())?;
        cluster.network.join(cluster.first)?;
        keys::make(&cluster.folder, &cluster.network)?;
        config::write_all(&cluster.folder, &cluster.network)?;
        cluster.bring_up()?;
        Ok(cluster)
    }

    fn look_for_first(&self) -> Option<u32> {
        // The keeper's child is `unshare`, and its child is the first process, which says when it has made its place.
        let unshare = *children(self.keeper.id()).first()?;
        let first = *children(unshare).first()?;
        self.folder.join("begun").exists().then_some(first)
    }

    fn bring_up(&self) -> Result<(), String> {
        self.begin(Part::Etcd)?;
        self.begin(Part::Containerd)?;
        self.begin(Part::ApiServer)?;
        self.wait_for("the API server", |cluster| cluster.kubectl(&["get", "--raw=/readyz"]).ok())?;
        for part in [Part::ControllerManager, Part::Scheduler, Part::Kubelet, Part::Proxy] {
            self.begin(part)?;
        }
        let pod = self.programs.pod();
        self.wait_for("containerd", |cluster| cluster.image(POD, &[(pod.clone(), "/pod")], &["/pod"]).ok())?;
        let ready = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
        self.wait_for("the node", |cluster| {
            cluster.kubectl(&["get", "node", NODE, "-o", ready]).ok().filter(|answer| answer == "True")
        })?;
        self.wait_for("the first service account", |cluster| {
            cluster.kubectl(&["get", "serviceaccount", "default"]).ok()
        })?;
        Ok(())
    }

    /// Asks again and again, until there is an answer.
    fn wait_for<T>(&self, what: &str, mut ask: impl FnMut(&Self) -> Option<T>) -> Result<T, String> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = ask(self) {
                return Ok(answer);
            }
            if let Some(ended) = self.ended() {
                return Err(format!("{what} is waited for, and {ended} has ended: {}", self.last_words(ended)));
            }
            if Instant::now() > end {
                let logs = Part::ALL.iter().map(|part| format!("{part}: {}", self.last_words(*part)));
                let logs: Vec<String> = logs.collect();
                return Err(format!("{what} does not come within {PATIENCE:?}\n{}", logs.join("\n")));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// For `KUBECONFIG` and `--kubeconfig`: who may do everything.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("admin.kubeconfig")
    }

    /// The address of this machine as pods and the node see it.
    pub fn gateway(&self) -> String {
        self.network.outside()
    }

    /// The URL of the API server.
    pub fn server(&self) -> String {
        format!("https://{}:6443", self.network.inside())
    }

    /// A folder for whoever has this cluster; it goes with the cluster.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the programs are.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// What a command of `kubectl` prints.
    pub fn kubectl(&self, args: &[&str]) -> Result<String, String> {
        self.kubectl_with(args, "")
    }

    /// The same, with something on its standard input.
    pub fn kubectl_with(&self, args: &[&str], input: &str) -> Result<String, String> {
        let mut command = Command::new(self.programs.of("kubectl"));
        command.arg("--kubeconfig").arg(self.kubeconfig()).args(args).env("HOME", &self.folder);
        command.env_remove("KUBECONFIG").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("kubectl: {e}"))?;
        // Who does not read its input has ended for a better reason.
        let _ = child.stdin.take().map(|mut into| into.write_all(input.as_bytes()));
        printed(child.wait_with_output(), &format!("kubectl {}", args.join(" ")))
    }

    /// What `kubectl get ... -o json` prints.
    pub fn get(&self, args: &[&str]) -> Result<Value, String> {
        let text = self.kubectl(&[&["get", "-o", "json"], args].concat())?;
        serde_json::from_str(&text).map_err(|e| format!("kubectl get {}: {e}", args.join(" ")))
    }

    /// Applies objects, in YAML or JSON.
    pub fn apply(&self, text: &str) -> Result<String, String> {
        self.kubectl_with(&["apply", "--server-side", "-f", "-"], text)
    }

    /// A command inside of the cluster's namespaces.
    fn inside(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.first.to_string(), "-m", "-n", "-p", "--"]).arg(program);
        command.env("PATH", programs::PATH);
        command
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeMap<Part, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.first != 0 {
            crate::stage::kill(self.first);
        }
        // It has the rest, and is quick.
        let _ = self.keeper.stdin.take();
        let _ = self.keeper.wait();
        for running in self.running().values_mut() {
            running.reap();
        }
    }
}

/// Ends the cluster in a folder that [`Cluster::start_for_good`] gave, and waits until all of it is gone.
pub fn down(folder: &Path) -> Result<(), String> {
    let pid = std::fs::read_to_string(folder.join("first.pid")).map_err(|e| format!("{}: {e}", folder.display()))?;
    let pid: u32 = pid.trim().parse().map_err(|_| format!("{}: no process id", folder.display()))?;
    let environment = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    if environment.contains("stay") {
        crate::stage::kill(pid);
    }
    let end = Instant::now() + PATIENCE;
    while folder.exists() {
        if Instant::now() > end {
            return Err(format!("{} is not gone after {PATIENCE:?}", folder.display()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn keep(folder: &Path, network: &Network, programs: &Programs, mode: &str) -> Result<Child, String> {
    use std::os::unix::process::CommandExt;
    let log = log(folder, "keeper")?;
    let mut keeper = Command::new("sh");
    keeper.arg(folder.join("keeper.sh")).arg(folder).arg(network.name()).arg(programs.pod()).arg(mode);
    keeper.stdout(log.try_clone().map_err(|e| e.to_string())?).stderr(log).env("PATH", programs::PATH);
    // What a terminal sends to whoever started it is not for the keeper; the end of its input is.
    keeper.stdin(if mode == "keep" { Stdio::piped() } else { Stdio::null() }).process_group(0).current_dir("/");
    keeper.spawn().map_err(|e| format!("sh: {e}"))
}

fn log(folder: &Path, name: &str) -> Result<std::fs::File, String> {
    let path = folder.join(format!("{name}.log"));
    std::fs::OpenOptions::new().create(true).append(true).open(&path).map_err(|e| format!("{}: {e}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

fn children(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn printed(done: std::io::Result<Output>, what: &str) -> Result<String, String> {
    let done = done.map_err(|e| format!("{what}: {e}"))?;
    match done.status.success() {
        true => Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned()),
        false => Err(format!("{what}: {}", String::from_utf8_lossy(&done.stderr).trim())),
    }
}
