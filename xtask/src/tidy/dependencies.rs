//! Who may depend on whom.

use super::Complaint;
use super::tree::{Package, Tree};

/// What a package may use of the workspace. The same table stands, with its reasons, in `ARCHITECTURE.md`.
const LAYERS: &[(&str, &[&str])] = &[
    ("deployctl-core", &[]),
    ("deployctl-sys", &[]),
    ("deployctl-compose", &["core"]),
    ("deployctl-kubernetes", &["core"]),
    ("deployctl-spec", &["core", "compose", "kubernetes"]),
    ("deployctl-driver-kubernetes", &["kubernetes"]),
    ("deployctl-runner", &["core", "sys"]),
    ("deployctl-node", &["core", "sys", "runner"]),
    ("deployctl-oci", &["core", "sys"]),
    ("deployctl-readiness", &["oci"]),
    ("deployctl-proxy", &["core", "sys"]),
    ("deployctl-api", &["core", "sys"]),
    ("deployctl-engine", &["core", "sys"]),
    ("deployctl-store", &["core", "sys"]),
    ("deployctl-server", &["core", "sys", "engine", "api"]),
    ("deployctl-testkit", &["core"]),
    ("deployctl-live", &[]),
    ("xtask", &["live"]),
];
/// Every driver.
const DRIVER: &[&str] = &["core", "sys", "runner"];
/// The binary puts everything together.
const BINARY: &str = "deployctl";
const NOT_FOR_BINARY: &[&str] = &["testkit", "live"];
/// What tests may use besides.
const FOR_TESTS: &[&str] = &["testkit", "live", "store", "sys"];
/// `core` decides and does nothing: no runtime, files, clock, network.
const CORE_EXTERNAL: &[&str] =
    &["async-trait", "futures-core", "hex", "serde", "serde_json", "sha2", "thiserror", "proptest", "insta"];

/// Libraries that stay with few parents, so that they can be replaced.
const PARENTS: &[(&str, &[&str])] = &[
    ("axum", &["deployctl-server"]),
    ("bollard", &["deployctl-driver-docker"]),
    ("chacha20poly1305", &["deployctl-store"]),
    ("clap", &["deployctl", "deployctl-live"]),
    ("clap_complete", &["deployctl"]),
    ("indicatif", &["deployctl"]),
    ("kube", &["deployctl-driver-kubernetes"]),
    ("minijinja", &["deployctl-spec"]),
    ("rusqlite", &["deployctl-store"]),
    ("rustls", &["deployctl-driver-docker", "deployctl-proxy", "deployctl-live"]),
    ("schemars", &["deployctl-spec"]),
    ("serde-saphyr", &["deployctl-spec"]),
    ("tar", &["deployctl-node", "deployctl-readiness"]),
    ("ureq", &["deployctl-node", "deployctl-oci"]),
    ("zip", &["deployctl-node", "deployctl-readiness"]),
];

/// A package uses only what lies below it.
pub(crate) fn layers(tree: &Tree) -> Vec<Complaint> {
    let local = |name: &str| tree.packages.iter().any(|p| p.name == name);
    let mut complaints = Vec::new();
    for package in &tree.packages {
        for dependency in &package.dependencies {
            let short = dependency.name.strip_prefix("deployctl-").unwrap_or(&dependency.name);
            let for_tests = dependency.dev && FOR_TESTS.contains(&short);
            if local(&dependency.name) && !for_tests && !may_use(package, short) {
                complaints.push(Complaint::new(&package.folder, format!("may not depend on `{}`", dependency.name)));
            }
            let core = package.name == "deployctl-core" && !local(&dependency.name);
            if core && !CORE_EXTERNAL.contains(&dependency.name.as_str()) {
                complaints.push(Complaint::new(&package.folder, format!("core may not use `{}`", dependency.name)));
            }
        }
    }
    complaints
}

fn may_use(package: &Package, short: &str) -> bool {
    if package.name == BINARY {
        return !NOT_FOR_BINARY.contains(&short);
    }
    if package.name.starts_with("deployctl-driver-") {
        return DRIVER.contains(&short) || listed(package, short);
    }
    listed(package, short)
}

fn listed(package: &Package, short: &str) -> bool {
    LAYERS.iter().any(|(name, allowed)| *name == package.name && allowed.contains(&short))
}

/// Libraries stay where they belong.
pub(crate) fn parents(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for package in &tree.packages {
        for dependency in package.dependencies.iter().filter(|d| !d.dev) {
            let rule = PARENTS.iter().find(|(name, _)| *name == dependency.name);
            if let Some((name, parents)) = rule.filter(|(_, parents)| !parents.contains(&package.name.as_str())) {
                let what = format!("`{name}` belongs to {} alone", parents.join(" and "));
                complaints.push(Complaint::new(&package.folder, what));
            }
        }
    }
    complaints
}

/// What is declared is used.
pub(crate) fn unused(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for package in &tree.packages {
        let inside = format!("{}/", package.folder);
        let sources: Vec<&str> =
            tree.rust().filter(|(name, _)| name.starts_with(&inside)).map(|(_, text)| text).collect();
        for dependency in &package.dependencies {
            let name = dependency.name.replace('-', "_");
            let path = format!("{name}::");
            if !sources.iter().any(|text| text.contains(&path) || text.contains(&format!("use {name};"))) {
                complaints.push(Complaint::new(&package.folder, format!("`{}` is not used", dependency.name)));
            }
        }
    }
    complaints
}

/// Every package has a place in the table, the workspace's lints, and at most one integration test binary.
pub(crate) fn packages(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for package in &tree.packages {
        let mut complain = |what: &str| complaints.push(Complaint::new(&package.folder, what));
        let known = LAYERS.iter().any(|(name, _)| *name == package.name)
            || package.name == BINARY
            || package.name.starts_with("deployctl-driver-");
        if !known {
            complain("has no place in the table of layers");
        }
        let manifest = tree.files.get(&format!("{}/Cargo.toml", package.folder)).map_or("", String::as_str);
        if !manifest.contains("[lints]\nworkspace = true") {
            complain("does not take the workspace's lints");
        }
        if package.targets.iter().filter(|target| target.kind == "test").count() > 1 {
            complain("has more than one integration test binary: each is linked for itself");
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tree::{Dependency, Target};

    fn package(name: &str, dependencies: &[&str]) -> Package {
        let dependencies = dependencies
            .iter()
            .map(|text| Dependency { name: text.trim_start_matches("dev ").into(), dev: text.starts_with("dev ") });
        Package { name: name.into(), folder: name.into(), dependencies: dependencies.collect(), targets: vec![] }
    }

    fn tree(packages: Vec<Package>) -> Tree {
        Tree { packages, ..Tree::default() }
    }

    fn said(complaints: &[Complaint]) -> Vec<String> {
        complaints.iter().map(|c| format!("{}: {}", c.place, c.what)).collect()
    }

    #[test]
    fn layers_are_kept() {
        let tree = tree(vec![
            package("deployctl-core", &["deployctl-sys", "tokio", "serde"]),
            package("deployctl-sys", &[]),
            package("deployctl-proxy", &["deployctl-core", "deployctl-node", "dev deployctl-testkit"]),
            package("deployctl-node", &["deployctl-core", "deployctl-sys", "tokio"]),
            package("deployctl-driver-x", &["deployctl-core", "deployctl-proxy"]),
            package("deployctl-testkit", &["deployctl-core"]),
            package("deployctl", &["deployctl-proxy", "deployctl-testkit", "dev deployctl-live"]),
        ]);
        let wrong = [
            "deployctl-core: may not depend on `deployctl-sys`",
            "deployctl-core: core may not use `tokio`",
            "deployctl-proxy: may not depend on `deployctl-node`",
            "deployctl-driver-x: may not depend on `deployctl-proxy`",
            "deployctl: may not depend on `deployctl-testkit`",
        ];
        assert_eq!(said(&layers(&tree)), wrong);
    }

    #[test]
    fn libraries_stay_with_their_parents() {
        let tree = tree(vec![package("deployctl-engine", &["rusqlite"]), package("deployctl-store", &["rusqlite"])]);
        assert_eq!(said(&parents(&tree)), ["deployctl-engine: `rusqlite` belongs to deployctl-store alone"]);
    }

    #[test]
    fn what_is_not_used_is_found() {
        let mut tree = tree(vec![package("a", &["serde_json", "futures-util"])]);
        tree.files.insert("a/src/lib.rs".into(), "use futures_util::StreamExt;".into());
        tree.files.insert("b/src/lib.rs".into(), "use serde_json::Value;".into());
        assert_eq!(said(&unused(&tree)), ["a: `serde_json` is not used"]);
    }

    #[test]
    fn packages_have_a_place_and_lints_and_one_test_binary() {
        let test = |source: &str| Target { kind: "test".into(), source: source.into() };
        let mut stranger = package("stranger", &[]);
        stranger.targets = vec![test("a"), test("b")];
        let wrong = [
            "stranger: has no place in the table of layers",
            "stranger: does not take the workspace's lints",
            "stranger: has more than one integration test binary: each is linked for itself",
        ];
        assert_eq!(said(&packages(&tree(vec![stranger]))), wrong);
    }
}
