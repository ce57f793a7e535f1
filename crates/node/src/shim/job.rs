//! A job's life: once, to its end, and its result on the disk before anything else happens.

use super::adopt;
use super::control::Woken;
use super::desk::{Desk, Watched};
use crate::clock::now;
use crate::records::{self, Begun, JobResult, Kind};
use deployctl_sys::crash;
use deployctl_sys::process::boot_id;
use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

const STOPPED: &str = "stopped before its end";

/// Owns the job until it has ended and nothing is left of it.
pub(super) fn serve(mut desk: Desk) -> io::Result<()> {
    let Kind::Job { timeout, repeatable } = desk.spec.kind else {
        return Err(io::Error::other("this is an instance, not a job"));
    };
    let begun: Option<Begun> = records::read(&desk.folder.begun())?;
    if desk.folder.result().exists() {
        // The shim before was killed after it had written the result: only what the job left remains to be ended.
        return desk.end(None, Duration::ZERO);
    }
    let due = Instant::now() + timeout.0.saturating_sub(begun.as_ref().map_or(Duration::ZERO, |b| now().since(b.at)));
    if begun.is_some() {
        if let Some(process) = adopt::adopt(&mut desk)? {
            return reattached(&mut desk, process, due, timeout.0);
        }
        if !repeatable {
            return desk.end(None, Duration::ZERO);
        }
    }
    if desk.stop_ordered().is_some() {
        desk.end(None, Duration::ZERO)?;
        return conclude(&desk, false, if begun.is_some() { STOPPED } else { "stopped before it began" });
    }
    records::write_durable(&desk.folder.begun(), &Begun { at: now(), boot: boot_id()? })?;
    crash::point("job.begun");
    match desk.start() {
        Ok(process) => watch(&mut desk, process, Instant::now() + timeout.0, timeout.0),
        Err(how) => conclude(&desk, false, &how),
    }
}

fn watch(desk: &mut Desk, process: Watched, due: Instant, timeout: Duration) -> io::Result<()> {
    let cut_short = match desk.wait(Some(&process), Some(due))? {
        Woken::Ended => None,
        Woken::Due => Some(format!("killed after {} with all that it started", say(timeout))),
        Woken::Stop(_) => Some(STOPPED.into()),
    };
    if let Some(how) = cut_short {
        desk.end(Some(process), Duration::ZERO)?;
        return conclude(desk, false, &how);
    }
    crash::point("job.ended");
    // What it left running, a daemon say, is ended with it: nothing outlives a job.
    let how = desk.finish(&process)?;
    conclude(desk, how == "exit 0", &how)
}

/// A job whose shim was killed: how it ends cannot be seen, only that it did. Nothing is concluded, unless it is us who
/// end it.
fn reattached(desk: &mut Desk, process: Watched, due: Instant, timeout: Duration) -> io::Result<()> {
    let woken = match desk.stop_ordered() {
        Some(grace) => Woken::Stop(grace),
        None => desk.wait(Some(&process), Some(due))?,
    };
    match woken {
        Woken::Ended => desk.end(Some(process), Duration::ZERO),
        Woken::Due => {
            desk.end(Some(process), Duration::ZERO)?;
            conclude(desk, false, &format!("killed after {} with all that it started", say(timeout)))
        }
        Woken::Stop(_) => {
            desk.end(Some(process), Duration::ZERO)?;
            conclude(desk, false, STOPPED)
        }
    }
}

/// Writes the result. A disk that takes nothing is waited for: without the result nobody could tell how it ended.
fn conclude(desk: &Desk, ok: bool, how: &str) -> io::Result<()> {
    let result = JobResult { ok, how: how.into(), at: now() };
    let mut tries = 0;
    while let Err(error) = records::write_durable(&desk.folder.result(), &result) {
        tries += 1;
        if tries > 600 {
            return Err(error);
        }
        sleep(Duration::from_millis(500));
    }
    crash::point("job.result-written");
    Ok(())
}

fn say(span: Duration) -> String {
    if span.subsec_millis() == 0 { format!("{} s", span.as_secs()) } else { format!("{} ms", span.as_millis()) }
}
