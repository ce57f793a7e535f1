//! Between the named points: the kernel kills engine or shim at their nth call of some kind, by `strace`.

use super::binaries::Binaries;
use super::case::{self, Became};
use super::flow::Flow;
use super::procs::{self, Role};
use super::world::{World, poll};
use super::{Random, oracle};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The calls that make something happen, and up to which of them is looked.
const CALLS: [(&str, usize); 7] = [
    ("rename,renameat,renameat2", 8),
    ("fsync", 8),
    ("fdatasync", 12),
    ("clone,clone3,fork,vfork", 4),
    ("execve", 1),
    ("sendmsg,sendto,writev", 30),
    ("unlink,unlinkat,mkdir,mkdirat", 8),
];

/// How long `strace` may take to hold every thread of the engine.
const ATTACH: Duration = Duration::from_secs(10);

/// How long it may take to let go again.
const DETACH: Duration = Duration::from_secs(2);

/// Whether this machine has `strace` and lets it work.
pub(crate) fn has_strace() -> bool {
    Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).output().is_ok_and(|tried| tried.status.success())
}

/// Which call it is, by the seed.
pub(crate) fn drawn(seed: u64) -> (&'static str, usize) {
    let mut random = Random(seed);
    let (calls, most) = CALLS[random.below(CALLS.len())];
    (calls, 1 + random.below(most))
}

/// Runs the flow with an engine whose every new process and thread, and itself, is killed at that call.
pub(crate) fn run(folder: PathBuf, binaries: &Binaries, flow: &Flow, seed: u64) -> Became {
    let world = match case::prepare(folder.clone(), binaries, flow, &[]) {
        Ok(world) => world,
        Err(why) => return Became::Wrong(why, folder),
    };
    let done = killed(&world, flow, drawn(seed));
    case::close((world, done))
}

fn killed(world: &World, flow: &Flow, (calls, nth): (&str, usize)) -> Result<oracle::Outcome, String> {
    world.ok(&["status"])?;
    let engine = procs::of(world.whose()).into_iter().find(|one| one.role == Role::Engine).ok_or("no engine runs")?;
    let log = world.path("strace");
    let mut strace = Command::new("strace")
        .args(["-f", "-qq", "-p", &engine.pid.to_string(), "-e", &format!("trace={calls}")])
        .args(["-e", &format!("inject={calls}:signal=KILL:when={nth}"), "-o"])
        .arg(&log)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| format!("strace: {e}"))?;
    let begun = poll(ATTACH, || is_traced(engine.pid).then_some(()));
    let client = begun.ok_or_else(|| "strace does not attach".to_owned()).and_then(|()| world.spawn(flow.act));
    let done = client.map(|mut client| {
        let mut ended = None;
        poll(Duration::from_secs(30), || {
            let is_hit = std::fs::read_to_string(&log).is_ok_and(|log| log.contains("+++ killed by SIGKILL"));
            let over =
                client.has_ended() && ended.get_or_insert_with(Instant::now).elapsed() > Duration::from_millis(500);
            (is_hit || over).then_some(())
        });
        client
    });
    // It lets go of all that is left, which lives on. Told while a thread of it is being killed it may wait for ever.
    procs::signal(strace.id(), Signal::TERM);
    if poll(DETACH, || strace.try_wait().ok().flatten()).is_none() {
        procs::signal(strace.id(), Signal::KILL);
        let _ = strace.wait();
    }
    case::judge(world, flow, done?)
}

fn is_traced(pid: u32) -> bool {
    let threads = std::fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task"));
    let mut threads = threads.into_iter().flatten().flatten();
    threads.all(|thread| {
        let status = std::fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|pid| pid.trim() != "0"))
    })
}
