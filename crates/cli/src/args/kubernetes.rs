//! What `kubernetes` takes.

use clap::{Args, Subcommand};
use std::path::PathBuf;

const VERDICT: &str = "\
Examples:
  kubectl get deploy,rs,pods,events -o json | deployctl kubernetes verdict -
  kubectl get -f kubernetes/prod -o json | deployctl kubernetes verdict - --output json

Replica sets, pods and events in the input explain those that own them.

Exit codes: 0 all is ready, as far as it says, 1 something has failed, 2 the input is no list of objects,
6 something is not ready yet.";

#[derive(Subcommand)]
pub(crate) enum Kubernetes {
    /// Is each object ready, progressing, failed, or unknown; and why? Without a cluster.
    #[command(after_help = VERDICT)]
    Verdict(Objects),
    /// What the Job of `--in-cluster` runs: do what the request in a file asks for.
    #[command(hide = true)]
    Carry(Carried),
}

#[derive(Args)]
pub(crate) struct Carried {
    /// The request.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// Where a deployment is carried out.
#[derive(Args)]
pub(crate) struct InCluster {
    /// Carry it out by a Job in the namespace of the state, which outlives this command.
    #[arg(long, env = "DEPLOYCTL_IN_CLUSTER")]
    pub(crate) in_cluster: bool,
    /// The image of deployctl for that; else the specification says it.
    #[arg(long, value_name = "IMAGE", env = "DEPLOYCTL_IN_CLUSTER_IMAGE")]
    pub(crate) in_cluster_image: Option<String>,
}

#[derive(Args)]
pub(crate) struct Objects {
    /// What `kubectl get ... -o json` printed; - for standard input.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}
