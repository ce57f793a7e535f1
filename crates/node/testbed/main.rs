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
        _ => 2,
    };
    std::process::exit(code);
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
