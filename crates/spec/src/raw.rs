//! The file as it is written. The doc comments here are the descriptions in the JSON Schema and the reference.

mod app;
mod checks;
mod compose;
mod kubernetes;
mod routing;
mod shapes;
mod strategy;

pub(crate) use app::*;
pub(crate) use checks::*;
pub(crate) use compose::*;
pub(crate) use kubernetes::*;
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
    #[schemars(extend("examples" = ["shop"]))]
    pub(crate) project: At<Text>,
    /// Where the history and everything else that is kept lives, if not on this machine: `kubernetes://CONTEXT/NAMESPACE`, a namespace
    /// that is there; without a context, of the cluster that deployctl runs in. `--state` goes before it.
    #[schemars(extend("examples" = ["kubernetes://prod/shop"]))]
    pub(crate) state: Option<At<Text>>,
    /// How `--in-cluster` runs deployctl as a Job in the state's namespace.
    #[schemars(extend("examples" = [{"image": "registry.example.com/deployctl:0.1.0"}]))]
    pub(crate) in_cluster: Option<InCluster>,
    /// Values for templates: `vars.NAME`. Those of an environment, and then those of an app, go before these.
    #[schemars(extend("examples" = [{"domain": "example.com"}]))]
    pub(crate) vars: Option<Entries<At<Text>>>,
    /// The environments, in order of promotion.
    #[schemars(extend("examples" = [{"dev": {}, "prod": {"after": "dev"}}]))]
    pub(crate) environments: Entries<Option<Environment>>,
    /// The apps. Each is deployed as one.
    #[schemars(extend("examples" = [{"api": {"command": ["./api", "--port", "{{ port }}"], "route": {}}}]))]
    pub(crate) apps: Entries<Settings>,
}

/// Where apps run: dev, test, prod, ...
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Environment {
    /// The environment in which an artifact must have succeeded before it may come here.
    #[schemars(extend("examples" = ["test"]))]
    pub(crate) after: Option<At<Text>>,
    /// How many people must approve a deployment. Needs a server: without one, deployments to here are refused.
    #[schemars(extend("default" = 0, "examples" = [2]))]
    pub(crate) approvals: Option<At<u32>>,
    /// The placements of this environment, visited in this order; without it there is one, called `default`.
    #[schemars(extend("examples" = [["eu", "us"]]))]
    pub(crate) regions: Option<Vec<At<Text>>>,
    /// Where the proxy listens: `IP:PORT`, or `https://IP:PORT` for TLS; one or a list. Without it, a free port on
    /// 127.0.0.1 is chosen once and kept.
    #[schemars(extend("examples" = [["0.0.0.0:80", "https://0.0.0.0:443"]]))]
    pub(crate) listen: Option<OneOrMany>,
    /// Values for templates, before those of the project.
    #[schemars(extend("examples" = [{"log_level": "debug"}]))]
    pub(crate) vars: Option<Entries<At<Text>>>,
    /// What every app here takes where it says nothing itself; any key of an app but `in`.
    #[schemars(extend("examples" = [{"strategy": "rolling", "instances": 1}]))]
    pub(crate) defaults: Option<Settings>,
}
