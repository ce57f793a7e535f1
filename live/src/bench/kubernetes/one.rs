//! One Deployment of two pods on the real node.

use super::{VERSIONS, deploy, deployment, rivals, stage};
use crate::bench::tools::median;
use crate::bench::{Options, Section};
use crate::kube::Cluster;

/// Pairs, at the least.
const PAIRS_MIN: usize = 20;

pub(super) fn measure(options: &Options, cluster: &Cluster) -> Result<Section, String> {
    let pairs = options.rounds.max(PAIRS_MIN);
    let mut section = Section::new(
        "Kubernetes: one Deployment",
        &format!(
            "A Deployment of two pods on a real node brought to another version, by deployctl and by\n\
             `kubectl apply --server-side` with `kubectl rollout status`, {pairs} times in turn, each in a namespace of its own.\n\
             It has no readiness probe: whether the first one comes too early, and the next a second later, is chance."
        ),
    );
    let stage = stage(options, cluster, "one-ours", &without_probe("none"))?;
    cluster.kubectl(&["create", "namespace", "one-theirs"])?;
    let theirs = |version: &str| rivals::kubectl(cluster, "one-theirs", &without_probe(version));
    deploy(&stage, VERSIONS[0])?;
    theirs(VERSIONS[0])?;
    let mut took = Vec::new();
    for number in 0..pairs {
        let version = VERSIONS[(number + 1) % 2];
        took.push((deploy(&stage, version)?, theirs(version)?));
    }
    stage.must(&["down", "--env", super::ENV, "--app", "app"])?;
    cluster.kubectl(&["delete", "namespace", "one-theirs"])?;
    let of = |part: fn(&(f64, f64)) -> f64| median(&took.iter().map(part).collect::<Vec<_>>());
    let (ours, theirs) = (of(|(ours, _)| *ours), of(|(_, theirs)| *theirs));
    section.plain("deployctl", ours, " s");
    section.plain("kubectl", theirs, " s");
    section.at_most("deployctl against kubectl", ours / theirs, 1.05, "");
    Ok(section)
}

fn without_probe(version: &str) -> String {
    let text = deployment("web", 2, version);
    text.lines().filter(|line| !line.contains("readinessProbe")).map(|line| format!("{line}\n")).collect()
}
