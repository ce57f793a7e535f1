//! An app's configuration for one environment, resolved: no template of the file is left, only values that are bound
//! when an instance starts. Part of a release, and so of its identity.

mod artifact;
mod compose;
mod container;
mod kubernetes;

pub use artifact::{Artifact, ArtifactFormat, ArtifactSource};
pub use compose::{ComposeNetwork, ComposeService, ComposeVolume, EngineCheck, EngineOptions, Publish};
pub use container::{DockerConfig, Volume};
pub use kubernetes::{JobsAs, KubernetesConfig, ManifestObject};

use crate::desired::{Extent, JobKind};
use crate::id::AppName;
use crate::time::Span;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A text with values in it that are known only when an instance starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LateText(pub Vec<LatePart>);

/// A piece of a [`LateText`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LatePart {
    /// As it stands.
    Text(String),
    /// The port of this instance.
    Port,
    /// The app's data folder, kept by every deploy, rollback and prune.
    Data,
    /// The instance's own scratch folder.
    Folder,
    /// The slot number of this instance, from 0.
    Slot,
    /// `HOST:PORT` under which another app answers.
    Address(AppName),
}

impl LateText {
    /// A text without late values.
    pub fn plain(text: impl Into<String>) -> Self {
        Self(vec![LatePart::Text(text.into())])
    }

    /// The text with each late value replaced by what `bind` says for it.
    pub fn bind<E>(&self, mut bind: impl FnMut(&LatePart) -> Result<String, E>) -> Result<String, E> {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                LatePart::Text(text) => out.push_str(text),
                late => out.push_str(&bind(late)?),
            }
        }
        Ok(out)
    }

    /// The apps whose address it needs.
    pub fn addresses(&self) -> impl Iterator<Item = &AppName> {
        self.0.iter().filter_map(|part| match part {
            LatePart::Address(app) => Some(app),
            _ => None,
        })
    }
}

/// Where a secret's value comes from, such as `env:API_KEY`, `file:/run/key`, `stdin:`. Never the value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretRef(pub String);

/// The value of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvValue {
    /// A text.
    Text(LateText),
    /// A secret, by reference.
    Secret(SecretRef),
}

/// An app, resolved for one environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppConfig {
    /// What runs it.
    pub target: TargetConfig,
    /// How many instances.
    pub instances: u32,
    /// How one release replaces another.
    pub strategy: Strategy,
    /// Apps that must be up before, in the same environment.
    pub depends_on: Vec<AppName>,
    /// Traffic from the proxy, if it takes any.
    pub route: Option<Route>,
    /// When an instance is healthy; without it, when its port listens, or, without a port, when it stays up.
    pub health: Option<Health>,
    /// What must hold before the new release is final.
    pub smoke: Vec<Smoke>,
    /// A change of data that goes with the release.
    pub migrate: Option<Migrate>,
    /// Commands around a deployment.
    pub hooks: Hooks,
    /// How long requests in flight, and then the process itself, may take to finish.
    pub drain: Span,
    /// How long a deployment may take; a rollback gets the same again.
    pub deadline: Span,
    /// How long the old release stays warm after the new one has all traffic.
    pub bake: Span,
}

impl AppConfig {
    /// The command of a job; none if there is no such job.
    pub fn command(&self, kind: JobKind) -> Option<&Command> {
        match kind {
            JobKind::Before(i) => self.hooks.before.get(i),
            JobKind::After(i) => self.hooks.after.get(i),
            JobKind::Migrate => self.migrate.as_ref().map(|migrate| &migrate.run),
            JobKind::Undo => self.migrate.as_ref()?.undo.as_ref(),
            JobKind::Smoke(i) => match self.smoke.get(i)? {
                Smoke::Command(command) => Some(command),
                Smoke::Http { .. } => None,
            },
        }
    }
}

/// What runs the instances of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetConfig {
    /// Local processes.
    Process(ProcessConfig),
    /// Containers of a Docker Engine on this machine.
    Docker(DockerConfig),
    /// Objects of a Kubernetes cluster.
    Kubernetes(KubernetesConfig),
}

impl TargetConfig {
    /// Whether its instances have a port.
    pub fn has_port(&self) -> bool {
        match self {
            Self::Process(process) => process.port,
            Self::Docker(docker) => docker.port.is_some(),
            Self::Kubernetes(_) => false,
        }
    }

    /// How far a release extends that wants so many instances.
    pub fn extent(&self, instances: u32) -> Extent {
        match self {
            Self::Process(_) | Self::Docker(_) => Extent::Count(instances),
            Self::Kubernetes(_) => Extent::Auto,
        }
    }

    /// How long what runs it may be in trouble that may heal, before that condemns the release.
    pub fn patience(&self) -> Option<Span> {
        match self {
            Self::Process(_) | Self::Docker(_) => None,
            Self::Kubernetes(kubernetes) => Some(kubernetes.patience),
        }
    }

    /// Whether other instances of the same release can be had: ours always, those of a cluster where it updates them itself.
    pub fn has_restarts(&self) -> bool {
        match self {
            Self::Process(_) | Self::Docker(_) => true,
            Self::Kubernetes(kubernetes) => kubernetes.objects.iter().any(|manifest| updates_pods(&manifest.object)),
        }
    }

    /// The same without what is large and only the target needs: it takes that from the release.
    pub fn without_bulk(mut self) -> Self {
        if let Self::Kubernetes(kubernetes) = &mut self {
            kubernetes.objects = Vec::new();
        }
        self
    }

    /// Every text with values in it that are known only when an instance starts.
    pub fn texts(&self) -> impl Iterator<Item = &LateText> {
        let (command, texts): (&[LateText], Vec<&LateText>) = match self {
            Self::Process(process) => {
                let env = process.env.values().filter_map(|value| match value {
                    EnvValue::Text(text) => Some(text),
                    EnvValue::Secret(_) => None,
                });
                (&process.command, env.collect())
            }
            Self::Docker(docker) => (docker.command.as_deref().unwrap_or_default(), docker.env.values().collect()),
            Self::Kubernetes(_) => (&[], Vec::new()),
        };
        command.iter().chain(texts)
    }
}

/// How a process is run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessConfig {
    /// Program and arguments; the program is looked up in the artifact's folder, then in `PATH`.
    pub command: Vec<LateText>,
    /// Environment variables, over a minimal environment.
    pub env: BTreeMap<String, EnvValue>,
    /// Whether an instance listens on a port of its own (it does if `port` is used anywhere, or if it is routed).
    pub port: bool,
    /// The user to run as, if not the engine's.
    pub user: Option<String>,
    /// Limits, where the kernel allows.
    pub limits: Limits,
    /// What happens when an instance exits by itself.
    pub restart: Restart,
    /// How much output is kept per instance, in bytes.
    pub log_bytes_max: u64,
}

/// Limits of one instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Processor time, in thousandths of a core.
    pub cpu_millis: Option<u64>,
    /// Memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// Open files.
    pub files: Option<u64>,
}

/// Restart of an instance that exits by itself: at once, then with doubling pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    /// The first pause.
    pub pause: Span,
    /// The longest pause.
    pub pause_max: Span,
    /// An instance that stays up this long counts as new again.
    pub reset_after: Span,
}

impl Default for Restart {
    fn default() -> Self {
        Self { pause: Span::ms(100), pause_max: Span::secs(30), reset_after: Span::secs(30) }
    }
}

/// How one release replaces another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Stop all, start all; requests are held meanwhile.
    Recreate,
    /// A few at a time.
    Rolling {
        /// How many instances more than wanted there may be.
        surge: Amount,
        /// How many fewer than wanted there may be.
        unavailable: Amount,
    },
    /// All beside the old ones, then one switch.
    BlueGreen,
    /// A share of the traffic, in steps.
    Canary(Canary),
}

/// A count or a share of a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Amount {
    /// So many.
    Count(u32),
    /// So many of a hundred.
    Percent(u32),
}

/// The steps of a canary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// Shares of the traffic for the new release, in hundredths of a percent, rising, each below 10,000.
    pub steps: Vec<u32>,
    /// How long each step is held before the next.
    pub hold: Span,
    /// When the new release's answers are compared with the old one's, and how strictly.
    pub analysis: Option<Analysis>,
    /// Keep a client on the side that it first got.
    pub sticky: Option<Sticky>,
}

/// Comparison of the canary with the old release, from the proxy's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Analysis {
    /// Fewer requests than this on the canary are inconclusive: wait.
    pub requests_min: u64,
}

/// By what a client is kept on one side of a canary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sticky {
    /// A cookie that the proxy sets.
    Cookie,
    /// A request header of this name, hashed.
    Header(String),
}

/// Which requests an app takes from the proxy, and how they are treated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Addresses of the environment (its `listen`) where the route is reached by host; besides these every routed scope
    /// has a loopback address of its own.
    pub listen: Vec<Listen>,
    /// Addresses, `IP:PORT`, that lead here alone, whatever the host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub published: Vec<String>,
    /// Host names; `*.example.com` takes one label more; empty takes any host.
    pub hosts: Vec<String>,
    /// Requests whose host is one of these are redirected to the first of `hosts`.
    pub redirect_hosts: Vec<String>,
    /// The path prefix, at a segment's border; `/` takes all.
    pub path: String,
    /// Whether the prefix is taken off before the request is passed on.
    pub strip: bool,
    /// Whether plain HTTP is redirected to HTTPS.
    pub https_only: bool,
    /// Certificate and key, in PEM, for `hosts`.
    pub tls: Option<TlsFiles>,
    /// The largest request body, in bytes.
    pub body_bytes_max: Option<u64>,
    /// How long the instance may take until its answer begins.
    pub timeout: Span,
    /// How long requests are held, at most, while no instance is there (recreate).
    pub hold: Span,
    /// Whether instances speak HTTP/2 without TLS (gRPC).
    pub h2: bool,
    /// Files with pages for errors of the proxy itself, by status.
    #[serde(with = "by_status")]
    pub error_pages: BTreeMap<u16, String>,
    /// Whether requests are logged.
    pub access_log: bool,
}

/// Statuses are read as texts: an event, which is read by its `type` first, gives no other keys.
mod by_status {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
    use std::collections::BTreeMap;

    pub(super) fn serialize<S: Serializer>(pages: &BTreeMap<u16, String>, to: S) -> Result<S::Ok, S::Error> {
        pages.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<u16, String>, D::Error> {
        let pages = BTreeMap::<String, String>::deserialize(from)?;
        let number = |text: String| text.parse().map_err(|_| D::Error::custom(format!("`{text}` is no status")));
        pages.into_iter().map(|(status, page)| Ok((number(status)?, page))).collect()
    }
}

/// An address that an environment listens on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    /// `IP:PORT`.
    pub address: String,
    /// Whether it speaks TLS.
    pub tls: bool,
}

/// Where certificate chain and key are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsFiles {
    /// The chain, PEM.
    pub certificate: String,
    /// The key, PEM.
    pub key: String,
}

/// When an instance is healthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// What is asked.
    pub check: Check,
    /// A new instance that is not healthy after this span never will be.
    pub within: Span,
    /// The pause between two checks once it is up.
    pub interval: Span,
    /// How long one check may take.
    pub timeout: Span,
    /// So many failures in a row make an instance unhealthy.
    pub failures: u32,
}

/// A question to an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// GET of a path; 2xx and 3xx are healthy.
    Http(String),
    /// The port takes connections.
    Tcp,
    /// A command exits 0.
    Command(Vec<LateText>),
}

/// A test of the new release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Smoke {
    /// A request to a new instance and what must come back.
    Http {
        /// The path.
        path: String,
        /// The status; any 2xx if none.
        status: Option<u16>,
        /// The whole body, ends trimmed.
        body: Option<String>,
        /// A piece of the body.
        contains: Option<String>,
    },
    /// A command in the release's folder; exit 0 is good.
    Command(Command),
}

/// A command that runs to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Program and arguments.
    pub run: Vec<LateText>,
    /// How long it may take.
    pub timeout: Span,
    /// Whether running it twice is as good as once; if not, an unknown outcome is never tried again.
    pub repeatable: bool,
}

/// A change of data that goes with a release; runs once per release and environment, before any new instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migrate {
    /// Forward.
    pub run: Command,
    /// Back, if there is a way.
    pub undo: Option<Command>,
    /// No way back: the automatic rollback stops and says so.
    pub irreversible: bool,
}

/// Commands around a deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hooks {
    /// Before anything changes.
    pub before: Vec<Command>,
    /// After the new release has all traffic; failing turns it back.
    pub after: Vec<Command>,
}

/// Whether a cluster makes the pods of an object anew when the template that they are made from changes.
pub fn updates_pods(object: &serde_json::Value) -> bool {
    let is_apps = object["apiVersion"].as_str().is_some_and(|version| version.starts_with("apps/"));
    is_apps && matches!(object["kind"].as_str(), Some("Deployment" | "StatefulSet" | "DaemonSet"))
}
