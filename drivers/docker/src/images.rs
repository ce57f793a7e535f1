//! Images: what a reference means, for good; getting it, and letting go of it.

use crate::client::{Trouble, USUAL};
use crate::docker::{Docker, Inner};
use crate::hold::{self, Held};
use crate::pull;
use crate::{labels, layout};
use async_trait::async_trait;
use bollard::models::ImageInspect;
use bollard::query_parameters::ListImagesOptions;
use deployctl_core::config::{Artifact, ArtifactFormat, ArtifactSource};
use deployctl_core::fault::{Fault, FaultKind, Retry};
use deployctl_core::id::Sha256Hex;
use deployctl_core::ports::{ARTIFACT_MISSING, Artifacts, NotTaken};
use std::time::{Duration, Instant};

/// What became of a job is kept this long.
const JOBS_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

pub(crate) const CANNOT_HOLD: &str = "the image cannot be held";

#[async_trait]
impl Artifacts for Docker {
    async fn ingest(&self, source: &ArtifactSource, _: Option<&Sha256Hex>) -> Result<Artifact, NotTaken> {
        let ArtifactSource::Image(reference) = source else {
            let fault = Fault::refused(FaultKind::Bug, "an artifact that is no image is not for containers");
            return Err(NotTaken { is_wrong: true, ..fault.into() });
        };
        self.inner.resolve(reference).await.map_err(of_engine)
    }

    async fn has(&self, artifact: &Artifact) -> Result<bool, Fault> {
        let what = "the images cannot be asked for";
        match artifact.format {
            ArtifactFormat::ImageId => {
                let there = self.inner.inspect_image(&format!("sha256:{}", artifact.sha256)).await;
                Ok(there.map_err(|trouble| trouble.fault(what))?.is_some())
            }
            ArtifactFormat::ImageManifest => {
                let options = ListImagesOptions { digests: true, all: true, ..ListImagesOptions::default() };
                let client = &self.inner.engine()?.client;
                let all = client.call(USUAL, |api| async move { api.list_images(Some(options)).await }).await;
                let end = format!("@sha256:{}", artifact.sha256);
                let all = all.map_err(|trouble| trouble.fault(what))?;
                Ok(all.iter().any(|image| image.repo_digests.iter().any(|digest| digest.ends_with(&end))))
            }
            _ => Ok(false),
        }
    }

    async fn retain(&self, keep: &[Sha256Hex]) -> Result<(), Fault> {
        self.inner.layout.forget_old_jobs(JOBS_KEPT);
        if !self.is_used() {
            return Ok(());
        }
        for entry in std::fs::read_dir(self.inner.layout.images()).into_iter().flatten().flatten() {
            let kept = keep.iter().any(|digest| *digest.as_str() == *entry.file_name());
            if let (false, Some(held)) = (kept, layout::read::<Held>(&entry.path()).unwrap_or_default()) {
                match self.inner.let_go(&entry.path(), &held).await {
                    // Somebody runs it, or gave it names of their own: it stays, and is looked at again.
                    Ok(()) | Err(Trouble::Said { status: 409, .. }) => {}
                    Err(trouble) => return Err(trouble.fault("an image cannot be removed")),
                }
            }
        }
        Ok(())
    }
}

/// A reference taken apart.
pub(crate) struct Reference<'a> {
    /// Without tag and digest.
    repository: &'a str,
    digest: Option<&'a str>,
    /// Whether it names a registry.
    has_host: bool,
}

impl<'a> Reference<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        let (name, digest) = text.split_once("@sha256:").map_or((text, None), |(name, digest)| (name, Some(digest)));
        let path = name.rfind('/').map_or(0, |slash| slash + 1);
        let repository = name[path..].find(':').map_or(name, |colon| &name[..path + colon]);
        let first = repository.split_once('/').map_or("", |(first, _)| first);
        let has_host = first.contains(['.', ':']) || first == "localhost";
        Self { repository, digest, has_host }
    }

    /// By which a login is kept.
    pub(crate) fn registry(&self) -> &'a str {
        match self.repository.split_once('/') {
            Some((host, _)) if self.has_host => host,
            _ => "docker.io",
        }
    }
}

/// Of an engine that cannot be asked it is said as everywhere else; nothing is known of the image then.
fn of_engine(not: NotTaken) -> NotTaken {
    let code = match (not.code, not.fault.kind) {
        (ARTIFACT_MISSING, FaultKind::Platform) => "target-unreachable",
        (ARTIFACT_MISSING, FaultKind::Denied) => "target-denied",
        (code, _) => code,
    };
    NotTaken { code, ..not }
}

impl Inner {
    /// What a reference means now, with patience: a registry that has trouble for a moment is asked again.
    async fn resolve(&self, reference: &str) -> Result<Artifact, NotTaken> {
        let begun = Instant::now();
        for pause in pull::PAUSES {
            match self.resolve_once(reference).await {
                Err(not) if not.code == pull::UNREACHABLE && begun.elapsed() < pull::PATIENCE => {}
                done => return done,
            }
            tokio::time::sleep(pause).await;
        }
        self.resolve_once(reference).await
    }

    /// What a reference means now: the digest in its registry, or the id of an image that only the engine has.
    async fn resolve_once(&self, reference: &str) -> Result<Artifact, NotTaken> {
        let parts = Reference::of(reference);
        if let Some(digest) = parts.digest {
            return self.pulled(parts.repository, digest).await;
        }
        let what = format!("the image {reference} cannot be looked at");
        let local = self.inspect_image(reference).await.map_err(|trouble| trouble.fault(&what))?;
        let only_here = local.as_ref().filter(|image| digest_of(image, parts.repository).is_none());
        if let (Some(image), false) = (only_here, parts.has_host) {
            return self.local(reference, image).await;
        }
        if let (Some(image), false) = (&local, parts.has_host)
            && let Some(digest) = digest_of(image, parts.repository)
        {
            return Ok(manifest(&digest)?);
        }
        match self.ask(reference, parts.registry()).await? {
            Ok(digest) => self.pulled(parts.repository, digest.trim_start_matches("sha256:")).await,
            Err((trouble, known)) => match only_here {
                // It was built here under the name of a registry, and never pushed there.
                Some(image) if !matches!(trouble, Trouble::Away(_)) => self.local(reference, image).await,
                _ => Err(self.not_had(reference, known, trouble).await),
            },
        }
    }

    /// An image that only the engine has. One that deployctl had built is removed by it, when nothing needs it any more.
    async fn local(&self, reference: &str, image: &ImageInspect) -> Result<Artifact, NotTaken> {
        self.suits(reference, image).await?;
        let artifact = id_of(image)?;
        let labels = image.config.as_ref().and_then(|config| config.labels.as_ref());
        if labels.is_some_and(|labels| labels.contains_key(labels::BUILT)) {
            let id = artifact.sha256.as_str();
            self.hold(id, &format!("sha256:{id}"), image).await.map_err(|trouble| trouble.fault(CANNOT_HOLD))?;
        }
        Ok(artifact)
    }

    /// The image of a digest, pulled if it is not there.
    async fn pulled(&self, repository: &str, digest: &str) -> Result<Artifact, NotTaken> {
        let name = format!("{repository}@sha256:{digest}");
        self.ensure_image(&name).await?;
        let what = format!("the image {name} cannot be looked at");
        if let Some(image) = self.inspect_image(&name).await.map_err(|trouble| trouble.fault(&what))? {
            self.suits(&name, &image).await?;
        }
        Ok(manifest(digest)?)
    }

    /// Whether the engine's machine runs such an image.
    async fn suits(&self, name: &str, image: &ImageInspect) -> Result<(), NotTaken> {
        let version = self.engine()?.client.call(USUAL, |api| async move { api.version().await }).await;
        let version = version.map_err(|trouble| trouble.fault("the Docker Engine cannot be asked what it is"))?;
        let (os, arch) = (version.os.unwrap_or_default(), version.arch.unwrap_or_default());
        pull::other_platform(name, image, (&os, &arch)).map_or(Ok(()), Err)
    }

    /// Has the image that `name` means for good, an id or a digest; pulls it if it is gone and can be pulled.
    pub(crate) async fn ensure_image(&self, name: &str) -> Result<(), NotTaken> {
        let there = self.inspect_image(name).await;
        let there = there.map_err(|trouble| trouble.fault(&format!("the image {name} cannot be looked at")))?;
        let digest = name.split_once("@sha256:").map(|(_, digest)| digest);
        let Some(image) = there else {
            let Some(digest) = digest else {
                let message = format!("the image {name} is not there any more, and was never in a registry");
                let fault = Fault { retry: Retry::Never, ..Fault::platform(message) };
                return Err(fault
                    .hint("build or load it again; images that a rollback needs must not be pruned")
                    .into());
            };
            return self.pull(name, digest).await;
        };
        // What another state brought may be let go of by it.
        if let Some(digest) = digest.filter(|_| hold::is_held(&image)) {
            match self.hold(digest, name, &image).await {
                Err(trouble) if trouble.is_missing() => return self.pull(name, digest).await,
                held => held.map_err(|trouble| trouble.fault(CANNOT_HOLD))?,
            }
        }
        Ok(())
    }

    pub(crate) async fn inspect_image(&self, name: &str) -> Result<Option<ImageInspect>, Trouble> {
        let engine = self.engine().map_err(Trouble::Away)?;
        match engine.client.call(USUAL, |api| async move { api.inspect_image(name).await }).await {
            Ok(image) => Ok(Some(image)),
            Err(trouble) if trouble.is_missing() => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }
}

/// The digest under which an image is in a repository.
fn digest_of(image: &ImageInspect, repository: &str) -> Option<String> {
    let start = format!("{repository}@sha256:");
    image.repo_digests.iter().flatten().find_map(|digest| digest.strip_prefix(&start)).map(str::to_owned)
}

fn id_of(image: &ImageInspect) -> Result<Artifact, Fault> {
    let id = image.id.as_deref().unwrap_or_default();
    artifact(id.trim_start_matches("sha256:"), ArtifactFormat::ImageId)
}

fn manifest(digest: &str) -> Result<Artifact, Fault> {
    artifact(digest, ArtifactFormat::ImageManifest)
}

fn artifact(digest: &str, format: ArtifactFormat) -> Result<Artifact, Fault> {
    let sha256 = Sha256Hex::new(digest);
    let sha256 = sha256.map_err(|e| Fault::platform(format!("the Docker Engine names an image by no digest: {e}")))?;
    Ok(Artifact { sha256, format })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_cannot_be_asked_is_said_as_everywhere_else() {
        let of = |fault: Fault| of_engine(fault.into()).code;
        assert_eq!(of(Fault::platform("it is away")), "target-unreachable");
        assert_eq!(of(Fault::refused(FaultKind::Denied, "it lets nobody in")), "target-denied");
        assert_eq!(of(Fault::refused(FaultKind::Spec, "there is none")), "artifact-missing");
        let known = NotTaken { code: "registry-denied", ..Fault::refused(FaultKind::Denied, "no").into() };
        assert_eq!(of_engine(known).code, "registry-denied");
    }

    #[test]
    fn references_are_taken_apart() {
        let of = |text| {
            let Reference { repository, digest, has_host } = Reference::of(text);
            (repository, digest, has_host)
        };
        assert_eq!(of("shop:v1"), ("shop", None, false));
        assert_eq!(of("team/shop:v1"), ("team/shop", None, false));
        assert_eq!(of("127.0.0.1:5000/shop:v1"), ("127.0.0.1:5000/shop", None, true));
        assert_eq!(of("localhost/shop@sha256:ab"), ("localhost/shop", Some("ab"), true));
    }
}
