//! A small server for the tests of the command line. What it does stands in `app.conf` in its folder, a `key=value` a
//! line; without that file it is a good one. Its arguments are the port and, if not 127.0.0.1, the address.
//!
//! Instead of a port, `job` runs to its end, and `probe PORT` says whether something listens there.
//!
//! `print` lines are printed at the start; `exit` ends it with this code then; `exit_after_ms` later; `health` is one of
//! `ok`, `500`, `hang`, `slow:MS`, `flaky:N` (N times 500, then 200) and `until:FILE` (500 once that is there); `work` is
//! the status of `GET /work`; with `term=ends` it ends on SIGTERM also where it is the first process; `GET /wait` makes a
//! file `asked` in the folder `wait` and answers once `answer` is there.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::process::exit;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

static CHECKS: AtomicU64 = AtomicU64::new(0);

fn main() {
    let conf = std::fs::read_to_string("app.conf").unwrap_or_default();
    for line in conf.lines().filter_map(|line| line.strip_prefix("print=")) {
        println!("{line}");
    }
    if std::env::args().nth(1).as_deref() == Some("job") {
        job(&conf);
    }
    if std::env::args().nth(1).as_deref() == Some("probe") {
        let port: u16 = std::env::args().nth(2).and_then(|port| port.parse().ok()).unwrap_or(0);
        exit(i32::from(TcpStream::connect(("127.0.0.1", port)).is_err()));
    }
    if let Some(code) = value(&conf, "exit") {
        exit(code.parse().unwrap_or(1));
    }
    let port: u16 = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(0);
    let host = std::env::args().nth(2).unwrap_or_else(|| "127.0.0.1".into());
    let listener = TcpListener::bind((host.as_str(), port)).unwrap_or_else(|error| {
        eprintln!("port {port}: {error}");
        exit(1)
    });
    println!("listening on {port}");
    if value(&conf, "term") == Some("ends") {
        std::thread::spawn(end_on_term);
    }
    if let Some(ms) = value(&conf, "exit_after_ms").and_then(|ms| ms.parse().ok()) {
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(ms));
            eprintln!("giving up after {ms} ms");
            exit(7)
        });
    }
    for stream in listener.incoming().flatten() {
        let conf = conf.clone();
        std::thread::spawn(move || answer(stream, &conf));
    }
}

/// The kernel asks the first process of a container to end only if it listens.
fn end_on_term() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).expect("a signal");
        term.recv().await;
    });
    println!("asked to end");
    exit(0)
}

/// Notes that it ran in a file of the folder `/data`, and ends, after as long as `job_ms` says, as `job` says.
fn job(conf: &str) -> ! {
    let id = std::env::var("DEPLOYCTL_JOB_ID").unwrap_or_default();
    let noted = std::fs::OpenOptions::new().create(true).append(true).open("/data/jobs");
    let _ = noted.and_then(|mut file| writeln!(file, "{id}"));
    println!("migrating");
    std::thread::sleep(Duration::from_millis(value(conf, "job_ms").and_then(|ms| ms.parse().ok()).unwrap_or(0)));
    exit(value(conf, "job").and_then(|code| code.parse().ok()).unwrap_or(0))
}

fn value<'a>(conf: &'a str, key: &str) -> Option<&'a str> {
    conf.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

fn answer(mut stream: TcpStream, conf: &str) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = String::new();
    reader.read_line(&mut head)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let path = head.split(' ').nth(1).unwrap_or("/");
    let env = |name: &str| std::env::var(name).unwrap_or_default();
    let (status, body) = match path.split_at(path.rfind('/').map_or(0, |at| at + 1)) {
        ("/", "version") => (200, env("DEPLOYCTL_VERSION")),
        ("/", "instance") => (200, env("DEPLOYCTL_INSTANCE")),
        ("/", "healthz") => (health(value(conf, "health").unwrap_or("ok")), String::new()),
        ("/", "wait") => (wait(value(conf, "wait").unwrap_or("/nowhere")), String::new()),
        ("/", "work") => (value(conf, "work").and_then(|s| s.parse().ok()).unwrap_or(200), String::new()),
        ("/env/", name) => (200, env(name)),
        ("/resolve/", name) => (if (name, 0).to_socket_addrs().is_ok() { 200 } else { 502 }, String::new()),
        ("/read/", name) => (200, std::fs::read_to_string(format!("/data/{name}")).unwrap_or_default()),
        ("/secret/", name) => (200, std::fs::read_to_string(format!("/run/secrets/{name}")).unwrap_or_default()),
        ("/slow/", ms) => {
            std::thread::sleep(Duration::from_millis(ms.parse().unwrap_or(0)));
            (200, env("DEPLOYCTL_VERSION"))
        }
        _ => (404, String::new()),
    };
    let length = body.len();
    let head = format!("HTTP/1.1 {status} Said\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    stream.write_all(format!("{head}{body}").as_bytes())
}

/// Says in a folder that it was asked, and answers when somebody says so there.
fn wait(folder: &str) -> u16 {
    let at = |name: &str| std::path::Path::new(folder).join(name);
    if std::fs::write(at("asked"), "").is_err() {
        return 500;
    }
    while !at("answer").exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    200
}

fn health(rule: &str) -> u16 {
    let number = || rule.split(':').nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    match rule.split(':').next() {
        Some("500") => 500,
        Some("hang") => loop {
            std::thread::park();
        },
        Some("slow") => {
            std::thread::sleep(Duration::from_millis(number()));
            200
        }
        Some("until") if rule.split(':').nth(1).is_some_and(|file| std::path::Path::new(file).exists()) => 500,
        Some("flaky") if CHECKS.fetch_add(1, Ordering::Relaxed) < number() => 500,
        _ => 200,
    }
}
