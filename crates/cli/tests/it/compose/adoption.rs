//! Projects that ran under Compose before, and will again.

use super::Shop;
use crate::it::world::{kill, poll};

impl Shop {
    /// The ids of the containers of a service that run, whoever made them.
    fn running(&self, service: &str) -> Vec<String> {
        let project = format!("label=com.docker.compose.project={}", self.name);
        let service = format!("label=com.docker.compose.service={service}");
        let all = self.engine.docker(&["ps", "-q", "--no-trunc", "--filter", &project, "--filter", &service]);
        let mut all: Vec<String> = all.lines().map(str::to_owned).collect();
        all.sort();
        all
    }
}

#[test]
fn what_runs_under_compose_is_taken_over_and_given_back() {
    let Some(shop) = Shop::usual("over", &[("v1", ""), ("v2", "")]) else { return };
    shop.compose("v1", &["up", "-d", "--quiet-pull"]);
    poll("an answer", || (shop.get("/env/RELEASE") == "v1").then_some(()));
    let (store, workers, web) = (shop.running("store"), shop.running("worker"), shop.running("web"));
    assert_eq!((store.len(), workers.len(), web.len()), (1, 2, 1));
    let plan = shop.world.ok("plan --env dev --app over --version v1").out;
    let cost = format!("! over-web-1 holds 127.0.0.1:{}: it is stopped when the new release is healthy", shop.port);
    assert!(plan.contains(&cost), "{plan}");
    shop.deploy("v1").code(0);
    assert_eq!(shop.running("store"), store, "nothing of it changed, so it runs on");
    assert_eq!(shop.running("worker"), workers);
    assert_ne!(shop.running("web"), web, "the proxy holds its port now");
    assert_eq!(shop.get("/env/RELEASE"), "v1");
    assert_eq!(shop.world.now("over.store"), "over-store-7 healthy 1");
    kill(shop.world.role("engine")[0], rustix::process::Signal::KILL);
    assert_eq!(shop.world.now("over.worker"), "v1 healthy 2", "it is known to whoever comes next");
    let logs = shop.world.ok("logs --env dev --app over.store").out;
    assert!(logs.contains("listening on 6379"), "{logs}");
    let second = shop.deploy("v2").code(0);
    assert!(!second.err.contains("over.store"), "{}", second.err);
    assert_eq!((shop.get("/env/RELEASE"), shop.running("store")), ("v2".into(), store));
    assert_eq!(shop.running("worker").len(), 2);
    assert!(shop.running("worker").iter().all(|worker| !workers.contains(worker)));
    shop.world.ok("rollback --env dev --app over");
    assert_eq!(shop.get("/env/RELEASE"), "v1");
    shop.world.ok("down --env dev --app over");
    assert_eq!(shop.running("store"), Vec::<String>::new());
    shop.compose("v2", &["up", "-d", "--quiet-pull"]);
    poll("an answer", || (shop.get("/env/RELEASE") == "v2").then_some(()));
    let path = shop.engine.docker(&["volume", "inspect", "-f", "{{.Mountpoint}}", "over_data"]);
    let jobs = std::fs::read_to_string(format!("{path}/jobs")).expect("the volume").lines().count();
    assert_eq!(jobs, 4, "two by each, on the same volume");
    shop.compose("v2", &["down"]);
}

#[test]
fn what_changed_is_replaced_and_what_failed_leaves_what_ran() {
    let Some(shop) = Shop::usual("partly", &[("v1", ""), ("sick", "health=500")]) else { return };
    shop.compose("v1", &["up", "-d", "--quiet-pull"]);
    poll("an answer", || (shop.get("/env/RELEASE") == "v1").then_some(()));
    let (store, web) = (shop.running("store"), shop.running("web"));
    shop.file("compose.yaml", &super::SHOP.replace("restart: unless-stopped", "environment: { MORE: memory }"));
    let spec = super::SPEC
        .replace("{ target: compose }", "{ target: compose, services: { web: { health: { within: 1s } } } }");
    shop.world.spec(&spec.replace("NAME", "partly"));
    let sick = shop.deploy("sick");
    assert_ne!(sick.code, 0);
    assert!(sick.err.contains("GET /healthz: 500"), "{}", sick.err);
    assert_eq!((shop.get("/env/RELEASE"), shop.running("web")), ("v1".into(), web), "what Compose started serves on");
    shop.deploy("v1").code(0);
    assert_ne!(shop.running("store"), store, "it has another environment");
    assert_eq!((shop.running("store").len(), shop.running("web").len()), (1, 1), "never two of one");
    assert_eq!(shop.get("/env/RELEASE"), "v1");
    shop.world.ok("down --env dev --app partly");
    assert_eq!(shop.running("web"), Vec::<String>::new());
}
