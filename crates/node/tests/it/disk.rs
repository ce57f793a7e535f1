//! A disk that is full.

use crate::world::*;
use deployctl_core::fault::{FaultKind, Retry};
use deployctl_core::instance::*;
use deployctl_core::time::Span;
use std::fs;
use std::path::Path;
use std::process::Command;

/// A small file system, unmounted at the end.
struct Disk<'a>(&'a Path);

impl<'a> Disk<'a> {
    fn mount(at: &'a Path) -> Option<Self> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(at).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(at))
    }

    /// Fills what is left; the file that does.
    fn fill(&self) -> std::path::PathBuf {
        let path = self.0.join("filler");
        let mut source = fs::File::open("/dev/zero").unwrap();
        let _ = std::io::copy(&mut source, &mut fs::File::create(&path).unwrap());
        path
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[tokio::test]
async fn what_runs_can_be_stopped_and_what_ran_started() {
    let world = World::new();
    let Some(disk) = Disk::mount(world.state.path()) else {
        skipped("a full disk", "the right to mount");
        return;
    };
    let node = world.node();
    let app = App::server("api");
    let first = app.instance(0);
    node.start(&first, FENCE).await.unwrap();
    until_ready(&node, &first).await;
    disk.fill();
    assert!(fs::write(world.state.path().join("more"), [0; 8192]).is_err(), "the disk is full");
    // A rollback starts what ran before, from the space that was set aside, and stops what runs.
    let second = app.instance(1);
    node.start(&second, FENCE).await.unwrap();
    until_ready(&node, &second).await;
    for spec in [&first, &second] {
        node.stop(&spec.scope, &spec.id, Span::secs(5), FENCE).await.unwrap();
        until_gone(&node, spec).await;
    }
    assert!(world.processes().is_empty());
}

#[tokio::test]
async fn a_start_that_finds_no_space_at_all_is_a_fault_and_no_verdict_on_the_release() {
    let world = World::new();
    let Some(disk) = Disk::mount(world.state.path()) else {
        skipped("a full disk", "the right to mount");
        return;
    };
    let node = world.node();
    fs::remove_file(world.layout().runs().join(".reserve")).unwrap();
    let filler = disk.fill();
    let spec = App::server("api").instance(0);
    let fault = node.start(&spec, FENCE).await.unwrap_err();
    assert_eq!((fault.kind, fault.retry), (FaultKind::Platform, Retry::Soon), "{fault}");
    assert!(fault.message.contains("No space left on device"), "{fault}");
    fs::remove_file(filler).unwrap();
    node.start(&spec, FENCE).await.unwrap();
    until_ready(&node, &spec).await;
    world.kill_everything();
}
