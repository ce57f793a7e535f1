//! The file as it is written. The doc comments here are the descriptions in the JSON Schema and the reference.

mod app;
mod checks;
mod routing;
mod shapes;
mod strategy;

pub(crate) use app::*;
pub(crate) use checks::*;
pub(crate) use routing::*;
pub(crate) use shapes::*;
pub(crate) use strategy::*;

use schemars::JsonSchema;
use serde::Deserialize;

/// What is deployed, and where to: the specification of a project, `deployctl.yaml`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "deployctl.yaml")]
pub(crate) struct Document {
    /// The project's name: 1 to 63 characters of a-z, 0-9 and -.
    pub(crate) project: At<Text>,
    /// Values for templates: `vars.NAME`. Those of an environment, and then those of an app, go before these.
    #[serde(default)]
    pub(crate) vars: Option<Entries<At<Text>>>,
    /// The environments, in order of promotion.
    pub(crate) environments: Entries<Option<Environment>>,
    /// The apps. Each is deployed as one.
    pub(crate) apps: Entries<Settings>,
}

/// Where apps run: dev, test, prod, ...
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Environment {
    /// The environment in which an artifact must have succeeded before it may come here.
    #[serde(default)]
    pub(crate) after: Option<At<Text>>,
    /// How many people must approve a deployment. Needs a server: without one, deployments to here are refused.
    #[serde(default)]
    pub(crate) approvals: Option<At<u32>>,
    /// The placements of this environment, visited in this order; without it there is one, called `default`.
    #[serde(default)]
    pub(crate) regions: Option<Vec<At<Text>>>,
    /// Where the proxy listens: `IP:PORT`, or `https://IP:PORT` for TLS; one or a list. Without it, a free port on
    /// 127.0.0.1 is chosen once and kept.
    #[serde(default)]
    pub(crate) listen: Option<OneOrMany>,
    /// Values for templates, before those of the project.
    #[serde(default)]
    pub(crate) vars: Option<Entries<At<Text>>>,
    /// What every app here takes where it says nothing itself; any key of an app but `in`.
    #[serde(default)]
    pub(crate) defaults: Option<Settings>,
}
