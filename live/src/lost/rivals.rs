//! What is lost where others deploy the same containers.

use super::Options;
use crate::containers::{Containers, GOOD, PATIENCE, PORT, answers, plugin};
use crate::stage::{Stage, free_port, get};
use crate::{Load, Rates, Report, Target};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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

/// Deploys `count` times by each of the others, under load, on an engine of their own.
pub fn rivals(options: &Options, count: u32) -> Result<Vec<Rival>, String> {
    let containers = Containers::start(&options.example)?;
    let stage = Stage::set(&options.binary, &options.example)?;
    Ok(vec![
        one_after_another(&containers, &stage, count, false)?,
        one_after_another(&containers, &stage, count, true)?,
        compose_up(&containers, &stage, count)?,
    ])
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
    let (folder, plugin) = (stage.project().join("beside"), plugin()?);
    let up = |version: &str| {
        let mut command = Command::new("docker");
        command.args(["compose", "up", "-d", "--quiet-pull"]).current_dir(&folder);
        command.env("DOCKER_HOST", containers.engine.host()).env("DOCKER_CONFIG", &plugin).env("VERSION", version);
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
