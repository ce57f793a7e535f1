//! The command line.

mod artifact;
mod kubernetes;

pub(crate) use artifact::{Artifact, Check, Copy, Key, OnPlatform, Promoted, Reference, TargetName};
pub(crate) use kubernetes::{InCluster, Kubernetes, Objects};

use clap::{Args, Parser, Subcommand, ValueEnum};
use deployctl_core::id::{AppName, EnvName, RegionName, Version};
use std::path::PathBuf;
use std::time::Duration;

/// Makes a version the running version: safely, watched, with one truthful verdict.
///
/// Without a command: what runs here, since when, by whom, and the command that undoes the last deployment.
#[derive(Parser)]
#[command(name = "deployctl", bin_name = "deployctl", version, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

const EXAMPLES: &str = "\
Examples:
  deployctl init                                          write a commented deployctl.yaml
  deployctl plan --env dev --all --version v1.0.0         show what would change
  deployctl deploy --env dev --all --version v1.0.0       deploy every app
  deployctl deploy --env prod --app api --version v1.1.0 --reason 'fixes login'
  deployctl rollback --env prod --app api                 back to what ran before
  deployctl status --env prod --output json

Exit codes: 0 done, 1 the deployment failed, 2 wrong usage or configuration, 3 refused, 4 another deployment is
at it, 5 something needed cannot be reached, 130 interrupted.";

/// Flags that every command takes.
#[derive(Args)]
pub(crate) struct Common {
    /// The project's directory; the nearest parent with a deployctl.yaml if not given.
    #[arg(long, global = true, value_name = "DIR", env = "DEPLOYCTL_PROJECT")]
    pub(crate) project: Option<PathBuf>,
    /// Where journal, artifacts and runtime live: a directory, or kubernetes://CONTEXT/NAMESPACE.
    #[arg(long, global = true, value_name = "DIR", env = "DEPLOYCTL_STATE")]
    pub(crate) state: Option<PathBuf>,
    /// How results are printed. JSON is a promise, human text is not.
    #[arg(long, global = true, value_enum, default_value_t, env = "DEPLOYCTL_OUTPUT")]
    pub(crate) output: Format,
}

/// What `--output` can say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Human,
    /// For scripts.
    Json,
    /// For code scanning: SARIF 2.1.0, of `artifact check` alone.
    Sarif,
}

/// For whom results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// For people.
    Human,
    /// For scripts.
    Json,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Look at the directory and write a commented deployctl.yaml.
    Init(Init),
    /// Check the specification for every environment.
    Validate(Overlays),
    /// Print the JSON Schema of deployctl.yaml.
    Schema,
    /// Print a completion script for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Show what a deploy would change; change nothing.
    Plan(Plan),
    /// Make a version the running version.
    Deploy(Deploy),
    /// Undo the last deployment that is in effect, or go back to a retained version.
    Rollback(Rollback),
    /// Deploy to one environment what is current in another.
    Promote(Promote),
    /// What is running, how healthy, and which deployment put it there.
    Status(Status),
    /// Run the health check of every instance now and say what it answers; exit 1 unless all are healthy.
    Health(OneApp),
    /// Apps and their versions per environment.
    List(Place),
    /// Past deployments, newest first.
    History(History),
    /// What differs between two versions, environments, deployments or releases.
    Diff(Diff),
    /// Everything about a deployment.
    Show(Id),
    /// Follow a deployment until it ends.
    Attach(Follow),
    /// Stop a deployment and turn it back.
    Cancel(Steer),
    /// Let a deployment stand still at its next waypoint.
    Pause(Steer),
    /// Let a paused deployment go on.
    Resume(Steer),
    /// Approve a deployment (needs a server).
    Approve(Id),
    /// Reject a deployment (needs a server).
    Reject(Id),
    /// Replace the instances of what is current by new ones.
    Restart(Change),
    /// Stop an app; its data and releases stay.
    Down(Down),
    /// Answer requests with a maintenance page, or stop doing so.
    Maintenance(Maintenance),
    /// What the instances print.
    Logs(Logs),
    /// What deployctl takes of the disk, its images and volumes with it, and what is free.
    Disk,
    /// Who did what, from the journal.
    Audit(Audit),
    /// Images and other artifacts: what a name means, copying, promoting, signatures, whether a target can run it.
    Artifact {
        #[command(subcommand)]
        what: Artifact,
    },
    /// What Kubernetes says about its objects, in one word each.
    Kubernetes {
        #[command(subcommand)]
        what: Kubernetes,
    },
    /// The engine from boot on.
    Service {
        #[command(subcommand)]
        what: Service,
    },
    /// The engine for a team (not built yet).
    Serve,
}

impl Command {
    /// Whether it is to write JSON lines as it goes.
    pub(crate) fn json_log(&self) -> bool {
        match self {
            Self::Deploy(args) => args.waiting.json_log,
            Self::Rollback(args) => args.waiting.json_log,
            Self::Promote(args) => args.waiting.json_log,
            Self::Restart(args) => args.waiting.json_log,
            Self::Down(args) => args.change.waiting.json_log,
            Self::Attach(args) => args.json_log,
            _ => false,
        }
    }
}

#[derive(Args)]
pub(crate) struct Init {
    /// Replace an existing deployctl.yaml.
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Args)]
pub(crate) struct Overlays {
    /// Laid over the specification last; may be given several times.
    #[arg(long = "config", value_name = "FILE", env = "DEPLOYCTL_CONFIG", value_delimiter = ':')]
    pub(crate) config: Vec<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) place: Place,
    /// List everything that somebody changed by hand since the last deployment, and who, where the target knows; exit 1 if there is
    /// anything.
    #[arg(long)]
    pub(crate) drift: bool,
}

#[derive(Args)]
pub(crate) struct Place {
    /// Only this environment.
    #[arg(long, value_name = "ENV", env = "DEPLOYCTL_ENV")]
    pub(crate) env: Option<EnvName>,
    /// Only this app.
    #[arg(long, value_name = "APP", env = "DEPLOYCTL_APP")]
    pub(crate) app: Option<AppName>,
    /// Only this region.
    #[arg(long, value_name = "REGION", env = "DEPLOYCTL_REGION")]
    pub(crate) region: Option<RegionName>,
}

#[derive(Args)]
pub(crate) struct OneApp {
    /// The environment.
    #[arg(long, value_name = "ENV", env = "DEPLOYCTL_ENV")]
    pub(crate) env: EnvName,
    /// The app.
    #[arg(long, value_name = "APP", env = "DEPLOYCTL_APP")]
    pub(crate) app: AppName,
    /// Only this region.
    #[arg(long, value_name = "REGION", env = "DEPLOYCTL_REGION")]
    pub(crate) region: Option<RegionName>,
}

/// Where something is changed: one app or all of them.
#[derive(Args)]
pub(crate) struct Where {
    /// The environment.
    #[arg(long, value_name = "ENV", env = "DEPLOYCTL_ENV")]
    pub(crate) env: EnvName,
    #[command(flatten)]
    pub(crate) apps: Apps,
    /// Only this region.
    #[arg(long, value_name = "REGION", env = "DEPLOYCTL_REGION")]
    pub(crate) region: Option<RegionName>,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Apps {
    /// The app.
    #[arg(long, value_name = "APP", env = "DEPLOYCTL_APP")]
    pub(crate) app: Option<AppName>,
    /// Every app of the environment, together.
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) place: Where,
    /// The version; apps that pin their own keep it.
    #[arg(long, value_name = "VERSION", env = "DEPLOYCTL_VERSION")]
    pub(crate) version: Option<Version>,
    #[command(flatten)]
    pub(crate) overlays: Overlays,
    #[command(flatten)]
    pub(crate) build: Build,
    /// Take back what others changed by hand of what the release says, also where the version is current already.
    #[arg(long, env = "DEPLOYCTL_CORRECT_DRIFT")]
    pub(crate) correct_drift: bool,
    /// Keep the plan in this file, for `deploy --plan`.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Build {
    /// Build an unknown version from the directory as it is; the release is marked so.
    #[arg(long, env = "DEPLOYCTL_BUILD_HERE")]
    pub(crate) build_here: bool,
}

/// How a change is waited for.
#[derive(Args)]
pub(crate) struct Waiting {
    /// Wait so long for another deployment to end, such as 10m.
    #[arg(long, value_name = "DURATION", value_parser = duration, env = "DEPLOYCTL_WAIT")]
    pub(crate) wait: Option<Duration>,
    /// Return once it is accepted, and print its id.
    #[arg(long, env = "DEPLOYCTL_DETACH")]
    pub(crate) detach: bool,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT", env = "DEPLOYCTL_REASON")]
    pub(crate) reason: Option<String>,
    /// One JSON object a line on standard output, with Elastic Common Schema names.
    #[arg(long, env = "DEPLOYCTL_JSON_LOG")]
    pub(crate) json_log: bool,
}

#[derive(Args)]
pub(crate) struct Deploy {
    #[command(flatten)]
    pub(crate) place: Where,
    /// The version; apps that pin their own keep it.
    #[arg(long, value_name = "VERSION", env = "DEPLOYCTL_VERSION")]
    pub(crate) version: Option<Version>,
    #[command(flatten)]
    pub(crate) overlays: Overlays,
    #[command(flatten)]
    pub(crate) build: Build,
    /// Take back what others changed by hand of what the release says, also where the version is current already.
    #[arg(long, env = "DEPLOYCTL_CORRECT_DRIFT")]
    pub(crate) correct_drift: bool,
    /// Do exactly this saved plan, or refuse.
    #[arg(long, value_name = "FILE")]
    pub(crate) plan: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) in_cluster: InCluster,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

#[derive(Args)]
pub(crate) struct Rollback {
    #[command(flatten)]
    pub(crate) place: Where,
    /// Go to this retained version instead of the one before.
    #[arg(long, value_name = "VERSION")]
    pub(crate) version: Option<Version>,
    /// Only if this version is current.
    #[arg(long, value_name = "VERSION")]
    pub(crate) from: Option<Version>,
    /// Even across a migration that cannot be undone.
    #[arg(long)]
    pub(crate) across_migration: bool,
    #[command(flatten)]
    pub(crate) in_cluster: InCluster,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

#[derive(Args)]
pub(crate) struct Promote {
    #[command(flatten)]
    pub(crate) apps: Apps,
    /// The environment whose current artifact is taken.
    #[arg(long, value_name = "ENV")]
    pub(crate) from: EnvName,
    /// The environment that it is deployed to.
    #[arg(long, value_name = "ENV")]
    pub(crate) to: EnvName,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

#[derive(Args)]
pub(crate) struct Change {
    #[command(flatten)]
    pub(crate) place: Where,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

#[derive(Args)]
pub(crate) struct Down {
    #[command(flatten)]
    pub(crate) change: Change,
    /// Objects of a cluster: leave them as they are, for the tool that they came from; only what deployctl keeps of them goes.
    #[arg(long)]
    pub(crate) hand_back: bool,
    /// Objects of a cluster: delete what holds data as well, for good: claims, volumes, definitions of kinds, and the namespace that
    /// was made for the app. Without it they stay.
    #[arg(long, conflicts_with = "hand_back")]
    pub(crate) delete_data: bool,
}

#[derive(Args)]
pub(crate) struct History {
    #[command(flatten)]
    pub(crate) place: Place,
    /// At most so many.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
}

#[derive(Args)]
pub(crate) struct Diff {
    /// A version, environment, deployment or release.
    pub(crate) a: String,
    /// Another one.
    pub(crate) b: String,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Args)]
pub(crate) struct Id {
    /// The deployment, or an unambiguous beginning or end of its id.
    #[arg(value_name = "ID", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) id: String,
}

#[derive(Args)]
pub(crate) struct Follow {
    #[command(flatten)]
    pub(crate) id: Id,
    /// One JSON object a line on standard output, with Elastic Common Schema names.
    #[arg(long)]
    pub(crate) json_log: bool,
}

#[derive(Args)]
pub(crate) struct Steer {
    #[command(flatten)]
    pub(crate) id: Id,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

#[derive(Args)]
pub(crate) struct Maintenance {
    /// On or off.
    #[arg(value_enum)]
    pub(crate) switch: Switch,
    #[command(flatten)]
    pub(crate) place: Where,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    /// Answer with the maintenance page.
    On,
    /// Pass requests on again.
    Off,
}

#[derive(Args)]
pub(crate) struct Logs {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Go on with new lines.
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// So many of the last lines per instance.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) tail: usize,
}

#[derive(Args)]
pub(crate) struct Audit {
    #[command(subcommand)]
    pub(crate) what: Option<AuditWhat>,
    /// At most so many entries.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: usize,
}

#[derive(Subcommand)]
pub(crate) enum AuditWhat {
    /// Check the whole journal for edits.
    Verify {
        /// A head that was printed earlier: nothing before it may have changed.
        #[arg(long, value_name = "HASH")]
        head: Option<deployctl_core::id::Sha256Hex>,
    },
}

#[derive(Subcommand)]
pub(crate) enum Service {
    /// Write a systemd unit that keeps the engine of a state directory running from boot on.
    Install {
        /// Only print the unit.
        #[arg(long)]
        print: bool,
        /// Where the unit is written.
        #[arg(long, value_name = "FILE", default_value = "/etc/systemd/system/deployctl.service")]
        unit: PathBuf,
    },
}

/// `90s`, `10m`, `1h`, `250ms`, or a plain number of seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| format!("`{text}` is no duration; write 90s, 10m or 1h"))?;
    let unit = match &text[digits..] {
        "ms" => return Ok(Duration::from_millis(number)),
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        other => return Err(format!("`{other}` is no unit of time; use ms, s, m or h")),
    };
    number.checked_mul(unit).map(Duration::from_secs).ok_or_else(|| format!("`{text}` is too long"))
}
