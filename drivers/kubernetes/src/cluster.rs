//! A cluster that can be asked: one request at a time, each with an end.

use crate::trouble::{Refusal, Trouble};
use deployctl_core::fault::{Fault, FaultKind};
use http::{HeaderValue, Method, Request, header};
use http_body_util::BodyExt;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use serde_json::Value;
use std::collections::BTreeMap;
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

/// Where the API of a kind is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Api {
    pub(crate) plural: String,
    pub(crate) namespaced: bool,
}

/// A cluster by the name of its context.
pub(crate) struct Cluster {
    context: Option<String>,
    client: Mutex<Option<(Client, Instant)>>,
    apis: Mutex<BTreeMap<String, BTreeMap<String, Api>>>,
}

impl Cluster {
    pub(crate) fn new(context: Option<String>) -> Self {
        Self { context, client: Mutex::default(), apis: Mutex::default() }
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
        self.ask(Method::GET, path, None, None).await
    }

    /// The same; none if there is no such thing.
    pub(crate) async fn find(&self, path: &str) -> Result<Option<Value>, Trouble> {
        match self.get(path).await {
            Err(trouble) if trouble.status() == Some(404) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Server-side apply. A dry run is checked like a true one and changes nothing.
    pub(crate) async fn apply(&self, path: &str, object: &Value, how: How) -> Result<Value, Trouble> {
        let dry = if how.dry { "&dryRun=All" } else { "" };
        let path = format!("{path}?fieldManager={MANAGER}&fieldValidation=Strict&force={}{dry}", how.force);
        self.ask(Method::PATCH, &path, Some("application/apply-patch+yaml"), Some(object)).await
    }

    pub(crate) async fn create(&self, path: &str, object: &Value) -> Result<Value, Trouble> {
        self.ask(Method::POST, path, Some("application/json"), Some(object)).await
    }

    pub(crate) async fn replace(&self, path: &str, object: &Value) -> Result<Value, Trouble> {
        self.ask(Method::PUT, path, Some("application/json"), Some(object)).await
    }

    /// Changes what is named, as this manager. With a `resourceVersion` in it only what was read.
    pub(crate) async fn merge(&self, path: &str, patch: &Value, manager: &str) -> Result<Value, Trouble> {
        let path = format!("{path}?fieldManager={manager}");
        self.ask(Method::PATCH, &path, Some("application/merge-patch+json"), Some(patch)).await
    }

    pub(crate) async fn delete(&self, path: &str, options: &Value) -> Result<(), Trouble> {
        self.ask(Method::DELETE, path, Some("application/json"), Some(options)).await.map(drop)
    }

    /// Text, such as a log.
    pub(crate) async fn text(&self, path: &str) -> Result<String, Trouble> {
        let bytes = self.bytes(Method::GET, path, None, None).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A client whose answers may take as long as they like.
    pub(crate) async fn patient(&self) -> Result<Client, Trouble> {
        self.connect(None).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        kind: Option<&'static str>,
        body: Option<&Value>,
    ) -> Result<Value, Trouble> {
        let bytes = self.bytes(method, path, kind, body).await?;
        serde_json::from_slice(&bytes).map_err(|e| Trouble::Lost(format!("its answer cannot be read: {e}")))
    }

    async fn bytes(
        &self,
        method: Method,
        path: &str,
        kind: Option<&'static str>,
        body: Option<&Value>,
    ) -> Result<Vec<u8>, Trouble> {
        let client = self.client().await?;
        let body = body.map(|body| serde_json::to_vec(body).unwrap_or_default()).unwrap_or_default();
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(|e| Trouble::Lost(format!("`{path}` is no address: {e}")))?;
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(kind) = kind {
            request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        let done = answer(&client, request).await;
        if matches!(&done, Err(Trouble::Lost(_))) || done.as_ref().is_err_and(|e| e.status() == Some(401)) {
            // Next time with what the kubeconfig says then.
            *self.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        done
    }

    async fn client(&self) -> Result<Client, Trouble> {
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
            Some(context) => of_kubeconfig(context).await?,
            None => Config::incluster_env().map_err(|_| Trouble::Unusable(no_context()))?,
        };
        config.connect_timeout = Some(CONNECT);
        config.read_timeout = read;
        config.reset_reader_on_write = true;
        // Whether and when to try again is decided where a person can see it.
        config.default_retry = false;
        Client::try_from(config).map_err(|e| Trouble::Lost(e.to_string()))
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

async fn of_kubeconfig(context: &str) -> Result<Config, Trouble> {
    let spec =
        |message: String, hint: &str| Trouble::Unusable(Fault::refused(FaultKind::Spec, message).hint(hint.to_owned()));
    let read = Kubeconfig::read().map_err(|e| {
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
