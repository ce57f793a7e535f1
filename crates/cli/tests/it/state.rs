//! State directories: whose they are, and what happens when one cannot be used.

use super::API;
use super::world::{World, kill, poll, text};
use rustix::process::Signal;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn deployed() -> World {
    let world = World::new(API);
    world.version("v1", "");
    world.version("v2", "");
    world.ok("deploy --env dev --app api --version v1");
    world
}

/// Ends the engine, so that the next command starts one.
fn end_engine(world: &World) {
    for pid in world.role("engine") {
        kill(pid, Signal::KILL);
    }
    poll("the end of the engine", || world.role("engine").is_empty().then_some(()));
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn two_states_share_nothing_and_no_listener() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let spec = API.replace("dev: {}", &format!("dev: {{ listen: \"127.0.0.1:{port}\" }}"));
    let (one, two) = (World::new(&spec), World::new(&spec));
    for world in [&one, &two] {
        world.version("v1", "");
    }
    one.ok("deploy --env dev --app api --version v1");
    assert_eq!(super::http::get(&format!("http://127.0.0.1:{port}/version")).body, "v1");
    let owner = format!("--state {}", one.state().display());
    let ran = two.fails(4, "deploy --env dev --app api --version v1", &owner);
    assert!(ran.last().contains(&format!("127.0.0.1:{port}")), "{}", ran.last());
    assert_eq!(two.json("history").as_array().map(Vec::len), Some(0), "nothing was changed");
    two.spec(API);
    two.ok("deploy --env dev --app api --version v1");
    assert_ne!(one.url("dev", "api"), two.url("dev", "api"));
    one.ok("down --env dev --app api");
    assert_eq!(two.served("api"), "v1");
}

#[test]
fn it_is_ours_alone() {
    let world = World::bare();
    world.ok("status");
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&world.state()), 0o700);
    end_engine(&world);
    std::fs::set_permissions(world.state(), std::fs::Permissions::from_mode(0o755)).expect("a mode");
    world.ok("status");
    assert_eq!(mode(&world.state()), 0o700, "made private again");
    world.write("file", "");
    world.fails(5, &format!("status --state {}", world.path("file").display()), "[state-unusable]");
    if !is_root() {
        return eprintln!("skipped: a state directory of another user (needs root)");
    }
    std::fs::create_dir(world.path("theirs")).expect("a folder");
    std::os::unix::fs::chown(world.path("theirs"), Some(65534), Some(65534)).expect("theirs");
    world.fails(3, &format!("status --state {}", world.path("theirs").display()), "belongs to user 65534");
}

#[test]
fn it_may_lie_deep_and_be_named_from_here() {
    let world = World::new(API);
    world.version("v1", "");
    let deep = format!("{}/{}", "d".repeat(100), "e".repeat(100));
    world.link_binary(&world.project().join(&deep));
    let state = format!("--state {deep}");
    world.ok(&format!("deploy --env dev --app api --version v1 {state}"));
    assert_eq!(world.json(&format!("status {state}"))[0]["health"], "healthy");
    let named = format!("--state {}", world.project().join(&deep).display());
    assert_eq!(world.json(&format!("status {named}"))[0]["health"], "healthy");
    assert_eq!(world.role("engine").len(), 1, "one engine per state directory, however it is named");
}

#[test]
fn a_journal_that_cannot_be_read_is_said_and_left_alone() {
    let world = deployed();
    end_engine(&world);
    let journal = world.path("state/journal.db");
    // The last one to close it brings everything into one file. A process that was killed may have it open for a moment after its name is gone.
    poll("everything in one file", || {
        let connection = rusqlite::Connection::open(&journal).expect("the journal");
        let done = connection.execute_batch("VACUUM");
        drop(connection);
        (done.is_ok() && !world.path("state/journal.db-wal").exists()).then_some(())
    });
    let good = std::fs::read(&journal).expect("the journal");
    let connection = rusqlite::Connection::open(&journal).expect("the journal");
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).expect("a version");
    connection.pragma_update(None, "user_version", version + 1).expect("newer");
    drop(connection);
    let newer = std::fs::read(&journal).expect("the journal");
    let ran = world.run("deploy --env dev --app api --version v2").code(5);
    assert!(ran.last().starts_with("error[state-unusable]: the journal cannot be opened: "), "{}", ran.err);
    assert!(ran.last().contains("newer"), "{}", ran.last());
    assert_eq!(std::fs::read(&journal).expect("the journal"), newer, "nothing was changed");

    for broken in [b"this is no database".repeat(1000), Vec::from(&good[..good.len() / 2]), {
        let mut b = good.clone();
        b[..4096].fill(7);
        b
    }] {
        std::fs::write(&journal, &broken).expect("broken");
        let ran = world.run("status");
        assert_eq!(ran.code, 5, "{}", ran.err);
        assert!(ran.last().starts_with("error[") && ran.last().contains("journal"), "{}", ran.err);
        assert!(!ran.err.contains("panicked"), "{}", ran.err);
        end_engine(&world);
        for name in ["journal.db-wal", "journal.db-shm"] {
            let _ = std::fs::remove_file(world.state().join(name));
        }
    }
    std::fs::write(&journal, &good).expect("good again");
    assert_eq!(world.now("api"), "v1 healthy 1", "what ran all the time is known again");
    world.ok("deploy --env dev --app api --version v2");
}

#[test]
fn a_stopped_engine_is_taken_over_by_the_next_command() {
    let world = deployed();
    let old = world.role("engine");
    kill(old[0], Signal::STOP);
    assert_eq!(world.now("api"), "v1 healthy 1");
    assert_ne!(world.role("engine"), old);
    world.ok("deploy --env dev --app api --version v2");
    assert_eq!(world.served("api"), "v2");
}

/// A small file system of its own, unmounted at the end.
struct Mount(std::path::PathBuf);

impl Mount {
    fn new(at: &Path, options: &str) -> Option<Self> {
        std::fs::create_dir_all(at).expect("a folder");
        let done = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).output();
        done.is_ok_and(|done| done.status.success()).then(|| Self(at.to_owned()))
    }

    fn remount(&self, options: &str) {
        let done =
            std::process::Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).output();
        assert!(done.is_ok_and(|done| done.status.success()), "mounted with {options}");
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

fn mounted(world: &mut World, size: &str) -> Option<Mount> {
    let mount = Mount::new(&world.path("disk"), &format!("size={size},mode=700"));
    if mount.is_none() {
        assert_ne!(std::env::var("DEPLOYCTL_LIVE").as_deref(), Ok("all"), "a file system cannot be mounted");
        eprintln!("skipped: a full and a read-only disk (a file system cannot be mounted here)");
    }
    world.var("DEPLOYCTL_STATE", world.path("disk/state"));
    mount
}

#[test]
fn a_full_disk_is_said_and_going_back_still_works() {
    let mut world = World::new(API);
    let size = std::fs::metadata(world.binary()).expect("the binary").len() + (48 << 20);
    let Some(_mount) = mounted(&mut world, &size.to_string()) else { return };
    for version in ["v1", "v2", "v3"] {
        world.version(version, "");
    }
    world.ok("deploy --env dev --app api --version v1");
    world.ok("deploy --env dev --app api --version v2");
    let fill = |name: &str| {
        let mut file = std::fs::File::create(world.path("disk").join(name)).expect("a file");
        let block = [0; 4096];
        while std::io::Write::write_all(&mut file, &block).is_ok() {}
    };
    fill("full");
    let ran = world.run("deploy --env dev --app api --version v3").code(5);
    assert!(ran.last().starts_with("error[") && ran.last().contains("no space is left"), "{}", ran.err);
    assert_eq!(world.served("api"), "v2");
    assert_eq!(world.history("api"), ["v2 succeeded", "v1 succeeded"], "nothing was changed");
    fill("fuller");
    world.ok("rollback --env dev --app api").says("v2 -> v1");
    assert_eq!(world.served("api"), "v1");
    fill("fullest");
    end_engine(&world);
    assert_eq!(world.now("api"), "v1 healthy 1", "an engine starts on a full disk");
    for name in ["full", "fuller", "fullest"] {
        let _ = std::fs::remove_file(world.path("disk").join(name));
    }
    world.ok("deploy --env dev --app api --version v3");
    assert_eq!(world.served("api"), "v3");
}

#[test]
fn a_read_only_state_is_said() {
    let mut world = World::new(API);
    let Some(mount) = mounted(&mut world, "512m") else { return };
    world.version("v1", "");
    mount.remount("ro");
    let ran = world.run("deploy --env dev --app api --version v1").code(5);
    assert!(
        ran.last().starts_with("error[state-unusable]: ") && ran.last().contains("Read-only file system"),
        "{}",
        ran.err
    );
    mount.remount("rw");
    world.ok("deploy --env dev --app api --version v1");
    assert_eq!(text(&world.json("history")[0]["verdict"]), "succeeded");
}
