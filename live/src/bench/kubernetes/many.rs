//! 500 objects, of which 50 are Deployments, on simulated nodes.

use super::{ENV, VERSIONS, deployment, rivals, stage};
use crate::bench::tools::{cpu_seconds, median};
use crate::bench::{Options, Section};
use crate::kube::{Cluster, Part};
use crate::stage::Stage;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const WORKLOADS: usize = 50;
const MAPS: usize = 400;
const OBJECTS: usize = MAPS + 2 * WORKLOADS;
/// Each figure: install, change, no change.
const STEPS: [&str; 3] = ["install", "change of 50 images", "no change"];

/// Who deploys.
enum By {
    Deployctl(Box<Stage>),
    Kubectl,
    Helm { program: PathBuf, chart: tempfile::TempDir, more: &'static [&'static str] },
}

struct Tool {
    name: &'static str,
    namespace: &'static str,
    by: By,
    /// In seconds, and seconds of the API server's processor, by step.
    took: [Vec<f64>; 3],
    cpu: [Vec<f64>; 3],
}

pub(super) fn measure(options: &Options, cluster: &Cluster) -> Result<Section, String> {
    cluster.hurry()?;
    let nodes = cluster.simulate(3)?;
    let mut tools = tools(options, cluster)?;
    for round in 0..options.rounds {
        for tool in &mut tools {
            eprintln!("round {round}: {}", tool.name);
            tool.round(cluster)?;
        }
    }
    drop(nodes);
    let mut section = Section::new(
        "Kubernetes: 500 objects",
        "400 ConfigMaps, 50 Services and 50 Deployments of one pod on simulated nodes, in an empty namespace; then another\n\
         version of the 50 images; then the same again. The controller manager may ask 1000 times a second. kubectl is\n\
         `kubectl apply --server-side` and then `kubectl rollout status`; Helm is `helm upgrade --install --wait`; kapp is not among them.\n\
         In turn, medians; each step begins when the API server has next to nothing to do.",
    );
    section.raw = table(&tools);
    targets(&mut section, &tools);
    Ok(section)
}

fn manifests(version: &str) -> String {
    let mut text = String::new();
    for number in 0..MAPS {
        let data = format!("data: {{ number: \"{number}\", text: \"{}\" }}", "x".repeat(200));
        let _ = writeln!(text, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: map-{number} }}\n{data}");
    }
    for number in 0..WORKLOADS {
        let name = format!("web-{number}");
        let _ = writeln!(
            text,
            "---\napiVersion: v1\nkind: Service\nmetadata: {{ name: {name} }}\nspec: {{ selector: {{ app: {name} }}, ports: [{{ port: \
             80, targetPort: 8080 }}] }}"
        );
        text.push_str(&deployment(&name, 1, version));
    }
    text
}

fn tools(options: &Options, cluster: &Cluster) -> Result<Vec<Tool>, String> {
    let tool = |name, namespace, by| Tool { name, namespace, by, took: Default::default(), cpu: Default::default() };
    let ours = stage(options, cluster, "many-ours", &manifests("none"))?;
    cluster.kubectl(&["create", "namespace", "many-kubectl"])?;
    let mut tools = vec![
        tool("deployctl", "many-ours", By::Deployctl(Box::new(ours))),
        tool("kubectl", "many-kubectl", By::Kubectl),
    ];
    let Some(program) = rivals::helm() else {
        eprintln!("Helm is left out: it is not built here");
        return Ok(tools);
    };
    let raised: &[&str] = &["--qps", "1000", "--burst-limit", "2000"];
    for (name, namespace, more) in
        [("helm", "many-helm", &[][..]), ("helm --qps 1000 --burst-limit 2000", "many-helm-raised", raised)]
    {
        let chart = tempfile::tempdir().map_err(|e| e.to_string())?;
        rivals::chart(chart.path(), &manifests("VERSION"))?;
        cluster.kubectl(&["create", "namespace", namespace])?;
        tools.push(tool(name, namespace, By::Helm { program: program.clone(), chart, more }));
    }
    Ok(tools)
}

impl Tool {
    /// All three steps, and everything away again.
    fn round(&mut self, cluster: &Cluster) -> Result<(), String> {
        let pid = cluster.pid(Part::ApiServer).ok_or("there is no API server")?;
        for (step, version) in [VERSIONS[0], VERSIONS[1], VERSIONS[1]].into_iter().enumerate() {
            rest(pid)?;
            let before = cpu_seconds(pid);
            let took = self.deploy(cluster, version)?;
            self.took[step].push(took);
            self.cpu[step].push(cpu_seconds(pid) - before);
            eprintln!("  {}: {took:.2} s, API server {:.2} s", STEPS[step], cpu_seconds(pid) - before);
        }
        match &self.by {
            By::Deployctl(stage) => drop(stage.must(&["down", "--env", ENV, "--app", "app"])?),
            By::Kubectl | By::Helm { .. } => {
                cluster.kubectl(&["delete", "namespace", self.namespace])?;
                cluster.kubectl(&["create", "namespace", self.namespace])?;
            }
        }
        Ok(())
    }

    fn deploy(&self, cluster: &Cluster, version: &str) -> Result<f64, String> {
        match &self.by {
            By::Deployctl(stage) => super::deploy(stage, version),
            By::Kubectl => rivals::kubectl(cluster, self.namespace, &manifests(version)),
            By::Helm { program, chart, more } => {
                rivals::upgrade(program, cluster, (self.namespace, chart.path()), version, more)
            }
        }
    }
}

/// Waits until the API server needs less than a tenth of a processor: what a step leaves to be done, and what is still removed
/// after a round, is not for the next one to pay.
fn rest(pid: u32) -> Result<(), String> {
    const LOOK: Duration = Duration::from_secs(2);
    let end = Instant::now() + Duration::from_secs(180);
    while Instant::now() < end {
        let before = cpu_seconds(pid);
        std::thread::sleep(LOOK);
        if cpu_seconds(pid) - before < LOOK.as_secs_f64() / 10.0 {
            return Ok(());
        }
    }
    Err("the API server does not come to rest within 180 s".to_owned())
}

fn table(tools: &[Tool]) -> String {
    let mut text = format!("| | {} | {} | {} |\n|---|--:|--:|--:|\n", STEPS[0], STEPS[1], STEPS[2]);
    for tool in tools {
        let figure = |step: usize| {
            let cpu = median(&tool.cpu[step]) * 1e3 / OBJECTS as f64;
            format!("{:.2} s ({cpu:.2} ms)", median(&tool.took[step]))
        };
        let _ = writeln!(text, "| {} | {} | {} | {} |", tool.name, figure(0), figure(1), figure(2));
    }
    text.push_str("\nIn brackets: the API server's processor time for each of the 500 objects.\n");
    text
}

fn targets(section: &mut Section, tools: &[Tool]) {
    let took = |name: &str, step: usize| {
        let tool = tools.iter().find(|tool| tool.name == name)?;
        Some(median(&tool.took[step]))
    };
    let against = [("helm", 0.10), ("helm --qps 1000 --burst-limit 2000", 0.70), ("kubectl", 0.30)];
    for (name, target) in against {
        for step in [0, 1] {
            if let (Some(ours), Some(theirs)) = (took("deployctl", step), took(name, step)) {
                section.at_most(&format!("{}, against {name}", STEPS[step]), ours / theirs, target, "");
            }
        }
    }
    if let (Some(ours), Some(theirs)) = (took("deployctl", 2), took("kubectl", 2)) {
        section.at_most("no change, against kubectl", ours / theirs, 0.05, "");
    }
    // What a client that does nothing else needs: 4.1 ms an object installed, its rollout included.
    let cpu = tools.iter().find(|tool| tool.name == "deployctl").map_or(0.0, |tool| median(&tool.cpu[0]));
    section.at_most("the API server's processor time for an object installed", cpu * 1e3 / OBJECTS as f64, 5.3, " ms");
}
