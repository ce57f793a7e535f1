//! The output of a scope's pods.

use crate::observe::instance_id;
use crate::site::Site;
use deployctl_core::fault::Fault;
use deployctl_core::id::Sha256Hex;
use deployctl_core::instance::{LogLine, LogQuery};
use futures_core::stream::BoxStream;
use futures_util::stream::{self, StreamExt};
use futures_util::{AsyncBufReadExt, TryStreamExt};
use http::Request;

/// So many of its last lines explain a failure.
const LAST_LINES: u32 = 20;

impl Site {
    /// What a pod printed last, values of the release's secrets masked. What cannot be had explains nothing; a reason stands without
    /// it. A container must be named if the pod has several.
    pub(crate) async fn printed_last(
        &self,
        pod: &str,
        container: Option<&str>,
        release: Option<&Sha256Hex>,
    ) -> Vec<String> {
        let container = container.map_or(String::new(), |container| format!("container={container}&"));
        let path = format!("/api/v1/namespaces/{}/pods/{pod}/log?{container}tailLines={LAST_LINES}", self.namespace);
        let text = self.cluster.text(&path).await.unwrap_or_default();
        let text = release.map_or(text.clone(), |release| self.hidden(release, &text));
        text.lines().map(str::to_owned).collect()
    }

    /// The last lines of each container of each pod; with `follow`, new ones of those that are there now as well.
    pub(crate) async fn logs(&self, query: &LogQuery) -> Result<BoxStream<'static, Result<LogLine, Fault>>, Fault> {
        let Some(record) = self.record().await? else { return Ok(stream::empty().boxed()) };
        let scenes = self.scenes(&record).await?;
        let mut all = Vec::new();
        for pod in scenes.iter().flat_map(|scene| &scene.pods) {
            let Some(name) = pod["metadata"]["name"].as_str() else { continue };
            let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
            for container in containers.filter_map(|container| container["name"].as_str()) {
                all.push(self.of_container(name, container, query).await?);
            }
        }
        Ok(stream::select_all(all).boxed())
    }

    async fn of_container(
        &self,
        pod: &str,
        container: &str,
        query: &LogQuery,
    ) -> Result<BoxStream<'static, Result<LogLine, Fault>>, Fault> {
        let Some(instance) = instance_id(pod) else { return Ok(stream::empty().boxed()) };
        let path = format!(
            "/api/v1/namespaces/{}/pods/{pod}/log?container={container}&tailLines={}&follow={}",
            self.namespace, query.tail, query.follow
        );
        if !query.follow {
            // One that has not started yet has printed nothing.
            let text = match self.cluster.text(&path).await {
                Err(trouble) if matches!(trouble.status(), Some(400 | 404)) => String::new(),
                done => done.map_err(|trouble| self.fault(trouble, &format!("the output of Pod/{pod}")))?,
            };
            let lines: Vec<_> =
                text.lines().map(|line| Ok(LogLine { instance: instance.clone(), line: line.to_owned() })).collect();
            return Ok(stream::iter(lines).boxed());
        }
        let what = format!("the output of Pod/{pod}");
        let client = self.cluster.patient().await.map_err(|trouble| self.fault(trouble, &what))?;
        let mut request = Request::new(Vec::new());
        *request.uri_mut() = path.parse().map_err(|e| Fault::platform(format!("{what}: {e}")))?;
        let lines = client.request_stream(request).await.map_err(|e| Fault::platform(format!("{what}: {e}")))?;
        let lines = lines.lines().map_ok(move |line| LogLine { instance: instance.clone(), line });
        Ok(lines.map_err(move |e| Fault::platform(format!("{what}: {e}"))).boxed())
    }
}
