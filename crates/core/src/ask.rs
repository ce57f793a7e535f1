//! What a client asks of an engine, resolved as far as a client can: no file of the project is read afterwards.

use crate::config::{AppConfig, ArtifactSource, SecretRef};
use crate::deployment::command::Command;
use crate::id::{AppName, DeploymentId, EnvName, ProjectName, RegionName, Scope, Sha256Hex, Version};
use crate::plan::Plan;
use crate::release::Release;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Make releases current.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Deploy {
    /// One per scope, in the order of their dependencies.
    pub legs: Vec<DeployLeg>,
    /// The environment whose artifacts may go on to this one.
    pub after: Option<EnvName>,
    /// How many people must approve.
    pub approvals: u32,
    /// The specification as it was read, for `promote`: JSON.
    pub spec: Option<String>,
    /// Who asks and why.
    pub by: By,
    /// Do exactly this saved plan.
    pub plan: Option<String>,
    /// What its deployment is to be called, by who may ask again without knowing whether it began: it begins once. A saved plan
    /// has its own.
    #[serde(default)]
    pub id: Option<DeploymentId>,
    /// What others changed by hand of what a release says is taken back, also where the version is current already.
    #[serde(default)]
    pub correct_drift: bool,
}

/// Make a release current in a scope.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeployLeg {
    /// Where.
    pub scope: Scope,
    /// Which version.
    pub version: Version,
    /// How it is run.
    pub config: AppConfig,
    /// Where the artifact comes from, if there is one.
    pub artifact: Option<ArtifactSource>,
    /// The digest that it must have.
    pub sha256: Option<Sha256Hex>,
    /// What its version is known as goes before what its source has now: the source has a name that moves.
    #[serde(default)]
    pub known_first: bool,
    /// It was built from a tree with local changes or without a revision.
    pub built_here: bool,
    /// The values of its secrets.
    pub secrets: BTreeMap<SecretRef, SecretBytes>,
}

/// Who asks and why.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct By {
    /// Who, such as `alice@build-7`.
    pub actor: String,
    /// Why, in their words.
    pub reason: Option<String>,
}

/// A secret's value on its way. Never shown.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretBytes(#[serde(with = "hex_bytes")] pub Arc<[u8]>);

impl std::fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretBytes(masked)")
    }
}

mod hex_bytes {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::sync::Arc;

    pub(super) fn serialize<S: Serializer>(bytes: &Arc<[u8]>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<[u8]>, D::Error> {
        let text = String::deserialize(from)?;
        hex::decode(text).map(Arc::from).map_err(|_| D::Error::custom("a secret's value is not hex"))
    }
}

/// Go back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rollback {
    /// Where.
    pub place: Selection,
    /// To this version instead of the one before.
    pub version: Option<Version>,
    /// Only if this version is current.
    pub from: Option<Version>,
    /// Even across a migration that cannot be undone.
    pub across_migration: bool,
    /// Who asks and why.
    pub by: By,
    /// As of [`Deploy`].
    #[serde(default)]
    pub id: Option<DeploymentId>,
}

/// New instances, or none.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Simple {
    /// Where.
    pub place: Selection,
    /// For none: what is there is left as it is, and given up.
    #[serde(default)]
    pub hand_back: bool,
    /// For none: what holds data goes as well, for good.
    #[serde(default)]
    pub delete_data: bool,
    /// Who asks and why.
    pub by: By,
}

/// Turn the maintenance page on or off.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Maintenance {
    /// Where.
    pub place: Selection,
    /// Which.
    pub on: bool,
    /// Who asks and why.
    pub by: By,
}

/// Steer a running deployment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Steer {
    /// How.
    pub command: Command,
    /// Who asks and why.
    pub by: By,
}

/// Some scopes; what is none selects all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Of this project.
    pub project: Option<ProjectName>,
    /// In this environment.
    pub environment: Option<EnvName>,
    /// In this region.
    pub region: Option<RegionName>,
    /// This app, or all apps of this group.
    pub app: Option<AppName>,
}

impl Selection {
    /// Whether a scope is among them.
    pub fn has(&self, scope: &Scope) -> bool {
        self.project.as_ref().is_none_or(|p| *p == scope.project)
            && self.environment.as_ref().is_none_or(|e| *e == scope.environment)
            && self.region.as_ref().is_none_or(|r| *r == scope.region)
            && self.app.as_ref().is_none_or(|a| scope.app.is_meant_by(a))
    }
}

/// What came of asking for a deployment.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Answer {
    /// It was accepted, or is under way.
    Deployment {
        /// Which.
        id: DeploymentId,
        /// What changes per app, such as `api: v1.0.0 -> v1.1.0`.
        changes: Vec<String>,
    },
    /// There is nothing to do, and why.
    Nothing {
        /// Why.
        why: String,
    },
}

/// A plan in a file: what it does, the releases that it makes current, and our signature over both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedPlan {
    /// The plan.
    pub plan: Plan,
    /// Its new releases.
    pub releases: Vec<Release>,
    /// Over the JSON of both.
    pub signature: String,
    /// What is to be known besides, for people: no part of what is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl SavedPlan {
    /// Reads a plan file. What comes out is well formed, not trusted: its signature is still to be checked.
    pub fn parse(text: &str) -> Result<Self, String> {
        let saved: Self = serde_json::from_str(text).map_err(|e| format!("it cannot be read: {e}"))?;
        if saved.plan.format != crate::plan::PLAN_FORMAT {
            return Err("it is of another form than this build writes".into());
        }
        Ok(saved)
    }

    /// What the signature is over.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes =
            serde_json::to_vec(&self.plan).unwrap_or_else(|e| unreachable!("plans have string keys only: {e}"));
        for release in &self.releases {
            bytes.push(b'\n');
            bytes.extend(release.bytes());
        }
        bytes
    }
}

/// Why an engine does not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// The kind, which decides the exit code.
    pub kind: RefusedKind,
    /// The stable code; there is a page for each.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
    /// The deployment that is in the way.
    pub blocked_by: Option<DeploymentId>,
}

/// The kind of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusedKind {
    /// What was asked for makes no sense; exit 2.
    Usage,
    /// Not allowed; exit 3.
    Denied,
    /// Somebody else is at it, or the world moved; exit 4.
    Conflict,
    /// Something needed cannot be reached; exit 5.
    Unreachable,
    /// Our own fault or the disk's; exit 5.
    Internal,
}

impl RefusedKind {
    /// The exit code of a command that is refused so.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Usage => 2,
            Self::Denied => 3,
            Self::Conflict => 4,
            Self::Unreachable | Self::Internal => 5,
        }
    }
}

impl Refused {
    /// A refusal.
    pub fn new(kind: RefusedKind, code: &str, message: impl Into<String>) -> Self {
        Self { kind, code: code.into(), message: message.into(), hint: None, blocked_by: None }
    }

    /// The same with a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<crate::fault::Fault> for Refused {
    fn from(fault: crate::fault::Fault) -> Self {
        use crate::fault::FaultKind;
        let (kind, code) = match fault.kind {
            FaultKind::Spec => (RefusedKind::Usage, "spec-refused"),
            FaultKind::Denied => (RefusedKind::Denied, "target-denied"),
            FaultKind::Conflict => (RefusedKind::Conflict, "target-conflict"),
            FaultKind::Platform => (RefusedKind::Unreachable, "target-unreachable"),
            FaultKind::Bug => (RefusedKind::Internal, "internal"),
        };
        Self { hint: fault.hint, ..Self::new(kind, code, fault.message) }
    }
}

impl From<crate::journal::ReadError> for Refused {
    fn from(error: crate::journal::ReadError) -> Self {
        Self::new(RefusedKind::Internal, "journal-unreadable", error.to_string())
            .hint("check the disk and `deployctl audit verify`; nothing was changed")
    }
}

impl From<crate::journal::AppendError> for Refused {
    fn from(error: crate::journal::AppendError) -> Self {
        use crate::journal::AppendError as E;
        match error {
            E::Conflict { .. } | E::Fenced { .. } => {
                Self::new(RefusedKind::Conflict, "journal-conflict", error.to_string()).hint("try again")
            }
            E::Unknown(_) | E::Failed(_) => {
                Self::new(RefusedKind::Internal, "journal-unwritable", error.to_string()).hint("check the disk")
            }
        }
    }
}
