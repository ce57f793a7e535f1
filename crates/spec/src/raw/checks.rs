//! What an app says about checks and jobs.

use super::*;

/// When an instance is healthy: one of `http`, `tcp` and `command`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Health {
    /// GET of this path; 2xx and 3xx are healthy.
    #[serde(default)]
    pub(crate) http: Option<At<Text>>,
    /// The port takes connections.
    #[serde(default)]
    pub(crate) tcp: Option<At<bool>>,
    /// A command that exits 0: program and arguments.
    #[serde(default)]
    pub(crate) command: Option<At<Vec<At<Text>>>>,
    /// A new instance that is not healthy after this span never will be.
    #[serde(default)]
    pub(crate) within: Option<At<SpanText>>,
    /// The pause between two checks once it is up.
    #[serde(default)]
    pub(crate) interval: Option<At<SpanText>>,
    /// How long one check may take.
    #[serde(default)]
    pub(crate) timeout: Option<At<SpanText>>,
    /// So many failures in a row make an instance unhealthy.
    #[serde(default)]
    pub(crate) failures: Option<At<u32>>,
}

/// A command that runs to its end: program and arguments, or a map with more to say.
pub(crate) type Job = At<Either<Vec<At<Text>>, JobMap>>;

/// A command that runs to its end.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobMap {
    /// Program and arguments.
    pub(crate) run: At<Vec<At<Text>>>,
    /// How long it may take; then it is killed.
    #[serde(default)]
    pub(crate) timeout: Option<At<SpanText>>,
    /// Whether running it twice is as good as once. If not, an unknown outcome is never tried again.
    #[serde(default)]
    pub(crate) repeatable: Option<bool>,
}

/// A change of data that goes with a version.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Migrate {
    /// Forward: program and arguments.
    pub(crate) run: At<Vec<At<Text>>>,
    /// Back, if there is a way: program and arguments.
    #[serde(default)]
    pub(crate) undo: Option<At<Vec<At<Text>>>>,
    /// No way back: an automatic rollback stops here and says so.
    #[serde(default)]
    pub(crate) irreversible: Option<At<bool>>,
    /// How long either may take.
    #[serde(default)]
    pub(crate) timeout: Option<At<SpanText>>,
    /// Whether running it twice is as good as once. If not, an unknown outcome is never tried again.
    #[serde(default)]
    pub(crate) repeatable: Option<bool>,
}

/// A test of the new version: an HTTP request and what must come back, or a command.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Smoke {
    /// GET of this path from a new instance.
    #[serde(default)]
    pub(crate) http: Option<At<Text>>,
    /// What must come back; without it, any 2xx.
    #[serde(default)]
    pub(crate) expect: Option<At<Expect>>,
    /// A command in the release's folder that must exit 0: program and arguments.
    #[serde(default)]
    pub(crate) run: Option<At<Vec<At<Text>>>>,
    /// How long the command may take.
    #[serde(default)]
    pub(crate) timeout: Option<At<SpanText>>,
    /// Whether running the command twice is as good as once.
    #[serde(default)]
    pub(crate) repeatable: Option<At<bool>>,
}

/// What must come back.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    /// The status; without it, any 2xx.
    #[serde(default)]
    pub(crate) status: Option<At<u16>>,
    /// The whole body, white space at its ends aside.
    #[serde(default)]
    pub(crate) body: Option<At<Text>>,
    /// A piece of the body.
    #[serde(default)]
    pub(crate) contains: Option<At<Text>>,
}

/// Commands around a deployment.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hooks {
    /// Before anything changes: a list of commands.
    #[serde(default)]
    pub(crate) before: Option<Vec<Job>>,
    /// After the new version has all traffic; failing turns it back: a list of commands.
    #[serde(default)]
    pub(crate) after: Option<Vec<Job>>,
}
