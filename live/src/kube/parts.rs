//! The programs of a cluster, and what each is started with.

use super::{Cluster, NODE, children, log};
use crate::stage::kill;
use std::fmt;
use std::path::Path;
use std::process::{Child, Stdio};

/// A program of the cluster, which can be stopped and started by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The store of the API server.
    Etcd,
    /// The API server.
    ApiServer,
    /// Deployments, jobs and so on.
    ControllerManager,
    /// Puts pods on nodes.
    Scheduler,
    /// Runs containers.
    Containerd,
    /// Looks after the pods of the node.
    Kubelet,
    /// Leads services to pods.
    Proxy,
}

/// A program that was started: `nsenter`, whose child it is.
pub(super) struct Running(Child);

impl Running {
    pub(super) fn reap(&mut self) {
        let _ = self.0.wait();
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.program())
    }
}

impl Part {
    pub(super) const ALL: [Self; 7] = [
        Self::Etcd,
        Self::ApiServer,
        Self::ControllerManager,
        Self::Scheduler,
        Self::Containerd,
        Self::Kubelet,
        Self::Proxy,
    ];

    fn program(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Containerd => "containerd",
            Self::Kubelet => "kubelet",
            Self::Proxy => "kube-proxy",
        }
    }
}

impl Cluster {
    /// Ends a part at once, as a crash would. Containers go on without the kubelet and containerd.
    pub fn stop(&self, part: Part) {
        if let Some(mut running) = self.running().remove(&part) {
            children(running.0.id()).into_iter().for_each(kill);
            running.reap();
        }
    }

    /// The process of a part, if it runs.
    pub fn pid(&self, part: Part) -> Option<u32> {
        let nsenter = self.running().get(&part).map(|running| running.0.id())?;
        children(nsenter).first().copied()
    }

    /// Lets the controllers ask as often as they like, for tests of many objects; they are started again.
    pub fn hurry(&self) -> Result<(), String> {
        self.hurries.store(true, std::sync::atomic::Ordering::Relaxed);
        self.stop(Part::ControllerManager);
        self.begin(Part::ControllerManager)
    }

    /// Starts a part again that was stopped; it is not waited for.
    pub fn begin(&self, part: Part) -> Result<(), String> {
        let name = part.program();
        let log = log(&self.folder, name)?;
        let mut command = self.inside(&self.programs.of(name));
        command.args(self.flags(part)).current_dir(&self.folder).stdin(Stdio::null());
        command.stdout(log.try_clone().map_err(|e| e.to_string())?).stderr(log);
        let child = command.spawn().map_err(|e| format!("{name} cannot be started: {e}"))?;
        self.running().insert(part, Running(child));
        Ok(())
    }

    /// A part that has ended though nobody stopped it.
    pub(super) fn ended(&self) -> Option<Part> {
        let mut running = self.running();
        running.iter_mut().find_map(|(part, running)| matches!(running.0.try_wait(), Ok(Some(_))).then_some(*part))
    }

    /// The last lines that a part wrote.
    pub(super) fn last_words(&self, part: Part) -> String {
        self.written(part.program())
    }

    /// The last lines that a program wrote.
    pub(super) fn written(&self, program: &str) -> String {
        let path = self.folder.join(format!("{program}.log"));
        let text = String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
        let lines: Vec<&str> = text.lines().rev().take(4).collect();
        lines.join("; ")
    }

    fn flags(&self, part: Part) -> Vec<String> {
        let at = |name: &str| self.folder.join(name).display().to_string();
        match part {
            Part::Etcd => etcd(&self.folder),
            Part::ApiServer => self.api_server(),
            Part::ControllerManager => [
                format!("--kubeconfig={}", at("controllers.kubeconfig")),
                format!("--service-account-private-key-file={}", at("accounts.key")),
                format!("--root-ca-file={}", at("ca.crt")),
                format!("--cluster-cidr={}", self.network.pods()),
                "--allocate-node-cidrs=true".into(),
                "--node-cidr-mask-size=24".into(),
                "--node-monitor-grace-period=20s".into(),
                "--use-service-account-credentials=true".into(),
                "--leader-elect=false".into(),
                "--bind-address=127.0.0.1".into(),
            ]
            .into_iter()
            .chain(self.haste())
            .collect(),
            Part::Scheduler => vec![
                format!("--kubeconfig={}", at("scheduler.kubeconfig")),
                "--leader-elect=false".into(),
                "--bind-address=127.0.0.1".into(),
            ],
            Part::Containerd => vec!["--config".into(), at("containerd.toml")],
            Part::Kubelet => vec![
                format!("--config={}", at("kubelet.json")),
                format!("--kubeconfig={}", at("node.kubeconfig")),
                format!("--root-dir={}", at("kubelet")),
                format!("--cert-dir={}", at("kubelet-pki")),
                format!("--hostname-override={NODE}"),
                format!("--node-ip={}", self.network.inside()),
            ],
            Part::Proxy => vec![format!("--config={}", at("proxy.json"))],
        }
    }

    fn haste(&self) -> Vec<String> {
        match self.hurries.load(std::sync::atomic::Ordering::Relaxed) {
            true => vec!["--kube-api-qps=1000".into(), "--kube-api-burst=2000".into()],
            false => Vec::new(),
        }
    }

    fn api_server(&self) -> Vec<String> {
        let at = |name: &str| self.folder.join(name).display().to_string();
        let address = self.network.inside();
        vec![
            "--etcd-servers=http://127.0.0.1:2379".into(),
            format!("--bind-address={address}"),
            format!("--advertise-address={address}"),
            "--secure-port=6443".into(),
            format!("--tls-cert-file={}", at("server.crt")),
            format!("--tls-private-key-file={}", at("server.key")),
            format!("--client-ca-file={}", at("ca.crt")),
            format!("--token-auth-file={}", at("tokens.csv")),
            "--authorization-mode=Node,RBAC".into(),
            "--enable-admission-plugins=NodeRestriction".into(),
            format!("--service-account-key-file={}", at("accounts.pub")),
            format!("--service-account-signing-key-file={}", at("accounts.key")),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            format!("--service-cluster-ip-range={}", self.network.services()),
            format!("--kubelet-client-certificate={}", at("kubelet-client.crt")),
            format!("--kubelet-client-key={}", at("kubelet-client.key")),
            "--kubelet-preferred-address-types=InternalIP".into(),
            format!("--requestheader-client-ca-file={}", at("ca.crt")),
            "--requestheader-allowed-names=front-proxy-client".into(),
            "--requestheader-username-headers=X-Remote-User".into(),
            "--requestheader-group-headers=X-Remote-Group".into(),
            "--requestheader-extra-headers-prefix=X-Remote-Extra-".into(),
            format!("--proxy-client-cert-file={}", at("front-proxy.crt")),
            format!("--proxy-client-key-file={}", at("front-proxy.key")),
            "--enable-aggregator-routing=true".into(),
            "--allow-privileged=true".into(),
        ]
    }
}

/// It need not outlive the machine.
fn etcd(folder: &Path) -> Vec<String> {
    let client = "http://127.0.0.1:2379";
    let peer = "http://127.0.0.1:2380";
    let flags = [
        ("--data-dir", folder.join("etcd").display().to_string()),
        ("--listen-client-urls", client.into()),
        ("--advertise-client-urls", client.into()),
        ("--listen-peer-urls", peer.into()),
        ("--initial-advertise-peer-urls", peer.into()),
        ("--initial-cluster", format!("default={peer}")),
    ];
    let flags = flags.into_iter().map(|(name, value)| format!("{name}={value}"));
    flags.chain(["--unsafe-no-fsync".to_owned()]).collect()
}
