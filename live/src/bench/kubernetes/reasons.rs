//! How soon after the API server shows the first sign of trouble deployctl shows its reason.

use super::{ENV, VERSIONS, deploy, deployment, stage};
use crate::bench::tools::{Running, median};
use crate::bench::{Options, Section};
use crate::kube::Cluster;
use crate::stage::Stage;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Nothing takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// What goes wrong, how the manifest is made so, and which sign and which word are waited for.
struct Case {
    what: &'static str,
    version: &'static str,
    change: fn(String) -> String,
    sign: &'static str,
    word: &'static str,
}

const CASES: &[Case] = &[
    Case {
        what: "an image that cannot be pulled",
        version: "v404",
        change: |text| text,
        sign: "ErrImagePull",
        word: "bench:v404",
    },
    Case {
        what: "a ConfigMap that is missing",
        version: VERSIONS[1],
        change: |text| {
            text.replace(
                "          readinessProbe",
                "          envFrom: [{ configMapRef: { name: none } }]\n          readinessProbe",
            )
        },
        sign: "CreateContainerConfigError",
        word: "configmap",
    },
    Case {
        what: "a pod that no node takes",
        version: VERSIONS[1],
        change: |text| text.replace("      terminationGracePeriodSeconds: 1", "      nodeSelector: { none: \"yes\" }"),
        sign: "Unschedulable",
        word: "scheduled",
    },
    Case {
        what: "a program that ends at once",
        version: VERSIONS[1],
        change: |text| text.replace("[/pod, serve, \"8080\"]", "[/pod, exit, \"1\", bad]"),
        sign: "Error",
        word: "exit code 1",
    },
];

pub(super) fn measure(options: &Options, cluster: &Cluster) -> Result<Section, String> {
    let mut section = Section::new(
        "Kubernetes: reasons",
        &format!(
            "From the moment at which `kubectl get pods --watch` prints the first sign of trouble, to that at which\n\
             `deployctl show` tells it; both programs' own time included, {} times.",
            options.rounds
        ),
    );
    let good = deployment("web", 1, "none");
    let stage = stage(options, cluster, "reasons", &good)?;
    for case in CASES {
        let mut took = Vec::new();
        for _ in 0..options.rounds {
            stage.write("kubernetes/all.yaml", &good)?;
            deploy(&stage, VERSIONS[0])?;
            alone(cluster)?;
            stage.write("kubernetes/all.yaml", &(case.change)(good.clone()))?;
            took.push(once(&stage, cluster, case)?);
        }
        section.at_most(case.what, median(&took), 1.0, " s");
    }
    stage.must(&["down", "--env", ENV, "--app", "app"])?;
    Ok(section)
}

/// Waits until the bad pod of the round before is gone: it shows signs of trouble to its end.
fn alone(cluster: &Cluster) -> Result<(), String> {
    let end = Instant::now() + PATIENCE;
    while cluster.kubectl(&["get", "pods", "-n", "reasons", "-o", "name"])?.lines().count() > 1 {
        if Instant::now() > end {
            return Err("the pods of the round before do not go".to_owned());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn once(stage: &Stage, cluster: &Cluster, case: &Case) -> Result<f64, String> {
    let (told, signs) = mpsc::channel();
    let mut watch = Command::new(cluster.programs().of("kubectl"));
    watch.arg("--kubeconfig").arg(cluster.kubeconfig()).env("HOME", cluster.folder());
    watch.args(["get", "pods", "-n", "reasons", "--watch", "-o"]);
    watch.arg("jsonpath={.status.containerStatuses[*].state}{.status.conditions[*].reason}{\"\\n\"}");
    let watch = watch.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut watch = Running(watch.map_err(|e| format!("kubectl: {e}"))?);
    let out = watch.0.stdout.take().ok_or("kubectl prints nothing")?;
    let sign = case.sign;
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if line.contains(sign) {
                let _ = told.send(Instant::now());
                return;
            }
        }
    });
    let args = ["deploy", "--env", ENV, "--app", "app", "--version", case.version, "--detach", "--output", "json"];
    let done = stage.must(&args)?;
    let deployment: Value = serde_json::from_str(&done.out).map_err(|e| format!("{e}: {}", done.out))?;
    let id = deployment["id"].as_str().unwrap_or_default().to_owned();
    let shown = shown(stage, &id, case)?;
    let sign = signs.recv_timeout(PATIENCE).map_err(|_| format!("{}: the API server shows nothing", case.what))?;
    stage.run(&["cancel", &id])?;
    stage.run(&["attach", &id])?;
    Ok(shown.saturating_duration_since(sign).as_secs_f64())
}

fn shown(stage: &Stage, id: &str, case: &Case) -> Result<Instant, String> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let done = stage.must(&["show", id, "--output", "json"])?;
        let shown: Value = serde_json::from_str(&done.out).map_err(|e| e.to_string())?;
        // What can never become right is not waited for: it is why the deployment goes back.
        let said = ["waiting", "back", "reason"].map(|key| shown[key].as_str());
        if said.into_iter().flatten().any(|said| said.contains(case.word)) {
            return Ok(Instant::now());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(format!("{}: `{}` is never shown", case.what, case.word))
}
