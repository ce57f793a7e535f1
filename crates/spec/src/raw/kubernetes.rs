//! What is said of objects of a cluster.

use super::*;

/// A Helm chart, rendered by `helm template` when a version is planned or deployed; Helm itself changes nothing in the
/// cluster.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Helm {
    /// The chart: a directory or an archive, relative to the project; `oci://...`; or its name in `repository`.
    #[schemars(extend("examples" = ["charts/shop"]))]
    pub(crate) chart: At<Text>,
    /// The address of the repository that has the chart.
    #[schemars(extend("examples" = ["https://charts.example.com"]))]
    pub(crate) repository: Option<At<Text>>,
    /// The version of the chart, where it is not a directory of the project.
    #[schemars(extend("examples" = ["1.4.2"]))]
    pub(crate) version: Option<At<Text>>,
    /// Files with values, relative to the project; each goes before the ones in front of it.
    #[schemars(extend("default" = [], "examples" = [["values.yaml", "values-{{ environment }}.yaml"]]))]
    pub(crate) values: Option<Vec<At<Text>>>,
    /// Single values, before those of the files: `image.tag` is `tag` below `image`. What has a template in it is a text.
    #[schemars(extend("examples" = [{"image.tag": "{{ version }}"}]))]
    pub(crate) set: Option<Entries<At<Text>>>,
    /// What the release is called in the templates. Without it, as the app.
    #[schemars(extend("examples" = ["shop"]))]
    pub(crate) release: Option<At<Text>>,
    /// Which Kubernetes the chart is told that it is for. Without it, the one that `helm` takes.
    #[schemars(extend("examples" = ["1.33"]))]
    pub(crate) kube_version: Option<At<Text>>,
    /// Which APIs the chart is told that the cluster has, besides Kubernetes' own.
    #[schemars(extend("default" = [], "examples" = [["monitoring.coreos.com/v1"]]))]
    pub(crate) api_versions: Option<Vec<At<Text>>>,
}

/// How deployctl runs in the cluster.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InCluster {
    /// The image of deployctl that the cluster pulls. `--in-cluster-image` goes before it.
    #[schemars(extend("examples" = ["registry.example.com/deployctl:0.1.0"]))]
    pub(crate) image: Option<At<Text>>,
    /// The service account by whose right it acts.
    #[schemars(extend("default" = "deployctl", "examples" = ["deployer"]))]
    pub(crate) service_account: Option<At<Text>>,
}
