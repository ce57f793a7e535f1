//! The programs that a cluster is made of, and where they are.

use crate::built;
use std::path::{Path, PathBuf};

/// The programs of the system are often not in the path of a user.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Of the system, and the Debian package that brings each.
const SYSTEM: &[(&str, &str)] = &[
    ("etcd", "etcd-server"),
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("iptables", "iptables"),
    ("ip", "iproute2"),
    ("conntrack", "conntrack"),
    ("openssl", "openssl"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
];
/// Where Debian's `containernetworking-plugins` puts them.
pub(super) const CNI: &str = "/usr/lib/cni";
const GO_MOD: &str = include_str!("../../kubernetes/go.mod");
const HELM: &str = include_str!("../../helm/go.mod");
const KUSTOMIZE: &str = include_str!("../../kustomize/go.mod");

/// Where the programs of Kubernetes are, as `cargo xtask kube` built them.
#[derive(Clone, Debug)]
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Looks for all that a cluster needs; the error says what is lacking and what brings it.
    pub fn find() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("root".into());
        }
        if let Some((_, package)) = SYSTEM.iter().find(|(name, _)| found(name).is_none()) {
            return Err(format!("Debian's {package}"));
        }
        if !Path::new(CNI).join("bridge").is_file() {
            return Err("Debian's containernetworking-plugins".into());
        }
        // Kubernetes' own come all at once; ours after them, this one last.
        let folder = built::folder("kubernetes", GO_MOD, "k8s.io/kubernetes", "pod");
        let lacking = || "the programs of Kubernetes, which `cargo xtask kube build` makes".into();
        folder.map(|folder| Self { folder }).ok_or_else(lacking)
    }

    /// A program of Kubernetes, such as `kubectl`; of the system, if it is none.
    pub fn of(&self, name: &str) -> PathBuf {
        let built = self.folder.join(name);
        if built.is_file() { built } else { found(name).unwrap_or_else(|| name.into()) }
    }

    /// What pods of the tests run; its commands are in `live/kubernetes/pod/main.go`.
    pub fn pod(&self) -> PathBuf {
        self.folder.join("pod")
    }
}

/// The folder with `helm`; none if `cargo xtask kube build` did not build it.
pub fn helm() -> Option<PathBuf> {
    built::folder("helm", HELM, "helm.sh/helm/v4", "helm")
}

/// The folder with `kustomize`; none if `cargo xtask kube build` did not build it.
pub fn kustomize() -> Option<PathBuf> {
    built::folder("kustomize", KUSTOMIZE, "sigs.k8s.io/kustomize/kustomize/v5", "kustomize")
}

/// What this machine lacks to run a cluster.
pub fn lacking() -> Option<String> {
    Programs::find().err()
}

fn found(name: &str) -> Option<PathBuf> {
    PATH.split(':').map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
}
