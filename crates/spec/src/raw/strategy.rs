//! What an app says about how one version replaces another.

use super::*;

/// How one version replaces another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum StrategyName {
    /// Stop all, start all; requests are held meanwhile.
    Recreate,
    /// A few at a time.
    Rolling,
    /// All beside the old ones, then one switch.
    BlueGreen,
    /// A share of the traffic, in steps.
    Canary,
}

/// How one version replaces another, with settings: exactly one of these keys.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct StrategyMap {
    /// Stop all, start all; requests are held meanwhile. It has no settings.
    #[schemars(extend("examples" = [{}]))]
    pub(crate) recreate: Option<At<Recreate>>,
    /// A few at a time.
    #[schemars(extend("examples" = [{"surge": 1, "unavailable": 0}]))]
    pub(crate) rolling: Option<At<Rolling>>,
    /// All beside the old ones, then one switch.
    #[schemars(extend("examples" = [{"bake": "10m"}]))]
    pub(crate) blue_green: Option<At<BlueGreen>>,
    /// A share of the traffic, in steps.
    #[schemars(extend("examples" = [{"steps": ["5%", "25%"], "analysis": {}}]))]
    pub(crate) canary: Option<At<Canary>>,
}

/// Recreate has no settings.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recreate {}

/// A few at a time.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rolling {
    /// How many instances more than wanted there may be: a count or a percentage.
    #[schemars(extend("default" = "25%", "examples" = [2]))]
    pub(crate) surge: Option<At<AmountText>>,
    /// How many fewer than wanted there may be: a count or a percentage.
    #[schemars(extend("default" = 0, "examples" = ["10%"]))]
    pub(crate) unavailable: Option<At<AmountText>>,
}

/// All beside the old ones, then one switch.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BlueGreen {
    /// How long the old version stays warm after the switch; the same as `bake` of the app.
    #[schemars(extend("default" = "0s", "examples" = ["10m"]))]
    pub(crate) bake: Option<At<SpanText>>,
}

/// A share of the traffic, in steps.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Canary {
    /// Shares of the traffic for the new version, rising, each below 100%.
    #[schemars(extend("default" = ["10%", "50%"], "examples" = [["1%", "10%", "50%"]]))]
    pub(crate) steps: Option<At<Vec<At<PercentText>>>>,
    /// How long each step is held before the next.
    #[schemars(extend("default" = "30s", "examples" = ["5m"]))]
    pub(crate) hold: Option<At<SpanText>>,
    /// Compare the new version's answers with the old one's; worse ones turn it back.
    #[schemars(extend("examples" = [{"requests_min": 500}]))]
    pub(crate) analysis: Option<At<Analysis>>,
    /// Keep a client on the side that it first got: `cookie`, or `{header: NAME}`.
    #[schemars(extend("examples" = ["cookie"]))]
    pub(crate) sticky: Option<At<Either<StickyName, StickyMap>>>,
}

/// Comparison of the canary with the old version.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Analysis {
    /// Fewer requests than this on the canary are inconclusive: it waits.
    #[schemars(extend("default" = 100, "examples" = [500]))]
    pub(crate) requests_min: Option<At<u64>>,
}

/// By what a client is kept on one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum StickyName {
    /// A cookie that the proxy sets.
    Cookie,
}

/// By what a client is kept on one side.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StickyMap {
    /// A request header of this name.
    #[schemars(extend("examples" = ["X-User"]))]
    pub(crate) header: At<Text>,
}
