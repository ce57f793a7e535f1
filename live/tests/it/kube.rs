//! A cluster of its own: what it can do, what it cannot reach, and that nothing of it stays.

use deployctl_live::kube::{Cluster, NODE, POD, Part, lacking};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(120);

fn can_run() -> bool {
    let lacking = lacking();
    if let Some(what) = &lacking {
        assert_ne!(std::env::var("DEPLOYCTL_LIVE").as_deref(), Ok("all"), "a real cluster needs {what}");
        eprintln!("skipped: it needs {what}");
    }
    lacking.is_none()
}

fn until<T>(what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(why) => assert!(Instant::now() < end, "{what}: {why}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn get(address: &str) -> Result<String, String> {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().map_err(|e| e.to_string())
}

/// Cgroups, processes and devices that belong to a cluster of this folder.
fn left(folder: &Path) -> Vec<String> {
    let mut left: Vec<String> = folder.exists().then(|| folder.display().to_string()).into_iter().collect();
    let name = folder.display().to_string();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if command.contains(&name) {
            left.push(command);
        }
    }
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
    left.extend(mounts.lines().filter(|line| line.contains(&name)).map(str::to_owned));
    left
}

fn web(version: &str) -> String {
    let container = json!({
        "name": "web", "image": POD, "args": ["serve", "8080"], "env": [{ "name": "VERSION", "value": version }],
        "readinessProbe": { "httpGet": { "path": "/healthz", "port": 8080 }, "periodSeconds": 1 },
    });
    let labels = json!({ "app": "web" });
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
        "spec": { "replicas": 2, "selector": { "matchLabels": labels }, "template": {
            "metadata": { "labels": labels }, "spec": { "containers": [container], "terminationGracePeriodSeconds": 1 },
        } },
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web" },
        "spec": { "selector": labels, "ports": [{ "port": 80, "targetPort": 8080 }] },
    });
    json!({ "apiVersion": "v1", "kind": "List", "items": [deployment, service] }).to_string()
}

#[test]
fn kube_two_clusters_run_pods_side_by_side_and_leave_nothing() {
    if !can_run() {
        return;
    }
    let _alone = super::alone();
    // Somebody else's cluster keeps them as it wants them.
    let others = Path::new("/run/deployctl-kube/before").exists();
    let settings = || {
        ["vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops"]
            .map(|name| std::fs::read_to_string(format!("/proc/sys/{name}")).expect("a setting"))
    };
    let before = settings();
    let clusters: Vec<Cluster> = ["one", "two"]
        .into_iter()
        .map(|version| {
            let cluster = Cluster::start().expect("a cluster");
            cluster.apply(&web(version)).expect("objects");
            cluster
        })
        .collect();
    for (cluster, version) in clusters.iter().zip(["one", "two"]) {
        let address =
            cluster.kubectl(&["get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"]).expect("an address");
        let answer = until("the service answers", || get(&format!("{address}:80")));
        assert!(answer.ends_with(&format!("{version}\n")), "{answer}");
    }
    the_api_server_goes_and_comes(&clusters[0]);
    let folders: Vec<_> = clusters.iter().map(|cluster| cluster.folder().to_owned()).collect();
    drop(clusters);
    for folder in folders {
        assert_eq!(left(&folder), Vec::<String>::new());
    }
    assert!(others || settings() == before, "{:?} became {:?}", before, settings());
}

/// Pods go on meanwhile, and it knows them afterwards.
fn the_api_server_goes_and_comes(cluster: &Cluster) {
    let address = cluster.kubectl(&["get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"]).expect("an address");
    cluster.stop(Part::ApiServer);
    let why = cluster.kubectl(&["get", "nodes"]).expect_err("nobody answers");
    assert!(why.contains("refused"), "{why}");
    get(&format!("{address}:80")).expect("pods go on");
    cluster.begin(Part::ApiServer).expect("a new one");
    until("the API server answers", || cluster.kubectl(&["get", "--raw=/readyz"]));
    let node = cluster.get(&["node", NODE]).expect("the node");
    assert_eq!(node["metadata"]["name"], NODE);
}

/// No route leads out of the node, so nothing can leave it.
#[test]
fn kube_simulated_nodes_take_many_pods_and_the_real_one_has_no_way_out() {
    if !can_run() {
        return;
    }
    let _alone = super::alone();
    let cluster = Cluster::start().expect("a cluster");
    many_pods_on_simulated_nodes(&cluster);
    let first = std::fs::read_to_string(cluster.folder().join("first.pid")).expect("a process");
    let inside = |args: &[&str]| {
        let done = Command::new("nsenter").args(["-t", &first, "-n", "--", "ip"]).args(args).output().expect("ip");
        format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
    };
    assert!(inside(&["route", "get", &cluster.gateway()]).contains("dev dnode"));
    // An address of the range for documentation.
    assert!(inside(&["route", "get", "203.0.113.1"]).contains("unreachable"), "{}", inside(&["route"]));
}

/// More than any real node of this size runs.
fn many_pods_on_simulated_nodes(cluster: &Cluster) {
    let _nodes = cluster.simulate(3).expect("simulated nodes");
    cluster.apply(&web("many")).expect("objects");
    cluster.kubectl(&["scale", "deployment", "web", "--replicas=300"]).expect("a scale");
    until("300 pods are available", || {
        let available = cluster.kubectl(&["get", "deployment", "web", "-o", "jsonpath={.status.availableReplicas}"])?;
        if available == "300" { Ok(()) } else { Err(available) }
    });
}
