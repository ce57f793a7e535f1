//! Images in archives: OCI layouts, and what `docker save` writes.

use super::image::describe;
use super::layers::Layers;
use super::{Limits, NotRead};
use crate::subject::{Image, Kind, Place, Subject};
use deployctl_oci::{Document, ImageManifest, Platform};
use serde::Deserialize;
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Take};
use std::path::Path;
use tar::EntryType;

/// Texts of an image are no larger.
const TEXT_BYTES_MAX: u64 = 8 << 20;

/// Where each file of an archive is.
struct Packed<'a> {
    path: &'a Path,
    places: HashMap<String, (u64, u64)>,
    links: HashMap<String, String>,
}

impl<'a> Packed<'a> {
    fn open(path: &'a Path, limits: &Limits) -> Result<Self, NotRead> {
        let bad = |e: std::io::Error| NotRead::new(path, e);
        let mut archive = tar::Archive::new(File::open(path).map_err(bad)?);
        let mut packed = Self { path, places: HashMap::new(), links: HashMap::new() };
        let mut entries = 0;
        let Ok(all) = archive.entries_with_seek() else { return Ok(packed) };
        // Damage is found again, and told, by whoever reads it as a mere archive.
        for entry in all.map_while(Result::ok) {
            entries += 1;
            if entries > limits.entries_max {
                break;
            }
            let name = String::from_utf8_lossy(&entry.path_bytes()).trim_start_matches("./").to_owned();
            match entry.header().entry_type() {
                EntryType::Symlink | EntryType::Link => {
                    let target = entry.link_name_bytes().map(|name| String::from_utf8_lossy(&name).into_owned());
                    packed.links.insert(name, target.unwrap_or_default());
                }
                _ => drop(packed.places.insert(name, (entry.raw_file_position(), entry.size()))),
            }
        }
        Ok(packed)
    }

    /// A file of the archive. `docker save` links layers that are the same.
    fn file(&self, name: &str) -> Option<std::io::Result<Take<File>>> {
        let linked = self.links.get(name).map(|target| target.trim_start_matches("../"));
        let (start, size) = *self.places.get(linked.unwrap_or(name))?;
        let open = || {
            let mut file = File::open(self.path)?;
            file.seek(SeekFrom::Start(start))?;
            Ok(file.take(size))
        };
        Some(open())
    }

    fn text(&self, name: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file(name)?.ok()?.take(TEXT_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    fn blob(&self, digest: &str) -> Option<Vec<u8>> {
        self.text(&blob(digest))
    }
}

fn blob(digest: &str) -> String {
    format!("blobs/sha256/{digest}")
}

/// What `docker save` says of an image.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Vec<String>,
}

/// The image in an archive; none if it is an archive of something else.
pub(super) fn image(path: &Path, platform: &Platform, limits: &Limits) -> Result<Option<Subject>, NotRead> {
    let packed = Packed::open(path, limits)?;
    let (digest, image) = if packed.places.contains_key("oci-layout") && packed.places.contains_key("index.json") {
        let Some((digest, manifest, platforms)) = layout(&packed, platform)? else {
            return Err(NotRead::new(path, "its index.json leads to no image"));
        };
        let layers: Vec<String> = manifest.layers.iter().map(|layer| blob(layer.digest.as_str())).collect();
        let mut image = read(&packed, &blob(manifest.config.digest.as_str()), &layers, limits)?;
        image.platforms.extend(platforms.into_iter().filter(|one| Some(one) != image.platform.as_ref()));
        (Some(digest), image)
    } else if let Some(text) = packed.text("manifest.json") {
        let all: Vec<Saved> = serde_json::from_slice(&text).unwrap_or_default();
        let Some(saved) = all.into_iter().next() else { return Ok(None) };
        let mut image = read(&packed, &saved.config, &saved.layers, limits)?;
        let name = saved.repo_tags.unwrap_or_default().into_iter().next();
        image.tag = name.and_then(|name| name.rsplit_once(':').map(|(_, tag)| tag.to_owned()));
        (None, image)
    } else {
        return Ok(None);
    };
    let size_bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let name = path.display().to_string();
    Ok(Some(Subject { name, digest, size_bytes, kind: Kind::Image(Box::new(image)) }))
}

/// An image that a Docker Engine wrote to the archive at `path`. `name` is how it was asked for, `in_registry` whether
/// the engine knows a registry that has it.
pub fn image_of_engine(
    path: &Path,
    name: &str,
    in_registry: bool,
    platform: &Platform,
    limits: &Limits,
) -> Result<Subject, NotRead> {
    let none = || NotRead::new(path, "the engine wrote no image");
    let mut subject = image(path, platform, limits)?.ok_or_else(none)?;
    if let Kind::Image(image) = &mut subject.kind {
        image.place = if in_registry { Place::Registry } else { Place::Engine };
        let last = name.rsplit('/').next().unwrap_or(name);
        let tag = last.split_once(':').map(|(_, tag)| tag.to_owned());
        image.tag = if last.contains('@') { None } else { tag.or_else(|| Some("latest".into())) };
    }
    Ok(Subject { name: name.to_owned(), digest: None, ..subject })
}

type Chosen = (String, Box<ImageManifest>, Vec<Platform>);

/// The manifest for a platform in a layout, or the first one; and all platforms.
fn layout(packed: &Packed<'_>, platform: &Platform) -> Result<Option<Chosen>, NotRead> {
    let parse = |bytes: Vec<u8>| Document::parse(&bytes).map_err(|trouble| NotRead::new(packed.path, trouble));
    let mut document = parse(packed.text("index.json").unwrap_or_default())?;
    let mut digest = None;
    let mut platforms = Vec::new();
    // An index may hold an index, and that one images.
    for _ in 0..4 {
        let index = match document {
            Document::Image(manifest) => return Ok(digest.map(|digest| (digest, manifest, platforms))),
            Document::Index(index) => index,
        };
        platforms
            .extend(index.manifests.iter().filter_map(|one| one.platform.clone()).filter(|one| one.os != "unknown"));
        let suits = |one: &&deployctl_oci::Descriptor| one.platform.as_ref().is_some_and(|one| one.suits(platform));
        let Some(next) = index.manifests.iter().find(suits).or(index.manifests.first()) else { return Ok(None) };
        digest.get_or_insert(format!("sha256:{}", next.digest));
        let Some(bytes) = packed.blob(next.digest.as_str()) else { return Ok(None) };
        document = parse(bytes)?;
    }
    Ok(None)
}

fn read(packed: &Packed<'_>, config: &str, names: &[String], limits: &Limits) -> Result<Image, NotRead> {
    let lacks = |name: &str| NotRead::new(packed.path, format!("{name} is missing in it"));
    let config = packed.text(config).ok_or_else(|| lacks(config))?;
    let mut layers = Layers::new(limits);
    for name in names {
        if layers.is_full() {
            break;
        }
        let file = packed.file(name).ok_or_else(|| lacks(name))?.map_err(|e| NotRead::new(packed.path, e))?;
        if layers.add(file).is_err() {
            layers.stop(format!("{name} is no archive that can be read"));
        }
    }
    let mut image = describe(&config, layers.finish(), Place::File);
    image.layers = names.len();
    Ok(image)
}
