//! Images that this state needs carry a name of its own, so that nobody takes them for left over: not another state on the
//! same engine, nor who removes what has no name any more.

use crate::client::{Trouble, USUAL, WORK};
use crate::docker::Inner;
use crate::layout;
use bollard::models::ImageInspect;
use bollard::query_parameters::{RemoveImageOptions, TagImageOptionsBuilder};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The beginning of the name of every image that a state holds; the state's mark follows.
const HOLDS: &str = "deployctl-holds/";

/// What is known of an image that is removed when nothing needs it any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Held {
    /// By an earlier build of deployctl: only what is removed.
    Bare(String),
    /// With its id.
    Image {
        /// What is removed: an id, or a name with a digest.
        reference: String,
        /// The image's id.
        id: String,
    },
}

impl Held {
    fn reference(&self) -> &str {
        let (Self::Bare(reference) | Self::Image { reference, .. }) = self;
        reference
    }
}

impl Inner {
    /// Holds an image: `reference` is removed, when nothing of this state needs `digest` any more.
    pub(crate) async fn hold(&self, digest: &str, reference: &str, image: &ImageInspect) -> Result<(), Trouble> {
        let id = image.id.clone().unwrap_or_default();
        let held = Held::Image { reference: reference.to_owned(), id: id.clone() };
        let path = self.layout.images().join(digest);
        if layout::read::<Held>(&path).unwrap_or_default().as_ref() != Some(&held) {
            layout::write(&path, &held).map_err(Trouble::Away)?;
        }
        let engine = self.engine().map_err(Trouble::Away)?;
        let (repository, tag) = (format!("{HOLDS}{}", engine.identity.state), short(&id));
        if image.repo_tags.iter().flatten().any(|name| *name == format!("{repository}:{tag}")) {
            return Ok(());
        }
        let options = TagImageOptionsBuilder::new().repo(&repository).tag(&tag).build();
        engine.client.call(USUAL, |api| async move { api.tag_image(&id, Some(options)).await }).await
    }

    /// Lets go of an image: it is gone, unless somebody else holds it, runs it, or gave it names of their own.
    pub(crate) async fn let_go(&self, path: &Path, held: &Held) -> Result<(), Trouble> {
        let reference = held.reference();
        let name = match held {
            Held::Bare(_) => reference,
            Held::Image { id, .. } => id,
        };
        let Some(image) = self.inspect_image(name).await? else {
            let _ = layout::remove(path);
            return Ok(());
        };
        let state = &self.engine().map_err(Trouble::Away)?.identity.state;
        let own = format!("{HOLDS}{state}:{}", short(image.id.as_deref().unwrap_or_default()));
        let names = image.repo_tags.unwrap_or_default();
        let others = names.iter().any(|name| name.starts_with(HOLDS) && *name != own);
        // The note goes last: what is interrupted, or refused because somebody runs it, is found again.
        if names.contains(&own) {
            self.remove_image(&own).await?;
        }
        if !others {
            self.remove_image(reference).await?;
        }
        let _ = layout::remove(path);
        Ok(())
    }

    async fn remove_image(&self, name: &str) -> Result<(), Trouble> {
        let engine = self.engine().map_err(Trouble::Away)?;
        let remove = engine
            .client
            .call(WORK, |api| async move { api.remove_image(name, None::<RemoveImageOptions>, None).await.map(drop) });
        match remove.await {
            Err(trouble) if !trouble.is_missing() => Err(trouble),
            _ => Ok(()),
        }
    }
}

/// Whether a state of deployctl, this or another, brought an image and needs it.
pub(crate) fn is_held(image: &ImageInspect) -> bool {
    image.repo_tags.as_deref().is_some_and(names)
}

/// Whether a state, this or another, is among those who hold an image of these names.
pub(crate) fn names(all: &[String]) -> bool {
    all.iter().any(|name| name.starts_with(HOLDS))
}

/// Whether this state is.
pub(crate) fn names_of(all: &[String], state: &str) -> bool {
    all.iter().any(|name| name.strip_prefix(HOLDS).is_some_and(|rest| rest.split(':').next() == Some(state)))
}

/// A tag of an image's id.
fn short(id: &str) -> String {
    id.trim_start_matches("sha256:").chars().take(12).collect()
}
