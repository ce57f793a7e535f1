//! The shim: a small single-threaded process that owns one instance or one job. It starts it, keeps its output within
//! bounds, sees how it ends, starts it again, and ends it with everything that it started. It needs no engine.

mod adopt;
mod child;
pub(crate) mod control;
mod desk;
pub(crate) mod family;
mod instance;
mod job;
pub(crate) mod launch;
mod trim;

use crate::layout::{Layout, RunFolder, make_private};
use crate::records::{self, RunSpec};
use crate::secrets;
use deployctl_core::id::{InstanceId, JobId};
use deployctl_sys::crash;
use deployctl_sys::lock::Lock;
use desk::Desk;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// What a shim is started for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Order {
    /// Own an instance.
    Run(InstanceId),
    /// Own a job.
    Job(JobId),
    /// Become the command of an instance's health check.
    Check(InstanceId),
}

#[derive(Debug, PartialEq, Eq)]
struct Args {
    state: PathBuf,
    order: Order,
    /// End it at once, with this much time to end by itself.
    stop: Option<Duration>,
}

/// The body of `deployctl shim --state DIR (--run ID | --job ID | --check ID) [--stop MS]`: what follows the role.
/// Returns the exit code: 0 when its run is gone, also when another shim owns it.
pub fn main(args: impl IntoIterator<Item = OsString>) -> i32 {
    let args = match parse(args) {
        Ok(args) => args,
        Err(message) => {
            eprintln!("deployctl shim: {message}");
            return 2;
        }
    };
    match serve(args) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("deployctl shim: {error}");
            1
        }
    }
}

fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Args, String> {
    let (mut state, mut order, mut stop) = (None, None, None);
    let mut args = args.into_iter();
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{} needs a value", name.display()))?;
        let text = value.to_str().unwrap_or_default();
        let id = || InstanceId::new(text).map_err(|e| e.to_string());
        match name.to_str() {
            Some("--state") => state = Some(PathBuf::from(&value)),
            Some("--run") => order = Some(Order::Run(id()?)),
            Some("--job") => order = Some(Order::Job(JobId::new(text).map_err(|e| e.to_string())?)),
            Some("--check") => order = Some(Order::Check(id()?)),
            Some("--stop") => stop = Some(text.parse().map_err(|_| format!("--stop {text}: not milliseconds"))?),
            _ => return Err(format!("unknown argument {}", name.display())),
        }
    }
    let state = state.ok_or("--state DIR is missing")?;
    let order = order.ok_or("one of --run, --job and --check is missing")?;
    Ok(Args { state, order, stop: stop.map(Duration::from_millis) })
}

fn serve(args: Args) -> io::Result<()> {
    let layout = Layout::new(&args.state);
    let folder = match &args.order {
        Order::Run(id) | Order::Check(id) => layout.run(id),
        Order::Job(id) => layout.job(id),
    };
    let secrets = secrets::unpack(&mut io::stdin().lock())?;
    if matches!(args.order, Order::Check(_)) {
        return Err(launch::become_check(&read_spec(&folder)?, &secrets));
    }
    // Away from the engine's terminal and group: what ends the engine does not end the shim.
    let _ = rustix::process::setsid();
    crash::point("shim.started");
    let Some(lock) = Lock::try_exclusive(&folder.lock())? else { return Ok(()) };
    crash::point("shim.locked");
    // What the run leaves without a parent becomes ours to end and to bury.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    make_private(&folder.scratch())?;
    let spec = read_spec(&folder)?;
    let desk = Desk::open(&layout, folder, spec, secrets, lock, args.stop)?;
    match args.order {
        Order::Job(_) => job::serve(desk),
        _ => instance::serve(desk),
    }
}

fn read_spec(folder: &RunFolder) -> io::Result<RunSpec> {
    let missing = || io::Error::new(io::ErrorKind::NotFound, format!("{} is missing", folder.spec().display()));
    records::read(&folder.spec())?.ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(args: &[&str]) -> Result<Args, String> {
        parse(args.iter().map(OsString::from))
    }

    #[test]
    fn arguments() {
        assert_eq!(
            of(&["--state", "/s", "--run", "api-0-1", "--stop", "50"]),
            Ok(Args {
                state: "/s".into(),
                order: Order::Run(InstanceId::new("api-0-1").unwrap()),
                stop: Some(Duration::from_millis(50))
            })
        );
        for (args, why) in [
            (&["--state"][..], "--state needs a value"),
            (&["--run", "x"], "--state DIR is missing"),
            (&["--state", "/s"], "one of --run, --job and --check is missing"),
            (&["--state", "/s", "--run", "../x"], "instance id `../x` must have 1 to 64 characters of a-z, 0-9 and -"),
            (&["--stop", "soon"], "--stop soon: not milliseconds"),
            (&["--what", "x"], "unknown argument --what"),
        ] {
            assert_eq!(of(args).unwrap_err(), why);
        }
    }
}
