//! A cluster that can be asked: one request at a time, each with an end.

use crate::plugin::{self, Told};
use crate::trouble::{Refusal, Trouble};
use deployctl_core::fault::{Fault, FaultKind};
use http::{HeaderValue, Method, Request, header};
use http_body_util::BodyExt;
use jiff::Timestamp;
use kube::client::Body;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A server that does not take a connection for so long is away.
const CONNECT: Duration = Duration::from_secs(5);
/// A server that says nothing for so long is away.
const READ: Duration = Duration::from_secs(20);
/// The kubeconfig is read anew after this long: credentials are renewed in it.
const FRESH: Duration = Duration::from_secs(60);
/// Under which name deployctl owns fields.
pub(crate) const MANAGER: &str = "deployctl";
/// The variable that names the cluster which this runs in, as everybody else calls it.
const HERE: &str = "DEPLOYCTL_CONTEXT_HERE";
/// So many questions are on their way at once.
pub(crate) const AT_ONCE: usize = 32;

/// Where the API of a kind is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Api {
    pub(crate) plural: String,
    pub(crate) namespaced: bool,
}

/// A cluster by the name of its context.
pub(crate) struct Cluster {
    context: Option<String>,
    /// Instead of the environment's.
    kubeconfig: Option<PathBuf>,
    client: Mutex<Option<(Client, Instant)>>,
    /// What a program told for credentials. Held while it is asked: all who wait take the same answer.
    told: tokio::sync::Mutex<Option<Told>>,
    apis: Mutex<BTreeMap<String, BTreeMap<String, Api>>>,
}

impl Cluster {
    pub(crate) fn new(context: Option<String>, kubeconfig: Option<PathBuf>) -> Self {
        Self {
            context,
            kubeconfig,
            client: Mutex::default(),
            told: tokio::sync::Mutex::default(),
            apis: Mutex::default(),
        }
    }

    /// What people call it.
    pub(crate) fn name(&self) -> String {
        self.context.as_ref().map_or("its own cluster".into(), |context| format!("`{context}`"))
    }

    /// The fault of a request.
    pub(crate) fn fault(&self, trouble: Trouble, what: &str) -> Fault {
        trouble.fault(&self.name(), what)
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, Trouble> {
        read(&self.bytes(Method::GET, path, Says::default(), None).await?)
    }

    /// What is there; none if there is no such thing.
    pub(crate) async fn find(&self, path: &str) -> Result<Option<Value>, Trouble> {
        self.find_as(path, JSON).await
    }

    /// The same of an object of deployctl's own state, which may be a Secret: its key.
    pub(crate) async fn find_own(&self, path: &str) -> Result<Option<Value>, Trouble> {
        found(self.bytes(Method::GET, path, Says { values: true, ..Says::default() }, None).await)
    }

    /// The same, printed otherwise.
    pub(crate) async fn find_as(&self, path: &str, accept: &'static str) -> Result<Option<Value>, Trouble> {
        found(self.bytes(Method::GET, path, Says { accept, ..Says::default() }, None).await)
    }

    /// Server-side apply. A dry run is checked like a true one and changes nothing.
    pub(crate) async fn apply(&self, path: &str, object: &Value, how: How) -> Result<Value, Trouble> {
        let dry = if how.dry { "&dryRun=All" } else { "" };
        let path = format!("{path}?fieldManager={MANAGER}&fieldValidation=Strict&force={}{dry}", how.force);
        self.ask(Method::PATCH, &path, "application/apply-patch+yaml", object).await
    }

    /// A list without what is in its objects.
    pub(crate) async fn names(&self, path: &str) -> Result<Value, Trouble> {
        let accept = BARE_LIST;
        read(&self.bytes(Method::GET, path, Says { accept, ..Says::default() }, None).await?)
    }

    pub(crate) async fn create(&self, path: &str, object: &Value) -> Result<Value, Trouble> {
        self.ask(Method::POST, path, JSON, object).await
    }

    pub(crate) async fn replace(&self, path: &str, object: &Value) -> Result<Value, Trouble> {
        self.ask(Method::PUT, path, JSON, object).await
    }

    /// Changes what is named, as this manager. With a `resourceVersion` in it only what was read.
    pub(crate) async fn merge(&self, path: &str, patch: &Value, manager: &str) -> Result<Value, Trouble> {
        let path = format!("{path}?fieldManager={manager}");
        self.ask(Method::PATCH, &path, "application/merge-patch+json", patch).await
    }

    pub(crate) async fn delete(&self, path: &str, options: &Value) -> Result<(), Trouble> {
        self.ask(Method::DELETE, path, JSON, options).await.map(drop)
    }

    /// Text, such as a log.
    pub(crate) async fn text(&self, path: &str) -> Result<String, Trouble> {
        let bytes = self.bytes(Method::GET, path, Says::default(), None).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A client whose answers may take as long as they like.
    pub(crate) async fn patient(&self) -> Result<Client, Trouble> {
        self.connect(None).await
    }

    async fn ask(&self, method: Method, path: &str, kind: &'static str, body: &Value) -> Result<Value, Trouble> {
        let says = Says { kind: Some(kind), ..Says::default() };
        read(&self.bytes(method, path, says, Some(body)).await?)
    }

    async fn bytes(&self, method: Method, path: &str, says: Says, body: Option<&Value>) -> Result<Vec<u8>, Trouble> {
        let client = self.client().await?;
        let body = body.map(|body| serde_json::to_vec(body).unwrap_or_default()).unwrap_or_default();
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(|e| Trouble::Lost(format!("`{path}` is no address: {e}")))?;
        let accept = if says.values { says.accept } else { accepted(request.method(), path, says.accept) };
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static(accept));
        if let Some(kind) = says.kind {
            request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        let done = answer(&client, request).await;
        let is_unknown = done.as_ref().is_err_and(|e| e.status() == Some(401));
        if is_unknown {
            *self.told.lock().await = None;
        }
        if is_unknown || matches!(&done, Err(Trouble::Lost(_))) {
            // Next time with what the kubeconfig says then.
            *self.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        done
    }

    pub(crate) async fn client(&self) -> Result<Client, Trouble> {
        let known = self.client.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((client, made)) = known
            && made.elapsed() < FRESH
        {
            return Ok(client);
        }
        let client = self.connect(Some(READ)).await?;
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Some((client.clone(), Instant::now()));
        Ok(client)
    }

    async fn connect(&self, read: Option<Duration>) -> Result<Client, Trouble> {
        let mut config = match &self.context {
            Some(context) if !is_here(context) => of_kubeconfig(context, self.kubeconfig.as_deref()).await?,
            _ => Config::incluster_env().map_err(|_| Trouble::Unusable(no_context()))?,
        };
        self.log_in(&mut config.auth_info).await?;
        config.connect_timeout = Some(CONNECT);
        config.read_timeout = read;
        config.reset_reader_on_write = true;
        // Whether and when to try again is decided where a person can see it.
        config.default_retry = false;
        Client::try_from(config).map_err(|e| Trouble::Lost(e.to_string()))
    }

    /// Credentials that a program tells: those of before while they are good.
    async fn log_in(&self, user: &mut AuthInfo) -> Result<(), Trouble> {
        let Some(exec) = plugin::of(user) else { return Ok(()) };
        let mut told = self.told.lock().await;
        if !told.as_ref().is_some_and(|told| told.is_good(exec, Timestamp::now())) {
            *told = Some(Told::by(exec).await?);
        }
        told.as_ref().inspect(|told| told.give(user));
        Ok(())
    }

    /// Where the API of a kind is; none if the cluster does not know the kind.
    pub(crate) async fn api(&self, api_version: &str, kind: &str) -> Result<Option<Api>, Trouble> {
        if let Some(known) = self.known(api_version, kind) {
            return Ok(Some(known));
        }
        let group =
            if api_version.contains('/') { format!("/apis/{api_version}") } else { format!("/api/{api_version}") };
        let Some(list) = self.find(&group).await? else { return Ok(None) };
        let mut kinds = BTreeMap::new();
        for resource in list["resources"].as_array().into_iter().flatten() {
            let (Some(plural), Some(kind)) = (resource["name"].as_str(), resource["kind"].as_str()) else { continue };
            if !plural.contains('/') {
                let namespaced = resource["namespaced"].as_bool().unwrap_or_default();
                kinds.insert(kind.to_owned(), Api { plural: plural.to_owned(), namespaced });
            }
        }
        self.apis.lock().unwrap_or_else(PoisonError::into_inner).insert(api_version.to_owned(), kinds);
        Ok(self.known(api_version, kind))
    }

    fn known(&self, api_version: &str, kind: &str) -> Option<Api> {
        self.apis.lock().unwrap_or_else(PoisonError::into_inner).get(api_version)?.get(kind).cloned()
    }
}

const JSON: &str = "application/json";
/// Without what an object says and how it is.
pub(crate) const BARE: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
/// The same of a list.
pub(crate) const BARE_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// What a request says of its body, and of the answer that it wants.
struct Says {
    kind: Option<&'static str>,
    accept: &'static str,
    /// Whether it may have values of Secrets.
    values: bool,
}

impl Default for Says {
    fn default() -> Self {
        Self { kind: None, accept: JSON, values: false }
    }
}

fn read(bytes: &[u8]) -> Result<Value, Trouble> {
    serde_json::from_slice(bytes).map_err(|e| Trouble::Lost(format!("its answer cannot be read: {e}")))
}

/// What is there; none if there is no such thing.
fn found(answer: Result<Vec<u8>, Trouble>) -> Result<Option<Value>, Trouble> {
    match answer {
        Err(trouble) if trouble.status() == Some(404) => Ok(None),
        bytes => read(&bytes?).map(Some),
    }
}

/// How something is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct How {
    /// What others hold is taken from them.
    pub(crate) force: bool,
    /// Nothing is changed.
    pub(crate) dry: bool,
}

/// The collection of a kind.
pub(crate) fn collection(api_version: &str, api: &Api, namespace: &str) -> String {
    let root = if api_version.contains('/') { "/apis/" } else { "/api/" };
    match api.namespaced {
        true => format!("{root}{api_version}/namespaces/{namespace}/{}", api.plural),
        false => format!("{root}{api_version}/{}", api.plural),
    }
}

/// Values of Secrets are never read back: of them only metadata are asked for.
fn accepted(method: &Method, path: &str, accept: &'static str) -> &'static str {
    let place = path.split('?').next().and_then(|path| path.strip_prefix("/api/v1/namespaces/")).unwrap_or_default();
    let parts: Vec<&str> = place.split('/').collect();
    match parts[..] {
        [_, "secrets"] if method == Method::GET => BARE_LIST,
        [_, "secrets", _] if method == Method::GET => BARE,
        _ => accept,
    }
}

async fn answer(client: &Client, request: Request<Body>) -> Result<Vec<u8>, Trouble> {
    let response = client.send(request).await.map_err(|e| lost(&e))?;
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.map_err(|e| lost(&e))?.to_bytes();
    if parts.status.is_success() {
        return Ok(bytes.to_vec());
    }
    let after = parts.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Err(Trouble::Refused(Refusal::read(parts.status.as_u16(), &bytes, after)))
}

/// The innermost reason: the outer ones only say that there was one.
fn lost(error: &dyn std::error::Error) -> Trouble {
    let mut reason = error;
    while let Some(inner) = reason.source() {
        reason = inner;
    }
    Trouble::Lost(reason.to_string())
}

/// Whether a context is only the name that others have for the cluster that this runs in: there, no kubeconfig has it.
fn is_here(context: &str) -> bool {
    std::env::var(HERE).is_ok_and(|here| here == context)
}

async fn of_kubeconfig(context: &str, file: Option<&Path>) -> Result<Config, Trouble> {
    let spec =
        |message: String, hint: &str| Trouble::Unusable(Fault::refused(FaultKind::Spec, message).hint(hint.to_owned()));
    let read = file.map_or_else(Kubeconfig::read, Kubeconfig::read_from);
    let read = read.map_err(|e| {
        let message = format!("the kubeconfig cannot be read: {e}");
        spec(message, "KUBECONFIG names it, else it is ~/.kube/config, of whoever runs deployctl's engine")
    })?;
    let known: Vec<String> = read.contexts.iter().map(|context| context.name.clone()).collect();
    let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
    Config::from_custom_kubeconfig(read, &options).await.map_err(|error| match error {
        KubeconfigError::LoadContext(_) => {
            let known = if known.is_empty() { "it has none".into() } else { format!("it has {}", known.join(", ")) };
            spec(format!("there is no context `{context}` in the kubeconfig; {known}"), "`kubectl config get-contexts`")
        }
        other => spec(format!("the context `{context}` cannot be used: {other}"), "mend the kubeconfig"),
    })
}

fn no_context() -> Fault {
    let message = "the app names no `context`, and deployctl does not run in a cluster";
    Fault::refused(FaultKind::Spec, message)
        .hint("say which cluster is meant: `context: NAME`, as `kubectl config get-contexts` lists them")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_secrets_only_metadata_are_asked_for() {
        let of = |path: &str| accepted(&Method::GET, path, JSON);
        assert!(of("/api/v1/namespaces/shop/secrets?labelSelector=a%2Fb").contains("as=PartialObjectMetadataList;"));
        assert!(of("/api/v1/namespaces/shop/secrets/db-1").contains("as=PartialObjectMetadata;"));
        for other in [
            "/api/v1/namespaces/shop/configmaps/secrets",
            "/api/v1/namespaces/secrets",
            "/apis/apps/v1/namespaces/shop/deployments/secrets",
            "/api/v1/namespaces/shop/pods/secrets/log",
        ] {
            assert_eq!(of(other), "application/json", "{other}");
        }
        let one = "/api/v1/namespaces/shop/secrets/db-1";
        assert_eq!(accepted(&Method::PATCH, one, JSON), "application/json");
        assert_eq!(accepted(&Method::GET, one, BARE), BARE);
    }
}
