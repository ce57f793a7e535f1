//! The right to change a state in objects: one object that says who has it, written by compare-and-swap.

use super::format::bytes_of;
use async_trait::async_trait;
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::OwnerId;
use deployctl_core::lease::{Life, Seat, Sits, Watch};
use deployctl_core::objects::{ObjectError, ObjectVersion, Objects};
use deployctl_core::time::Span;
use deployctl_sys::crash;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// The object that says who has it.
const SEAT: &str = "seat";

/// Who has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Sitter {
    owner: OwnerId,
    who: String,
    /// How often it said that it lives.
    beats: u64,
}

/// A [`Seat`] on [`Objects`]. Whether another one lives is judged by [`Watch`], by this process's own clock.
pub struct ObjectSeat {
    objects: Arc<dyn Objects>,
    lease: Span,
    began: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    me: Sitter,
    watch: Watch,
    /// The version of the object that says it is ours.
    mine: Option<ObjectVersion>,
}

impl ObjectSeat {
    /// The seat among these objects, for the engine `owner` of `who`. Another one that is silent for `lease` is dead.
    pub fn new(objects: Arc<dyn Objects>, owner: OwnerId, who: String, lease: Span) -> Self {
        let me = Sitter { owner, who, beats: 0 };
        let inner = Mutex::new(Inner { me, watch: Watch::default(), mine: None });
        Self { objects, lease, began: Instant::now(), inner }
    }

    async fn see(&self, inner: &mut Inner) -> Result<(Sits, Option<ObjectVersion>), ObjectError> {
        let object = self.objects.get(SEAT).await.inspect_err(|_| {
            // Who could not look did not see anybody stand still.
            inner.watch.retain(|_| false);
        })?;
        inner.mine = None;
        let Some(object) = object else { return Ok((Sits::Nobody, None)) };
        let sitter: Option<Sitter> = serde_json::from_slice(&object.bytes)
            .map_err(|e| ObjectError::Refused(format!("the object {SEAT} cannot be understood: {e}")))?;
        let sits = match sitter {
            None => Sits::Nobody,
            Some(sitter) if sitter.owner == inner.me.owner => {
                inner.mine = Some(object.version.clone());
                Sits::Me
            }
            Some(Sitter { owner, who, beats }) => {
                let life = inner.watch.see(&owner, Some(beats), self.began.elapsed(), self.lease);
                inner.watch.retain(|other| *other == owner);
                Sits::Other { who, life }
            }
        };
        Ok((sits, Some(object.version)))
    }

    async fn write(&self, inner: &mut Inner, over: Option<ObjectVersion>) -> Result<Sits, ObjectError> {
        inner.me.beats += 1;
        match self.objects.replace(SEAT, &bytes_of(&Some(&inner.me)), over.as_ref()).await {
            Ok(version) => {
                inner.mine = Some(version);
                Ok(Sits::Me)
            }
            Err(ObjectError::Changed | ObjectError::Unknown(_)) => Ok(self.see(inner).await?.0),
            Err(error) => Err(error),
        }
    }
}

fn fault(error: ObjectError) -> Fault {
    let message = format!("who changes this state cannot be seen: {error}");
    match error {
        ObjectError::Refused(_) => Fault::refused(FaultKind::Platform, message),
        _ => Fault::platform(message),
    }
}

#[async_trait]
impl Seat for ObjectSeat {
    async fn look(&self) -> Result<Sits, Fault> {
        let mut inner = self.inner.lock().await;
        Ok(self.see(&mut inner).await.map_err(fault)?.0)
    }

    async fn take(&self) -> Result<Sits, Fault> {
        let mut inner = self.inner.lock().await;
        let (sits, version) = self.see(&mut inner).await.map_err(fault)?;
        match sits {
            Sits::Nobody | Sits::Other { life: Life::Dead, .. } => {
                crash::point("seat.before-taken");
                let sits = self.write(&mut inner, version).await.map_err(fault);
                crash::point("seat.after-taken");
                sits
            }
            other => Ok(other),
        }
    }

    async fn beat(&self) -> Result<Sits, Fault> {
        let mut inner = self.inner.lock().await;
        let done = match inner.mine.clone() {
            Some(version) => self.write(&mut inner, Some(version)).await,
            None => self.see(&mut inner).await.map(|(sits, _)| sits),
        };
        done.map_err(fault)
    }

    async fn leave(&self) -> Result<(), Fault> {
        let mut inner = self.inner.lock().await;
        let Some(version) = inner.mine.take() else { return Ok(()) };
        match self.objects.replace(SEAT, b"null", Some(&version)).await {
            // Somebody else's already.
            Ok(_) | Err(ObjectError::Changed) => {
                crash::point("seat.after-left");
                Ok(())
            }
            Err(error) => Err(fault(error)),
        }
    }
}
