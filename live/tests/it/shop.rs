//! The example under the load: it loses nothing, and stops in order.

use crate::load_for;
use deployctl_live::{Held, Kind, Load, Rates};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// A process of the example; killed if the test ends early.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Shop {
    folder: PathBuf,
    store: SocketAddr,
    _store: Running,
}

impl Shop {
    fn unpack(version: &str) -> Self {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/shop");
        let prepared = Command::new(example.join("prepare")).output().unwrap();
        assert!(prepared.status.success(), "{}", String::from_utf8_lossy(&prepared.stderr));
        let folder = std::env::temp_dir().join(format!("shop-{version}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let archive = example.join(format!("dist/shop-{version}.tar.gz"));
        assert!(Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(&folder).status().unwrap().success());
        let store = free_address();
        let mut command = Command::new(folder.join("shop-db"));
        command.args(["--port", &store.port().to_string(), "--data"]).arg(folder.join("data"));
        let shop = Self { folder, store, _store: Running(command.spawn().unwrap()) };
        shop.wait_for(store);
        shop
    }

    fn api(&self) -> (Running, SocketAddr) {
        let address = free_address();
        let mut command = Command::new(self.folder.join("shop-api"));
        command.args(["--port", &address.port().to_string()]).env("DB", self.store.to_string());
        let api = Running(command.spawn().unwrap());
        self.wait_for(address);
        (api, address)
    }

    fn wait_for(&self, address: SocketAddr) {
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < until, "nothing listens on {address}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn get(address: SocketAddr, path: &str) -> (u16, String) {
    use std::io::{Read, Write};
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.trim().to_owned())
}

#[test]
fn answers_everything_and_stops_in_order() {
    let _turn = crate::together();
    let shop = Shop::unpack("v1.1.0");
    let (mut api, address) = shop.api();
    assert_eq!(get(address, "/healthz"), (200, "healthy".into()));
    let load = load_for(address);
    let held = Held { slow: 3, streams: 3, websockets: 3, ..load.held };
    let rates = Rates { kept: 400, fresh: 80, upload: 20, h2: 0 };
    let mut load = Load { held, rates, ..load };
    load.paths.slow = "/slow?ms=700".into();
    load.paths.stream = "/stream?n=5&ms=100".into();
    let report = load.clone().run_for(Duration::from_millis(1500));
    assert_eq!(report.failed(), 0, "{}", report.summary());
    assert_eq!(report.versions.iter().map(|seen| seen.version.as_str()).collect::<Vec<_>>(), ["v1.1.0"]);
    assert_eq!(report.kinds[&Kind::Stream].ended_early, 0, "{}", report.summary());

    // Long ones only, so that each is in flight when the API is told to stop.
    load.rates = Rates::default();
    load.paths.slow = "/slow?ms=1500".into();
    load.paths.stream = "/stream?n=1000&ms=100".into();
    let running = load.start();
    std::thread::sleep(Duration::from_millis(700));
    assert!(Command::new("kill").arg(api.0.id().to_string()).status().unwrap().success());
    assert!(api.0.wait().unwrap().success(), "the API exits 0");
    let report = running.finish();
    assert_eq!(report.lost, 0, "{}", report.summary());
    assert_eq!(report.kinds[&Kind::Slow].status[&200], 3, "{}", report.summary());
    assert_eq!(report.kinds[&Kind::Stream].ended_early, 3, "{}", report.summary());
    assert_eq!(report.kinds[&Kind::Websocket].closed_with[&1001], 3, "{}", report.summary());
}

#[test]
fn the_bad_version_says_why() {
    let _turn = crate::together();
    let shop = Shop::unpack("v1.2.0");
    let (_api, address) = shop.api();
    assert_eq!(get(address, "/version"), (200, "v1.2.0".into()));
    let why = "the store speaks protocol 1, this release needs 2";
    assert_eq!(get(address, "/healthz"), (503, why.into()));
}
