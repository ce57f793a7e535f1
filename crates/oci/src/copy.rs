//! Copying images between repositories and registries, and giving a digest another name.

use crate::manifest::{Descriptor, Document, media};
use crate::reference::Reference;
use crate::referrers::{Referrer, Via};
use crate::registry::{Fetched, Placed, Registry};
use crate::resolve::fallback_tag;
use crate::trouble::{Trouble, TroubleKind};
use deployctl_core::id::Sha256Hex;
use serde_json::{Value, json};
use std::collections::HashSet;

/// Indexes may hold indexes, not without end.
const DEPTH_MAX: usize = 4;
const MANIFESTS_MAX: u64 = 2_000;

/// How an image is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyOptions {
    /// Whether what refers to it goes along: signatures, lists of parts.
    pub referrers: bool,
    /// Whether a tag that means another image may be moved.
    pub replace: bool,
}

/// What was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The digest, the same here and there.
    pub digest: Sha256Hex,
    /// Manifests that were put.
    pub manifests: u64,
    /// Blobs that were sent.
    pub blobs_sent: u64,
    /// Blobs that were mounted from the other repository.
    pub blobs_mounted: u64,
    /// Bytes that were sent.
    pub bytes_sent: u64,
    /// What referred to it and went along.
    pub referrers: u64,
    /// Whether it was all there already, under this name.
    pub unchanged: bool,
}

/// A copy under way.
struct Copy<'a> {
    registry: &'a Registry,
    from: &'a Reference,
    to: &'a Reference,
    mount: Option<&'a str>,
    seen: HashSet<Sha256Hex>,
    done: Copied,
}

impl Registry {
    /// Puts what `from` means now under `to`: whole, unchanged, by the same digest, its name last. A `to` without tag and
    /// digest gets none. Blobs pass through in pieces; nothing is kept here.
    pub fn copy(&self, from: &Reference, to: &Reference, options: CopyOptions) -> Result<Copied, Trouble> {
        let top = self.manifest(from)?;
        if let Some(wanted) = to.digest().filter(|wanted| **wanted != top.digest) {
            let message = format!("{from} is sha256:{}, not sha256:{wanted}", top.digest);
            return Err(Trouble::new(TroubleKind::Usage, message).hint("name the target by a tag, or without one"));
        }
        let before = match to.tag() {
            Some(tag) => self.digest(&to.tagged(tag)?)?,
            None => None,
        };
        if let Some(other) = before.as_ref().filter(|other| **other != top.digest && !options.replace) {
            let message = format!("{to} is another image already: sha256:{other}, not sha256:{}", top.digest);
            return Err(
                Trouble::new(TroubleKind::Taken, message).hint("take another tag, or move this one with --replace")
            );
        }
        let mount = (from.registry() == to.registry()).then(|| from.repository());
        let done = Copied {
            digest: top.digest.clone(),
            manifests: 0,
            blobs_sent: 0,
            blobs_mounted: 0,
            bytes_sent: 0,
            referrers: 0,
            unchanged: before.as_ref() == Some(&top.digest),
        };
        let mut copy = Copy { registry: self, from, to, mount, seen: HashSet::new(), done };
        copy.tree(&top, 0)?;
        if options.referrers && from.name() != to.name() {
            copy.referrers(&top.digest)?;
        }
        if let Some(tag) = to.tag().filter(|_| !copy.done.unchanged) {
            self.put_manifest(&to.tagged(tag)?, &top)?;
            copy.done.manifests += 1;
            copy.done.unchanged = false;
        }
        self.arrived(to, &top)?;
        Ok(copy.done)
    }

    /// The name means what it should, asked anew.
    fn arrived(&self, to: &Reference, top: &Fetched) -> Result<(), Trouble> {
        let name = if to.tag().is_some() { to.clone() } else { to.at(&top.digest) };
        match self.digest(&name)? {
            Some(digest) if digest == top.digest => Ok(()),
            Some(other) => Err(Trouble::new(
                TroubleKind::Wrong,
                format!("{name} is sha256:{other} right after it was made sha256:{}", top.digest),
            )
            .hint("somebody else moves this tag, too")),
            None => Err(Trouble::new(TroubleKind::Wrong, format!("{name} is not there right after it was put"))),
        }
    }
}

impl Copy<'_> {
    /// A manifest by its digest, after all that it refers to.
    fn tree(&mut self, manifest: &Fetched, depth: usize) -> Result<(), Trouble> {
        if depth > DEPTH_MAX || self.done.manifests > MANIFESTS_MAX {
            return Err(Trouble::new(
                TroubleKind::Wrong,
                format!("{} has indexes within indexes without end", self.from),
            ));
        }
        let there = self.to.at(&manifest.digest);
        if !self.seen.insert(manifest.digest.clone()) || self.registry.digest(&there)?.is_some() {
            return Ok(());
        }
        match &manifest.document {
            Document::Index(index) => {
                for child in &index.manifests {
                    let child = self.registry.manifest(&self.from.at(&child.digest))?;
                    self.tree(&child, depth + 1)?;
                }
            }
            Document::Image(image) => {
                for blob in image.layers.iter().chain([&image.config]).filter(|blob| !blob.foreign) {
                    self.blob(blob)?;
                }
            }
        }
        self.registry.put_manifest(&there, manifest)?;
        self.done.manifests += 1;
        Ok(())
    }

    fn blob(&mut self, blob: &Descriptor) -> Result<(), Trouble> {
        if !self.seen.insert(blob.digest.clone()) {
            return Ok(());
        }
        let open = || self.registry.blob(self.from, blob);
        match self.registry.place_blob(self.to, blob, self.mount, open)? {
            Placed::Present => {}
            Placed::Mounted => self.done.blobs_mounted += 1,
            Placed::Sent => {
                self.done.blobs_sent += 1;
                self.done.bytes_sent += blob.size;
            }
        }
        Ok(())
    }

    /// What refers to the image, so that it can be found there as well.
    fn referrers(&mut self, digest: &Sha256Hex) -> Result<(), Trouble> {
        for referrer in self.registry.referrers(self.from, digest)? {
            let manifest = self.registry.manifest(&self.from.at(&referrer.digest))?;
            let is_new = self.registry.digest(&self.to.at(&referrer.digest))?.is_none();
            self.tree(&manifest, 1)?;
            match (referrer.via, &referrer.tag) {
                (Via::Cosign, Some(tag)) => {
                    let there = self.to.tagged(tag)?;
                    // Signatures that somebody made there stay.
                    if self.registry.digest(&there)?.is_none() {
                        self.registry.put_manifest(&there, &manifest)?;
                    }
                }
                _ => self.list(digest, &referrer, &manifest)?,
            }
            self.done.referrers += u64::from(is_new);
        }
        Ok(())
    }

    /// A registry without an interface for it learns by the index under the fallback tag.
    fn list(&mut self, digest: &Sha256Hex, referrer: &Referrer, manifest: &Fetched) -> Result<(), Trouble> {
        if self.registry.referrers(self.to, digest)?.iter().any(|one| one.digest == referrer.digest) {
            return Ok(());
        }
        let mut all: Vec<Value> = Vec::new();
        if let Some(Document::Index(index)) = self.registry.fallback_index(self.to, digest)? {
            all.extend(index.manifests.iter().map(|one| {
                json!({ "mediaType": one.media_type, "digest": format!("sha256:{}", one.digest), "size": one.size,
                        "artifactType": one.artifact_type, "annotations": one.annotations })
            }));
        }
        all.push(json!({ "mediaType": manifest.media_type, "digest": format!("sha256:{}", manifest.digest),
                         "size": manifest.bytes.len(), "artifactType": referrer.artifact_type,
                         "annotations": referrer.annotations }));
        let index = json!({ "schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": all });
        let bytes = index.to_string().into_bytes();
        let document = Document::parse(&bytes)?;
        let digest_of = Sha256Hex::of(&bytes);
        let index = Fetched { digest: digest_of, media_type: media::OCI_INDEX.into(), bytes, document };
        self.registry.put_manifest(&self.to.tagged(&fallback_tag(digest))?, &index).map(drop)
    }
}
