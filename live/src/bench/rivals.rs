//! The proxies that are compared, each with one worker on one core, all in front of the same upstream.

use super::Options;
use super::tools::{Running, load_core, proxy_core, wait_for};
use crate::stage::{CERTIFICATE, CERTIFICATE_KEY, free_port};
use serde_json::json;
use std::path::Path;
use std::process::{Command, Stdio};

/// A proxy that runs.
pub(super) struct Rival {
    pub(super) name: &'static str,
    pub(super) http: u16,
    pub(super) https: u16,
    process: Running,
}

impl Rival {
    pub(super) fn pid(&self) -> u32 {
        self.process.0.id()
    }
}

/// All proxies and their upstream.
pub(super) struct Rivals {
    pub(super) all: Vec<Rival>,
    _upstream: Running,
    _folder: tempfile::TempDir,
}

impl Rivals {
    /// Starts all of them anew.
    pub(super) fn start(options: &Options) -> Result<Self, String> {
        let folder = tempfile::Builder::new().prefix("deployctl-bench-").tempdir().map_err(|e| e.to_string())?;
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).map_err(|e| format!("{name}: {e}"));
        write("1k", &"x".repeat(1024))?;
        write("64k", &"x".repeat(64 * 1024))?;
        write("shop.crt", CERTIFICATE)?;
        write("shop.key", CERTIFICATE_KEY)?;
        write("shop.pem", &format!("{CERTIFICATE}{CERTIFICATE_KEY}"))?;
        let up = free_port()?;
        write("upstream.conf", &nginx_upstream(folder.path(), up))?;
        let upstream = nginx(folder.path(), "upstream.conf", &load_core())?;
        wait_for(up)?;
        let ports = || Ok::<_, String>((free_port()?, free_port()?));
        let (http, https) = ports()?;
        let ours = deployctl(options, folder.path(), (http, https, up))?;
        let ours = Rival { name: "deployctl", http, https, process: ours };
        let (http, https) = ports()?;
        write("proxy.conf", &nginx_proxy(folder.path(), (http, https, up)))?;
        let nginx = Rival { name: "nginx", http, https, process: nginx(folder.path(), "proxy.conf", &proxy_core())? };
        let (http, https) = ports()?;
        write("haproxy.cfg", &haproxy_config(folder.path(), (http, https, up)))?;
        let haproxy = on(
            &proxy_core(),
            "haproxy",
            &["-db", "-f", &folder.path().join("haproxy.cfg").display().to_string()],
            &[],
        )?;
        let haproxy = Rival { name: "haproxy", http, https, process: haproxy };
        let all = vec![ours, nginx, haproxy];
        for rival in &all {
            let late = |e| format!("{}: {e}", rival.name);
            wait_for(rival.http).map_err(late)?;
            wait_for(rival.https).map_err(late)?;
        }
        Ok(Self { all, _upstream: upstream, _folder: folder })
    }
}

/// `taskset` becomes the program, so the child is the program itself.
fn on(core: &str, program: &str, args: &[&str], env: &[(&str, &str)]) -> Result<Running, String> {
    let mut command = Command::new("taskset");
    command.args(["-c", core, program]).args(args).envs(env.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.spawn().map(Running).map_err(|e| format!("{program} cannot be run: {e}"))
}

fn nginx(folder: &Path, config: &str, core: &str) -> Result<Running, String> {
    let config = folder.join(config).display().to_string();
    on(core, "nginx", &["-c", &config, "-p", &folder.display().to_string()], &[])
}

/// Our data plane alone: it needs no engine, only its durable table.
fn deployctl(options: &Options, folder: &Path, (http, https, up): (u16, u16, u16)) -> Result<Running, String> {
    let state = folder.join("state");
    let proxy = state.join("proxy");
    std::fs::create_dir_all(&proxy).map_err(|e| e.to_string())?;
    let scope = json!({ "project": "shop", "environment": "bench", "region": "default", "app": "api" });
    let tls = json!({ "certificate": folder.join("shop.crt"), "key": folder.join("shop.key") });
    let route = json!({
        "listen": [], "hosts": ["shop.localhost"], "redirect_hosts": [], "path": "/", "strip": false,
        "https_only": false, "tls": tls, "body_bytes_max": null, "timeout": 60_000, "hold": 30_000, "h2": false,
        "error_pages": {}, "access_log": false
    });
    let revision = format!("{}.0", "a".repeat(64));
    let side = json!({ revision: { "weight": 1, "instances": { "api-0-00000000": format!("127.0.0.1:{up}") } } });
    let listener = |port: u16, tls: bool, only: serde_json::Value| json!({ "address": format!("127.0.0.1:{port}"), "tls": tls, "only": only, "environment": "shop/bench" });
    let table = json!({
        "generation": 1, "fence": 1,
        "listeners": [listener(http, false, scope.clone()), listener(https, true, serde_json::Value::Null)],
        "services": [{ "scope": scope, "route": route, "mode": "open", "sides": side, "sticky": null, "check": null,
                       "drain": 10_000 }]
    });
    std::fs::write(proxy.join("routes.json"), table.to_string()).map_err(|e| e.to_string())?;
    let binary = options.binary.display().to_string();
    let env = [("DEPLOYCTL_PROXY_THREADS", "1")];
    on(&proxy_core(), &binary, &["proxy", "--state", &state.display().to_string()], &env)
}

const NGINX: &str = "daemon off;\nmaster_process off;\nworker_rlimit_nofile 20000;\nerror_log /dev/null crit;\n";

fn nginx_http(folder: &Path, inside: &str) -> String {
    let folder = folder.display();
    format!(
        "{NGINX}pid {folder}/nginx-{}.pid;\nevents {{ worker_connections 10000; }}\nhttp {{\naccess_log off;\n\
         default_type application/octet-stream;\nkeepalive_requests 100000000;\nkeepalive_timeout 300s;\n\
         client_body_temp_path {folder}/t1;\nproxy_temp_path {folder}/t2;\nfastcgi_temp_path {folder}/t3;\n\
         uwsgi_temp_path {folder}/t4;\nscgi_temp_path {folder}/t5;\n{inside}}}\n",
        inside.len()
    )
}

fn nginx_upstream(folder: &Path, port: u16) -> String {
    let root = folder.display();
    nginx_http(
        folder,
        &format!(
            "sendfile on; tcp_nopush on; open_file_cache max=10;\nserver {{ listen 127.0.0.1:{port} backlog=4096; root {root}; }}\n"
        ),
    )
}

fn nginx_proxy(folder: &Path, (http, https, up): (u16, u16, u16)) -> String {
    let at = folder.display();
    nginx_http(
        folder,
        &format!(
            "upstream u {{ server 127.0.0.1:{up}; keepalive 256; keepalive_requests 100000000; }}\n\
             server {{ listen 127.0.0.1:{http} backlog=4096; listen 127.0.0.1:{https} ssl http2; server_name shop.localhost;\n\
             ssl_certificate {at}/shop.crt; ssl_certificate_key {at}/shop.key;\n\
             location / {{ proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
             proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr; }} }}\n"
        ),
    )
}

fn haproxy_config(folder: &Path, (http, https, up): (u16, u16, u16)) -> String {
    let at = folder.display();
    format!(
        "global\n  nbthread 1\n  maxconn 4000\ndefaults\n  mode http\n  timeout client 300s\n  timeout server 300s\n  \
         timeout connect 5s\n  timeout http-keep-alive 300s\n  option forwardfor\n  http-reuse always\nfrontend f\n  \
         bind 127.0.0.1:{http}\n  bind 127.0.0.1:{https} ssl crt {at}/shop.pem alpn h2,http/1.1\n  default_backend b\n\
         backend b\n  server s 127.0.0.1:{up}\n"
    )
}
