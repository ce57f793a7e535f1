//! Bytes by their digest, as objects.

use super::format::bytes_of;
use async_trait::async_trait;
use deployctl_core::id::Sha256Hex;
use deployctl_core::journal::{AppendError, Blobs, ReadError};
use deployctl_core::objects::{OBJECT_BYTES_MAX, ObjectError, Objects};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How an object begins that has the bytes themselves, or the number of those that have them.
const WHOLE: u8 = b'=';
const SPLIT: u8 = b'+';
/// What cannot be found out in so many looks is unknown.
const LOOKS: u32 = 6;
const PAUSE: Duration = Duration::from_millis(50);

/// [`Blobs`] on [`Objects`]: `blob-DIGEST`, and `piece-DIGEST-N` for what does not fit into one.
#[derive(Clone, Debug)]
pub struct ObjectBlobs {
    objects: Arc<dyn Objects>,
}

fn name(digest: &Sha256Hex) -> String {
    format!("blob-{digest}")
}

fn piece(digest: &Sha256Hex, n: usize) -> String {
    format!("piece-{digest}-{n}")
}

impl ObjectBlobs {
    /// The blobs among these objects.
    pub fn new(objects: Arc<dyn Objects>) -> Self {
        Self { objects }
    }

    /// Writes an object whose name says what is in it; what is there already and is another is damaged, and replaced.
    async fn write(&self, name: &str, bytes: &[u8]) -> Result<(), AppendError> {
        let failed = |why: &dyn std::fmt::Display| AppendError::Failed(format!("the object {name}: {why}"));
        let mut doubt = None;
        for look in 0..LOOKS {
            match self.objects.create(name, bytes).await {
                Ok(()) => return Ok(()),
                Err(ObjectError::Changed) => match self.objects.get(name).await {
                    Ok(Some(object)) if object.bytes == bytes => return Ok(()),
                    Ok(Some(_)) => self.objects.delete(name).await.map_err(|e| failed(&e))?,
                    Ok(None) => {}
                    Err(error) => return Err(failed(&error)),
                },
                Err(ObjectError::Unknown(why)) => doubt = Some(why),
                Err(error) if doubt.is_none() => return Err(failed(&error)),
                Err(_) => {}
            }
            tokio::time::sleep(PAUSE * 2_u32.pow(look)).await;
        }
        let why = doubt.unwrap_or_else(|| "others change it all the time".into());
        Err(AppendError::Unknown(format!("the object {name}: {why}")))
    }

    async fn read(&self, name: &str) -> Result<Option<Vec<u8>>, ReadError> {
        let object = self.objects.get(name).await;
        let object = object.map_err(|error| ReadError::Failed(format!("the object {name}: {error}")))?;
        Ok(object.map(|object| object.bytes))
    }

    async fn drop_all(&self, prefix: &str, keep: &BTreeSet<&str>) -> Result<usize, ObjectError> {
        let mut dropped = 0;
        for name in self.objects.list(prefix).await? {
            let digest = name[prefix.len()..].split('-').next().unwrap_or_default();
            if Sha256Hex::new(digest).is_ok() && !keep.contains(digest) {
                self.objects.delete(&name).await?;
                dropped += 1;
            }
        }
        Ok(dropped)
    }
}

#[async_trait]
impl Blobs for ObjectBlobs {
    async fn put(&self, bytes: Vec<u8>) -> Result<Sha256Hex, AppendError> {
        let digest = Sha256Hex::of(&bytes);
        if bytes.len() < OBJECT_BYTES_MAX {
            self.write(&name(&digest), &[&[WHOLE], bytes.as_slice()].concat()).await?;
            return Ok(digest);
        }
        let pieces = bytes.chunks(OBJECT_BYTES_MAX);
        let count = bytes_of(&pieces.len());
        for (n, part) in pieces.enumerate() {
            self.write(&piece(&digest, n), part).await?;
        }
        self.write(&name(&digest), &[&[SPLIT], count.as_slice()].concat()).await?;
        Ok(digest)
    }

    async fn get(&self, digest: &Sha256Hex) -> Result<Option<Vec<u8>>, ReadError> {
        let Some(object) = self.read(&name(digest)).await? else { return Ok(None) };
        let altered =
            || ReadError::Altered(format!("the object {} does not have the digest of its name", name(digest)));
        let bytes = match object.split_first() {
            Some((&WHOLE, bytes)) => bytes.to_vec(),
            Some((&SPLIT, count)) => {
                let count: usize = serde_json::from_slice(count).map_err(|_| altered())?;
                let mut bytes = Vec::new();
                for n in 0..count {
                    // Removed after the object that names it: then it is not kept any more.
                    let Some(part) = self.read(&piece(digest, n)).await? else { return Ok(None) };
                    bytes.extend(part);
                }
                bytes
            }
            _ => return Err(altered()),
        };
        if Sha256Hex::of(&bytes) == *digest { Ok(Some(bytes)) } else { Err(altered()) }
    }

    async fn retain(&self, keep: &[Sha256Hex]) -> Result<usize, AppendError> {
        let keep: BTreeSet<&str> = keep.iter().map(Sha256Hex::as_str).collect();
        let drop = async || {
            let dropped = self.drop_all("blob-", &keep).await?;
            self.drop_all("piece-", &keep).await?;
            Ok(dropped)
        };
        drop().await.map_err(|e: ObjectError| AppendError::Failed(format!("blobs: {e}")))
    }
}
