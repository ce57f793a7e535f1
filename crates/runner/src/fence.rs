//! The highest fence seen in a scope, on the disk: an owner that was replaced and wakes up late is refused.

use crate::trouble::trouble;
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::{Fence, Scope, Sha256Hex};
use deployctl_sys::durable;
use std::collections::HashMap;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Remembers fences by scope.
#[derive(Debug, Default)]
pub struct Fences {
    seen: Mutex<HashMap<Scope, Fence>>,
}

impl Fences {
    /// Lets an owner with `fence` act on `scope`, or refuses it because a newer one has.
    pub fn admit(&self, state: &Path, scope: &Scope, fence: Fence) -> Result<(), Fault> {
        let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let path = path(state, scope);
        let highest = match seen.get(scope) {
            Some(highest) => *highest,
            None => stored(&path)?,
        };
        if fence < highest {
            let message = format!("{scope}: the owner with fence {} was replaced by one with {}", fence.0, highest.0);
            return Err(Fault::refused(FaultKind::Conflict, message)
                .hint("another engine owns this deployment now; look at `deployctl status`"));
        }
        if fence > highest {
            let wrote = path.parent().map_or(Ok(()), make_private);
            wrote
                .and_then(|()| durable::replace(&path, fence.0.to_string().as_bytes(), 0o600))
                .map_err(|e| trouble("the fence cannot be written to", &path, &e))?;
        }
        seen.insert(scope.clone(), fence.max(highest));
        Ok(())
    }
}

/// Where the highest fence seen in a scope stands.
fn path(state: &Path, scope: &Scope) -> PathBuf {
    let digest = Sha256Hex::of(scope.to_string().as_bytes());
    state.join("fences").join(digest.short())
}

/// Makes `folder` and what is missing above it, for this user alone.
pub fn make_private(folder: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn stored(path: &Path) -> Result<Fence, Fault> {
    match std::fs::read_to_string(path) {
        Ok(text) => text.trim().parse().map(Fence).map_err(|_| {
            Fault::refused(FaultKind::Platform, format!("{} is damaged: it should hold one number", path.display()))
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Fence(0)),
        Err(error) => Err(trouble("the fence cannot be read from", path, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deployctl_core::id::{AppName, EnvName, ProjectName, RegionName};

    #[test]
    fn an_older_fence_is_refused_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path();
        let scope = Scope {
            project: ProjectName::new("shop").unwrap(),
            environment: EnvName::new("dev").unwrap(),
            region: RegionName::default_region(),
            app: AppName::new("api").unwrap(),
        };
        let fences = Fences::default();
        fences.admit(state, &scope, Fence(7)).unwrap();
        fences.admit(state, &scope, Fence(7)).unwrap();
        let refused = Fences::default().admit(state, &scope, Fence(6)).unwrap_err();
        assert_eq!(refused.kind, FaultKind::Conflict);
        assert_eq!(refused.message, "shop/dev/default/api: the owner with fence 6 was replaced by one with 7");
        let other = Scope { app: AppName::new("db").unwrap(), ..scope };
        fences.admit(state, &other, Fence(1)).unwrap();
    }
}
