//! The output of a scope's pods.

use crate::observe::instance_id;
use crate::site::Site;
use deployctl_core::fault::Fault;
use deployctl_core::instance::{LogLine, LogQuery};
use futures_core::stream::BoxStream;
use futures_util::stream::{self, StreamExt};
use futures_util::{AsyncBufReadExt, TryStreamExt};
use http::Request;

impl Site {
    /// The last lines of each container of each pod; with `follow`, new ones of those that are there now as well.
    pub(crate) async fn logs(&self, query: &LogQuery) -> Result<BoxStream<'static, Result<LogLine, Fault>>, Fault> {
        let Some(scene) = self.scene().await? else { return Ok(stream::empty().boxed()) };
        let mut all = Vec::new();
        for pod in &scene.pods {
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
