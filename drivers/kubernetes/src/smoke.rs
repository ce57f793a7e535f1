//! Requests of smoke tests: to a pod of the release, through the API server, so that whoever reaches that need not reach pods.

use crate::cluster::Cluster;
use crate::kubernetes;
use crate::observe::Scene;
use crate::site::Site;
use crate::trouble::{Refusal, Trouble};
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::Revision;
use deployctl_core::release::Release;
use deployctl_kubernetes::permission::Need;
use deployctl_kubernetes::pods::{self, Pod};
use deployctl_kubernetes::{jobs, sides};
use deployctl_runner::http::Answer;
use deployctl_runner::smoke;
use http::{Request, header};
use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use serde_json::Value;
use tokio::time::timeout;

/// How an API server says that it does not reach a pod.
const UNREACHED: &str = "error trying to reach service";

/// What is needed for it.
pub(crate) fn need() -> Need {
    Need { resource: "pods/proxy".into(), group: String::new(), verb: "get".into() }
}

impl Site {
    /// Asks a pod of the revision that is ready, and says what is wrong with its answer, if anything.
    pub(crate) async fn smoke(
        &self,
        revision: &Revision,
        release: &Release,
        index: usize,
    ) -> Result<Result<(), String>, Fault> {
        let config = kubernetes(&release.config)?;
        let (Some(test), Some(port), Some(like)) = (release.config.smoke.get(index), config.smoke_port, &config.jobs)
        else {
            let message = format!("there is no smoke test #{} by a request", index + 1);
            return Err(Fault::refused(FaultKind::Bug, message));
        };
        let scenes = match self.record().await? {
            Some(record) => self.scenes(&record).await?,
            None => Vec::new(),
        };
        // Where it is beside another one, or beside itself, it is asked there; what has no copy there has the same pods in both.
        let mut those = scenes.iter().rev().filter(|scene| scene.record.revision.as_ref() == Some(revision));
        let scene = those
            .find(|scene| scene.has(&like.workload))
            .or_else(|| scenes.iter().find(|scene| scene.has(&like.workload)));
        let Some(pod) = scene.and_then(|scene| scene.ready(&like.workload)) else {
            return Ok(Err(format!("no pod of {} is ready to be asked", like.workload)));
        };
        let at = format!("/api/v1/namespaces/{}/pods/{pod}", self.namespace);
        let fault = |trouble: Trouble| self.fault(trouble, &format!("a request to Pod/{pod}"));
        let gone = || Fault::platform(format!("Pod/{pod} went while it was asked"));
        let asks = async |path: String| {
            let path = format!("{at}:{port}/proxy{path}");
            match timeout(smoke::TIMEOUT, self.cluster.through(&path)).await {
                // What the server says of a pod that it does not reach is the answer to the question.
                Ok(Err(Trouble::Refused(refusal))) if refusal.message.starts_with(UNREACHED) => {
                    Ok(Err(refusal.message))
                }
                Ok(Err(trouble)) if trouble.status() == Some(404) => Err(gone()),
                Ok(answer) => answer.map(Ok).map_err(fault),
                // It is the pod that does not answer, if the server before it does.
                Err(_) => match self.cluster.find(&at).await.map_err(fault)? {
                    Some(_) => Ok(Err(smoke::no_answer())),
                    None => Err(gone()),
                },
            }
        };
        smoke::by(test, asks).await
    }
}

impl Scene {
    fn has(&self, workload: &str) -> bool {
        !self.uids(workload).is_empty()
    }

    /// A workload, by whichever name it has on this side.
    fn uids(&self, workload: &str) -> Vec<&str> {
        let is_it = |object: &&Value| {
            let name = object["metadata"]["name"].as_str();
            let mark = object["metadata"]["labels"][sides::SIDE].as_str();
            let is_called_so =
                name == Some(workload) || mark.is_some_and(|mark| name == Some(&sides::called(workload, mark)));
            is_called_so && jobs::is_workload(object)
        };
        self.objects.iter().filter(is_it).filter_map(|object| object["metadata"]["uid"].as_str()).collect()
    }

    /// The name of a pod of a workload that is ready.
    fn ready(&self, workload: &str) -> Option<&str> {
        let uids = self.uids(workload);
        let mut ready = self.pods.iter().filter(|pod| pods::of(pod) == Pod::Ready);
        let pod = ready.find(|pod| pods::belongs(pod, &uids, &self.evidence))?;
        pod["metadata"]["name"].as_str()
    }
}

impl Cluster {
    /// Asks a pod. Its answer is one whatever it says; what the API server itself says instead is trouble.
    async fn through(&self, path: &str) -> Result<Answer, Trouble> {
        let request = Request::get(path).header(header::ACCEPT, "*/*").header(header::USER_AGENT, "deployctl");
        let request = request.body(Body::empty()).map_err(|e| Trouble::Lost(format!("`{path}`: {e}")))?;
        let response = self.client().await?.send(request).await.map_err(|e| Trouble::Lost(e.to_string()))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), smoke::BODY).collect().await;
        let body = body.map_err(|e| Trouble::Lost(format!("the body of the answer: {e}")))?.to_bytes().to_vec();
        match is_the_servers(&body) {
            true => Err(Trouble::Refused(Refusal::read(status, &body, None))),
            false => Ok(Answer { status, body }),
        }
    }
}

/// Whether it is what an API server says of a request that failed (`meta/v1` Status).
fn is_the_servers(body: &[u8]) -> bool {
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    said["kind"] == "Status" && said["apiVersion"] == "v1" && said["status"] == "Failure"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_a_pod_is_told_from_one_of_the_server() {
        let status =
            r#"{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"ServiceUnavailable","code":503}"#;
        assert!(is_the_servers(status.as_bytes()));
        for body in ["", "v1", r#"{"status":"Failure"}"#, r#"{"kind":"Status","apiVersion":"v1","status":"Success"}"#] {
            assert!(!is_the_servers(body.as_bytes()), "{body}");
        }
    }
}
