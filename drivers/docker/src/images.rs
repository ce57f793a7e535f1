//! Images: what a reference means, for good; getting it, and letting go of it.

use crate::client::{Trouble, USUAL, WORK};
use crate::docker::{Docker, Inner};
use crate::{labels, layout};
use async_trait::async_trait;
use bollard::models::ImageInspect;
use bollard::query_parameters::{CreateImageOptionsBuilder, ListImagesOptions, RemoveImageOptions};
use deployctl_core::config::{Artifact, ArtifactFormat, ArtifactSource};
use deployctl_core::fault::{Fault, FaultKind, Retry};
use deployctl_core::id::Sha256Hex;
use deployctl_core::ports::{Artifacts, NotTaken};
use deployctl_sys::crash;
use futures_util::StreamExt;
use std::time::Duration;

/// A pull that takes longer is given up.
const PULL: Duration = Duration::from_secs(20 * 60);
/// What became of a job is kept this long.
const JOBS_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

#[async_trait]
impl Artifacts for Docker {
    async fn ingest(&self, source: &ArtifactSource, _: Option<&Sha256Hex>) -> Result<Artifact, NotTaken> {
        let ArtifactSource::Image(reference) = source else {
            let fault = Fault::refused(FaultKind::Bug, "an artifact that is no image is not for containers");
            return Err(NotTaken { fault, is_wrong: true });
        };
        self.inner.resolve(reference).await.map_err(|fault| NotTaken { fault, is_wrong: false })
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
            if let (false, Some(reference)) = (kept, layout::read::<String>(&entry.path()).unwrap_or_default()) {
                let client = &self.inner.engine()?.client;
                let remove = client.call(WORK, |api| async move {
                    api.remove_image(&reference, None::<RemoveImageOptions>, None).await
                });
                match remove.await {
                    // Somebody runs it, or gave it names of their own: it stays, and is looked at again.
                    Err(Trouble::Said { status: 409, .. }) => {}
                    Err(trouble) if !trouble.is_missing() => return Err(trouble.fault("an image cannot be removed")),
                    _ => {
                        let _ = layout::remove(&entry.path());
                    }
                }
            }
        }
        Ok(())
    }
}

/// A reference taken apart.
struct Reference<'a> {
    /// Without tag and digest.
    repository: &'a str,
    digest: Option<&'a str>,
    /// Whether it names a registry.
    has_host: bool,
}

impl<'a> Reference<'a> {
    fn of(text: &'a str) -> Self {
        let (name, digest) = text.split_once("@sha256:").map_or((text, None), |(name, digest)| (name, Some(digest)));
        let path = name.rfind('/').map_or(0, |slash| slash + 1);
        let repository = name[path..].find(':').map_or(name, |colon| &name[..path + colon]);
        let first = repository.split_once('/').map_or("", |(first, _)| first);
        let has_host = first.contains(['.', ':']) || first == "localhost";
        Self { repository, digest, has_host }
    }

    /// By which a login is kept.
    fn registry(&self) -> &'a str {
        match self.repository.split_once('/') {
            Some((host, _)) if self.has_host => host,
            _ => "docker.io",
        }
    }
}

impl Inner {
    /// What a reference means now: the digest in its registry, or the id of an image that only the engine has.
    async fn resolve(&self, reference: &str) -> Result<Artifact, Fault> {
        let parts = Reference::of(reference);
        if let Some(digest) = parts.digest {
            return self.pulled(parts.repository, digest).await;
        }
        let what = format!("the image {reference} cannot be looked at");
        let local = self.inspect_image(reference).await.map_err(|trouble| trouble.fault(&what))?;
        let only_here = local.as_ref().filter(|image| digest_of(image, parts.repository).is_none());
        if let (Some(image), false) = (only_here, parts.has_host) {
            return self.local(image);
        }
        if let (Some(image), false) = (&local, parts.has_host)
            && let Some(digest) = digest_of(image, parts.repository)
        {
            return manifest(&digest);
        }
        let login = self.login(parts.registry()).await?;
        let ask =
            self.engine()?.client.call(WORK, |api| async move { api.inspect_registry_image(reference, login).await });
        match ask.await {
            Ok(found) => {
                let digest = found.descriptor.digest.unwrap_or_default();
                self.pulled(parts.repository, digest.trim_start_matches("sha256:")).await
            }
            Err(trouble) => match only_here {
                // It was built here under the name of a registry, and never pushed there.
                Some(image) if !matches!(trouble, Trouble::Away(_)) => self.local(image),
                _ => Err(not_found(reference, trouble)),
            },
        }
    }

    /// An image that only the engine has. One that deployctl had built is removed by it, when nothing needs it any more.
    fn local(&self, image: &ImageInspect) -> Result<Artifact, Fault> {
        let artifact = id_of(image)?;
        let labels = image.config.as_ref().and_then(|config| config.labels.as_ref());
        if labels.is_some_and(|labels| labels.contains_key(labels::BUILT)) {
            let id = artifact.sha256.as_str();
            layout::write(&self.layout.images().join(id), &format!("sha256:{id}"))?;
        }
        Ok(artifact)
    }

    /// The image of a digest, pulled if it is not there.
    async fn pulled(&self, repository: &str, digest: &str) -> Result<Artifact, Fault> {
        self.ensure_image(&format!("{repository}@sha256:{digest}")).await?;
        manifest(digest)
    }

    /// Has the image that `name` means for good, an id or a digest; pulls it if it is gone and can be pulled.
    pub(crate) async fn ensure_image(&self, name: &str) -> Result<(), Fault> {
        let there = self.inspect_image(name).await;
        let there = there.map_err(|trouble| trouble.fault(&format!("the image {name} cannot be looked at")))?;
        if there.is_some() {
            return Ok(());
        }
        let Some((_, digest)) = name.split_once("@sha256:") else {
            let message = format!("the image {name} is not there any more, and was never in a registry");
            return Err(Fault { retry: Retry::Never, ..Fault::platform(message) }
                .hint("build or load it again; images that a rollback needs must not be pruned"));
        };
        let login = self.login(Reference::of(name).registry()).await?;
        let client = &self.engine()?.client;
        let pull = client.call(PULL, |api| async move {
            let options = CreateImageOptionsBuilder::new().from_image(name).build();
            let mut progress = Box::pin(api.create_image(Some(options), None, login));
            while let Some(step) = progress.next().await {
                step?;
            }
            Ok(())
        });
        pull.await.map_err(|trouble| not_found(name, trouble))?;
        crash::point("docker.pulled");
        // What was pulled by us is removed by us, when nothing needs it any more.
        layout::write(&self.layout.images().join(digest), &name)
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

/// Why an image cannot be had.
fn not_found(reference: &str, trouble: Trouble) -> Fault {
    let Trouble::Said { message, status } = trouble else { return trouble.fault("") };
    let lower = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let text = format!("the image {reference} cannot be had: {message}");
    if says(&["unauthorized", "authentication required", "access denied", "no basic auth", "denied"]) {
        return Fault::refused(FaultKind::Denied, text)
            .hint("check its name; if it is right, `docker login` as the user of deployctl's engine");
    }
    if status == 404 || says(&["manifest unknown", "not found", "repository does not exist", "name unknown"]) {
        return Fault::refused(FaultKind::Spec, text).hint("build or push it, or check `image:` and the version");
    }
    if says(&["no matching manifest", "platform"]) {
        return Fault::refused(FaultKind::Spec, text).hint("the image must be built for this machine's platform");
    }
    Fault::platform(text).hint("look at the registry; nothing was changed")
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn trouble_with_an_image_has_its_kind() {
        let fault = |status, message: &str| not_found("r/a:1", Trouble::Said { status, message: message.into() });
        assert_eq!(fault(500, "unauthorized: authentication required").kind, FaultKind::Denied);
        assert_eq!(fault(404, "manifest for r/a:1 not found: manifest unknown").kind, FaultKind::Spec);
        let slow = fault(500, "toomanyrequests: slow down");
        assert_eq!((slow.kind, slow.retry), (FaultKind::Platform, Retry::Soon));
    }
}
