//! What containers take of the disk: for who asks, and for who is told that there is no room.

use crate::client::{Client, Trouble, USUAL};
use crate::docker::Inner;
use crate::layout::Layout;
use crate::{compose, hold, labels};
use bollard::models::{ImageSummary, Volume};
use bollard::query_parameters::{ListContainersOptionsBuilder, ListImagesOptions, ListVolumesOptions};
use deployctl_core::fault::Fault;
use deployctl_sys::disk;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The disk of a Docker Engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineDisk {
    /// Where the engine keeps its data.
    pub root: PathBuf,
    /// What is free there, if that can be seen from here.
    pub free_bytes: Option<u64>,
    /// The images that deployctl brought, for this state. Layers that images share are counted with each.
    pub images: Taken,
    /// The images that neither a container nor any state of deployctl needs.
    pub unused: Taken,
    /// The volumes of this state.
    pub volumes: Vec<VolumeDisk>,
}

/// So many, of so many bytes together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// How many.
    pub count: usize,
    /// How many bytes, at most.
    pub bytes: u64,
}

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeDisk {
    /// Its name.
    pub name: String,
    /// What its files take; none if they cannot be seen from here.
    pub bytes: Option<u64>,
}

impl EngineDisk {
    /// The disk of the engine that the state folder `state` belongs to; none if it never had a container.
    pub async fn of(state: &Path) -> Result<Option<Self>, Fault> {
        let layout = Layout::new(state.into());
        let Some(identity) = layout.known()? else { return Ok(None) };
        let client = Client::new(identity.engine.clone(), Some(layout.engine()));
        let is_here = client.address().is_here();
        let what = "the Docker Engine's disk cannot be looked at";
        let mut all = images(&client, &identity.state).await.map_err(|trouble| trouble.fault(what))?;
        let volumes = client.call(USUAL, |api| async move { api.list_volumes(None::<ListVolumesOptions>).await }).await;
        let volumes = volumes.map_err(|trouble| trouble.fault(what))?.volumes.unwrap_or_default();
        let ours: Vec<Volume> =
            volumes.into_iter().filter(|volume| is_ours(volume, &identity.state, &layout)).collect();
        let sized = tokio::task::spawn_blocking(move || {
            let taken = |volume: &Volume| is_here.then(|| disk::taken(Path::new(&volume.mountpoint))).flatten();
            let sized = |volume: Volume| VolumeDisk { bytes: taken(&volume), name: volume.name };
            ours.into_iter().map(sized).collect::<Vec<_>>()
        });
        all.volumes = sized.await.map_err(|e| crate::docker::bug(&e))?;
        all.volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Some(all))
    }

    /// What there is to be done when it is full.
    pub(crate) fn advice(&self) -> String {
        let free = self
            .free_bytes
            .map_or_else(|| "what is free cannot be seen".into(), |bytes| disk::say(bytes) + " are free");
        let Taken { count, bytes } = self.unused;
        let unused = match count {
            0 => "every image is needed by a container or by deployctl".to_owned(),
            1 => format!("one image that nothing needs takes up to {}", disk::say(bytes)),
            _ => format!("{count} images that nothing needs take up to {}", disk::say(bytes)),
        };
        let root = self.root.display();
        format!(
            "{free} at {root}; {unused}: `docker image prune -a` removes them, and with them those that only a rollback \
             needs (`deployctl disk` lists what is whose)"
        )
    }
}

impl Inner {
    /// The engine's disk without the volumes, which take time to look at.
    pub(crate) async fn disk(&self) -> Result<EngineDisk, Trouble> {
        let engine = self.engine().map_err(Trouble::Away)?;
        images(&engine.client, &engine.identity.state).await
    }
}

async fn images(client: &Client, state: &str) -> Result<EngineDisk, Trouble> {
    let info = client.call(USUAL, |api| async move { api.info().await }).await?;
    let root = PathBuf::from(info.docker_root_dir.unwrap_or_default());
    let options = ListContainersOptionsBuilder::new().all(true).build();
    let containers = client.call(USUAL, |api| async move { api.list_containers(Some(options)).await }).await?;
    let all = client.call(USUAL, |api| async move { api.list_images(None::<ListImagesOptions>).await }).await?;
    let used: BTreeSet<String> = containers.into_iter().filter_map(|container| container.image_id).collect();
    let is_unused = |image: &&ImageSummary| !used.contains(&image.id) && !hold::names(&image.repo_tags);
    Ok(EngineDisk {
        free_bytes: client.address().is_here().then(|| disk::free(&root)).flatten(),
        root,
        images: taken(all.iter().filter(|image| hold::names_of(&image.repo_tags, state))),
        unused: taken(all.iter().filter(is_unused)),
        volumes: Vec::new(),
    })
}

fn taken<'a>(images: impl Iterator<Item = &'a ImageSummary>) -> Taken {
    images.fold(Taken::default(), |sum, image| Taken {
        count: sum.count + 1,
        bytes: sum.bytes.saturating_add(u64::try_from(image.size).unwrap_or(0)),
    })
}

fn is_ours(volume: &Volume, state: &str, layout: &Layout) -> bool {
    let of_state = volume.labels.get(labels::STATE).is_some_and(|of| of == state);
    of_state || volume.labels.get(compose::PROJECT).is_some_and(|project| layout.project(project).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_no_room_is_told_what_would_make_some() {
        let disk = EngineDisk {
            root: "/var/lib/docker".into(),
            free_bytes: Some(5 << 20),
            unused: Taken { count: 3, bytes: 20 << 30 },
            ..EngineDisk::default()
        };
        let advice = disk.advice();
        let says = "5 MiB are free at /var/lib/docker; 3 images that nothing needs take up to 20 GiB: ";
        assert!(advice.starts_with(says), "{advice}");
        assert!(EngineDisk::default().advice().starts_with("what is free cannot be seen at "));
    }
}
