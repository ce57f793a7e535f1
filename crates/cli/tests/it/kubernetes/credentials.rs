//! Who asks, and by which way: credentials that a program tells, and a proxy before the cluster.

use super::cluster::{self, Cluster};
use super::{settles, world};
use crate::it::world::{World, poll};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The kubeconfig with another user.
fn log_in_as(cluster: &Cluster, world: &World, user: &Value) {
    let mut config: Value = serde_json::from_str(&cluster.kubeconfig()).expect("a kubeconfig");
    config["users"][0]["user"] = user.clone();
    world.write("kubeconfig", &config.to_string());
}

fn program(command: &str) -> Value {
    json!({ "exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": command, "args": ["token"], "interactiveMode": "IfAvailable",
        "env": [{ "name": "SECRET", "value": "not to be told" }], "installHint": "install it as the wiki says",
    } })
}

/// A program that tells what is in the file `token`, writes down that it was asked, and fails while there is a file `away`.
fn login(world: &World) -> String {
    let home = world.path("login");
    let script = format!(
        "#!/bin/sh\ncd {} || exit 2\necho \"$1 $SECRET\" >> asked\n[ ! -e away ] || {{ echo 'the session has expired' >&2; exit 1; }}\n\
         printf '{{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{{\"token\":\"%s\"}}}}' \
         \"$(cat token)\"\n",
        home.display()
    );
    world.write("login/login", &script);
    let path = home.join("login");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a program");
    path.display().to_string()
}

fn asked(world: &World) -> usize {
    std::fs::read_to_string(world.path("login/asked")).expect("it was asked").lines().count()
}

#[test]
fn kube_a_program_tells_the_credentials_and_is_asked_again_when_they_are_worth_nothing() {
    let Some(cluster) = cluster::shared() else { return };
    let world = world(&cluster, "login");
    let account = || {
        cluster.kubectl(&["create", "serviceaccount", "deployer", "-n", "login"]);
        let token = cluster.kubectl(&["create", "token", "deployer", "-n", "login"]);
        world.write("login/token", token.trim());
    };
    let binding = ["create", "rolebinding", "deployer", "-n", "login", "--clusterrole=cluster-admin"];
    cluster.kubectl(&[&binding[..], &["--serviceaccount=login:deployer"]].concat());
    account();
    log_in_as(&cluster, &world, &program(&login(&world)));
    // A server that is busy knows a new account a moment later.
    let is_known =
        |version: &str| (world.run(&format!("plan --env dev --all --version {version}")).code == 0).then_some(());
    poll("the account to be known", || is_known("v1"));
    let before = asked(&world);
    world.ok("deploy --env dev --all --version v1");
    settles(&world, "login", "v1 healthy 2");
    assert_eq!(asked(&world), before, "whatever was asked of the cluster, and however much of it at once");
    cluster.kubectl(&["delete", "serviceaccount", "deployer", "-n", "login"]);
    world.write("login/away", "");
    let says = [
        "`test` does not know these credentials (any more)",
        "the kubeconfig gets its credentials from the program",
        "which failed: the session has expired",
    ];
    // The API server believes what it has checked a moment ago.
    let first = poll("the token to be refused", || {
        let ran = world.run("plan --env dev --all --version v2");
        (ran.code != 0).then(|| ran.code(5).err)
    });
    let second = world.run("deploy --env dev --all --version v2").code(5).err;
    let both = first + &second;
    assert!(says.iter().all(|words| both.contains(words)), "{both}");
    assert!(!both.contains("not to be told"), "{both}");
    std::fs::remove_file(world.path("login/away")).expect("the file");
    account();
    poll("the new account to be known", || is_known("v2"));
    world.ok("deploy --env dev --all --version v2");
    settles(&world, "login", "v2 healthy 2");
    assert_eq!(world.history("login"), ["v2 succeeded", "v1 succeeded"]);
    world.ok("down --env dev --app login");
}

#[test]
fn kube_a_program_for_credentials_that_is_not_there_is_told_with_how_to_install_it() {
    let Some(cluster) = cluster::shared() else { return };
    let world = world(&cluster, "no-login");
    log_in_as(&cluster, &world, &program("no-such-login"));
    let ran = world.run("deploy --env dev --all --version v1").code(2);
    assert!(ran.err.contains("from the program `no-such-login`, which is not there"), "{}", ran.err);
    assert!(ran.err.contains("install it as the wiki says"), "{}", ran.err);
    assert_eq!(world.history("no-login"), Vec::<String>::new());
}

/// A proxy that knows one user, and refuses all while it is told to.
struct Proxy {
    port: u16,
    led: Arc<AtomicUsize>,
    refuses: Arc<AtomicBool>,
}

impl Proxy {
    fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let (led, refuses) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counts, no) = (led.clone(), refuses.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (counts, no) = (counts.clone(), no.clone());
                std::thread::spawn(move || lead(client, &counts, &no));
            }
        });
        Self { port, led, refuses }
    }
}

/// Leads one connection to where it wants.
fn lead(mut client: TcpStream, led: &AtomicUsize, refuses: &AtomicBool) -> Option<()> {
    let (mut head, mut byte) = (String::new(), [0]);
    while !head.ends_with("\r\n\r\n") {
        client.read_exact(&mut byte).ok()?;
        head.push(char::from(byte[0]));
    }
    let to = head.strip_prefix("CONNECT ")?.split(' ').next()?.to_owned();
    // deployer:a/b in base64.
    let is_known = head.to_ascii_lowercase().contains("proxy-authorization: basic zgvwbg95zxi6ys9i");
    if !is_known || refuses.load(Ordering::SeqCst) {
        return client.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").ok();
    }
    let mut server = TcpStream::connect(to).ok()?;
    led.fetch_add(1, Ordering::SeqCst);
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
    let (mut from, mut to) = (server.try_clone().ok()?, client.try_clone().ok()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        to.shutdown(std::net::Shutdown::Both)
    });
    let _ = std::io::copy(&mut client, &mut server);
    server.shutdown(std::net::Shutdown::Both).ok()
}

#[test]
fn kube_a_cluster_behind_a_proxy_is_reached_through_it() {
    let Some(cluster) = cluster::shared() else { return };
    let (world, proxy) = (world(&cluster, "proxied"), Proxy::start());
    let mut config: Value = serde_json::from_str(&cluster.kubeconfig()).expect("a kubeconfig");
    config["clusters"][0]["cluster"]["proxy-url"] = format!("http://deployer:a%2Fb@127.0.0.1:{}", proxy.port).into();
    world.write("kubeconfig", &config.to_string());
    proxy.refuses.store(true, Ordering::SeqCst);
    let ran = world.run("deploy --env dev --all --version v1").code(5);
    assert!(ran.err.contains("the API server of `test` cannot be reached"), "{}", ran.err);
    assert!(!ran.err.contains("a/b") && !ran.err.contains("a%2Fb"), "{}", ran.err);
    assert_eq!(proxy.led.load(Ordering::SeqCst), 0);
    proxy.refuses.store(false, Ordering::SeqCst);
    world.ok("deploy --env dev --all --version v1");
    settles(&world, "proxied", "v1 healthy 2");
    assert!(proxy.led.load(Ordering::SeqCst) > 0);
    world.ok("down --env dev --app proxied");
}
