//! What is said of a service of a Compose file.

use super::*;

/// What a Compose file cannot say of a service. The same keys stand under `x-deployctl` in the Compose file; what is said
/// here goes before.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Service {
    /// Which requests it takes from the proxy. A service with one published port that keeps no data takes those of that
    /// port without it.
    #[schemars(extend("examples" = [{"host": "shop.example.com"}]))]
    pub(crate) route: Option<At<Route>>,
    /// The port that the program listens on in its container, where no published port says it.
    #[schemars(extend("examples" = [8080]))]
    pub(crate) port: Option<At<u32>>,
    /// How many instances, if not as many as the file says.
    #[schemars(extend("examples" = [4]))]
    pub(crate) instances: Option<At<u32>>,
    /// How one version replaces another. Without it, `rolling`; for a service that keeps data, `recreate`.
    #[schemars(extend("examples" = ["blue-green"]))]
    pub(crate) strategy: Option<At<Either<StrategyName, StrategyMap>>>,
    /// Whether it keeps data, so that no two versions may run at a time. Without it, whether it writes to a named volume
    /// or to a folder of this machine.
    #[schemars(extend("examples" = [false]))]
    pub(crate) stateful: Option<At<bool>>,
    /// Whether it runs to its end, once per version, before what depends on it. Without it, whether another service waits
    /// for it to complete.
    #[schemars(extend("examples" = [true]))]
    pub(crate) job: Option<At<bool>>,
    /// How long it may take, if it is a job.
    #[schemars(extend("default" = "5m", "examples" = ["1h"]))]
    pub(crate) timeout: Option<At<SpanText>>,
    /// Whether running it twice is as good as once, if it is a job.
    #[schemars(extend("default" = false, "examples" = [true]))]
    pub(crate) repeatable: Option<At<bool>>,
    /// What takes it back, if it is a job: what is given to the image's entrypoint.
    #[schemars(extend("examples" = [["./migrate", "down"]]))]
    pub(crate) undo: Option<At<Vec<At<Text>>>>,
    /// Whether nothing takes it back, if it is a job: an automatic rollback stops here and says so.
    #[schemars(extend("default" = false, "examples" = [true]))]
    pub(crate) irreversible: Option<At<bool>>,
    /// When an instance is healthy, instead of what the file or the image says.
    #[schemars(extend("examples" = [{"http": "/healthz", "within": "20s"}]))]
    pub(crate) health: Option<At<Health>>,
    /// What must hold before the new version is final.
    #[schemars(extend("default" = [], "examples" = [[{"http": "/version", "expect": {"body": "{{ version }}"}}]]))]
    pub(crate) smoke: Option<Vec<At<Smoke>>>,
    /// A change of data that goes with a version; a service that another one waits for to complete needs none.
    #[schemars(extend("examples" = [{"run": ["./migrate", "up"]}]))]
    pub(crate) migrate: Option<At<Migrate>>,
    /// Commands around a deployment.
    #[schemars(extend("examples" = [{"after": [["./announce"]]}]))]
    pub(crate) hooks: Option<Hooks>,
    /// How long the old version stays warm after the new one has all traffic.
    #[schemars(extend("default" = "0s", "examples" = ["5m"]))]
    pub(crate) bake: Option<At<SpanText>>,
    /// How long a deployment may take; a rollback gets the same again.
    #[schemars(extend("default" = "10m", "examples" = ["30m"]))]
    pub(crate) deadline: Option<At<SpanText>>,
}
