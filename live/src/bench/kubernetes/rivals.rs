//! The others: kubectl and Helm.

use crate::kube::Cluster;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// `kubectl apply --server-side`, then `kubectl rollout status`, in seconds.
pub(super) fn kubectl(cluster: &Cluster, namespace: &str, manifests: &str) -> Result<f64, String> {
    let file = tempfile::NamedTempFile::new().map_err(|e| e.to_string())?;
    std::fs::write(file.path(), manifests).map_err(|e| e.to_string())?;
    let path = file.path().display().to_string();
    let begun = Instant::now();
    cluster.kubectl(&["apply", "--server-side", "-n", namespace, "-f", &path])?;
    cluster.kubectl(&[
        "rollout",
        "status",
        "deployment",
        "-l",
        "bench=deployment",
        "-n",
        namespace,
        "--timeout=300s",
    ])?;
    Ok(begun.elapsed().as_secs_f64())
}

/// The newest Helm that was built beside the programs of Kubernetes.
pub(super) fn helm() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?.join("deployctl-ci");
    let folders = std::fs::read_dir(cache).ok()?.flatten().map(|entry| entry.path().join("helm"));
    folders.filter(|path| path.is_file()).max()
}

/// A chart of these manifests, in which `VERSION` stands for the version.
pub(super) fn chart(folder: &Path, manifests: &str) -> Result<(), String> {
    let templates = folder.join("templates");
    std::fs::create_dir_all(&templates).map_err(|e| e.to_string())?;
    let write = |path: PathBuf, text: &str| std::fs::write(path, text).map_err(|e| e.to_string());
    write(folder.join("Chart.yaml"), "apiVersion: v2\nname: bench\nversion: 1.0.0\n")?;
    write(templates.join("all.yaml"), &manifests.replace("VERSION", "{{ .Values.version }}"))
}

/// `helm upgrade --install --wait`, in seconds.
pub(super) fn upgrade(
    helm: &Path,
    cluster: &Cluster,
    (namespace, chart): (&str, &Path),
    version: &str,
    more: &[&str],
) -> Result<f64, String> {
    let mut command = Command::new(helm);
    command.args(["upgrade", "--install", "bench"]).arg(chart).args(["--wait", "-n", namespace]);
    command.args(["--set", &format!("version={version}")]).args(more);
    command.env("KUBECONFIG", cluster.kubeconfig()).env("HOME", cluster.folder()).stdin(Stdio::null());
    let begun = Instant::now();
    let done = command.output().map_err(|e| format!("helm: {e}"))?;
    match done.status.success() {
        true => Ok(begun.elapsed().as_secs_f64()),
        false => Err(format!("helm: {}", String::from_utf8_lossy(&done.stderr).trim())),
    }
}
