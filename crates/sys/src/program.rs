//! Programs of others, which may hang or talk without end: both are bounded.

use std::io::{Error, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How often it is looked whether one ended, once it says nothing any more.
const LOOK: Duration = Duration::from_millis(5);

/// What a program printed.
#[derive(Debug)]
pub struct Printed {
    /// Whether it ended with 0.
    pub success: bool,
    /// Its standard output, whole.
    pub out: String,
    /// What it printed on standard error, or as much of it as is allowed.
    pub err: String,
}

/// Why a program printed nothing of use.
#[derive(Debug)]
pub enum Trouble {
    /// It cannot be started.
    NotRun(Error),
    /// It did not end in time, and was ended.
    Late,
    /// It printed more than is allowed.
    TooMuch,
}

/// Runs `command` with this standard input, until it ends, or `within` is over: then it is ended, with all of its process
/// group. Of each of its outputs at most `bytes_max` are kept.
pub fn run(mut command: Command, input: &str, within: Duration, bytes_max: u64) -> Result<Printed, Trouble> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(Trouble::NotRun)?;
    let Some(printed) = said(&mut child, input, Instant::now() + within, bytes_max) else {
        end(&mut child);
        return Err(Trouble::Late);
    };
    if printed.out.len() as u64 > bytes_max { Err(Trouble::TooMuch) } else { Ok(printed) }
}

fn said(child: &mut Child, input: &str, end: Instant, bytes_max: u64) -> Option<Printed> {
    let (out, err) = (read(child.stdout.take()?, bytes_max), read(child.stderr.take()?, bytes_max));
    let (mut to, input) = (child.stdin.take()?, input.to_owned());
    // Beside the reading: one that reads nothing must not hold us up. It may end without it; then its exit code says so.
    std::thread::spawn(move || to.write_all(input.as_bytes()));
    let until = |pieces: &Receiver<String>| pieces.recv_timeout(end.saturating_duration_since(Instant::now())).ok();
    let (out, err) = (until(&out)?, until(&err)?);
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

/// What comes out of a pipe until its end; of too much one byte more than that.
fn read(from: impl Read + Send + 'static, bytes_max: u64) -> Receiver<String> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.take(bytes_max + 1).read_to_end(&mut bytes);
        send.send(String::from_utf8_lossy(&bytes).into_owned())
    });
    receive
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, input: &str, within: Duration) -> Result<Printed, Trouble> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run(command, input, within, 1000)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn what_a_program_prints_is_read_and_it_reads_what_it_is_given() {
        let printed = sh("cat; echo oh >&2; exit 3", "hello", LONG).unwrap();
        assert_eq!((printed.success, printed.out.as_str(), printed.err.as_str()), (false, "hello", "oh\n"));
        // More than a pipe holds.
        assert!(sh("exit 0", &"x".repeat(1 << 20), LONG).unwrap().success);
    }

    #[test]
    fn what_cannot_be_run_hangs_or_talks_without_end_is_told() {
        let missing = run(Command::new("/no/such/program"), "", LONG, 1000);
        assert!(matches!(missing, Err(Trouble::NotRun(why)) if why.kind() == std::io::ErrorKind::NotFound));
        let hangs = sh("sleep 1000 & sleep 1000", "", Duration::from_millis(50));
        assert!(matches!(hangs, Err(Trouble::Late)), "{hangs:?}");
        let talks = sh("exec yes", "", LONG);
        assert!(matches!(talks, Err(Trouble::TooMuch)), "{talks:?}");
    }
}
