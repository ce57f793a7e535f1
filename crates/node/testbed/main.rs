//! Stands in for `deployctl` in this crate's tests: the shim role, and a small server for instances to be.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

fn main() {
    let mut args = std::env::args_os().skip(1);
    let role = args.next().unwrap_or_default();
    let code = match role.to_str() {
        Some("shim") => {
            deployctl_sys::crash::arm("shim");
            deployctl_node::shim::main(args)
        }
        Some("serve") => {
            let port = args.next().and_then(|port| port.to_str()?.parse().ok());
            serve(port.expect("serve PORT"));
            0
        }
        Some("node") => {
            deployctl_sys::crash::arm("engine");
            let state = args.next().expect("node STATE");
            node(state.into())
        }
        _ => 2,
    };
    std::process::exit(code);
}

/// A node that starts what the record `wanted.json` in its state says and then waits to be killed.
fn node(state: std::path::PathBuf) -> i32 {
    use deployctl_core::id::{Fence, instance_id};
    use deployctl_core::instance::{Binding, InstanceSpec, Instances, SecretValues};
    let text = std::fs::read(state.join("wanted.json")).expect("wanted.json");
    let release: deployctl_core::release::Release = serde_json::from_slice(&text).expect("a release");
    let scope = deployctl_core::id::Scope {
        project: release.project.clone(),
        environment: release.environment.clone(),
        region: release.region.clone(),
        app: release.app.clone(),
    };
    let revision = deployctl_core::id::Revision { release: release.id(), nonce: 0 };
    let id = instance_id(&scope, &revision, 0);
    let release = std::sync::Arc::new(release);
    let spec = InstanceSpec { id, scope, revision, slot: 0, release, binding: Binding::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let binary = std::env::current_exe().expect("its own path");
    let secrets = std::sync::Arc::new(|_: &_| Ok(SecretValues::default()));
    runtime.block_on(async {
        let mut options = deployctl_node::NodeOptions::new(state, binary, secrets);
        options.shim_env.clear();
        let node = deployctl_node::Node::new(options).expect("a node");
        node.start(&spec, Fence(1)).await.expect("it starts");
        node.stop(&spec.scope, &spec.id, deployctl_core::time::Span::secs(5), Fence(1)).await.expect("it stops");
        0
    })
}

/// Answers `GET /env/NAME`, `GET /file/NAME` (200 if the file is in the working folder of its scratch), `GET /slow`.
fn serve(port: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    println!("listening on {port}");
    for stream in listener.incoming().flatten() {
        let _ = answer(stream);
    }
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = String::new();
    reader.read_line(&mut head)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let path = head.split(' ').nth(1).unwrap_or("/").to_owned();
    let (status, body) = match path.split_at(path.rfind('/').map_or(0, |at| at + 1)) {
        ("/env/", name) => ("200 OK", std::env::var(name).unwrap_or_default()),
        ("/file/", name) => {
            let folder = std::env::var("TMPDIR").unwrap_or_default();
            let there = Path::new(&folder).join(name).exists();
            (if there { "200 OK" } else { "503 Service Unavailable" }, String::new())
        }
        ("/", "slow") => {
            std::thread::sleep(Duration::from_secs(3600));
            ("200 OK", String::new())
        }
        ("/", "die") => std::process::exit(3),
        _ => ("200 OK", "hello\n".to_owned()),
    };
    let length = body.len();
    stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}").as_bytes())
}
