//! Updates of a Deployment under load: by deployctl, by each strategy, and by `kubectl apply` of the same application beside it.

use super::Rival;
use super::document::ways;
use crate::kube::{self, Cluster, Gateway};
use crate::stage::Stage;
use crate::{Load, Rates, Report, Target, machine};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const ENV: &str = "dev";
const IMAGE: &str = "deployctl.test/lost";
const VERSIONS: [&str; 2] = ["v1", "v2"];

/// What deployctl is seen with.
struct Strategy {
    word: &'static str,
    name: &'static str,
    /// In the specification.
    spec: &'static str,
    /// Whether requests come by a route of the Gateway API.
    routed: bool,
}

const STRATEGIES: [Strategy; 4] = [
    Strategy { word: "rolling", name: "deployctl, rolling", spec: "rolling", routed: false },
    Strategy { word: "blue-green", name: "deployctl, blue-green", spec: "blue-green", routed: false },
    Strategy {
        word: "canary",
        name: "deployctl, canary by pods",
        spec: "{ canary: { steps: [33%], hold: 2s } }",
        routed: false,
    },
    Strategy {
        word: "canary-by-route",
        name: "deployctl, canary by a route",
        spec: "{ canary: { steps: [10%], hold: 2s } }",
        routed: true,
    },
];
/// Where requests go that come by a route.
const ROUTE: &str = "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: web }\nspec:\n  parentRefs: [{ \
                     name: web, namespace: default }]\n  rules: [{ backendRefs: [{ name: web, port: 80 }] }]\n";
/// For so long the application goes on after SIGTERM.
const DRAIN: &str = "3s";
const PATIENCE: Duration = Duration::from_secs(60);

/// How much is to be proven.
#[derive(Clone, Debug)]
pub struct Updates {
    /// The binary of deployctl.
    pub binary: PathBuf,
    /// The folder of the example, prepared.
    pub example: PathBuf,
    /// How many updates of the application that goes on after SIGTERM, by each strategy and each tool.
    pub updates: u32,
    /// How many of the one that ends at once.
    pub hasty: u32,
    /// Whether kubectl is to be seen beside.
    pub beside: bool,
    /// Only by these strategies: `rolling`, `blue-green`, `canary`, `canary-by-route`; by all if none is named.
    pub strategies: Vec<String>,
}

impl Updates {
    fn chosen(&self) -> Result<Vec<&'static Strategy>, String> {
        if let Some(word) = self.strategies.iter().find(|word| STRATEGIES.iter().all(|one| one.word != **word)) {
            let all = STRATEGIES.map(|one| one.word).join(", ");
            return Err(format!("there is no strategy {word} to be seen; there are: {all}"));
        }
        let is_chosen = |one: &&Strategy| self.strategies.is_empty() || self.strategies.iter().any(|w| w == one.word);
        Ok(STRATEGIES.iter().filter(is_chosen).collect())
    }
}

/// What came of it: first of all deployctl, by each strategy, with the application that goes on; see [`lost_by_us`].
pub fn updates(options: &Updates) -> Result<Vec<Rival>, String> {
    let chosen = options.chosen()?;
    let cluster = Cluster::start()?;
    let web = cluster.programs().of("web");
    for version in VERSIONS {
        cluster.image(&format!("{IMAGE}:{version}"), &[(web.clone(), "/web")], &["/web"])?;
    }
    let mut all = Vec::new();
    for one in chosen {
        let gateway = one.routed.then(|| gateway(&cluster)).transpose()?;
        all.push(ours(options, &cluster, one, gateway.as_ref(), DRAIN, options.updates)?);
    }
    if options.beside {
        all.push(theirs(&cluster, "`kubectl apply`", DRAIN, options.updates)?);
    }
    if options.hasty > 0 {
        let rolling = Strategy {
            word: "rolling",
            name: "deployctl, rolling, of one that ends at once",
            spec: "rolling",
            routed: false,
        };
        all.push(ours(options, &cluster, &rolling, None, "0s", options.hasty)?);
        all.push(theirs(&cluster, "`kubectl apply`, of one that ends at once", "0s", options.hasty)?);
    }
    Ok(all)
}

/// How many requests deployctl lost, by any strategy, of an application that goes on after SIGTERM.
pub fn lost_by_us(options: &Updates, all: &[Rival]) -> u64 {
    let chosen = options.chosen().map_or(0, |chosen| chosen.len());
    all.iter().take(chosen).map(|rival| rival.report.failed()).sum()
}

fn ours(
    options: &Updates,
    cluster: &Cluster,
    &Strategy { word, name, spec, .. }: &Strategy,
    gateway: Option<&Gateway>,
    drain: &str,
    count: u32,
) -> Result<Rival, String> {
    let namespace = format!("ours-{word}-{drain}");
    let mut stage = Stage::set(&options.binary, &options.example)?;
    stage.set_var("KUBECONFIG", cluster.kubeconfig().display().to_string());
    stage.write("kubernetes/all.yaml", &manifests("none", drain))?;
    if gateway.is_some() {
        stage.write("kubernetes/route.yaml", ROUTE)?;
    }
    stage.write(
        "deployctl.yaml",
        &format!(
            "project: lost\nenvironments: {{ {ENV}: {{}} }}\napps:\n  web:\n    target: kubernetes\n    context: deployctl\n    \
             namespace: {namespace}\n    manifests: kubernetes\n    images: {{ web: \"{IMAGE}:{{{{ version }}}}\" }}\n    \
             pin_tags: false\n    strategy: {spec}\n"
        ),
    )?;
    let deploy = |version: &str| stage.must(&["deploy", "--env", ENV, "--app", "web", "--version", version]).map(drop);
    under_load(cluster, name, &namespace, gateway, count, deploy)
}

fn gateway(cluster: &Cluster) -> Result<Gateway, String> {
    let folder = kube::traefik().ok_or("a route needs Traefik, which `cargo xtask kube build` makes")?;
    cluster.gateway_api(&folder)
}

fn theirs(cluster: &Cluster, name: &'static str, drain: &str, count: u32) -> Result<Rival, String> {
    let namespace = format!("theirs-{drain}");
    let deploy = |version: &str| {
        cluster.kubectl_with(&["apply", "-n", &namespace, "-f", "-"], &manifests(version, drain))?;
        cluster.kubectl(&["rollout", "status", "deployment/web", "-n", &namespace, "--timeout=120s"]).map(drop)
    };
    under_load(cluster, name, &namespace, None, count, deploy)
}

/// To and fro between the two versions, one update after the other.
fn under_load(
    cluster: &Cluster,
    name: &'static str,
    namespace: &str,
    gateway: Option<&Gateway>,
    count: u32,
    deploy: impl Fn(&str) -> Result<(), String>,
) -> Result<Rival, String> {
    cluster.kubectl(&["create", "namespace", namespace])?;
    deploy(VERSIONS[0])?;
    let service = ["get", "service", "web", "-n", namespace, "-o", "jsonpath={.spec.clusterIP}"];
    let address = match gateway {
        Some(gateway) => gateway.address().to_owned(),
        None => format!("{}:80", cluster.kubectl(&service)?),
    };
    answers(&address)?;
    let load = load(&address)?.start();
    let mut took = Vec::new();
    for number in 0..count as usize {
        let begun = Instant::now();
        deploy(VERSIONS[(number + 1) % 2])?;
        took.push(begun.elapsed());
        eprintln!("{name}: {} of {count}, {:.1} s", number + 1, begun.elapsed().as_secs_f64());
    }
    let report: Report = load.finish();
    cluster.kubectl(&["delete", "namespace", namespace, "--wait=false"])?;
    // A gateway that knows of no route says so itself.
    if let Some(status) = report.kinds.values().flat_map(|kind| kind.status.keys()).find(|status| **status != 200) {
        return Err(format!("{name}: answers with status {status}: {}", report.summary()));
    }
    Ok(Rival { name, took, report })
}

/// A Service is led to its pods a moment after they are ready.
fn answers(address: &str) -> Result<(), String> {
    let end = Instant::now() + PATIENCE;
    loop {
        match crate::stage::get(address, "web", "/version") {
            Ok(_) => return Ok(()),
            Err(why) if Instant::now() > end => return Err(why),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// What HTTP/1.1 clients do: by connections that are kept, by fresh ones, and slow answers that are always in flight.
fn load(address: &str) -> Result<Load, String> {
    let none = Load::none(Target::parse(&format!("http://{address}"))?.for_host("web"));
    let rates = Rates { kept: 100, fresh: 60, upload: 0, h2: 0 };
    let mut load = Load { rates, ..none };
    load.held.slow = 4;
    load.paths.slow = "/slow?ms=1000".into();
    Ok(load)
}

fn manifests(version: &str, drain: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: web }}\nspec: {{ selector: {{ app: web }}, ports: [{{ port: 80, targetPort: \
         8080 }}] }}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: web }}\nspec:\n  replicas: 2\n  selector: {{ \
         matchLabels: {{ app: web }} }}\n  template:\n    metadata: {{ labels: {{ app: web }} }}\n    spec:\n      \
         terminationGracePeriodSeconds: 20\n      containers:\n        - name: web\n          image: {IMAGE}:{version}\n          \
         env: [{{ name: DRAIN, value: {drain} }}]\n          readinessProbe: {{ httpGet: {{ path: /healthz, port: 8080 }}, \
         periodSeconds: 1 }}\n"
    )
}

/// What was found, as a table in Markdown.
pub fn updates_table(all: &[Rival]) -> String {
    let mut text =
        String::from("| | updates | median s | sent | lost | no connection | how |\n|---|--:|--:|--:|--:|--:|---|\n");
    for Rival { name, took, report } in all {
        let _ = writeln!(
            text,
            "| {name} | {} | {:.1} | {} | {} | {} | {} |",
            took.len(),
            super::document::median(took),
            report.sent,
            report.lost,
            report.unconnected,
            ways(report)
        );
    }
    text
}

/// Writes the page.
pub fn write_updates(path: &Path, options: &Updates, all: &[Rival]) -> std::io::Result<()> {
    let text = format!(
        "# No lost request: Kubernetes\n\n\
         Written by `cargo xtask lost-kube --deployments {}`, on {}.\n\n\
         A Deployment of two pods behind a Service, on a real node, brought to and fro between two versions, by the cluster's\n\
         rolling update or beside each other, one after the other, under an open-loop load that never sends a request twice: about 160 requests a\n\
         second by HTTP/1.1 over kept-alive and fresh connections, and four answers of a second always in flight. The\n\
         application goes on listening for {DRAIN} after SIGTERM, says `Connection: close` meanwhile, and finishes what is in\n\
         flight; the other one ends at once. A route is led by Traefik. *Lost* is what `live/src/outcome.rs` says.\n\n{}\n\
         A cluster removes a pod from its Services and tells it to end at the same time, whoever asked for the update: what comes in\n\
         until all nodes know of it is lost where the application does not wait. deployctl says so in the plan, and cannot mend it.\n",
        options.updates,
        machine::describe(),
        updates_table(all)
    );
    std::fs::write(path, text)
}
