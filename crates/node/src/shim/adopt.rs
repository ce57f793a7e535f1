//! Finding the process of a run whose shim was killed.

use super::desk::{Desk, Watched};
use crate::records::{Phase, Proc};
use deployctl_sys::lock;
use deployctl_sys::process::{self, Identity};
use std::io;
use std::thread::sleep;
use std::time::Duration;

/// Takes over the process of a run that an earlier shim started, if it lives.
pub(super) fn adopt(desk: &mut Desk) -> io::Result<Option<Watched>> {
    let found = find(desk)?;
    if let Some(process) = &found {
        desk.state.process = Some(process.identity.clone().into());
        desk.record(Phase::Running);
    }
    Ok(found)
}

/// It is found by what that shim wrote down or, if the
/// shim was killed before it could, by the lock that the process inherited.
fn find(desk: &Desk) -> io::Result<Option<Watched>> {
    if let Some(recorded) = desk.state.process.as_ref().filter(|process| Proc::is_alive(process)) {
        return watch(Identity::from(recorded));
    }
    if desk.state.process.is_some() {
        // It ended. What it left behind is not it, and is ended before the next start.
        return Ok(None);
    }
    while lock::is_held(&desk.folder.live_lock())? {
        let members = desk.family.members(None)?;
        // Between fork and exec it has the shim's own environment still; a moment later it is marked.
        let mut leaders: Vec<&Identity> = members
            .iter()
            .filter(|m| process::stat(m.pid).is_some_and(|s| s.session == m.pid) && desk.family.is_marked(m.pid))
            .collect();
        leaders.sort_by_key(|m| m.start);
        if let Some(leader) = leaders.first() {
            return watch((*leader).clone());
        }
        if !members.is_empty() && members.iter().all(|m| desk.family.is_marked(m.pid)) {
            return Ok(None);
        }
        sleep(Duration::from_millis(2));
    }
    Ok(None)
}

fn watch(identity: Identity) -> io::Result<Option<Watched>> {
    Ok(identity.pidfd()?.map(|pidfd| Watched { identity, pidfd, child: false }))
}
