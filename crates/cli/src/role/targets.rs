//! All targets whose instances we run ourselves, as one: a release says where it goes, a list says all that is there.
//!
//! The Docker Engine is asked only about scopes that ever had a container: it may be down, or not be there at all.

use super::compose::NodeArtifacts;
use super::signed;
use async_trait::async_trait;
use deployctl_core::config::{AppConfig, Artifact, ArtifactFormat, ArtifactSource, Smoke, TargetConfig};
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::{Fence, InstanceId, JobId, Scope, Sha256Hex};
use deployctl_core::instance::{Checked, InstanceSeen, InstanceSpec, Instances, LogLine, LogQuery};
use deployctl_core::job::{JobSpec, JobState, Jobs};
use deployctl_core::ports::{Artifacts, NotTaken};
use deployctl_core::time::Span;
use deployctl_driver_docker::Docker;
use deployctl_node::Node;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use futures_util::stream::select;
use std::sync::Arc;

pub(crate) struct Targets {
    pub(crate) node: Arc<Node>,
    pub(crate) docker: Docker,
    pub(crate) artifacts: NodeArtifacts,
}

impl Targets {
    /// Whether an instance is a process here; else it is a container.
    async fn is_process(&self, scope: &Scope, id: &InstanceId) -> Result<bool, Fault> {
        Ok(!self.docker.knows(scope) || self.node.list(scope).await?.iter().any(|seen| seen.id == *id))
    }
}

fn elsewhere() -> Fault {
    Fault::refused(FaultKind::Bug, "objects of a cluster are no instances of ours")
}

#[async_trait]
impl Instances for Targets {
    async fn admit(&self, scope: &Scope, fence: Fence) -> Result<(), Fault> {
        self.node.admit(scope, fence).await?;
        self.docker.admit(scope, fence).await
    }

    async fn list(&self, scope: &Scope) -> Result<Vec<InstanceSeen>, Fault> {
        let mut all = self.node.list(scope).await?;
        if self.docker.knows(scope) {
            all.extend(self.docker.list(scope).await?);
            all.sort_by(|a, b| (&a.revision, a.slot).cmp(&(&b.revision, b.slot)));
        }
        Ok(all)
    }

    async fn check(&self, scope: &Scope) -> Result<Vec<Checked>, Fault> {
        let mut all = self.node.check(scope).await?;
        if self.docker.knows(scope) {
            all.extend(self.docker.check(scope).await?);
            all.sort_by(|a, b| (&a.seen.revision, a.seen.slot).cmp(&(&b.seen.revision, b.seen.slot)));
        }
        Ok(all)
    }

    async fn start(&self, spec: &InstanceSpec, fence: Fence) -> Result<(), Fault> {
        match &spec.release.config.target {
            TargetConfig::Process(_) => self.node.start(spec, fence).await,
            TargetConfig::Docker(_) => Instances::start(&self.docker, spec, fence).await,
            TargetConfig::Kubernetes(_) => Err(elsewhere()),
        }
    }

    async fn stop(&self, scope: &Scope, id: &InstanceId, grace: Span, fence: Fence) -> Result<(), Fault> {
        match self.is_process(scope, id).await? {
            true => self.node.stop(scope, id, grace, fence).await,
            false => self.docker.stop(scope, id, grace, fence).await,
        }
    }

    async fn forget(&self, scope: &Scope, id: &InstanceId, fence: Fence) -> Result<(), Fault> {
        match self.is_process(scope, id).await? {
            true => self.node.forget(scope, id, fence).await,
            false => self.docker.forget(scope, id, fence).await,
        }
    }

    async fn changed(&self, scope: &Scope) {
        if !self.docker.knows(scope) {
            return Instances::changed(&*self.node, scope).await;
        }
        tokio::select! {
            () = Instances::changed(&*self.node, scope) => {}
            () = Instances::changed(&self.docker, scope) => {}
        }
    }

    async fn stable_address(&self, scope: &Scope) -> Result<String, Fault> {
        match self.node.list(scope).await?.is_empty() && self.docker.knows(scope) {
            true => self.docker.stable_address(scope).await,
            false => self.node.stable_address(scope).await,
        }
    }

    async fn can_run(&self, config: &AppConfig) -> Result<(), Fault> {
        match &config.target {
            TargetConfig::Process(_) | TargetConfig::Kubernetes(_) => Ok(()),
            TargetConfig::Docker(_) => self.docker.can_run(config).await,
        }
    }

    async fn in_the_way(&self, config: &AppConfig, address: &str) -> Result<Option<String>, Fault> {
        match &config.target {
            TargetConfig::Process(_) | TargetConfig::Kubernetes(_) => Ok(None),
            TargetConfig::Docker(_) => self.docker.in_the_way(config, address).await,
        }
    }

    async fn make_way(&self, config: &AppConfig) -> Result<(), Fault> {
        match &config.target {
            TargetConfig::Process(_) | TargetConfig::Kubernetes(_) => Ok(()),
            TargetConfig::Docker(_) => self.docker.make_way(config).await,
        }
    }

    fn logs(&self, scope: &Scope, query: LogQuery) -> BoxStream<'static, Result<LogLine, Fault>> {
        let processes = self.node.logs(scope, query.clone());
        match self.docker.knows(scope) {
            true => select(processes, self.docker.logs(scope, query)).boxed(),
            false => processes,
        }
    }

    async fn artifacts_in_use(&self) -> Result<Vec<Sha256Hex>, Fault> {
        let mut all = self.node.artifacts_in_use().await?;
        // An engine that is away removes nothing either.
        all.extend(self.docker.artifacts_in_use().await.unwrap_or_default());
        Ok(all)
    }
}

#[async_trait]
impl Jobs for Targets {
    async fn run(&self, job: &JobSpec, fence: Fence) -> Result<JobState, Fault> {
        match &job.release.config.target {
            TargetConfig::Process(_) => self.node.run(job, fence).await,
            TargetConfig::Docker(_) => self.docker.run(job, fence).await,
            TargetConfig::Kubernetes(_) => Err(elsewhere()),
        }
    }

    async fn kill(&self, scope: &Scope, id: &JobId, fence: Fence) -> Result<(), Fault> {
        // Where it runs its id does not say; the mark that it was killed does no harm where it never did.
        self.node.kill(scope, id, fence).await?;
        self.docker.kill(scope, id, fence).await
    }

    async fn changed(&self, scope: &Scope, id: &JobId) {
        if !self.docker.knows(scope) {
            return Jobs::changed(&*self.node, scope, id).await;
        }
        tokio::select! {
            () = Jobs::changed(&*self.node, scope, id) => {}
            () = Jobs::changed(&self.docker, scope, id) => {}
        }
    }

    async fn smoke(&self, address: &str, smoke: &Smoke) -> Result<Result<(), String>, Fault> {
        self.node.smoke(address, smoke).await
    }
}

#[async_trait]
impl Artifacts for Targets {
    async fn ingest(&self, source: &ArtifactSource, expected: Option<&Sha256Hex>) -> Result<Artifact, NotTaken> {
        match &*signed::checked(source).await? {
            source @ (ArtifactSource::Image(_) | ArtifactSource::SignedImage { .. }) => {
                self.docker.ingest(source, expected).await
            }
            source @ (ArtifactSource::Path(_) | ArtifactSource::Url(_)) => {
                self.artifacts.ingest(source, expected).await
            }
            ArtifactSource::Digests(digests) => Ok(Artifact::pulled(digests)),
        }
    }

    async fn has(&self, artifact: &Artifact) -> Result<bool, Fault> {
        match artifact.format {
            ArtifactFormat::ImageId | ArtifactFormat::ImageManifest => self.docker.has(artifact).await,
            // Where it is pulled from is for the cluster to say.
            ArtifactFormat::Pulled => Ok(true),
            _ => self.artifacts.has(artifact).await,
        }
    }

    async fn retain(&self, keep: &[Sha256Hex]) -> Result<(), Fault> {
        self.artifacts.retain(keep).await?;
        self.docker.retain(keep).await
    }
}
