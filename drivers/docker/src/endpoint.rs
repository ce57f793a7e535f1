//! Which engine is meant: found as Docker's own client finds it.

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
    /// What `DOCKER_CONTEXT` says.
    pub context: Option<String>,
    /// The folder of Docker's client, with its chosen context and all of them.
    pub config: Option<PathBuf>,
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
}

impl Endpoint {
    /// From variables, read by `variable`.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let said = |name: &str| variable(name).filter(|value| !value.is_empty());
        let home = || Some(Path::new(&said("HOME")?).join(".docker"));
        Self {
            host: said("DOCKER_HOST"),
            context: said("DOCKER_CONTEXT"),
            config: said("DOCKER_CONFIG").map(PathBuf::from).or_else(home),
        }
    }

    /// The socket of the engine, which must be on this machine.
    pub(crate) fn socket(&self) -> Result<PathBuf, Fault> {
        if let Some(host) = &self.host {
            return local(host, "DOCKER_HOST");
        }
        let chosen = || {
            let config: Option<ClientConfig> = self.read("config.json")?;
            Ok(config.map(|config| config.current_context))
        };
        let context = self.context.clone().map_or_else(chosen, |context| Ok(Some(context)))?;
        match context.as_deref() {
            None | Some("" | "default") => Ok(PathBuf::from(SOCKET)),
            Some(name) => {
                let place = format!("contexts/meta/{}/meta.json", Sha256Hex::of(name.as_bytes()));
                let Some(meta) = self.read::<Meta>(&place)? else {
                    let message = format!("there is no Docker context `{name}`");
                    return Err(Fault::refused(FaultKind::Spec, message)
                        .hint("`docker context ls` lists them; DOCKER_HOST=unix://PATH goes before any"));
                };
                local(&meta.endpoints.docker.host, &format!("the Docker context `{name}`"))
            }
        }
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

fn local(host: &str, who: &str) -> Result<PathBuf, Fault> {
    match host.strip_prefix("unix://") {
        Some(path) if Path::new(path).is_absolute() => Ok(PathBuf::from(path)),
        _ => {
            let message = format!("{who} is `{host}`; only engines on this machine are built: unix:///PATH");
            Err(Fault::refused(FaultKind::Spec, message).hint(
                "containers are reached by their own addresses, from this machine; say DOCKER_HOST=unix://PATH for its engine",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sockets_of_this_machine_are_taken() {
        let host = |host: &str| Endpoint { host: Some(host.into()), ..Endpoint::default() }.socket();
        assert_eq!(Endpoint::default().socket().unwrap(), Path::new(SOCKET));
        assert_eq!(host("unix:///x/s").unwrap(), Path::new("/x/s"));
        for other in ["tcp://127.0.0.1:2375", "ssh://host", "unix://s"] {
            let fault = host(other).unwrap_err();
            assert!(fault.message.starts_with(&format!("DOCKER_HOST is `{other}`")), "{fault}");
        }
    }

    #[test]
    fn contexts_are_found_as_the_client_keeps_them() {
        let home = tempfile::tempdir().unwrap();
        let context = |name: &str, host: &str| {
            let folder = home.path().join(".docker/contexts/meta").join(Sha256Hex::of(name.as_bytes()).as_str());
            std::fs::create_dir_all(&folder).unwrap();
            let meta = serde_json::json!({ "Name": name, "Endpoints": { "docker": { "Host": host } } });
            std::fs::write(folder.join("meta.json"), meta.to_string()).unwrap();
        };
        context("here", "unix:///run/other.sock");
        context("far", "ssh://me@far");
        let home_text = home.path().to_string_lossy().into_owned();
        let with = |more: &[(&str, &str)]| {
            let of = |name: &str| more.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            Endpoint::of(|name| if name == "HOME" { Some(home_text.clone()) } else { of(name) }).socket()
        };
        assert_eq!(with(&[]).unwrap(), Path::new(SOCKET));
        assert_eq!(with(&[("DOCKER_CONTEXT", "here")]).unwrap(), Path::new("/run/other.sock"));
        let far = with(&[("DOCKER_CONTEXT", "far")]).unwrap_err();
        assert!(far.message.starts_with("the Docker context `far` is `ssh://me@far`"), "{far}");
        assert_eq!(with(&[("DOCKER_CONTEXT", "far"), ("DOCKER_HOST", "unix:///a")]).unwrap(), Path::new("/a"));
        assert_eq!(with(&[("DOCKER_CONTEXT", "no")]).unwrap_err().message, "there is no Docker context `no`");
        std::fs::write(home.path().join(".docker/config.json"), r#"{ "currentContext": "here" }"#).unwrap();
        assert_eq!(with(&[]).unwrap(), Path::new("/run/other.sock"));
        assert_eq!(with(&[("DOCKER_CONTEXT", "default")]).unwrap(), Path::new(SOCKET));
        std::fs::write(home.path().join(".docker/config.json"), "{").unwrap();
        assert!(with(&[]).unwrap_err().message.contains("config.json is not as Docker's client writes it"));
    }
}
