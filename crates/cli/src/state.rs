//! Where the state is: a directory that is ours alone, or a namespace of a cluster.

use crate::fail::Failure;
use crate::project;
use deployctl_core::ask::{Refused, RefusedKind};
use deployctl_core::id::Sha256Hex;
use std::fmt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The state directory of a system service.
pub(crate) const SYSTEM: &str = "/var/lib/deployctl";

/// Where a state is, and the folder of what runs here because of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// The state directory; of a state in a cluster, what may be lost: socket, lock, the binary's copy.
    pub(crate) folder: PathBuf,
    /// The namespace that has it, if it is in a cluster.
    pub(crate) cluster: Option<Namespace>,
}

/// A namespace of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Namespace {
    /// A context of the kubeconfig; none for the cluster that this runs in.
    pub(crate) context: Option<String>,
    pub(crate) namespace: String,
}

/// How the place of a state in a cluster begins.
const SCHEME: &str = "kubernetes://";

impl Namespace {
    /// What `kubernetes://CONTEXT/NAMESPACE` says, without its beginning. A context may have slashes.
    fn parse(text: &str) -> Option<Self> {
        let (context, namespace) = text.rsplit_once('/')?;
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let is_name = (1..=63).contains(&namespace.len()) && namespace.chars().all(fits);
        let is_name = is_name && !namespace.starts_with('-') && !namespace.ends_with('-');
        let context = Some(context).filter(|context| !context.is_empty()).map(str::to_owned);
        is_name.then(|| Self { context, namespace: namespace.to_owned() })
    }

    /// What an engine gets as `--cluster`.
    pub(crate) fn of_argument(text: &str) -> Option<Self> {
        Self::parse(text.strip_prefix(SCHEME)?)
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.context.as_deref().unwrap_or_default(), self.namespace)
    }
}

impl State {
    /// The state: as given, else as the project says, else the system service's for root where it exists, else by the XDG
    /// convention.
    pub(crate) fn locate(given: Option<&Path>, project: Option<&Path>) -> Result<Self, Failure> {
        let said = if given.is_none() { project::state(project) } else { None };
        let text = said.as_deref().or_else(|| given?.to_str());
        let Some(url) = text.and_then(|text| text.strip_prefix(SCHEME)) else {
            return Ok(Self { folder: folder(given)?, cluster: None });
        };
        let Some(namespace) = Namespace::parse(url) else {
            let message = format!("the state `{SCHEME}{url}` names no namespace of a cluster");
            return Err(Refused::new(RefusedKind::Usage, "bad-usage", message)
                .hint("write kubernetes://CONTEXT/NAMESPACE, or kubernetes:///NAMESPACE for the cluster that this runs in")
                .into());
        };
        Ok(Self { folder: passing(&namespace), cluster: Some(namespace) })
    }
}

/// The folder of what may be lost, of one state as one kubeconfig knows it.
fn passing(namespace: &Namespace) -> PathBuf {
    let kubeconfig = std::env::var("KUBECONFIG").unwrap_or_default();
    let digest = Sha256Hex::of(format!("{namespace}\n{kubeconfig}").as_bytes());
    let uid = rustix::process::geteuid().as_raw();
    let base = from("XDG_CACHE_HOME").or_else(|| from("HOME").map(|home| home.join(".cache")));
    let base = base.filter(|base| is_writable(base)).map(|base| base.join("deployctl"));
    base.unwrap_or_else(|| std::env::temp_dir().join(format!("deployctl-{uid}"))).join("clusters").join(digest.short())
}

/// Whether a folder can be made there: in a container, a home may be nowhere.
fn is_writable(base: &Path) -> bool {
    let there = base.ancestors().find(|folder| folder.exists());
    there.is_some_and(|folder| rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok())
}

fn from(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

fn folder(given: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(given) = given {
        return std::path::absolute(given).map_err(|e| unusable(given, &e));
    }
    if rustix::process::geteuid().is_root() && Path::new(SYSTEM).is_dir() {
        return Ok(PathBuf::from(SYSTEM));
    }
    from("XDG_STATE_HOME")
        .or_else(|| from("HOME").map(|home| home.join(".local/state")))
        .map(|base| base.join("deployctl"))
        .ok_or_else(|| Failure::usage("no-state", "neither --state, XDG_STATE_HOME nor HOME says where the state is"))
}

/// Makes the state directory, mode 0700, or checks that it is that.
pub(crate) fn prepare(state: &Path) -> Result<(), Failure> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(state).map_err(|e| unusable(state, &e))?;
    let meta = std::fs::metadata(state).map_err(|e| unusable(state, &e))?;
    if meta.uid() != rustix::process::geteuid().as_raw() {
        let message = format!("the state directory {} belongs to user {}", state.display(), meta.uid());
        return Err(Refused::new(RefusedKind::Denied, "state-foreign", message)
            .hint("run as that user, or name another with --state")
            .into());
    }
    if meta.permissions().mode() & 0o077 != 0 {
        std::fs::set_permissions(state, std::fs::Permissions::from_mode(0o700)).map_err(|e| unusable(state, &e))?;
    }
    Ok(())
}

fn unusable(state: &Path, error: &std::io::Error) -> Failure {
    let message = format!("the state directory {} cannot be used: {error}", state.display());
    Refused::new(RefusedKind::Unreachable, "state-unusable", message)
        .hint("nothing was changed; check its permissions and the disk, or name another with --state")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_in_a_cluster_is_named_by_context_and_namespace() {
        let parsed = |text: &str| Namespace::of_argument(text).map(|n| (n.context, n.namespace));
        let of = |context: Option<&str>, namespace: &str| Some((context.map(str::to_owned), namespace.to_owned()));
        assert_eq!(parsed("kubernetes://prod/shop"), of(Some("prod"), "shop"));
        assert_eq!(parsed("kubernetes:///shop"), of(None, "shop"));
        let eks = "arn:aws:eks:eu-west-1:123:cluster/main";
        assert_eq!(parsed(&format!("kubernetes://{eks}/shop-1")), of(Some(eks), "shop-1"));
        for bad in
            ["kubernetes://shop", "kubernetes://prod/", "kubernetes://prod/Shop", "kubernetes://prod/-a", "/var/lib"]
        {
            assert_eq!(parsed(bad), None, "{bad}");
        }
        let state = State::locate(Some(Path::new("kubernetes://prod/shop")), None).unwrap();
        assert_eq!(state.cluster.unwrap().to_string(), "kubernetes://prod/shop");
        let other = State::locate(Some(Path::new("kubernetes://prod/shop-2")), None).unwrap();
        assert_ne!(state.folder, other.folder);
    }
}
