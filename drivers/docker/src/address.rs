//! Where an engine is: what `DOCKER_HOST` and contexts can say.

use deployctl_core::fault::{Fault, FaultKind};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Docker's own ports, without and with TLS.
const PORTS: (u16, u16) = (2375, 2376);

/// Where an engine is, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Address {
    /// On this machine.
    Socket {
        /// Its socket.
        socket: PathBuf,
    },
    /// By TCP; without TLS only from this machine to itself.
    Tcp {
        /// Where it listens.
        tcp: Tcp,
    },
    /// By the program `docker` of another machine.
    Ssh {
        /// The machine, and who we are there.
        ssh: Ssh,
    },
}

/// A port of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tcp {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The folder with `ca.pem`, `cert.pem` and `key.pem`; without one there is no TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) certs: Option<PathBuf>,
}

/// Whom `ssh` is told to go to; what is not said here its own settings say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ssh {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    pub(crate) host: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<u16>,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket { socket } => write!(f, "unix://{}", socket.display()),
            Self::Tcp { tcp } => write!(f, "tcp://{}:{}", bracketed(&tcp.host), tcp.port),
            Self::Ssh { ssh } => {
                let user = ssh.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
                let port = ssh.port.map(|port| format!(":{port}")).unwrap_or_default();
                write!(f, "ssh://{user}{}{port}", bracketed(&ssh.host))
            }
        }
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

impl Tcp {
    /// Whether it is this machine that is named.
    pub(crate) fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl Address {
    /// Whether the engine's files are files of this machine.
    pub(crate) fn is_here(&self) -> bool {
        matches!(self, Self::Socket { .. })
    }

    /// What `text` says, which `who` said; `certs` is where TLS has its files, if it is meant.
    pub(crate) fn parse(text: &str, who: &str, certs: Option<&Path>) -> Result<Self, Fault> {
        let cannot = |why: &str| {
            let message = format!("{who} is `{}`: {why}", without_password(text));
            Fault::refused(FaultKind::Spec, message)
                .hint("an engine is named as unix:///PATH, tcp://HOST:PORT with TLS, or ssh://USER@HOST")
        };
        let Some((scheme, rest)) = text.split_once("://") else { return Err(cannot("that names no engine")) };
        if scheme == "unix" {
            return match Path::new(rest).is_absolute() {
                true => Ok(Self::Socket { socket: PathBuf::from(rest) }),
                false => Err(cannot("a socket is named by its whole path")),
            };
        }
        if !matches!(scheme, "tcp" | "ssh") {
            return Err(cannot("engines are reached by unix, tcp and ssh only"));
        }
        let parts = Parts::of(rest).map_err(cannot)?;
        if scheme == "ssh" {
            let Parts { user, host, port } = parts;
            return Ok(Self::Ssh { ssh: Ssh { user, host, port } });
        }
        if parts.user.is_some() {
            return Err(cannot("a name is for ssh only"));
        }
        let port = parts.port.unwrap_or(if certs.is_some() { PORTS.1 } else { PORTS.0 });
        let tcp = Tcp { host: parts.host, port, certs: certs.map(Path::to_owned) };
        if tcp.certs.is_none() && !tcp.is_loopback() {
            return Err(cannot("without TLS, whoever reaches that port is root there, and nobody proves who answers")
                .hint("DOCKER_TLS_VERIFY=1 with DOCKER_CERT_PATH, a context with TLS, or ssh://USER@HOST"));
        }
        Ok(Self::Tcp { tcp })
    }
}

/// A password is no part of a message.
fn without_password(text: &str) -> String {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, rest)), Some((_, host))) if rest.contains('@') => {
            let name = rest.split([':', '@']).next().unwrap_or_default();
            format!("{scheme}://{name}@{host}")
        }
        _ => text.to_owned(),
    }
}

struct Parts {
    user: Option<String>,
    host: String,
    port: Option<u16>,
}

impl Parts {
    fn of(rest: &str) -> Result<Self, &'static str> {
        let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !path.is_empty() {
            return Err("a path says nothing here");
        }
        let (user, place) = match place.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, place),
        };
        if user.is_some_and(|user| user.contains(':')) {
            return Err("a password is not taken from an address");
        }
        let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or("after ] comes :PORT")?)),
            None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map(|port| port.parse::<u16>().ok().filter(|port| *port > 0).ok_or("that is no port"));
        // What begins with a dash would be an option of a program.
        let is_word = |word: &str| {
            let known = |c: char| c.is_ascii_alphanumeric() || ".-_:%".contains(c);
            !word.is_empty() && !word.starts_with('-') && word.chars().all(known)
        };
        if !is_word(host) || user.is_some_and(|user| !is_word(user)) {
            return Err("that is no name of a machine");
        }
        Ok(Self { user: user.map(str::to_owned), host: host.to_owned(), port: port.transpose()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_what_docker_takes_them_for() {
        let certs = Path::new("/certs");
        let tcp = |host: &str, port, certs: Option<&Path>| Address::Tcp {
            tcp: Tcp { host: host.into(), port, certs: certs.map(Path::to_owned) },
        };
        let ssh = |user: Option<&str>, host: &str, port| Address::Ssh {
            ssh: Ssh { user: user.map(str::to_owned), host: host.into(), port },
        };
        let cases = [
            ("unix:///x/s", None, Address::Socket { socket: "/x/s".into() }),
            ("tcp://127.0.0.1", None, tcp("127.0.0.1", 2375, None)),
            ("tcp://localhost:77", None, tcp("localhost", 77, None)),
            ("tcp://[::1]:77", None, tcp("::1", 77, None)),
            ("tcp://docker.example", Some(certs), tcp("docker.example", 2376, Some(certs))),
            ("tcp://docker.example:77/", Some(certs), tcp("docker.example", 77, Some(certs))),
            ("ssh://docker.example", None, ssh(None, "docker.example", None)),
            ("ssh://me@docker.example:2222", None, ssh(Some("me"), "docker.example", Some(2222))),
            ("ssh://me@[fe80::1]", Some(certs), ssh(Some("me"), "fe80::1", None)),
        ];
        for (text, certs, wanted) in cases {
            let found = Address::parse(text, "DOCKER_HOST", certs).unwrap();
            assert_eq!(found, wanted, "{text}");
            let again = Address::parse(&found.to_string(), "it", certs).unwrap();
            assert_eq!(again, wanted, "{found}");
            let kept: Address = serde_json::from_str(&serde_json::to_string(&found).unwrap()).unwrap();
            assert_eq!(kept, wanted);
        }
    }

    #[test]
    fn what_names_no_engine_or_lets_everybody_in_is_refused() {
        let cases = [
            ("10.0.0.5:2375", "that names no engine"),
            ("unix://s", "a socket is named by its whole path"),
            ("npipe:////./pipe/docker", "by unix, tcp and ssh only"),
            ("tcp://10.0.0.5:2375", "whoever reaches that port is root there"),
            ("tcp://docker.example", "whoever reaches that port is root there"),
            ("tcp://me@127.0.0.1", "a name is for ssh only"),
            ("tcp://127.0.0.1:0", "that is no port"),
            ("tcp://127.0.0.1:x", "that is no port"),
            ("tcp://127.0.0.1/v1.41", "a path says nothing here"),
            ("ssh://", "no name of a machine"),
            ("ssh://-oProxyCommand=x", "no name of a machine"),
            ("ssh://-x@host", "no name of a machine"),
            ("ssh://ho st", "no name of a machine"),
        ];
        for (text, why) in cases {
            let fault = Address::parse(text, "DOCKER_HOST", None).unwrap_err();
            assert!(fault.message.starts_with(&format!("DOCKER_HOST is `{text}`: ")), "{fault}");
            assert!(fault.message.contains(why), "{fault}");
            assert_eq!((fault.kind, fault.hint.is_some()), (FaultKind::Spec, true));
        }
        let fault = Address::parse("ssh://me:secret@host", "DOCKER_HOST", None).unwrap_err();
        assert_eq!(fault.message, "DOCKER_HOST is `ssh://me@host`: a password is not taken from an address");
    }
}
