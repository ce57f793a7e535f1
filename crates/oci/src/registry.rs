//! Registries, asked for single things: manifests and blobs, there and back.

use crate::auth;
use crate::body::{self, Checked};
use crate::credentials::Credentials;
use crate::http::{Answer, Http, join, judge, place};
use crate::manifest::{Descriptor, Document, media};
use crate::patience::Patience;
use crate::reference::{Reference, sha256};
use crate::trouble::{Trouble, TroubleKind};
use crate::trust::Trust;
use deployctl_core::id::Sha256Hex;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use http::{Method, StatusCode};
use std::collections::HashMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use ureq::{AsSendBody, BodyReader, SendBody};

/// What registries must take at least, and no image needs more.
const MANIFEST_BYTES_MAX: u64 = 4 << 20;
const DIGEST: &str = "docker-content-digest";

/// How registries are asked.
#[derive(Clone)]
pub struct RegistryOptions {
    /// Who we are.
    pub credentials: Arc<dyn Credentials>,
    /// How long and how often.
    pub patience: Patience,
    /// Certificates of registries with an authority of their own, as Docker keeps them: `FOLDER/HOST:PORT/*.crt`.
    pub certificates: Option<PathBuf>,
}

/// A client of any number of registries. Its functions block.
pub struct Registry {
    pub(crate) http: Http,
    pub(crate) patience: Patience,
    credentials: Arc<dyn Credentials>,
    /// What convinced a registry, by its name and what was asked for.
    tokens: Mutex<HashMap<String, HeaderValue>>,
}

/// A manifest or an index as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The digest of its bytes.
    pub digest: Sha256Hex,
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What they say.
    pub document: Document,
}

/// What may be done in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    Pull,
    Push,
}

/// What came of a blob that should be somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placed {
    Present,
    Mounted,
    Sent,
}

impl Registry {
    /// A client. Asks nobody yet.
    pub fn new(options: RegistryOptions) -> Self {
        let RegistryOptions { credentials, patience, certificates } = options;
        Self {
            http: Http::new(patience.clone(), Trust::at(certificates)),
            patience,
            credentials,
            tokens: Mutex::default(),
        }
    }

    /// The manifest or index that a reference means now. Its bytes have the digest that the reference names, if any.
    pub fn manifest(&self, reference: &Reference) -> Result<Fetched, Trouble> {
        let what = format!("the image {reference}");
        let url =
            format!("{}/v2/{}/manifests/{}", self.http.base(reference), reference.repository(), reference.asked());
        self.patience.retry(|| {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(media::ACCEPT))]);
            let answer = self.get(reference, &what, &Method::GET, &url, &headers)?;
            fetched(reference, &what, answer)
        })
    }

    /// The digest that a reference means now; none if there is nothing.
    pub fn digest(&self, reference: &Reference) -> Result<Option<Sha256Hex>, Trouble> {
        let what = format!("the image {reference}");
        let url =
            format!("{}/v2/{}/manifests/{}", self.http.base(reference), reference.repository(), reference.asked());
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(media::ACCEPT))]);
        let asked = self.patience.retry(|| self.get(reference, &what, &Method::HEAD, &url, &headers));
        match asked {
            Err(trouble) if trouble.kind == TroubleKind::Missing => Ok(None),
            Err(trouble) => Err(trouble),
            Ok(answer) => match answer.header(DIGEST).map(|said| sha256(said, said)).transpose()? {
                Some(said) => match reference.digest().filter(|wanted| **wanted != said) {
                    Some(wanted) => Err(body::mismatch(&what, wanted, said.as_str())),
                    None => Ok(Some(said)),
                },
                None => Ok(Some(self.manifest(reference)?.digest)),
            },
        }
    }

    /// A blob of a repository, to be read in pieces. Reading ends well only if the bytes are those of the digest.
    pub fn blob(&self, of: &Reference, blob: &Descriptor) -> Result<Checked<BodyReader<'static>>, Trouble> {
        self.patience.retry(|| self.blob_once(of, blob))
    }

    /// A small blob of a repository, whole.
    pub fn small_blob(&self, of: &Reference, blob: &Descriptor, bytes_max: u64) -> Result<Vec<u8>, Trouble> {
        let what = blob_name(of, &blob.digest);
        if blob.size > bytes_max {
            let message = format!("{what} has {} bytes; at most {bytes_max} are read", blob.size);
            return Err(Trouble::new(TroubleKind::Wrong, message));
        }
        self.patience.retry(|| body::whole(self.blob_once(of, blob)?, &what, bytes_max))
    }

    fn blob_once(&self, of: &Reference, blob: &Descriptor) -> Result<Checked<BodyReader<'static>>, Trouble> {
        let what = blob_name(of, &blob.digest);
        let url = self.blob_url(of, &blob.digest);
        let answer = self.get(of, &what, &Method::GET, &url, &HeaderMap::new())?;
        let reader = answer.body.into_with_config().limit(u64::MAX).reader();
        Ok(Checked::new(reader, what, blob.digest.clone(), blob.size))
    }

    /// Asks for something that is there, else says what is the matter.
    pub(crate) fn get(
        &self,
        of: &Reference,
        what: &str,
        method: &Method,
        url: &str,
        headers: &HeaderMap,
    ) -> Result<Answer, Trouble> {
        let scopes = [scope(of.repository(), Right::Pull)];
        let answer = self.convinced(of, &scopes, headers, |headers| self.http.fetch(method, url, headers))?;
        if answer.status.is_success() { Ok(answer) } else { Err(judge(what, answer)) }
    }

    /// Asks, and once more with what convinces the registry if it wants to be.
    fn convinced(
        &self,
        of: &Reference,
        scopes: &[String],
        headers: &HeaderMap,
        mut ask: impl FnMut(&HeaderMap) -> Result<Answer, Trouble>,
    ) -> Result<Answer, Trouble> {
        let key = format!("{} {}", of.registry(), scopes.join(" "));
        let known = self.tokens().get(&key).cloned();
        let with = |value: Option<&HeaderValue>| {
            let mut headers = headers.clone();
            headers.extend(value.map(|value| (AUTHORIZATION, value.clone())));
            headers
        };
        let answer = ask(&with(known.as_ref()))?;
        let is_ours = place(&answer.url)? == place(&self.http.base(of))?;
        if answer.status != StatusCode::UNAUTHORIZED || !is_ours {
            return Ok(answer);
        }
        let login = self.credentials.login(of.registry())?;
        let value = auth::meet(&self.http, &answer, &login, scopes)?;
        let answer = ask(&with(Some(&value)))?;
        if answer.status != StatusCode::UNAUTHORIZED {
            self.tokens().insert(key, value);
        }
        Ok(answer)
    }

    fn tokens(&self) -> std::sync::MutexGuard<'_, HashMap<String, HeaderValue>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a blob into a repository, unless it is there: mounted from the repository `mount` of the same registry, or
    /// else sent as `open` gives it.
    pub(crate) fn place_blob<R: Read>(
        &self,
        to: &Reference,
        blob: &Descriptor,
        mount: Option<&str>,
        mut open: impl FnMut() -> Result<R, Trouble>,
    ) -> Result<Placed, Trouble> {
        let what = blob_name(to, &blob.digest);
        self.patience.retry(|| {
            if self.has_blob(to, blob)? {
                return Ok(Placed::Present);
            }
            let Some(session) = self.upload(to, blob, mount)? else { return Ok(Placed::Mounted) };
            let mark = if session.contains('?') { '&' } else { '?' };
            let url = format!("{session}{mark}{}", auth::form(&[("digest", &format!("sha256:{}", blob.digest))]));
            let mut headers = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from(blob.size))]);
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            if place(&url)? == place(&self.http.base(to))? {
                headers.extend(self.token(to, mount).map(|value| (AUTHORIZATION, value)));
            }
            let mut reader = open()?;
            let answer = self.http.send(&Method::PUT, &url, &headers, SendBody::from_reader(&mut reader))?;
            match answer.status.as_u16() {
                200 | 201 | 204 => Ok(Placed::Sent),
                401 => {
                    // The token was good when the upload began, and is too old by now.
                    self.tokens().remove(&token_key(to, mount));
                    Err(Trouble { kind: TroubleKind::Busy, ..judge(&what, answer) })
                }
                _ => Err(judge(&what, answer)),
            }
        })
    }

    /// Whether a repository has a blob.
    fn has_blob(&self, at: &Reference, blob: &Descriptor) -> Result<bool, Trouble> {
        let what = blob_name(at, &blob.digest);
        match self.get(at, &what, &Method::HEAD, &self.blob_url(at, &blob.digest), &HeaderMap::new()) {
            Ok(_) => Ok(true),
            Err(trouble) if trouble.kind == TroubleKind::Missing => Ok(false),
            Err(trouble) => Err(trouble),
        }
    }

    /// Begins an upload: where to; none if the blob was mounted instead.
    fn upload(&self, to: &Reference, blob: &Descriptor, mount: Option<&str>) -> Result<Option<String>, Trouble> {
        let mut url = format!("{}/v2/{}/blobs/uploads/", self.http.base(to), to.repository());
        if let Some(from) = mount {
            let digest = format!("sha256:{}", blob.digest);
            url = format!("{url}?{}", auth::form(&[("mount", &digest), ("from", from)]));
        }
        let headers = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from_static("0"))]);
        let answer = self.change(to, mount, &Method::POST, &url, &headers, &[])?;
        match (answer.status.as_u16(), answer.header(LOCATION.as_str())) {
            (201, _) if mount.is_some() => Ok(None),
            (202, Some(location)) => Ok(Some(join(&answer.url, location)?)),
            _ => Err(judge(&blob_name(to, &blob.digest), answer)),
        }
    }

    /// Puts a manifest under a tag or its digest. All that it refers to must be there.
    pub(crate) fn put_manifest(&self, to: &Reference, manifest: &Fetched) -> Result<Answer, Trouble> {
        let what = format!("the image {to}");
        let url = format!("{}/v2/{}/manifests/{}", self.http.base(to), to.repository(), to.asked());
        let unfit = |_| Trouble::new(TroubleKind::Wrong, format!("{what} has a media type that cannot be sent"));
        let media_type = HeaderValue::from_str(&manifest.media_type).map_err(unfit)?;
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, media_type)]);
        self.patience.retry(|| {
            let answer = self.change(to, None, &Method::PUT, &url, &headers, &manifest.bytes)?;
            if !answer.status.is_success() {
                return Err(judge(&what, answer));
            }
            let said = answer.header(DIGEST).unwrap_or_default();
            if !said.is_empty() && said != format!("sha256:{}", manifest.digest) {
                return Err(body::mismatch(&what, &manifest.digest, said.trim_start_matches("sha256:")));
            }
            Ok(answer)
        })
    }

    fn change(
        &self,
        to: &Reference,
        mount: Option<&str>,
        method: &Method,
        url: &str,
        headers: &HeaderMap,
        bytes: &[u8],
    ) -> Result<Answer, Trouble> {
        self.convinced(to, &push_scopes(to, mount), headers, |headers| self.sent(method, url, headers, bytes))
    }

    fn sent(&self, method: &Method, url: &str, headers: &HeaderMap, body: impl AsSendBody) -> Result<Answer, Trouble> {
        self.http.send(method, url, headers, body)
    }

    fn blob_url(&self, of: &Reference, digest: &Sha256Hex) -> String {
        format!("{}/v2/{}/blobs/sha256:{digest}", self.http.base(of), of.repository())
    }

    fn token(&self, to: &Reference, mount: Option<&str>) -> Option<HeaderValue> {
        self.tokens().get(&token_key(to, mount)).cloned()
    }
}

fn token_key(to: &Reference, mount: Option<&str>) -> String {
    format!("{} {}", to.registry(), push_scopes(to, mount).join(" "))
}

fn push_scopes(to: &Reference, mount: Option<&str>) -> Vec<String> {
    let from = mount.filter(|from| *from != to.repository()).map(|from| scope(from, Right::Pull));
    [scope(to.repository(), Right::Push)].into_iter().chain(from).collect()
}

fn scope(repository: &str, right: Right) -> String {
    let actions = if right == Right::Pull { "pull" } else { "pull,push" };
    format!("repository:{repository}:{actions}")
}

fn blob_name(of: &Reference, digest: &Sha256Hex) -> String {
    format!("the blob sha256:{} of {}", digest.short(), of.name())
}

/// A manifest out of an answer, with everything compared that can be.
fn fetched(reference: &Reference, what: &str, answer: Answer) -> Result<Fetched, Trouble> {
    let said = answer.header(DIGEST).map(str::to_owned);
    let media_type = answer.header(CONTENT_TYPE.as_str()).map(|kind| kind.split(';').next().unwrap_or_default().trim());
    let media_type = media_type.map(str::to_owned);
    let reader = answer.body.into_with_config().limit(u64::MAX).reader();
    let bytes = body::whole(reader, what, MANIFEST_BYTES_MAX)?;
    let digest = Sha256Hex::of(&bytes);
    let said = said.filter(|said| said.starts_with("sha256:")).map(|said| sha256(&said, &said)).transpose()?;
    for wanted in reference.digest().into_iter().chain(&said) {
        if *wanted != digest {
            return Err(body::mismatch(what, wanted, digest.as_str()));
        }
    }
    let document = Document::parse(&bytes).map_err(|trouble| trouble.while_(what))?;
    let media_type = media_type.filter(|kind| kind.starts_with("application/vnd.") && kind.ends_with("json"));
    let media_type = media_type.unwrap_or_else(|| document.usual_media_type().to_owned());
    Ok(Fetched { digest, media_type, bytes, document })
}
