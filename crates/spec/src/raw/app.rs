//! What an app says.

use super::*;

/// A thing that is deployed as one. Every key can be overridden for an environment under `in`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// What runs it: `process`, a process on this machine.
    #[serde(default)]
    pub(crate) target: Option<At<TargetName>>,
    /// What a version is: a directory, a file or an archive (tar.gz, tar.zst, tar, zip), by path or by address.
    /// Relative to the project. Without it the command must be on the machine already.
    #[serde(default)]
    pub(crate) artifact: Option<At<Either<Text, Artifact>>>,
    /// What makes the artifact: program and arguments. Runs only for a version that is not known yet, in a clean
    /// checkout of the revision that the version names.
    #[serde(default)]
    pub(crate) build: Option<Vec<At<Text>>>,
    /// What runs: program and arguments. The program is looked up in the artifact's folder, then in `PATH`.
    #[serde(default)]
    pub(crate) command: Option<At<Vec<At<Text>>>>,
    /// Environment variables, over a minimal environment: a text, or a secret by reference.
    #[serde(default)]
    pub(crate) env: Option<Entries<At<Either<Text, Secret>>>>,
    /// Values for templates, before those of the environment and the project.
    #[serde(default)]
    pub(crate) vars: Option<Entries<At<Text>>>,
    /// The version of an app that does not change with the others; `--all` leaves it alone.
    #[serde(default)]
    pub(crate) version: Option<At<Text>>,
    /// How many instances.
    #[serde(default)]
    pub(crate) instances: Option<At<u32>>,
    /// Apps that must be up before, in the same environment.
    #[serde(default)]
    pub(crate) depends_on: Option<Vec<At<Text>>>,
    /// Which requests it takes from the proxy; `{}` takes all.
    #[serde(default)]
    pub(crate) route: Option<At<Route>>,
    /// When an instance is healthy. Without it: when its port takes connections, or, without a port, when it stays up.
    #[serde(default)]
    pub(crate) health: Option<At<Health>>,
    /// A change of data that goes with a version; runs once per release and environment, before any new instance.
    #[serde(default)]
    pub(crate) migrate: Option<At<Migrate>>,
    /// What must hold before the new version is final.
    #[serde(default)]
    pub(crate) smoke: Option<Vec<At<Smoke>>>,
    /// Commands around a deployment.
    #[serde(default)]
    pub(crate) hooks: Option<Hooks>,
    /// How one version replaces another: a name, or a map with the name and its settings.
    #[serde(default)]
    pub(crate) strategy: Option<At<Either<StrategyName, StrategyMap>>>,
    /// How long the old version stays warm after the new one has all traffic.
    #[serde(default)]
    pub(crate) bake: Option<At<SpanText>>,
    /// How long requests in flight, and then the process itself, may take to finish.
    #[serde(default)]
    pub(crate) drain: Option<At<SpanText>>,
    /// How long a deployment may take; a rollback gets the same again.
    #[serde(default)]
    pub(crate) deadline: Option<At<SpanText>>,
    /// The user to run as, if not the engine's.
    #[serde(default)]
    pub(crate) user: Option<At<Text>>,
    /// Limits of each instance, where the kernel allows.
    #[serde(default)]
    pub(crate) limits: Option<Limits>,
    /// What happens when an instance exits by itself: it is started again, at once, then with doubling pauses.
    #[serde(default)]
    pub(crate) restart: Option<Restart>,
    /// How much output is kept per instance.
    #[serde(default)]
    pub(crate) log_max: Option<At<SizeText>>,
}

/// What runs an app.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct TargetName(pub(crate) String);

impl JsonSchema for TargetName {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TargetName".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "enum": ["process"] })
    }
}

/// Where an artifact comes from.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Artifact {
    /// A file or directory, relative to the project.
    #[serde(default)]
    pub(crate) path: Option<At<Text>>,
    /// An `http://` or `https://` address.
    #[serde(default)]
    pub(crate) url: Option<At<Text>>,
    /// What its bytes must be: a sha256 in lower-case hex.
    #[serde(default)]
    pub(crate) sha256: Option<At<Text>>,
}

/// A secret, by reference.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Secret {
    /// Where the value comes from: `env:NAME`, `file:PATH` or `stdin:`.
    pub(crate) secret: At<Text>,
}

/// Limits of one instance.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    /// Processor cores, such as `1.5`.
    #[serde(default)]
    pub(crate) cpu: Option<At<CoresText>>,
    /// Memory, such as `512MiB`.
    #[serde(default)]
    pub(crate) memory: Option<At<SizeText>>,
    /// Open files.
    #[serde(default)]
    pub(crate) files: Option<At<u64>>,
}

/// Restart of an instance that exits by itself.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Restart {
    /// The first pause; each one after it is twice as long.
    #[serde(default)]
    pub(crate) pause: Option<At<SpanText>>,
    /// The longest pause.
    #[serde(default)]
    pub(crate) pause_max: Option<At<SpanText>>,
    /// An instance that stays up this long counts as new again.
    #[serde(default)]
    pub(crate) reset_after: Option<At<SpanText>>,
}
