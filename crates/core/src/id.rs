//! Names and identifiers. Each checks itself when it is made, so that a value of the type is always well formed.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// Why a text is not the name that it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} `{shown}` {why}")]
pub struct BadName {
    what: &'static str,
    shown: String,
    why: &'static str,
}

impl BadName {
    fn new(what: &'static str, text: &str, why: &'static str) -> Self {
        let shown: String = text.chars().take(60).flat_map(char::escape_default).collect();
        let shown = if text.chars().count() > 60 { format!("{shown}...") } else { shown };
        Self { what, shown, why }
    }
}

macro_rules! checked_name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks `text` and makes the name of it.
            pub fn new(text: impl Into<String>) -> Result<Self, BadName> {
                let text = text.into();
                match $check(&text) {
                    Ok(()) => Ok(Self(text)),
                    Err(why) => Err(BadName::new($what, &text, why)),
                }
            }

            /// The text of the name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = BadName;
            fn from_str(text: &str) -> Result<Self, BadName> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(text: String) -> Result<Self, BadName> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}

fn check_label(text: &str) -> Result<(), &'static str> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.is_empty() {
        return Err("is empty");
    }
    if text.len() > 63 {
        return Err("is longer than 63 characters");
    }
    if !text.chars().all(inner) {
        return Err("may only have a-z, 0-9 and -");
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err("may not begin or end with -");
    }
    Ok(())
}

/// A name, or the name of a group and one in it: `shop.web`.
fn check_app(text: &str) -> Result<(), &'static str> {
    match text.split_once('.') {
        None => check_label(text),
        Some(_) if text.len() > 63 => Err("is longer than 63 characters"),
        Some((group, app)) => check_label(group).and_then(|()| check_label(app)),
    }
}

fn check_version(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("is empty");
    }
    if text.len() > 128 {
        return Err("is longer than 128 characters");
    }
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err("must begin with a letter or a digit");
    }
    if !text.chars().all(|c| c.is_ascii_alphanumeric() || "._+-".contains(c)) {
        return Err("may only have A-Z a-z 0-9 . _ + -");
    }
    if matches!(
        text.to_ascii_lowercase().as_str(),
        "latest" | "stable" | "edge" | "head" | "main" | "master" | "develop" | "trunk" | "nightly"
    ) {
        return Err("is a moving name; a version names one artifact for good");
    }
    Ok(())
}

fn check_hash(text: &str) -> Result<(), &'static str> {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if text.len() == 64 && text.bytes().all(hex) { Ok(()) } else { Err("is not a sha256 in lower-case hex") }
}

fn check_token(text: &str) -> Result<(), &'static str> {
    let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !text.is_empty() && text.len() <= 64 && text.chars().all(ok) {
        Ok(())
    } else {
        Err("must have 1 to 64 characters of a-z, 0-9 and -")
    }
}

checked_name!(
    /// The name of a project: what `project:` says.
    ProjectName, "project name", check_label);
checked_name!(
    /// The name of a thing that is deployed as one; `GROUP.NAME` if it came of an app that stands for several.
    AppName, "app name", check_app);
checked_name!(
    /// The name of an environment, such as `prod`.
    EnvName, "environment name", check_label);
checked_name!(
    /// The name of a region of an environment; `default` where an environment has none.
    RegionName, "region name", check_label);
checked_name!(
    /// A name for one artifact, forever.
    Version, "version", check_version);
checked_name!(
    /// A sha256 in lower-case hex: the address of a blob, an artifact, a release.
    Sha256Hex, "digest", check_hash);
checked_name!(
    /// One attempt to make a release current; sorts by the time it was made.
    DeploymentId, "deployment id", check_token);
checked_name!(
    /// One running copy, derived from scope, revision and slot: asking twice starts once.
    InstanceId, "instance id", check_token);
checked_name!(
    /// One run of a job, derived from what it is for and its attempt: the idempotency key.
    JobId, "job id", check_token);
checked_name!(
    /// An engine process, new at every start.
    OwnerId, "owner id", check_token);

impl AppName {
    /// The app that it came of, if that stands for several.
    pub fn group(&self) -> Option<&str> {
        self.0.split_once('.').map(|(group, _)| group)
    }

    /// Whether `named` means this app: by its own name, or by that of its group.
    pub fn is_meant_by(&self, named: &Self) -> bool {
        self == named || self.group() == Some(named.as_str())
    }
}

impl RegionName {
    /// The region of an environment that names none.
    pub fn default_region() -> Self {
        Self("default".into())
    }
}

impl Sha256Hex {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(hex::encode(Sha256::digest(bytes)))
    }

    /// The first 12 characters, for people.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

/// What a deployment changes and a lease protects: one app in one region of one environment of one project.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Scope {
    /// The project.
    pub project: ProjectName,
    /// The environment.
    pub environment: EnvName,
    /// The region.
    pub region: RegionName,
    /// The app.
    pub app: AppName,
}

impl fmt::Display for Scope {
    /// `project/environment/region/app`, the form used in streams and folders.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.project, self.environment, self.region, self.app)
    }
}

/// What instances are copies of: a release, and a number that tells its restarts apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Revision {
    /// The release.
    pub release: Sha256Hex,
    /// 0 at first; one more at every restart of the same release.
    pub nonce: u32,
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.release, self.nonce)
    }
}

impl From<Revision> for String {
    fn from(revision: Revision) -> String {
        revision.to_string()
    }
}

impl TryFrom<String> for Revision {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let (release, nonce) = text.split_once('.').ok_or("a revision is RELEASE.NONCE")?;
        Ok(Self {
            release: Sha256Hex::new(release).map_err(|e| e.to_string())?,
            nonce: nonce.parse().map_err(|_| "the nonce of a revision is a number")?,
        })
    }
}

/// A fencing token: grows with every change of the lease's owner; a target refuses anything older than it has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fence(pub u64);

/// The id of the instance in `slot` of `revision`.
pub fn instance_id(scope: &Scope, revision: &Revision, slot: u32) -> InstanceId {
    let digest = Sha256Hex::of(format!("instance\0{scope}\0{revision}\0{slot}").as_bytes());
    // What tells it apart stays whole, however long the name is.
    let app: String = scope.app.as_str().chars().take(44).map(|c| if c == '.' { '-' } else { c }).collect();
    InstanceId(format!("{app}-{slot}-{}", &digest.as_str()[..8]))
}

/// The id of attempt `attempt` of the job `name` of `deployment` in `scope`.
pub fn job_id(deployment: &DeploymentId, scope: &Scope, name: &str, attempt: u32) -> JobId {
    let digest = Sha256Hex::of(format!("job\0{deployment}\0{scope}\0{name}\0{attempt}").as_bytes());
    JobId(format!("job-{}", &digest.as_str()[..24]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for good in ["v1.2.3", "1", "2026-11-21.1+build_5", &"a".repeat(128)] {
            assert!(Version::new(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("", "version `` is empty"),
            (" ", "version ` ` must begin with a letter or a digit"),
            ("../../etc", "version `../../etc` must begin with a letter or a digit"),
            ("v1;rm", "version `v1;rm` may only have A-Z a-z 0-9 . _ + -"),
            ("latest", "version `latest` is a moving name; a version names one artifact for good"),
        ] {
            assert_eq!(Version::new(bad).unwrap_err().to_string(), why);
        }
        assert!(Version::new("a".repeat(129)).unwrap_err().to_string().ends_with("is longer than 128 characters"));
    }

    #[test]
    fn apps_and_groups() {
        let app = |text| AppName::new(text);
        assert!(app("shop.web").unwrap().is_meant_by(&app("shop").unwrap()));
        assert!(app("shop.web").unwrap().is_meant_by(&app("shop.web").unwrap()));
        assert!(!app("shop").unwrap().is_meant_by(&app("shop.web").unwrap()));
        assert!(!app("shop-web").unwrap().is_meant_by(&app("shop").unwrap()));
        for bad in ["shop.", ".web", "a.b.c", "Shop.web"] {
            assert!(app(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_id_of_an_instance_is_a_name_that_tells_it_apart() {
        let scope = |app: String| Scope {
            project: ProjectName::new("p").unwrap(),
            environment: EnvName::new("dev").unwrap(),
            region: RegionName::default_region(),
            app: AppName::new(app).unwrap(),
        };
        let revision = |nonce| Revision { release: Sha256Hex::of(b"x"), nonce };
        for app in ["shop.web".to_owned(), "a".repeat(63)] {
            let ids = [0, 1].map(|nonce| instance_id(&scope(app.clone()), &revision(nonce), 999));
            assert_ne!(ids[0], ids[1], "{app}");
            assert!(InstanceId::new(ids[0].as_str()).is_ok(), "{}", ids[0]);
        }
    }

    #[test]
    fn revision_text_round_trips() {
        let revision = Revision { release: Sha256Hex::of(b"x"), nonce: 7 };
        assert_eq!(Revision::try_from(revision.to_string()), Ok(revision));
    }
}
