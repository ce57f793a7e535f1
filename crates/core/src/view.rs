//! What people and scripts are shown. Serialised as it stands; keys are only ever added.

use crate::deployment::Verdict;
use crate::id::{AppName, DeploymentId, EnvName, ProjectName, RegionName, Version};
use crate::plan::Action;
use crate::time::Millis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One running (or failing) copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its id.
    pub id: String,
    /// The version that it is a copy of.
    pub version: String,
    /// How it is, in one word.
    pub state: String,
    /// What is behind the word, if anything.
    pub detail: Option<String>,
    /// `HOST:PORT` where it answers.
    pub address: Option<String>,
    /// Its process.
    pub pid: Option<u32>,
    /// When it was started last.
    pub started_at: Millis,
    /// How often it was restarted after exiting by itself.
    pub restarts: u32,
    /// The name of its container, if it is one.
    #[serde(default)]
    pub container: Option<String>,
    /// What somebody changed by hand.
    #[serde(default)]
    pub drift: Option<String>,
}

/// What runs in a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The project.
    pub project: ProjectName,
    /// The app.
    pub app: AppName,
    /// The environment.
    pub environment: EnvName,
    /// The region.
    pub region: RegionName,
    /// The current version; none after `down`.
    pub version: Option<Version>,
    /// `healthy`, `degraded`, `down` or `unknown`.
    pub health: String,
    /// Why it is not healthy.
    pub detail: Option<String>,
    /// The deployment that made it current.
    pub deployment: Option<DeploymentId>,
    /// Where it answers.
    pub urls: Vec<String>,
    /// The instances that should run, and any other that does.
    pub instances: Vec<Instance>,
    /// What somebody changed by hand since the last deployment, a line each.
    #[serde(default)]
    pub drift: Vec<String>,
    /// The deployment under way here.
    pub running: Option<DeploymentId>,
    /// Whether the maintenance page is on.
    pub maintenance: bool,
    /// Since when the version is current.
    pub since: Option<Millis>,
    /// The last deployment that ended here.
    pub last: Option<History>,
    /// The version that a rollback would go to.
    pub previous: Option<Version>,
}

/// A deployment in a scope, as history shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The deployment.
    pub id: DeploymentId,
    /// What for.
    pub action: Action,
    /// The app.
    pub app: AppName,
    /// The environment.
    pub environment: EnvName,
    /// The region.
    pub region: RegionName,
    /// The version that it is about.
    pub version: Option<Version>,
    /// The version before.
    pub previous: Option<Version>,
    /// The strategy's word.
    pub strategy: String,
    /// The verdict's word, or `running` or `waiting`.
    pub verdict: String,
    /// Whether what ran before runs again; none while it runs.
    pub restored: Option<bool>,
    /// Why it ended so.
    pub reason: Option<String>,
    /// Why it was asked for.
    pub note: Option<String>,
    /// Who asked.
    pub actor: String,
    /// When it began.
    pub started_at: Millis,
    /// When it ended.
    pub ended_at: Option<Millis>,
}

/// A deployment, live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// Its id.
    pub id: DeploymentId,
    /// What for.
    pub action: Action,
    /// Who asked.
    pub actor: String,
    /// Why, in their words.
    pub note: Option<String>,
    /// When it began.
    pub started_at: Millis,
    /// When it must have ended.
    pub deadline: Millis,
    /// Whether it stands still.
    pub paused: bool,
    /// Why it goes back, if it does.
    pub back: Option<String>,
    /// What it waits for.
    pub waiting: Option<String>,
    /// The leg that is walked now.
    pub leg: Option<usize>,
    /// The legs.
    pub legs: Vec<Leg>,
    /// How it ended, if it did.
    pub closed: Option<Closed>,
}

/// How a deployment ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// The verdict.
    pub verdict: Verdict,
    /// Whether what ran before runs again.
    pub restored: bool,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Millis,
}

/// The walk of one scope, live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leg {
    /// The app.
    pub app: AppName,
    /// The environment.
    pub environment: EnvName,
    /// The region.
    pub region: RegionName,
    /// The version before.
    pub from: Option<Version>,
    /// The version after.
    pub to: Option<Version>,
    /// The strategy's word.
    pub strategy: String,
    /// How many waypoints of the path were reached.
    pub reached: usize,
    /// How many there are.
    pub waypoints: usize,
    /// The waypoint that is walked to, in words.
    pub towards: Option<String>,
    /// Its instances.
    pub instances: Vec<Instance>,
    /// Percent of the traffic per version, with two decimals at most, as text.
    pub shares: BTreeMap<String, String>,
    /// Where it answers.
    pub urls: Vec<String>,
}

/// A waypoint in words, such as `v1.0.0: 4 @ 90%, v1.1.0: 1 @ 10%`.
pub fn waypoint_words(desired: &crate::desired::Desired, version: impl Fn(&crate::id::Revision) -> String) -> String {
    use crate::desired::{Extent, Share};
    if desired.parts.is_empty() {
        return "nothing".into();
    }
    let words = desired.parts.iter().map(|(revision, part)| {
        let count = match part.extent {
            Extent::Count(count) => count.to_string(),
            Extent::Auto => "by the target itself".into(),
            Extent::Enough(share) => format!("enough for {}", percent(share)),
        };
        match part.share {
            Share::Unmanaged => format!("{}: {count}", version(revision)),
            _ => format!("{}: {count} @ {}", version(revision), percent(desired.weight(revision))),
        }
    });
    let mut words: Vec<String> = words.collect();
    words.sort();
    words.join(", ")
}

/// Basis points as percent, without needless zeros.
pub fn percent(basis_points: u32) -> String {
    let (whole, rest) = (basis_points / 100, basis_points % 100);
    if rest == 0 { format!("{whole}%") } else { format!("{whole}.{rest:02}%").replace("0%", "%") }
}
