//! Programs of others, which may hang or talk without end: both are bounded.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// A chart may have to be fetched from far away.
const LIMIT: Duration = Duration::from_secs(120);
/// No set of objects that a release could hold is larger.
const SAYS_MAX: u64 = 4 << 20;
/// How often it is looked whether one ended, once it says nothing any more.
const LOOK: Duration = Duration::from_millis(5);

/// What a program printed.
pub(super) struct Printed {
    pub(super) success: bool,
    pub(super) out: String,
    pub(super) err: String,
}

/// Why a program printed nothing of use.
pub(super) enum Trouble {
    /// There is no such program.
    Missing,
    /// What happened, after its name.
    Failed(String),
}

/// Runs a program with this input, and ends it, with all that it started, when it takes too long.
pub(super) fn run(command: Command, input: &str) -> Result<Printed, Trouble> {
    within(command, input, LIMIT)
}

fn within(mut command: Command, input: &str, limit: Duration) -> Result<Printed, Trouble> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(|error| match error.kind() {
        ErrorKind::NotFound => Trouble::Missing,
        _ => Trouble::Failed(format!("cannot be run: {error}")),
    })?;
    let Some(printed) = said(&mut child, input, Instant::now() + limit) else {
        end(&mut child);
        return Err(Trouble::Failed(format!("did not end within {} s, and was ended", limit.as_secs())));
    };
    if printed.out.len() as u64 > SAYS_MAX {
        return Err(Trouble::Failed(format!("printed more than {} MiB", SAYS_MAX >> 20)));
    }
    Ok(printed)
}

fn said(child: &mut Child, input: &str, end: Instant) -> Option<Printed> {
    let (out, err) = (read(child.stdout.take()?), read(child.stderr.take()?));
    let (mut to, input) = (child.stdin.take()?, input.to_owned());
    // Beside the reading: one that reads nothing must not hold us up. It may end without it; then its exit code says so.
    std::thread::spawn(move || to.write_all(input.as_bytes()));
    let within = |pieces: &Receiver<String>| pieces.recv_timeout(end.saturating_duration_since(Instant::now())).ok();
    let (out, err) = (within(&out)?, within(&err)?);
    while Instant::now() < end {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(Printed { success: status.success(), out, err });
        }
        std::thread::sleep(LOOK);
    }
    None
}

/// Ends a program that was not waited for, with its group: what it started would keep its pipes open.
fn end(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.wait();
}

/// What comes out of a pipe until its end; of too much a little more than that.
fn read(from: impl Read + Send + 'static) -> Receiver<String> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.take(SAYS_MAX + 1).read_to_end(&mut bytes);
        send.send(String::from_utf8_lossy(&bytes).into_owned())
    });
    receive
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn what_a_program_prints_is_read_and_it_reads_what_it_is_given() {
        let Ok(printed) = run(sh("cat; echo oh >&2; exit 3"), "hello") else { panic!("it ran") };
        assert_eq!((printed.success, printed.out.as_str(), printed.err.as_str()), (false, "hello", "oh\n"));
    }

    #[test]
    fn what_hangs_or_is_not_there_is_told() {
        let why = |done: Result<Printed, Trouble>| match done {
            Ok(_) => "fine".to_owned(),
            Err(Trouble::Missing) => "missing".into(),
            Err(Trouble::Failed(why)) => why,
        };
        assert_eq!(why(run(Command::new("/no/such/program"), "")), "missing");
        let hangs = within(sh("sleep 1000 & sleep 1000"), "", Duration::from_millis(50));
        assert_eq!(why(hangs), "did not end within 0 s, and was ended");
        assert_eq!(why(run(sh("head -c 5000000 /dev/zero; exec 1>&-; exit 0"), "")), "printed more than 4 MiB");
    }
}
