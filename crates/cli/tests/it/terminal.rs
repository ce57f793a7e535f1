//! A terminal without a person.

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::{File, OpenOptions};
use std::process::Stdio;

/// Both ends of a new one: ours, and the one that a process takes for a terminal.
pub(crate) fn open() -> (File, Stdio) {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&controller).expect("a terminal");
    unlockpt(&controller).expect("a terminal");
    let name = ptsname(&controller, Vec::new()).expect("its name");
    let path = name.into_string().expect("a path");
    let other = OpenOptions::new().read(true).write(true).open(path).expect("its other end");
    (File::from(controller), Stdio::from(other))
}
