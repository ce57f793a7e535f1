//! What refers to an image: signatures, lists of parts, attestations.

use crate::body;
use crate::http::join;
use crate::manifest::{Document, media};
use crate::reference::Reference;
use crate::registry::{Fetched, Registry};
use crate::resolve::fallback_tag;
use crate::trouble::{Trouble, TroubleKind};
use deployctl_core::id::Sha256Hex;
use http::Method;
use http::header::{ACCEPT, HeaderMap, HeaderValue};
use std::collections::BTreeMap;

const PAGE_BYTES_MAX: u64 = 4 << 20;
const PAGES_MAX: usize = 20;
/// The tags that cosign has used since before registries had an interface for it.
const COSIGN: &[(&str, &str)] = &[
    (".sig", "application/vnd.dev.cosign.artifact.sig.v1+json"),
    (".att", "application/vnd.dev.cosign.artifact.att.v1+json"),
    (".sbom", "application/vnd.dev.cosign.artifact.sbom.v1+json"),
];

/// How something that refers to an image was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// By the registry's interface for it.
    Api,
    /// By the index under the tag `sha256-DIGEST`, for registries without.
    Tag,
    /// By a tag of cosign, such as `sha256-DIGEST.sig`.
    Cosign,
}

impl Via {
    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Tag => "tag",
            Self::Cosign => "cosign-tag",
        }
    }
}

/// Something that refers to an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrer {
    /// The digest of its manifest.
    pub digest: Sha256Hex,
    /// What kind of artifact it is.
    pub artifact_type: String,
    /// What else is said of it.
    pub annotations: BTreeMap<String, String>,
    /// How it was found.
    pub via: Via,
    /// The tag of cosign that it has.
    pub tag: Option<String>,
}

impl Registry {
    /// All that refers to the image with this digest in the repository of `of`.
    pub fn referrers(&self, of: &Reference, digest: &Sha256Hex) -> Result<Vec<Referrer>, Trouble> {
        let mut all = match self.referrers_api(of, digest)? {
            Some(all) => all,
            None => self.fallback_index(of, digest)?.map(|index| listed(&index, Via::Tag)).unwrap_or_default(),
        };
        for (end, artifact_type) in COSIGN {
            let tag = format!("{}{end}", fallback_tag(digest));
            let Some(digest) = self.digest(&of.tagged(&tag)?)? else { continue };
            if !all.iter().any(|one| one.digest == digest) {
                let (artifact_type, annotations) = ((*artifact_type).to_owned(), BTreeMap::new());
                all.push(Referrer { digest, artifact_type, annotations, via: Via::Cosign, tag: Some(tag) });
            }
        }
        Ok(all)
    }

    /// What the registry's interface lists; none if it has no such interface.
    fn referrers_api(&self, of: &Reference, digest: &Sha256Hex) -> Result<Option<Vec<Referrer>>, Trouble> {
        let what = format!("what refers to {}", of.at(digest));
        let mut url = format!("{}/v2/{}/referrers/sha256:{digest}", self.http.base(of), of.repository());
        let mut all = Vec::new();
        for _ in 0..PAGES_MAX {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(media::OCI_INDEX))]);
            let page = self.patience.retry(|| {
                let answer = match self.get(of, &what, &Method::GET, &url, &headers) {
                    // So do registries answer that never heard of it.
                    Err(trouble) if matches!(trouble.kind, TroubleKind::Missing | TroubleKind::Wrong) => {
                        return Ok(None);
                    }
                    answer => answer?,
                };
                let next =
                    answer.header("link").and_then(next_page).map(|next| join(&answer.url, &next)).transpose()?;
                let reader = answer.body.into_with_config().limit(u64::MAX).reader();
                Ok(Some((body::whole(reader, &what, PAGE_BYTES_MAX)?, next)))
            });
            let (bytes, next) = match page? {
                None if all.is_empty() => return Ok(None),
                None => return Err(Trouble::new(TroubleKind::Wrong, format!("{what}: the list breaks off"))),
                Some(page) => page,
            };
            let document = Document::parse(&bytes).map_err(|trouble| trouble.while_(&what))?;
            all.extend(listed(&document, Via::Api));
            match next {
                Some(next) => url = next,
                None => return Ok(Some(all)),
            }
        }
        Err(Trouble::new(TroubleKind::Wrong, format!("{what}: the list has more than {PAGES_MAX} pages")))
    }

    /// The index under the fallback tag, if there is one.
    pub(crate) fn fallback_index(&self, of: &Reference, digest: &Sha256Hex) -> Result<Option<Document>, Trouble> {
        match self.manifest(&of.tagged(&fallback_tag(digest))?) {
            Ok(Fetched { document, .. }) => Ok(Some(document)),
            Err(trouble) if trouble.kind == TroubleKind::Missing => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }
}

fn listed(document: &Document, via: Via) -> Vec<Referrer> {
    let Document::Index(index) = document else { return Vec::new() };
    let one = |descriptor: &crate::Descriptor| Referrer {
        digest: descriptor.digest.clone(),
        artifact_type: descriptor.artifact_type.clone().unwrap_or_else(|| descriptor.media_type.clone()),
        annotations: descriptor.annotations.clone(),
        via,
        tag: None,
    };
    index.manifests.iter().map(one).collect()
}

/// The address of the next page in a `Link` header.
fn next_page(header: &str) -> Option<String> {
    let mut links = header.split(',').filter_map(|link| link.trim().strip_prefix('<')?.split_once('>'));
    links.find(|(_, rest)| rest.contains("rel=\"next\"") || rest.contains("rel=next")).map(|(url, _)| url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found() {
        assert_eq!(next_page("</v2/x?last=a>; rel=\"next\""), Some("/v2/x?last=a".into()));
        assert_eq!(next_page("<a>; rel=\"prev\", <b>; rel=next"), Some("b".into()));
        assert_eq!(next_page("nothing"), None);
    }
}
