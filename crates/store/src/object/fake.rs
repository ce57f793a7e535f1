//! Objects in memory, with everything that may go wrong.

use async_trait::async_trait;
use deployctl_core::objects::{OBJECT_BYTES_MAX, Object, ObjectError, ObjectVersion, Objects};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What goes wrong with one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hitch {
    /// It cannot be asked.
    Away,
    /// A write is made, and its answer is lost.
    AnswerLost,
    /// A write is not made, and nobody says so.
    RequestLost,
    /// A write is made later, before the next operation, if it still fits; its answer is lost.
    Late,
    /// A write over an object is refused as if that had changed, which it has not.
    Lied,
    /// A list lacks its last names.
    OldList,
    /// This operation and all after it of the same client are not made: the client was killed.
    Killed,
}

#[derive(Default)]
struct Kept {
    objects: BTreeMap<String, (Vec<u8>, u64)>,
    clock: u64,
    late: Vec<(String, Option<Vec<u8>>, Option<u64>)>,
}

/// [`Objects`] that live as long as their process. Clones are the same; each [`MemoryObjects::client`] has its own hitches.
#[derive(Clone, Default)]
pub struct MemoryObjects {
    kept: Arc<Mutex<Kept>>,
    hitches: Arc<Mutex<VecDeque<Option<Hitch>>>>,
}

impl fmt::Debug for MemoryObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryObjects")
    }
}

impl MemoryObjects {
    /// The same objects for another client, whose next operations go as `hitches` say.
    pub fn client(&self, hitches: impl IntoIterator<Item = Option<Hitch>>) -> Self {
        Self { kept: self.kept.clone(), hitches: Arc::new(Mutex::new(hitches.into_iter().collect())) }
    }

    /// Other objects that are the same for now.
    pub fn fork(&self) -> Self {
        let kept = self.kept();
        let copy = Kept { objects: kept.objects.clone(), clock: kept.clock, late: kept.late.clone() };
        Self { kept: Arc::new(Mutex::new(copy)), hitches: Arc::default() }
    }

    /// The names of all objects.
    pub fn names(&self) -> Vec<String> {
        self.kept().objects.keys().cloned().collect()
    }

    /// What is in an object, to be looked at or altered.
    pub fn with<T>(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>) -> T) -> Option<T> {
        let mut kept = self.kept();
        kept.clock += 1;
        let clock = kept.clock;
        let (bytes, version) = kept.objects.get_mut(name)?;
        *version = clock;
        Some(edit(bytes))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What goes wrong with this operation, before which late ones are made.
    fn begin(&self) -> Result<(MutexGuard<'_, Kept>, Option<Hitch>), ObjectError> {
        let hitch = {
            let mut hitches = self.hitches.lock().unwrap_or_else(PoisonError::into_inner);
            match hitches.front() {
                Some(Some(Hitch::Killed)) => Some(Hitch::Killed),
                _ => hitches.pop_front().flatten(),
            }
        };
        let mut kept = self.kept();
        for (name, bytes, over) in std::mem::take(&mut kept.late) {
            let _ = kept.write(&name, bytes, Some(over));
        }
        match hitch {
            Some(Hitch::Away | Hitch::Killed) => Err(ObjectError::Away("it cannot be reached".into())),
            hitch => Ok((kept, hitch)),
        }
    }

    fn write(
        &self,
        name: &str,
        bytes: Option<Vec<u8>>,
        over: Option<Option<u64>>,
    ) -> Result<ObjectVersion, ObjectError> {
        if bytes.as_ref().is_some_and(|bytes| bytes.len() > OBJECT_BYTES_MAX + (100 << 10)) {
            return Err(ObjectError::Refused(format!("{name} is too large")));
        }
        let (mut kept, hitch) = self.begin()?;
        let lost = Err(ObjectError::Unknown("no answer".into()));
        match hitch {
            Some(Hitch::AnswerLost) => {
                let _ = kept.write(name, bytes, over);
                lost
            }
            Some(Hitch::RequestLost) => lost,
            Some(Hitch::Late) => {
                kept.late.push((name.into(), bytes, over.flatten()));
                lost
            }
            Some(Hitch::Lied) if over.flatten().is_some() => Err(ObjectError::Changed),
            _ => kept.write(name, bytes, over),
        }
    }
}

impl Kept {
    /// Writes or removes, if the object is at `over`, whichever it is if that is none.
    fn write(
        &mut self,
        name: &str,
        bytes: Option<Vec<u8>>,
        over: Option<Option<u64>>,
    ) -> Result<ObjectVersion, ObjectError> {
        let found = self.objects.get(name).map(|(_, version)| *version);
        if over.is_some_and(|over| over != found) {
            return Err(ObjectError::Changed);
        }
        self.clock += 1;
        match bytes {
            Some(bytes) => drop(self.objects.insert(name.into(), (bytes, self.clock))),
            None => drop(self.objects.remove(name)),
        }
        Ok(ObjectVersion(self.clock.to_string()))
    }
}

#[async_trait]
impl Objects for MemoryObjects {
    async fn get(&self, name: &str) -> Result<Option<Object>, ObjectError> {
        let (kept, _) = self.begin()?;
        let object = |(bytes, version): &(Vec<u8>, u64)| Object {
            bytes: bytes.clone(),
            version: ObjectVersion(version.to_string()),
        };
        Ok(kept.objects.get(name).map(object))
    }

    async fn create(&self, name: &str, bytes: &[u8]) -> Result<(), ObjectError> {
        self.write(name, Some(bytes.into()), Some(None)).map(drop)
    }

    async fn replace(
        &self,
        name: &str,
        bytes: &[u8],
        over: Option<&ObjectVersion>,
    ) -> Result<ObjectVersion, ObjectError> {
        let over = over.map(|version| version.0.parse().unwrap_or_default());
        self.write(name, Some(bytes.into()), Some(over))
    }

    async fn delete(&self, name: &str) -> Result<(), ObjectError> {
        self.write(name, None, None).map(drop)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, ObjectError> {
        let (kept, hitch) = self.begin()?;
        let names = kept.objects.keys().filter(|name| name.starts_with(prefix));
        let mut names: Vec<String> = names.cloned().collect();
        if hitch == Some(Hitch::OldList) {
            names.truncate(names.len() / 2);
        }
        Ok(names)
    }
}
