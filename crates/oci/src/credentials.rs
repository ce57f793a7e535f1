//! Who we are to a registry: what `docker login` left, or nobody.

use crate::helper;
use crate::trouble::{Trouble, TroubleKind};
use deployctl_core::login::Login;
use docker_credential::{CredentialRetrievalError as Lacking, DockerCredential};
use serde_json::Value;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

/// A helper that takes longer is ended.
const HELPER_MAX: Duration = Duration::from_secs(10);
const BYTES_MAX: u64 = 4 << 20;
/// How `docker login` calls the registry of names without one.
const USUAL_KEY: &str = "https://index.docker.io/v1/";

/// Knows who we are.
pub trait Credentials: Send + Sync {
    /// Who we are to the registry `HOST` or `HOST:PORT`. Trouble if that cannot be said now, never because nobody logged in.
    fn login(&self, registry: &str) -> Result<Login, Trouble>;
}

/// Docker's `config.json`: passwords in it, and helpers that it names.
#[derive(Clone, Debug)]
pub struct DockerConfig {
    path: Option<PathBuf>,
}

impl DockerConfig {
    /// Reads the file at `path` each time it is asked; a file that is not there knows nobody.
    pub fn at(path: PathBuf) -> Self {
        Self { path: Some(path) }
    }

    /// Knows nobody.
    pub fn none() -> Self {
        Self { path: None }
    }
}

impl Credentials for DockerConfig {
    fn login(&self, registry: &str) -> Result<Login, Trouble> {
        let Some(path) = &self.path else { return Ok(Login::Anonymous) };
        let shown = path.display();
        let mut text = Vec::new();
        let read = std::fs::File::open(path).and_then(|file| file.take(BYTES_MAX).read_to_end(&mut text));
        match read {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Login::Anonymous),
            Err(error) => return Err(denied(format!("{shown} cannot be read: {error}"))),
        }
        let key = if registry == "docker.io" { USUAL_KEY } else { registry };
        let unreadable = || denied(format!("{shown} cannot be used: it is no valid JSON"));
        let mut config: Value = serde_json::from_slice(&text).map_err(|_| unreadable())?;
        let map = config.as_object_mut().ok_or_else(unreadable)?;
        // The library waits for helpers for ever, so it is given none.
        let own = map.remove("credHelpers").and_then(|all| Some(all.get(key)?.as_str()?.to_owned()));
        let store = map.remove("credsStore").and_then(|name| Some(name.as_str()?.to_owned()));
        if let Some(helper) = own.filter(|name| !name.is_empty()) {
            return helper::ask(&helper, key, HELPER_MAX);
        }
        let rest = config.to_string();
        match docker_credential::get_credential_from_reader(rest.as_bytes(), key) {
            Ok(DockerCredential::UsernamePassword(user, password)) => Ok(Login::Password { user, password }),
            Ok(DockerCredential::IdentityToken(token)) => Ok(Login::Identity(token)),
            Err(Lacking::NoCredentialConfigured | Lacking::ConfigNotFound) => store
                .filter(|name| !name.is_empty())
                .map_or(Ok(Login::Anonymous), |name| helper::ask(&name, key, HELPER_MAX)),
            Err(error) => Err(denied(format!("{shown} has no usable credentials for {registry}: {}", why(&error)))),
        }
    }
}

fn denied(message: String) -> Trouble {
    Trouble::new(TroubleKind::Denied, message).hint("log in again with `docker login`, or correct the file")
}

fn why(error: &Lacking) -> String {
    match error {
        Lacking::ConfigReadError => "it is not what Docker writes there".into(),
        Lacking::CredentialDecodingError => "its `auth` is not `user:password` in base64".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(text: &str, registry: &str) -> Result<Login, Trouble> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        DockerConfig::at(path).login(registry)
    }

    #[test]
    fn logins_are_found() {
        let text = r#"{"auths": {
            "127.0.0.1:5000": {"auth": "YTpiOmM="},
            "https://index.docker.io/v1/": {"auth": "dTpw"},
            "ghcr.example": {"identitytoken": "t"}}}"#;
        let password = |user: &str, password: &str| Login::Password { user: user.into(), password: password.into() };
        assert_eq!(login(text, "127.0.0.1:5000"), Ok(password("a", "b:c")));
        assert_eq!(login(text, "docker.io"), Ok(password("u", "p")));
        assert_eq!(login(text, "ghcr.example"), Ok(Login::Identity("t".into())));
        assert_eq!(login(text, "127.0.0.1:5001"), Ok(Login::Anonymous));
        assert_eq!(login("{}", "r.example"), Ok(Login::Anonymous));
        assert_eq!(DockerConfig::at("/nothing/here".into()).login("r.example"), Ok(Login::Anonymous));
        assert_eq!(format!("{:?}", login(text, "docker.io")), "Ok(Password(masked))");
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let says = |text: &str| login(text, "r.example").unwrap_err().message;
        assert!(says("{").ends_with("it is no valid JSON"), "{}", says("{"));
        let bad = r#"{"auths": {"r.example": {"auth": "bm9jb2xvbg=="}}}"#;
        assert!(says(bad).ends_with("in base64"), "{}", says(bad));
        let gone = r#"{"credHelpers": {"r.example": "is-not-there"}}"#;
        assert!(says(gone).starts_with("the credential helper docker-credential-is-not-there cannot be run: "));
        let path = r#"{"credsStore": "../../bin/sh"}"#;
        assert_eq!(says(path), "`../../bin/sh` is not the name of a credential helper");
    }
}
