//! Which engine is meant: found as Docker's own client finds it.

use crate::address::Address;
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::Sha256Hex;
use deployctl_runner::trouble::trouble;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Where an engine listens unless it is said otherwise.
const SOCKET: &str = "/var/run/docker.sock";

/// What says which engine is meant, from the strongest to the weakest.
#[derive(Clone, Debug, Default)]
pub struct Endpoint {
    /// What `DOCKER_HOST` says.
    pub host: Option<String>,
    /// What `DOCKER_TLS_VERIFY` or `DOCKER_TLS` says of it.
    pub tls: Tls,
    /// What `DOCKER_CERT_PATH` says: where the files of TLS are, if not in `config`.
    pub certs: Option<PathBuf>,
    /// What `DOCKER_CONTEXT` says.
    pub context: Option<String>,
    /// The folder of Docker's client, with its chosen context and all of them.
    pub config: Option<PathBuf>,
}

/// Whether an engine must prove who it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// There is none.
    #[default]
    None,
    /// It must.
    Verified,
    /// Anybody is believed: what deployctl refuses.
    Believed,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ClientConfig {
    current_context: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Meta {
    endpoints: Endpoints,
}

#[derive(Deserialize)]
struct Endpoints {
    docker: At,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct At {
    host: String,
    #[serde(default, rename = "SkipTLSVerify")]
    skip_tls_verify: bool,
}

impl Endpoint {
    /// From variables, read by `variable`.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let said = |name: &str| variable(name).filter(|value| !value.is_empty());
        let home = || Some(Path::new(&said("HOME")?).join(".docker"));
        let tls = match (said("DOCKER_TLS_VERIFY"), said("DOCKER_TLS")) {
            (Some(_), _) => Tls::Verified,
            (None, Some(_)) => Tls::Believed,
            (None, None) => Tls::None,
        };
        Self {
            host: said("DOCKER_HOST"),
            tls,
            certs: said("DOCKER_CERT_PATH").map(PathBuf::from),
            context: said("DOCKER_CONTEXT"),
            config: said("DOCKER_CONFIG").map(PathBuf::from).or_else(home),
        }
    }

    /// Whether somebody said which engine is meant, for this command alone.
    pub fn is_named(&self) -> bool {
        self.host.is_some() || self.context.is_some()
    }

    /// Where the engine is. Contacts nobody.
    pub(crate) fn address(&self) -> Result<Address, Fault> {
        if let Some(host) = &self.host {
            return self.of_host(host);
        }
        let chosen = || {
            let config: Option<ClientConfig> = self.read("config.json")?;
            Ok(config.map(|config| config.current_context))
        };
        let context = self.context.clone().map_or_else(chosen, |context| Ok(Some(context)))?;
        match context.as_deref() {
            None | Some("" | "default") => Ok(Address::Socket { socket: PathBuf::from(SOCKET) }),
            Some(name) => self.of_context(name),
        }
    }

    fn of_host(&self, host: &str) -> Result<Address, Fault> {
        if self.tls == Tls::Believed && host.starts_with("tcp://") {
            return Err(believed("DOCKER_TLS without DOCKER_TLS_VERIFY"));
        }
        let folder = self.certs.as_ref().or(self.config.as_ref()).filter(|_| self.tls == Tls::Verified);
        if let Some(relative) = folder.filter(|folder| !folder.is_absolute()) {
            let message = format!("DOCKER_CERT_PATH is `{}`, which is no whole path", relative.display());
            return Err(Fault::refused(FaultKind::Spec, message).hint("say where the files are from / on"));
        }
        Address::parse(host, "DOCKER_HOST", folder.map(PathBuf::as_path))
    }

    fn of_context(&self, name: &str) -> Result<Address, Fault> {
        let id = Sha256Hex::of(name.as_bytes());
        let Some(meta) = self.read::<Meta>(&format!("contexts/meta/{id}/meta.json"))? else {
            let message = format!("there is no Docker context `{name}`");
            return Err(Fault::refused(FaultKind::Spec, message)
                .hint("`docker context ls` lists them; DOCKER_HOST=unix://PATH goes before any"));
        };
        let who = format!("the Docker context `{name}`");
        let At { host, skip_tls_verify } = meta.endpoints.docker;
        if skip_tls_verify && host.starts_with("tcp://") {
            return Err(believed(&who));
        }
        let folder = self.config.as_ref().map(|config| config.join(format!("contexts/tls/{id}/docker")));
        Address::parse(&host, &who, folder.filter(|folder| folder.is_dir()).as_deref())
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Fault> {
        let Some(path) = self.config.as_ref().map(|config| config.join(name)) else { return Ok(None) };
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| {
                let message = format!("{} is not as Docker's client writes it: {e}", path.display());
                Fault::refused(FaultKind::Spec, message)
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(trouble("Docker's own settings cannot be read from", &path, &error)),
        }
    }
}

fn believed(who: &str) -> Fault {
    let message = format!("{who} has any engine believed, whatever its certificate says");
    Fault::refused(FaultKind::Spec, message)
        .hint("DOCKER_TLS_VERIFY=1 with the engine's `ca.pem` in DOCKER_CERT_PATH, or a context with `ca`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(path: &str) -> Address {
        Address::Socket { socket: path.into() }
    }

    fn said(all: &[(&str, &str)]) -> Result<Address, Fault> {
        let of = |name: &str| all.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Endpoint::of(of).address()
    }

    #[test]
    fn variables_say_where_the_engine_is() {
        let tcp = ("DOCKER_HOST", "tcp://docker.example");
        let certs = |address: Address| match address {
            Address::Tcp { tcp } => tcp.certs.map(|path| path.display().to_string()),
            other => panic!("{other}"),
        };
        assert_eq!(said(&[]).unwrap(), socket(SOCKET));
        assert_eq!(said(&[("DOCKER_HOST", "unix:///x/s")]).unwrap(), socket("/x/s"));
        let verified = [tcp, ("DOCKER_TLS_VERIFY", "1"), ("HOME", "/h/me")];
        assert_eq!(certs(said(&verified).unwrap()).unwrap(), "/h/me/.docker");
        let verified = [tcp, ("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", "/certs"), ("HOME", "/h/me")];
        assert_eq!(certs(said(&verified).unwrap()).unwrap(), "/certs");
        assert_eq!(certs(said(&[("DOCKER_HOST", "tcp://127.0.0.1")]).unwrap()), None);
        let cases: [(&[(&str, &str)], &str); 3] = [
            (&[tcp], "DOCKER_HOST is `tcp://docker.example`: without TLS"),
            (&[tcp, ("DOCKER_TLS", "1")], "DOCKER_TLS without DOCKER_TLS_VERIFY has any engine believed"),
            (
                &[tcp, ("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", "certs")],
                "DOCKER_CERT_PATH is `certs`, which is no whole path",
            ),
        ];
        for (all, why) in cases {
            let fault = said(all).unwrap_err();
            assert!(fault.message.starts_with(why), "{fault}");
            assert_eq!(fault.kind, FaultKind::Spec);
        }
    }

    #[test]
    fn contexts_are_found_as_the_client_keeps_them() {
        let home = tempfile::tempdir().unwrap();
        let context = |name: &str, host: &str, skips: bool, tls: bool| {
            let id = Sha256Hex::of(name.as_bytes());
            let folder = home.path().join(".docker/contexts/meta").join(id.as_str());
            std::fs::create_dir_all(&folder).unwrap();
            let at = serde_json::json!({ "Host": host, "SkipTLSVerify": skips });
            let meta = serde_json::json!({ "Name": name, "Endpoints": { "docker": at } });
            std::fs::write(folder.join("meta.json"), meta.to_string()).unwrap();
            let certs = home.path().join(".docker/contexts/tls").join(id.as_str()).join("docker");
            if tls {
                std::fs::create_dir_all(&certs).unwrap();
            }
            certs
        };
        context("here", "unix:///run/other.sock", false, false);
        context("far", "ssh://me@far", false, false);
        let certs = context("sure", "tcp://docker.example:77", false, true);
        context("unsure", "tcp://docker.example:77", true, true);
        context("open", "tcp://docker.example:77", false, false);
        let home_text = home.path().to_string_lossy().into_owned();
        let with = |more: &[(&str, &str)]| said(&[&[("HOME", home_text.as_str())], more].concat());
        let of = |name: &str| with(&[("DOCKER_CONTEXT", name)]);
        assert_eq!(with(&[]).unwrap(), socket(SOCKET));
        assert_eq!(of("here").unwrap(), socket("/run/other.sock"));
        assert_eq!(of("far").unwrap().to_string(), "ssh://me@far");
        let Address::Tcp { tcp } = of("sure").unwrap() else { panic!("it is TCP") };
        assert_eq!((tcp.host.as_str(), tcp.port, tcp.certs), ("docker.example", 77, Some(certs)));
        let unsure = of("unsure").unwrap_err();
        assert!(unsure.message.starts_with("the Docker context `unsure` has any engine believed"), "{unsure}");
        let open = of("open").unwrap_err();
        assert!(open.message.contains("the Docker context `open` is `tcp://docker.example:77`: without TLS"), "{open}");
        assert_eq!(with(&[("DOCKER_CONTEXT", "far"), ("DOCKER_HOST", "unix:///a")]).unwrap(), socket("/a"));
        assert_eq!(of("no").unwrap_err().message, "there is no Docker context `no`");
        std::fs::write(home.path().join(".docker/config.json"), r#"{ "currentContext": "here" }"#).unwrap();
        assert_eq!(with(&[]).unwrap(), socket("/run/other.sock"));
        assert_eq!(of("default").unwrap(), socket(SOCKET));
        std::fs::write(home.path().join(".docker/config.json"), "{").unwrap();
        assert!(with(&[]).unwrap_err().message.contains("config.json is not as Docker's client writes it"));
    }
}
