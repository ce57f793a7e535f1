//! What is known of a journal in objects, and how it is brought up to date.

use super::format::{Commit, FORMAT, Head, Kept, Segment, Written};
use crate::entry::{checked, event_type};
use crate::state::State;
use deployctl_core::id::Sha256Hex;
use deployctl_core::journal::{NewEntry, ReadError, chain_link, chain_start};
use deployctl_core::objects::{ObjectError, ObjectVersion, Objects};
use futures_util::future::try_join_all;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use tokio::time::Instant;

/// The object that changes.
pub(super) const HEAD: &str = "journal";

/// Segments are merged while they are read only now and then.
const TRIES: usize = 16;
/// So many objects are asked for at once.
const AT_ONCE: usize = 8;

/// Why the journal cannot be brought up to date.
#[derive(Debug)]
pub(super) enum Behind {
    /// It cannot be asked at the moment.
    Away(String),
    /// What it says makes no sense.
    Wrong(ReadError),
}

impl From<Behind> for ReadError {
    fn from(behind: Behind) -> Self {
        match behind {
            Behind::Away(why) => Self::Failed(why),
            Behind::Wrong(error) => error,
        }
    }
}

/// Everything up to a commit.
#[derive(Default)]
pub(super) struct Log {
    pub(super) state: State,
    /// The head as it was read or written last.
    pub(super) head: Option<(Head, ObjectVersion)>,
    /// Commits that are in `state`.
    pub(super) number: u64,
    pub(super) chain: Option<Sha256Hex>,
    /// The objects of large commits.
    pub(super) parts: BTreeSet<String>,
    /// When what others wrote was asked for last, and when that was answered or given up.
    pub(super) asked: Option<(Instant, Instant)>,
}

fn away(what: &str, error: &ObjectError) -> Behind {
    Behind::Away(format!("{what}: {error}"))
}

fn altered(why: String) -> Behind {
    Behind::Wrong(ReadError::Altered(why))
}

impl Log {
    /// The head of the chain.
    pub(super) fn chain(&self) -> Sha256Hex {
        self.chain.clone().unwrap_or_else(chain_start)
    }

    pub(super) fn version(&self) -> Option<&ObjectVersion> {
        self.head.as_ref().map(|(_, version)| version)
    }

    /// The head, as if it were there from the beginning.
    pub(super) fn current(&self) -> Head {
        let none = || Head { format: FORMAT, segments: vec![], first: 1, commits: vec![], chain: chain_start() };
        self.head.as_ref().map_or_else(none, |(head, _)| head.clone())
    }

    /// Takes in what others wrote; returns the nonces of their commits.
    pub(super) async fn catch_up(&mut self, objects: &dyn Objects) -> Result<Vec<String>, Behind> {
        let mut seen = Vec::new();
        let mut tried = None;
        for _ in 0..TRIES {
            let asked = Instant::now();
            let object = objects.get(HEAD).await;
            self.asked = Some((asked, Instant::now()));
            let object = object.map_err(|e| away("the journal", &e))?;
            let Some(object) = object else {
                return match &self.head {
                    None => Ok(seen),
                    Some(_) => Err(altered("all of it is gone".into())),
                };
            };
            if self.version() == Some(&object.version) {
                return Ok(seen);
            }
            let head = parse_head(&object.bytes)?;
            if head.last() < self.number {
                let (last, known) = (head.last(), self.number);
                return Err(altered(format!(
                    "it ends at commit {last}, and {known} is known: an older one was restored"
                )));
            }
            let commits = match self.missing(objects, &head).await? {
                Ok(commits) => commits,
                // Merged into another meanwhile, if the head says so.
                Err(gone) if tried == Some(object.version.clone()) => {
                    return Err(altered(format!("the object {gone} is gone")));
                }
                Err(_) => {
                    tried = Some(object.version);
                    continue;
                }
            };
            for commit in commits {
                seen.push(commit.nonce.clone());
                self.take(commit)?;
            }
            if self.chain() != head.chain {
                return Err(altered(format!(
                    "the chain over its entries is not as it was up to commit {}",
                    self.number
                )));
            }
            self.head = Some((head, object.version));
            return Ok(seen);
        }
        Err(Behind::Away("the journal changes faster than it can be read".into()))
    }

    /// The commits of `head` that are not known yet, or which object of theirs is gone.
    async fn missing(&mut self, objects: &dyn Objects, head: &Head) -> Result<Result<Vec<Commit>, String>, Behind> {
        let mut kept: Vec<(u64, Kept)> = Vec::new();
        let segments: Vec<&Segment> = head.segments.iter().filter(|segment| segment.last > self.number).collect();
        for some in segments.chunks(AT_ONCE) {
            let found = try_join_all(some.iter().map(|segment| read_segment(objects, segment))).await?;
            for (segment, commits) in some.iter().zip(found) {
                let Some(commits) = commits else { return Ok(Err(segment.name.clone())) };
                kept.extend((segment.first..).zip(commits));
            }
        }
        kept.extend((head.first..).zip(head.commits.iter().cloned()));
        kept.retain(|(number, _)| *number > self.number);
        let mut commits = Vec::with_capacity(kept.len());
        for (expected, (number, kept)) in (self.number + 1..).zip(kept) {
            if number != expected {
                return Err(altered(format!("commit {expected} is missing")));
            }
            self.know(&kept);
            match read_commit(objects, kept).await? {
                Ok(commit) => commits.push(commit),
                Err(gone) => return Ok(Err(gone)),
            }
        }
        Ok(Ok(commits))
    }

    fn take(&mut self, commit: Commit) -> Result<(), Behind> {
        for Written { stream, seq, at, actor, event, hash } in commit.entries {
            let stands = self.state.stands(&stream);
            if seq.0 != stands.seq.0 + 1 {
                let why = format!("entry {} of {stream} does not follow entry {}", seq.0, stands.seq.0);
                return Err(altered(why));
            }
            let kind = event_type(&event).map_err(|e| altered(format!("entry {} of {stream}: {e}", seq.0)))?;
            let new = NewEntry { at, actor, event };
            let entry = checked(stream, seq, new, stands.hash, &hash).map_err(Behind::Wrong)?;
            self.chain = Some(chain_link(&self.chain(), &entry.hash));
            self.state.push(entry, kind);
        }
        self.state.fences.extend(commit.fences);
        self.number += 1;
        Ok(())
    }

    /// Takes in what was just written.
    pub(super) fn wrote(&mut self, commit: Commit, head: Head, version: ObjectVersion) -> Result<(), Behind> {
        self.take(commit)?;
        for kept in &head.commits {
            self.know(kept);
        }
        self.head = Some((head, version));
        Ok(())
    }

    fn know(&mut self, kept: &Kept) {
        if let Kept::Elsewhere { parts, .. } = kept {
            self.parts.extend(parts.iter().cloned());
        }
    }
}

fn parse_head(bytes: &[u8]) -> Result<Head, Behind> {
    #[derive(serde::Deserialize)]
    struct Form {
        format: u32,
    }
    let form: Form = parse(HEAD, bytes)?;
    if form.format > FORMAT {
        let why = format!("it has form {}; this deployctl knows up to {FORMAT}: use the newer one", form.format);
        return Err(Behind::Wrong(ReadError::Failed(why)));
    }
    parse(HEAD, bytes)
}

fn parse<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, Behind> {
    serde_json::from_slice(bytes).map_err(|e| altered(format!("the object {name} cannot be understood: {e}")))
}

/// The commits of a segment; none if it is gone.
pub(super) async fn read_segment(objects: &dyn Objects, segment: &Segment) -> Result<Option<Vec<Kept>>, Behind> {
    let Segment { name, first, last, sha256, .. } = segment;
    let object = objects.get(name).await.map_err(|e| away(&format!("the journal, object {name}"), &e))?;
    let Some(object) = object else { return Ok(None) };
    if Sha256Hex::of(&object.bytes) != *sha256 {
        return Err(altered(format!("the object {name} is not what was written")));
    }
    let commits: Vec<Kept> = parse(name, &object.bytes)?;
    if commits.len() as u64 != last + 1 - first {
        return Err(altered(format!("the object {name} does not have commits {first} to {last}")));
    }
    Ok(Some(commits))
}

/// A commit, or which object of it is gone.
async fn read_commit(objects: &dyn Objects, kept: Kept) -> Result<Result<Commit, String>, Behind> {
    let (parts, sha256) = match kept {
        Kept::Here(commit) => return Ok(Ok(commit)),
        Kept::Elsewhere { parts, sha256, .. } => (parts, sha256),
    };
    let mut bytes = Vec::new();
    for name in &parts {
        let object = objects.get(name).await.map_err(|e| away(&format!("the journal, object {name}"), &e))?;
        let Some(object) = object else { return Ok(Err(name.clone())) };
        bytes.extend(object.bytes);
    }
    let name = parts.first().cloned().unwrap_or_default();
    if Sha256Hex::of(&bytes) != sha256 {
        return Err(altered(format!("the object {name} is not what was written")));
    }
    parse(&name, &bytes).map(Ok)
}
