//! `kube`: a real Kubernetes cluster on this machine: `build` its programs, `up`, `down`, `test`.
//!
//! Kubernetes' programs, Helm, Kustomize and Traefik are built from their Go modules once per version, outside of the tree; our own beside
//! them every time, since Go knows what has changed.

use crate::{go, traefik};
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// As in `live/kubernetes/go.mod`.
const MODULE: &str = "k8s.io/kubernetes";
/// The programs that the module's `tool` lines name.
const PROGRAMS: &[&str] =
    &["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"];
const OWN: &[&str] = &["nodes", "pod", "web"];
/// Programs with a folder of their own below `live`: the folder, the module and the program's package in it.
const BESIDE: &[(&str, &str, &str)] = &[
    ("helm", "helm.sh/helm/v4", "helm.sh/helm/v4/cmd/helm"),
    ("kustomize", "sigs.k8s.io/kustomize/kustomize/v5", "sigs.k8s.io/kustomize/kustomize/v5"),
];

pub(crate) fn run(root: &Path) -> ExitCode {
    let done = match env::args().nth(2).as_deref() {
        Some("build") => build(root).map(|folder| println!("{}", folder.display())),
        Some("up") => build(root).and_then(|_| kube(root, "up")),
        Some("down") => kube(root, "down"),
        Some("test") => build(root).and_then(|_| test(root)),
        other => Err(format!("there is no `kube {}`; there are: build, up, down, test", other.unwrap_or(""))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("cargo xtask kube: {why}");
            ExitCode::FAILURE
        }
    }
}

pub(crate) fn build(root: &Path) -> Result<PathBuf, String> {
    let module = root.join("live/kubernetes");
    let version = go::version(&module, MODULE)?;
    let folder = go::cache()?.join(format!("kubernetes-{version}"));
    if !PROGRAMS.iter().all(|name| folder.join(name).is_file()) {
        build_kubernetes(&module, &version, &folder)?;
    }
    for name in OWN {
        go::build(&module, &format!("./{name}"), "", &folder.join(name))?;
    }
    for (name, module, package) in BESIDE {
        let from = root.join("live").join(name);
        let program = go::cache()?.join(format!("{name}-{}", go::version(&from, module)?)).join(name);
        if !program.is_file() {
            eprintln!("building {name}: a minute or two, once");
            go::build(&from, package, "", &program)?;
        }
    }
    traefik::build(root)?;
    Ok(folder)
}

fn build_kubernetes(module: &Path, version: &str, folder: &Path) -> Result<(), String> {
    eprintln!("building Kubernetes {version}: about five minutes, once");
    let number: Vec<&str> = version.trim_start_matches('v').split('.').collect();
    let [major, minor, ..] = number[..] else { return Err(format!("{version} is no version")) };
    // Without them the server calls itself v0.0.0.
    let at = "k8s.io/component-base/version";
    let flags = format!("-X {at}.gitVersion={version} -X {at}.gitMajor={major} -X {at}.gitMinor={minor}");
    let new = folder.with_extension(format!("new{}", std::process::id()));
    std::fs::create_dir_all(&new).map_err(|e| format!("{}: {e}", new.display()))?;
    let mut into = new.clone().into_os_string();
    // A folder, for several programs.
    into.push("/");
    go::run(module, &["tool"], &flags, &into)?;
    let _ = std::fs::remove_dir_all(folder);
    std::fs::rename(&new, folder).map_err(|e| e.to_string())
}

fn kube(root: &Path, what: &str) -> Result<(), String> {
    cargo(root, &["run", "--quiet", "--locked", "-p", "deployctl-live", "--bin", "deployctl-kube", "--", what], false)
}

/// All tests that want a cluster have `kube` in their names.
fn test(root: &Path) -> Result<(), String> {
    cargo(root, &["test", "--locked", "--workspace", "kube"], true)
}

fn cargo(root: &Path, args: &[&str], live: bool) -> Result<(), String> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(args).current_dir(root);
    if live {
        cargo.env("DEPLOYCTL_LIVE", "all");
    }
    let status = cargo.status().map_err(|e| format!("cargo: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("cargo {}: {status}", args.join(" "))) }
}
