//! What names an image: registry, repository, tag, digest.

use crate::trouble::{Trouble, TroubleKind};
use deployctl_core::id::Sha256Hex;
use std::fmt;
use std::str::FromStr;

/// The registry of a name without one, as it is written.
const USUAL: &str = "docker.io";
/// Where that registry answers.
const USUAL_HOST: &str = "registry-1.docker.io";
const LENGTH_MAX: usize = 512;
const REPOSITORY_MAX: usize = 255;

/// A reference to an image, whole: names without a registry are those of `docker.io`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Sha256Hex>,
}

impl Reference {
    /// The registry, such as `registry.example.com:5000` or `docker.io`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository within the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, if it names one.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if it names one.
    pub fn digest(&self) -> Option<&Sha256Hex> {
        self.digest.as_ref()
    }

    /// Registry and repository.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The same repository at a digest, whatever it names now.
    pub fn at(&self, digest: &Sha256Hex) -> Self {
        Self { tag: None, digest: Some(digest.clone()), ..self.clone() }
    }

    /// The same repository at a tag.
    pub fn tagged(&self, tag: &str) -> Result<Self, Trouble> {
        if !is_tag(tag) {
            return Err(bad(tag, "a tag has up to 128 letters, digits, `.`, `_` and `-`"));
        }
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// What is asked for in the registry: the digest if there is one, else the tag, else `latest`.
    pub(crate) fn asked(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => format!("sha256:{digest}"),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }

    /// The host that answers for the registry.
    pub(crate) fn host(&self) -> &str {
        if self.registry == USUAL { USUAL_HOST } else { &self.registry }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@sha256:{digest}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Reference {
    type Err = Trouble;

    fn from_str(text: &str) -> Result<Self, Trouble> {
        if text.len() > LENGTH_MAX {
            return Err(Trouble::new(TroubleKind::Usage, "a reference this long names no image"));
        }
        let (name, digest) = match text.split_once('@') {
            None => (text, None),
            Some((name, digest)) => (name, Some(sha256(text, digest)?)),
        };
        let (host, rest) = match name.split_once('/') {
            Some((host, rest)) if host.contains(['.', ':', '[']) || host == "localhost" => (host, rest),
            _ => (USUAL, name),
        };
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) if is_tag(tag) => (repository, Some(tag.to_owned())),
            Some(_) => return Err(bad(text, "a tag has up to 128 letters, digits, `.`, `_` and `-`")),
            None => (rest, None),
        };
        let host = if host == "index.docker.io" || host == USUAL_HOST { USUAL } else { host };
        if !is_host(host) {
            return Err(bad(text, "the registry is `HOST` or `HOST:PORT`"));
        }
        let repository = match host == USUAL && !repository.contains('/') {
            true => format!("library/{repository}"),
            false => repository.to_owned(),
        };
        if !is_repository(&repository) {
            return Err(bad(text, "names are in lower case, with `.`, `_`, `-` and `/` between words"));
        }
        Ok(Self { registry: host.to_owned(), repository, tag, digest })
    }
}

/// `sha256:HEX` as a digest; `of` is what it stands in.
pub(crate) fn sha256(of: &str, text: &str) -> Result<Sha256Hex, Trouble> {
    let hex = text.strip_prefix("sha256:").ok_or_else(|| bad(of, "only `sha256:` digests are understood"))?;
    Sha256Hex::new(hex).map_err(|_| bad(of, "a digest is `sha256:` and 64 digits in lower-case hex"))
}

fn bad(text: &str, help: &str) -> Trouble {
    let shown: String = text.chars().take(120).collect();
    Trouble::new(TroubleKind::Usage, format!("`{shown}` does not name an image: {help}"))
        .hint("write HOST/NAME:TAG or HOST/NAME@sha256:DIGEST")
}

fn is_tag(tag: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    tag.len() <= 128 && tag.starts_with(word) && tag.chars().all(|c| word(c) || c == '.' || c == '-')
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(inside) => match inside.split_once(']') {
            Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => ("v6", port.strip_prefix(':')),
            _ => return false,
        },
        None => host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port))),
    };
    let part = |part: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
        !part.is_empty() && part.chars().all(inner) && !part.starts_with('-') && !part.ends_with('-')
    };
    let port_fits = port.is_none_or(|port| port.chars().all(|c| c.is_ascii_digit()) && port.parse::<u16>().is_ok());
    port_fits && name.split('.').all(part)
}

fn is_repository(text: &str) -> bool {
    let part = |part: &str| {
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let mut run = String::new();
        for c in part.chars() {
            match c {
                c if word(c) => {
                    if !matches!(run.as_str(), "" | "." | "_" | "__") && !run.chars().all(|c| c == '-') {
                        return false;
                    }
                    run.clear();
                }
                '.' | '_' | '-' => run.push(c),
                _ => return false,
            }
        }
        part.starts_with(word) && run.is_empty()
    };
    text.len() <= REPOSITORY_MAX && text.split('/').all(part)
}

/// Whether a registry is on this machine: what goes there leaves it on no wire.
pub(crate) fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(inside) => inside.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_made_whole() {
        let hex = "ab".repeat(32);
        for (text, whole) in [
            ("shop", "docker.io/library/shop".to_owned()),
            ("shop:v1", "docker.io/library/shop:v1".into()),
            ("team/shop:v1", "docker.io/team/shop:v1".into()),
            ("index.docker.io/shop:v1", "docker.io/library/shop:v1".into()),
            ("127.0.0.1:5000/a/b__c-d.e:v1", "127.0.0.1:5000/a/b__c-d.e:v1".into()),
            ("[::1]:5000/shop", "[::1]:5000/shop".into()),
            ("localhost/shop:V1.x", "localhost/shop:V1.x".into()),
            (&format!("r.example/shop:v1@sha256:{hex}"), format!("r.example/shop:v1@sha256:{hex}")),
        ] {
            let parsed: Reference = text.parse().unwrap();
            assert_eq!(parsed.to_string(), whole);
            assert_eq!(whole.parse::<Reference>().unwrap(), parsed, "it means the same when read again");
        }
    }

    #[test]
    fn what_names_no_image_is_refused() {
        for (text, says) in [
            ("", "lower case"),
            ("Shop:v1", "lower case"),
            ("a//b", "lower case"),
            ("a/../b", "lower case"),
            ("a/b..c", "lower case"),
            ("a/b-", "lower case"),
            ("r.example/shop:", "a tag has"),
            ("r.example/shop:a/b:x?", "a tag has"),
            ("r.example:99999/shop", "the registry is"),
            ("-r.example/shop", "the registry is"),
            ("user@r.example/shop", "only `sha256:`"),
            ("shop@sha512:ab", "only `sha256:`"),
            ("shop@sha256:ab", "64 digits"),
        ] {
            let trouble = text.parse::<Reference>().unwrap_err();
            assert!(trouble.message.contains(says), "{text}: {trouble}");
            assert_eq!(trouble.kind, TroubleKind::Usage);
        }
    }
}
