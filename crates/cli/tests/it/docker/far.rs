//! A real Docker Engine on another machine, as far as the network goes: in a network of its own, where this machine reaches one
//! address and no container. It listens by TLS, and a server of SSH stands beside it.

use super::engine::{self, Engine};
use crate::it::world::{World, poll};
use deployctl_live::dockerd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The port of the server of SSH; Docker's own with TLS.
const SSH: u16 = 2222;
const TLS: u16 = 2376;

/// The other machine. Who cuts it off has it alone.
pub(crate) struct Far {
    pub(crate) engine: Engine,
    folder: PathBuf,
    number: u8,
    _dockerd: Option<Child>,
    /// Ends all of it when the test program is gone.
    _watchman: Child,
}

static FAR: OnceLock<Option<RwLock<Far>>> = OnceLock::new();

pub(crate) fn shared() -> Option<RwLockReadGuard<'static, Far>> {
    far().map(RwLock::blocking_read)
}

pub(crate) fn alone() -> Option<RwLockWriteGuard<'static, Far>> {
    far().map(RwLock::blocking_write)
}

fn far() -> Option<&'static RwLock<Far>> {
    let all = ["sshd", "ssh", "ssh-keygen", "openssl", "nsenter"];
    FAR.get_or_init(|| engine::with(&all).then(|| RwLock::new(Far::start()))).as_ref()
}

impl Far {
    fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("deployctl-far-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("bin")).expect("a folder");
        let number = network();
        let script = "cat >/dev/null; cd /; for name in sshd.pid pid; do pid=$(cat \"$0/$name\"); kill $pid; i=0; \
                      while [ -e /proc/$pid/exe ] && [ $i -lt 300 ]; do sleep 0.1; i=$((i+1)); done; done; \
                      ip netns del \"dctlfar$1\"; ip link del \"dctlfo$1\"; while umount \"$0/data\"; do :; done; rm -rf \"$0\"";
        let mut watchman = Command::new("setsid");
        watchman.args(["sh", "-c", script]).arg(&folder).arg(number.to_string()).stdin(Stdio::piped());
        let watchman = watchman.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("sh");
        certificates(&folder, &address(number));
        let engine = Engine::elsewhere(folder.clone());
        let mut far = Self { engine, folder, number, _dockerd: None, _watchman: watchman };
        far._dockerd = Some(far.dockerd());
        far.sshd();
        far
    }

    /// A command of its own network.
    fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/dctlfar{}", self.number));
        command.arg("--").arg(find(program)).env("PATH", dockerd::PATH);
        command.stdin(Stdio::null());
        command
    }

    fn dockerd(&self) -> Child {
        let log = std::fs::File::create(self.folder.join("log")).expect("a log");
        let at = |name: &str| self.folder.join(name);
        let mut command = self.inside("dockerd");
        command.arg("--data-root").arg(at("data")).arg("--exec-root").arg(at("exec")).arg("-p").arg(at("pid"));
        command.args(["-H", &self.engine.socket(), "-H", &format!("tcp://{}:{TLS}", self.address())]);
        command.arg("--tlsverify").arg("--tlscacert").arg(at("ca.pem"));
        command.arg("--tlscert").arg(at("cert.pem")).arg("--tlskey").arg(at("key.pem"));
        command.args(["--bip", "10.95.0.1/24", "--iptables=false", "--ip6tables=false", "--ip-masq=false"]);
        command.stdout(log.try_clone().expect("a log")).stderr(log);
        let child = command.spawn().expect("dockerd");
        self.engine.answers();
        child
    }

    fn sshd(&self) {
        std::fs::create_dir_all("/run/sshd").expect("a folder");
        for name in ["host", "me", "other"] {
            let mut make = Command::new("ssh-keygen");
            make.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(self.folder.join(name));
            assert!(make.status().is_ok_and(|status| status.success()), "ssh-keygen");
        }
        let read = |name: &str| std::fs::read_to_string(self.folder.join(name)).expect("a key");
        std::fs::write(self.folder.join("authorized"), read("me.pub")).expect("a file");
        let host = format!("[{}]:{SSH} {}", self.address(), read("host.pub"));
        std::fs::write(self.folder.join("known"), host).expect("a file");
        let folder = self.folder.display();
        let config = format!(
            "Port {SSH}\nListenAddress {}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n\
             PidFile {folder}/sshd.pid\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nMaxStartups 100\n\
             KbdInteractiveAuthentication no\nPermitRootLogin yes\nSetEnv DOCKER_HOST={}\n",
            self.address(),
            self.engine.socket(),
        );
        std::fs::write(self.folder.join("sshd_config"), config).expect("a file");
        self.sshd_with("sshd.pid", SSH, &[]);
    }

    /// One more server of SSH, on this port, with these settings before the usual ones.
    pub(crate) fn sshd_with(&self, pid: &str, port: u16, settings: &[&str]) {
        let mut command = self.inside("sshd");
        command.args(settings.iter().flat_map(|setting| ["-o", setting]));
        command.args(["-o", &format!("PidFile={}", self.folder.join(pid).display()), "-o", &format!("Port={port}")]);
        command.arg("-f").arg(self.folder.join("sshd_config")).stderr(Stdio::null());
        assert!(command.status().is_ok_and(|status| status.success()), "sshd");
        let at = format!("{}:{port}", self.address());
        poll("the server of SSH", || std::net::TcpStream::connect(&at).ok());
    }

    /// Ends a server that [`Far::sshd_with`] started, but not the connections that it has.
    pub(crate) fn end_sshd(&self, pid: &str) {
        let pid = std::fs::read_to_string(self.folder.join(pid)).expect("a pid");
        crate::it::world::kill(pid.trim().parse().expect("a pid"), rustix::process::Signal::TERM);
    }

    /// Something that speaks TLS with this certificate, on this port, until it is ended.
    pub(crate) fn speaks_tls(&self, certificate: &str, port: u16) -> Child {
        let mut command = self.inside("openssl");
        let at = format!("{}:{port}", self.address());
        command.args(["s_server", "-quiet", "-accept", &at, "-key", "key.pem", "-cert", certificate]);
        command.current_dir(&self.folder).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("openssl");
        poll("a server of TLS", || std::net::TcpStream::connect(&at).ok());
        child
    }

    /// The one address that this machine reaches.
    pub(crate) fn address(&self) -> String {
        address(self.number)
    }

    /// A file of the folder: certificates, keys, settings.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Nothing goes there and nothing comes back, until it does again.
    pub(crate) fn cut(&self, is_cut: bool) {
        ip(&format!("link set dctlfo{} {}", self.number, if is_cut { "down" } else { "up" }));
    }

    /// A world whose apps run there, by TLS.
    pub(crate) fn by_tls(&self, name: &str, spec: &str) -> World {
        let mut world = World::new(&spec.replace("NAME", name));
        world.var("DOCKER_HOST", format!("tcp://{}:{TLS}", self.address()));
        world.var("DOCKER_TLS_VERIFY", "1");
        world.var("DOCKER_CERT_PATH", &self.folder);
        world
    }

    /// A world whose apps run there, by SSH.
    pub(crate) fn by_ssh(&self, name: &str, spec: &str) -> World {
        let mut world = World::new(&spec.replace("NAME", name));
        world.var("DOCKER_HOST", format!("ssh://root@{}:{SSH}", self.address()));
        self.as_user(&mut world, "me", "known");
        world
    }

    /// The program `ssh` of a world has this key, and knows these hosts: it looks where the user of the machine has them.
    pub(crate) fn as_user(&self, world: &mut World, key: &str, known: &str) {
        let bin = world.path("bin-of-ssh");
        std::fs::create_dir_all(&bin).expect("a folder");
        let folder = self.folder.display();
        let config = format!(
            "IdentityFile {folder}/{key}\nIdentitiesOnly yes\nUserKnownHostsFile {folder}/{known}\n\
             GlobalKnownHostsFile /dev/null\n"
        );
        std::fs::write(bin.join("config"), config).expect("a file");
        let script = format!("#!/bin/sh\nexec {} -F {}/config \"$@\"\n", find("ssh").display(), bin.display());
        std::fs::write(bin.join("ssh"), script).expect("a file");
        std::fs::set_permissions(bin.join("ssh"), std::fs::Permissions::from_mode(0o755)).expect("a mode");
        world.var("PATH", format!("{}:{}", bin.display(), dockerd::PATH));
    }
}

fn find(program: &str) -> PathBuf {
    dockerd::find(program).expect("a program that is there")
}

fn address(number: u8) -> String {
    format!("10.94.{number}.2")
}

/// A network with one address on each side, and no way out of it. Its number.
fn network() -> u8 {
    let free = |number: &u8| {
        let mut add = Command::new("ip");
        add.args(["netns", "add", &format!("dctlfar{number}")]).env("PATH", dockerd::PATH).stderr(Stdio::null());
        add.status().is_ok_and(|status| status.success())
    };
    let number = (1..=254).find(free).expect("a free number");
    ip(&format!("link add dctlfo{number} type veth peer name dctlfi{number}"));
    ip(&format!("link set dctlfi{number} netns dctlfar{number}"));
    ip(&format!("addr add 10.94.{number}.1/24 dev dctlfo{number}"));
    ip(&format!("link set dctlfo{number} up"));
    ip(&format!("-n dctlfar{number} addr add {}/24 dev dctlfi{number}", address(number)));
    ip(&format!("-n dctlfar{number} link set dctlfi{number} up"));
    ip(&format!("-n dctlfar{number} link set lo up"));
    number
}

#[track_caller]
fn ip(args: &str) {
    let done = Command::new("ip").args(args.split(' ')).env("PATH", dockerd::PATH).output().expect("ip");
    assert!(done.status.success(), "ip {args}: {}", String::from_utf8_lossy(&done.stderr));
}

/// An authority, and a certificate of it that serves for both sides; another authority with one of its own in `other`.
fn certificates(folder: &Path, address: &str) {
    for folder in [folder.to_owned(), folder.join("others")] {
        std::fs::create_dir_all(&folder).expect("a folder");
        let names = format!("subjectAltName=IP:{address}\nextendedKeyUsage=serverAuth,clientAuth\n");
        std::fs::write(folder.join("other-names"), names.replace(address, "10.94.0.250")).expect("a file");
        std::fs::write(folder.join("names"), names).expect("a file");
        let sign = "x509 -req -in request -CA ca.pem -CAkey ca-key.pem -CAcreateserial";
        let new = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        for args in [
            format!("req -x509 {new} -days 2 -keyout ca-key.pem -out ca.pem -subj /CN=authority"),
            format!("req {new} -keyout key.pem -out request -subj /CN=engine"),
            format!("{sign} -days 2 -extfile names -out cert.pem"),
            format!("{sign} -days -1 -extfile names -out expired.pem"),
            format!("{sign} -days 2 -extfile other-names -out nameless.pem"),
        ] {
            let done = Command::new("openssl").args(args.split(' ')).current_dir(&folder).output().expect("openssl");
            assert!(done.status.success(), "openssl {args}: {}", String::from_utf8_lossy(&done.stderr));
        }
    }
}
