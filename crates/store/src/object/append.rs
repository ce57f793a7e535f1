//! One append: a write over the head, again and again until it is known what became of it.

use super::format::{Commit, Head, Kept, Segment, bytes_of, nonce};
use super::log::{Behind, HEAD, Log};
use crate::entry::Prepared;
use deployctl_core::id::Sha256Hex;
use deployctl_core::journal::{self, AppendError, Seq};
use deployctl_core::objects::{OBJECT_BYTES_MAX, ObjectError, ObjectVersion, Objects};
use deployctl_sys::crash;
use std::time::Duration;

/// Commits stay in the head until it has so many bytes: the head is written anew by every append.
const HEAD_BYTES: usize = 48 << 10;
/// A commit larger than this is not in the head.
const COMMIT_BYTES: usize = 128 << 10;
/// Of two writers one wins each time, so this is never reached by contention alone.
const TRIES: u32 = 200;
/// What cannot be found out in so many looks, some seconds, is unknown.
const LOOKS: u32 = 6;
const PAUSE: Duration = Duration::from_millis(50);

/// A write that is tried.
struct Attempt {
    commit: Commit,
    head: Head,
    over: Option<ObjectVersion>,
    /// Objects that are of no use to anybody if the write is not made.
    made: Vec<String>,
}

fn failed(error: Behind) -> AppendError {
    match error {
        Behind::Away(why) => AppendError::Failed(why),
        Behind::Wrong(error) => AppendError::Failed(error.to_string()),
    }
}

impl Log {
    pub(super) async fn append(
        &mut self,
        objects: &dyn Objects,
        batch: &Prepared,
    ) -> Result<Vec<journal::Head>, AppendError> {
        self.catch_up(objects).await.map_err(failed)?;
        for _ in 0..TRIES {
            self.state.admit(batch)?;
            if self.says_nothing(batch) {
                return Ok(batch.writes.iter().map(|write| self.state.stands(&write.stream)).collect());
            }
            let attempt = self.attempt(objects, batch).await?;
            if self.write(objects, &attempt).await? {
                let ends = batch.writes.iter().map(|w| (&w.stream, Seq(w.expected.0 + w.entries.len() as u64)));
                return Ok(ends.map(|(stream, seq)| self.state.stood(stream, seq)).collect());
            }
            for name in &attempt.made {
                // Else it is swept at the next merge.
                let _ = objects.delete(name).await;
            }
        }
        Err(AppendError::Failed("other writers are always first; nothing was written".into()))
    }

    fn says_nothing(&self, batch: &Prepared) -> bool {
        let known = batch.fences.iter().all(|(stream, fence)| self.state.fences.get(stream) == Some(fence));
        known && batch.writes.iter().all(|write| write.entries.is_empty())
    }

    async fn attempt(&self, objects: &dyn Objects, batch: &Prepared) -> Result<Attempt, AppendError> {
        let nonce = nonce().map_err(AppendError::Failed)?;
        let commit = Commit::of(&nonce, batch, &self.state.chained(batch));
        let (mut head, mut made) = (self.current(), Vec::new());
        let size = bytes_of(&head).len();
        let bytes = bytes_of(&commit);
        if !head.commits.is_empty() && size + bytes.len().min(COMMIT_BYTES) > HEAD_BYTES {
            let (first, last) = (head.first, head.last());
            let commits = std::mem::take(&mut head.commits);
            let segment = write_segment(objects, &commits, first, last, &mut made).await?;
            head.segments.push(segment);
            head.first = last + 1;
        }
        head.commits.push(match bytes.len() > COMMIT_BYTES {
            false => Kept::Here(commit.clone()),
            true => write_parts(objects, &nonce, &bytes, &mut made).await?,
        });
        for entry in &commit.entries {
            head.chain = journal::chain_link(&head.chain, &entry.hash);
        }
        Ok(Attempt { commit, head, over: self.version().cloned(), made })
    }

    /// Whether the write was made; false if another one was.
    async fn write(&mut self, objects: &dyn Objects, attempt: &Attempt) -> Result<bool, AppendError> {
        let bytes = bytes_of(&attempt.head);
        let mut doubt = None;
        for look in 0..LOOKS {
            crash::point("journal.before-commit");
            match objects.replace(HEAD, &bytes, attempt.over.as_ref()).await {
                Ok(version) => {
                    crash::point("journal.after-commit");
                    self.wrote(attempt.commit.clone(), attempt.head.clone(), version).map_err(failed)?;
                    return Ok(true);
                }
                Err(ObjectError::Changed) => {}
                Err(ObjectError::Unknown(why)) => doubt = Some(why),
                Err(error) if doubt.is_none() => return Err(AppendError::Failed(format!("the journal: {error}"))),
                Err(_) => {}
            }
            match self.catch_up(objects).await {
                Ok(nonces) if nonces.contains(&attempt.commit.nonce) => return Ok(true),
                // What was written over is there no more: the write will never be made, nor is it on its way.
                Ok(_) if self.version() != attempt.over.as_ref() => return Ok(false),
                Ok(_) => {}
                Err(Behind::Wrong(error)) => return Err(AppendError::Unknown(error.to_string())),
                Err(Behind::Away(why)) if doubt.is_none() => return Err(AppendError::Failed(why)),
                Err(Behind::Away(_)) => {}
            }
            // Still as it was. The same write again: whichever of the two comes first, the other one is refused.
            tokio::time::sleep(PAUSE * 2_u32.pow(look)).await;
        }
        let why = doubt.unwrap_or_else(|| "it is refused as changed, and reads as unchanged".into());
        Err(AppendError::Unknown(format!("the journal: {why}")))
    }
}

/// Writes commits as an object of their own, under a name that nobody has: what is not named by a head is nobody's.
pub(super) async fn write_segment(
    objects: &dyn Objects,
    commits: &[Kept],
    first: u64,
    last: u64,
    made: &mut Vec<String>,
) -> Result<Segment, AppendError> {
    let bytes = bytes_of(&commits);
    let name = format!("segment-{first}-{last}-{}", nonce().map_err(AppendError::Failed)?);
    create(objects, &name, &bytes, made).await?;
    Ok(Segment { name, first, last, bytes: bytes.len(), sha256: Sha256Hex::of(&bytes) })
}

async fn write_parts(
    objects: &dyn Objects,
    nonce: &str,
    bytes: &[u8],
    made: &mut Vec<String>,
) -> Result<Kept, AppendError> {
    let mut parts = Vec::new();
    for (n, part) in bytes.chunks(OBJECT_BYTES_MAX).enumerate() {
        let name = format!("part-{nonce}-{n}");
        create(objects, &name, part, made).await?;
        parts.push(name);
    }
    Ok(Kept::Elsewhere { nonce: nonce.into(), parts, sha256: Sha256Hex::of(bytes) })
}

/// Nobody else has this name: whenever it is there, it is ours.
async fn create(objects: &dyn Objects, name: &str, bytes: &[u8], made: &mut Vec<String>) -> Result<(), AppendError> {
    made.push(name.to_owned());
    let failed = |error: &dyn std::fmt::Display| AppendError::Failed(format!("the journal, object {name}: {error}"));
    let mut doubt = String::new();
    for look in 0..LOOKS {
        match objects.create(name, bytes).await {
            Ok(()) | Err(ObjectError::Changed) => return Ok(()),
            Err(ObjectError::Unknown(why)) => doubt = why,
            Err(error) => return Err(failed(&error)),
        }
        tokio::time::sleep(PAUSE * 2_u32.pow(look)).await;
    }
    Err(failed(&doubt))
}
