//! What is lost where others deploy the same containers, and how long the engine's own calls for a deployment take.

use super::containers::{Containers, PORT};
use crate::stage::{Stage, free_port, get};
use crate::{Load, Rates, Report, Target};
use serde_json::json;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const GOOD: [&str; 2] = ["v1.0.0", "v1.1.0"];
/// A container is healthy by then.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is in flight has so long to be answered.
const DRAIN: Duration = Duration::from_secs(30);

/// What clients saw of somebody else's deployments.
#[derive(Debug)]
pub struct Rival {
    /// How it was deployed.
    pub name: &'static str,
    /// How long each deployment took.
    pub took: Vec<Duration>,
    /// What clients saw.
    pub report: Report,
}

/// How long a deployment of one container takes beside the engine's own calls for the same work.
#[derive(Debug)]
pub struct Overhead {
    /// The command of deployctl.
    pub ours: Vec<Duration>,
    /// Create, start, ask until healthy, stop, remove.
    pub calls: Vec<Duration>,
}

/// Deploys `count` times by each of the others, under load.
pub(super) fn run(containers: &Containers, stage: &Stage, count: u32) -> Result<Vec<Rival>, String> {
    let mut all =
        vec![one_after_another(containers, stage, count, false)?, one_after_another(containers, stage, count, true)?];
    match containers.engine.docker(&["compose", "version"]) {
        Ok(_) => all.push(compose_up(containers, stage, count)?),
        Err(why) => eprintln!("`docker compose up -d` is left out: {why}"),
    }
    Ok(all)
}

/// What HTTP/1.1 clients do, without what a proxy must be told about.
fn load(port: u16) -> Result<Load, String> {
    let target = Target::parse(&format!("http://127.0.0.1:{port}"))?.for_host("shop.localhost");
    let none = Load::none(target);
    let rates = Rates { kept: 200, fresh: 40, upload: 3, h2: 0 };
    let mut load = Load { rates, ..none };
    (load.held.slow, load.held.streams) = (6, 3);
    Ok(load)
}

/// `docker compose up -d` with another version in the file.
fn compose_up(containers: &Containers, stage: &Stage, count: u32) -> Result<Rival, String> {
    let port = free_port()?;
    let file = format!(
        "services:\n  api:\n    image: shop:${{VERSION}}\n    environment: {{ DB: \"{}\" }}\n    \
         ports: [\"127.0.0.1:{port}:{PORT}\"]\n    stop_grace_period: 10s\n",
        containers.store
    );
    stage.write("beside/compose.yaml", &file)?;
    let folder = stage.project().join("beside");
    let up = |version: &str| {
        let mut command = Command::new("docker");
        command.args(["compose", "up", "-d", "--quiet-pull"]).current_dir(&folder);
        command.env("DOCKER_HOST", containers.engine.host()).env("VERSION", version);
        must(&mut command, "docker compose up -d")
    };
    up(GOOD[0])?;
    answers(&format!("127.0.0.1:{port}"))?;
    let running = load(port)?.start();
    let took = timed(count, |version| up(version))?;
    Ok(Rival { name: "`docker compose up -d`", took, report: running.finish() })
}

/// Boot, health, switch, stop: a container beside the old one, nginx reloaded once it is healthy, the old one stopped
/// once the new one is served; `drains` if that waits for what is in flight.
fn one_after_another(containers: &Containers, stage: &Stage, count: u32, drains: bool) -> Result<Rival, String> {
    let port = free_port()?;
    let mut current = boot(containers, GOOD[0])?;
    stage.write("beside/nginx.conf", &nginx_conf(&stage.project(), port, &current.1))?;
    let conf = stage.project().join("beside/nginx.conf");
    let mut nginx = nginx(&conf)?;
    answers(&format!("127.0.0.1:{port}"))?;
    let running = load(port)?.start();
    let took = timed(count, |version| {
        let next = boot(containers, version)?;
        let workers = children(nginx.id());
        stage.write("beside/nginx.conf", &nginx_conf(&stage.project(), port, &next.1))?;
        must(Command::new("nginx").arg("-c").arg(&conf).args(["-s", "reload"]), "nginx -s reload")?;
        switched(port, version)?;
        let end = Instant::now() + DRAIN;
        while drains && Instant::now() < end && children(nginx.id()).iter().any(|pid| workers.contains(pid)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        containers.engine.docker(&["stop", "-t", "10", &current.0])?;
        containers.engine.docker(&["rm", &current.0])?;
        current = next;
        Ok(())
    });
    let report = running.finish();
    crate::stage::kill(nginx.id());
    let _ = nginx.wait();
    let name = match drains {
        false => "boot, health, switch (nginx reloaded), stop",
        true => "boot, health, switch (nginx reloaded), drain, stop",
    };
    Ok(Rival { name, took: took?, report })
}

/// A container of a version that is healthy, and its address.
fn boot(containers: &Containers, version: &str) -> Result<(String, String), String> {
    let store = format!("DB={}", containers.store);
    let id = containers.engine.docker(&["run", "-d", "-e", &store, &format!("shop:{version}")])?;
    let ip = containers.engine.docker(&["inspect", "-f", "{{.NetworkSettings.IPAddress}}", &id])?;
    let address = format!("{ip}:{PORT}");
    answers(&address)?;
    Ok((id, address))
}

fn children(pid: u32) -> Vec<u32> {
    let all = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    all.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn answers(address: &str) -> Result<(), String> {
    let end = Instant::now() + PATIENCE;
    loop {
        match get(address, "shop.localhost", "/healthz") {
            Ok(_) => return Ok(()),
            Err(why) if Instant::now() > end => return Err(why),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// A reload is asked for, and done a moment later.
fn switched(port: u16, version: &str) -> Result<(), String> {
    let end = Instant::now() + PATIENCE;
    while get(&format!("127.0.0.1:{port}"), "shop.localhost", "/version").as_deref() != Ok(version) {
        if Instant::now() > end {
            return Err(format!("nginx does not serve {version}"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn timed(count: u32, mut deploy: impl FnMut(&str) -> Result<(), String>) -> Result<Vec<Duration>, String> {
    let one = |number: usize| {
        let begun = Instant::now();
        deploy(GOOD[(number + 1) % 2])?;
        Ok(begun.elapsed())
    };
    (0..count as usize).map(one).collect()
}

fn nginx(conf: &Path) -> Result<Child, String> {
    let mut command = Command::new("nginx");
    command.arg("-c").arg(conf).args(["-g", "daemon off;"]).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map_err(|e| format!("nginx cannot be started: {e}"))
}

fn nginx_conf(folder: &Path, port: u16, upstream: &str) -> String {
    let at = folder.join("beside").display().to_string();
    format!(
        "pid {at}/nginx.pid;\nerror_log {at}/error.log;\nworker_processes 1;\nevents {{ worker_connections 4096; }}\n\
         http {{\n  access_log off;\n  client_body_temp_path {at}/b;\n  proxy_temp_path {at}/p;\n  \
         fastcgi_temp_path {at}/f;\n  uwsgi_temp_path {at}/u;\n  scgi_temp_path {at}/s;\n  server {{\n    \
         listen 127.0.0.1:{port};\n    location / {{\n      proxy_pass http://{upstream};\n      \
         proxy_http_version 1.1;\n      proxy_set_header Host $host;\n      proxy_buffering off;\n    }}\n  }}\n}}\n"
    )
}

fn must(command: &mut Command, what: &str) -> Result<(), String> {
    let done = command.stdin(Stdio::null()).output().map_err(|e| format!("{what}: {e}"))?;
    match done.status.success() {
        true => Ok(()),
        false => Err(format!("{what}: {}", String::from_utf8_lossy(&done.stderr).trim())),
    }
}

/// Deployments of one container, by deployctl and by the engine's own calls, in turn and with nothing else going on.
pub(super) fn overhead(containers: &Containers, stage: &Stage, rounds: u32) -> Result<Overhead, String> {
    let place = ["--env", "alone", "--app", "api", "--config", "lanes.yaml", "--config", "rolling.yaml"];
    let deploy = |version: &str| stage.must(&[&["deploy", "--version", version][..], &place].concat()).map(drop);
    deploy(GOOD[0])?;
    let mut current = create(containers, GOOD[0])?;
    let (mut ours, mut calls) = (Vec::new(), Vec::new());
    for number in 0..rounds as usize {
        let version = GOOD[(number + 1) % 2];
        let begun = Instant::now();
        deploy(version)?;
        ours.push(begun.elapsed());
        let begun = Instant::now();
        let next = create(containers, version)?;
        let gone = |path: &str| format!("/containers/{current}{path}");
        containers.engine.call("POST", &gone("/stop?t=10"), &json!(null))?;
        containers.engine.call("DELETE", &gone(""), &json!(null))?;
        calls.push(begun.elapsed());
        current = next;
    }
    stage.must(&["down", "--env", "alone", "--app", "api"])?;
    containers.engine.docker(&["rm", "-f", &current])?;
    Ok(Overhead { ours, calls })
}

/// A healthy container by the engine's own calls.
fn create(containers: &Containers, version: &str) -> Result<String, String> {
    let wanted = json!({ "Image": format!("shop:{version}"), "Env": [format!("DB={}", containers.store)] });
    let made = containers.engine.call("POST", "/containers/create", &wanted)?;
    let id = made["Id"].as_str().unwrap_or_default().to_owned();
    containers.engine.call("POST", &format!("/containers/{id}/start"), &json!(null))?;
    let seen = containers.engine.call("GET", &format!("/containers/{id}/json"), &json!(null))?;
    answers(&format!("{}:{PORT}", seen["NetworkSettings"]["IPAddress"].as_str().unwrap_or_default()))?;
    Ok(id)
}
