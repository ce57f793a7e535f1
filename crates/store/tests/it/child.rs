//! Tests that need a process of their own run this binary again, with one of its tests as the program.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

const FOLDER: &str = "DEPLOYCTL_STORE_TEST_FOLDER";

/// The folder that a child was given; none in a usual run, in which the child's program is no test.
pub(crate) fn folder() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

/// Makes `command` run the test `name` of this binary on `folder` as a child.
pub(crate) fn program<'a>(command: &'a mut Command, name: &str, folder: &OsStr) -> &'a mut Command {
    let own = std::env::current_exe().expect("this binary has a path");
    command.arg(own).args(["--exact", name, "--nocapture", "--test-threads=1"]).env(FOLDER, folder)
}

/// Whether this machine can run `command`; says what is skipped, and fails instead where everything must be there.
pub(crate) fn can_run(what: &str, command: &mut Command) -> bool {
    let works = command.output().is_ok_and(|out| out.status.success());
    if !works {
        eprintln!("SKIPPED, this machine lacks what it needs: {what} ({command:?})");
        assert_ne!(std::env::var("DEPLOYCTL_LIVE").as_deref(), Ok("all"), "{what} is needed: {command:?}");
    }
    works
}
