//! What an app says about checks and jobs.

use super::*;

/// When an instance is healthy: one of `http`, `tcp` and `command`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Health {
    /// GET of this path; 2xx and 3xx are healthy.
    #[schemars(extend("examples" = ["/healthz"]))]
    pub(crate) http: Option<At<Text>>,
    /// The port takes connections.
    #[schemars(extend("examples" = [true]))]
    pub(crate) tcp: Option<At<bool>>,
    /// A command that exits 0: program and arguments.
    #[schemars(extend("examples" = [["./check", "{{ port }}"]]))]
    pub(crate) command: Option<At<Vec<At<Text>>>>,
    /// A new instance that is not healthy after this span never will be.
    #[schemars(extend("default" = "30s", "examples" = ["2m"]))]
    pub(crate) within: Option<At<SpanText>>,
    /// The pause between two checks once it is up.
    #[schemars(extend("default" = "1s", "examples" = ["5s"]))]
    pub(crate) interval: Option<At<SpanText>>,
    /// How long one check may take.
    #[schemars(extend("default" = "2s", "examples" = ["500ms"]))]
    pub(crate) timeout: Option<At<SpanText>>,
    /// So many failures in a row make an instance unhealthy.
    #[schemars(extend("default" = 3, "examples" = [5]))]
    pub(crate) failures: Option<At<u32>>,
}

/// A command that runs to its end: program and arguments, or a map with more to say.
pub(crate) type Job = At<Either<Vec<At<Text>>, JobMap>>;

/// A command that runs to its end.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobMap {
    /// Program and arguments.
    #[schemars(extend("examples" = [["./announce", "{{ version }}"]]))]
    pub(crate) run: At<Vec<At<Text>>>,
    /// How long it may take; then it is killed.
    #[schemars(extend("default" = "60s", "examples" = ["5m"]))]
    pub(crate) timeout: Option<At<SpanText>>,
    /// Whether running it twice is as good as once. If not, an unknown outcome is never tried again.
    #[schemars(extend("default" = false, "examples" = [true]))]
    pub(crate) repeatable: Option<bool>,
}

/// A change of data that goes with a version.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Migrate {
    /// Forward: program and arguments.
    #[schemars(extend("examples" = [["./migrate", "up"]]))]
    pub(crate) run: At<Vec<At<Text>>>,
    /// Back, if there is a way: program and arguments.
    #[schemars(extend("examples" = [["./migrate", "down"]]))]
    pub(crate) undo: Option<At<Vec<At<Text>>>>,
    /// No way back: an automatic rollback stops here and says so.
    #[schemars(extend("default" = false, "examples" = [true]))]
    pub(crate) irreversible: Option<At<bool>>,
    /// How long either may take.
    #[schemars(extend("default" = "5m", "examples" = ["1h"]))]
    pub(crate) timeout: Option<At<SpanText>>,
    /// Whether running it twice is as good as once. If not, an unknown outcome is never tried again.
    #[schemars(extend("default" = false, "examples" = [true]))]
    pub(crate) repeatable: Option<bool>,
}

/// A test of the new version: an HTTP request and what must come back, or a command.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Smoke {
    /// GET of this path from a new instance.
    #[schemars(extend("examples" = ["/version"]))]
    pub(crate) http: Option<At<Text>>,
    /// What must come back; without it, any 2xx.
    #[schemars(extend("examples" = [{"body": "{{ version }}"}]))]
    pub(crate) expect: Option<At<Expect>>,
    /// A command in the release's folder that must exit 0: program and arguments.
    #[schemars(extend("examples" = [["./smoke-test"]]))]
    pub(crate) run: Option<At<Vec<At<Text>>>>,
    /// How long the command may take.
    #[schemars(extend("default" = "30s", "examples" = ["2m"]))]
    pub(crate) timeout: Option<At<SpanText>>,
    /// Whether running the command twice is as good as once.
    #[schemars(extend("default" = true, "examples" = [false]))]
    pub(crate) repeatable: Option<At<bool>>,
}

/// What must come back.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    /// The status; without it, any 2xx.
    #[schemars(extend("examples" = [200]))]
    pub(crate) status: Option<At<u16>>,
    /// The whole body, white space at its ends aside.
    #[schemars(extend("examples" = ["{{ version }}"]))]
    pub(crate) body: Option<At<Text>>,
    /// A piece of the body.
    #[schemars(extend("examples" = ["ready"]))]
    pub(crate) contains: Option<At<Text>>,
}

/// Commands around a deployment.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hooks {
    /// Before anything changes: a list of commands.
    #[schemars(extend("default" = [], "examples" = [[["./announce", "{{ version }}"]]]))]
    pub(crate) before: Option<Vec<Job>>,
    /// After the new version has all traffic; failing turns it back: a list of commands.
    #[schemars(extend("default" = [], "examples" = [[{"run": ["./purge-cache"], "timeout": "2m", "repeatable": true}]]))]
    pub(crate) after: Option<Vec<Job>>,
}
