//! The program `ssh`, as it goes to another machine. It is never answered for anybody: no password, and no "yes"
//! to a host that is not known.

use super::{denied, greet, unreachable};
use crate::address::{Address, Ssh};
use deployctl_core::fault::Fault;
use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

/// As Docker's own client does it: whatever socket or context the other side means.
const REMOTE: [&str; 3] = ["docker", "system", "dial-stdio"];
/// What it says before it ends is waited for this long.
const LAST_WORDS: Duration = Duration::from_secs(2);
const WORDS_MAX: u64 = 8 * 1024;
/// How a shell ends that does not know a program.
const NO_PROGRAM: i32 = 127;
/// How `ssh` ends of its own trouble.
const OWN: i32 = 255;

const OPTIONS: [&str; 8] = [
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "ConnectTimeout=8",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=2",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "LogLevel=ERROR",
];

/// The program with its settings for a machine: `more` options, the machine, and what is to run there.
pub(crate) fn command(ssh: &Ssh, more: &[&str], remote: &[&str]) -> Command {
    let mut command = Command::new("ssh");
    command.args(more).args(OPTIONS.iter().flat_map(|option| ["-o", option]));
    command.args(ssh.user.iter().flat_map(|user| ["-l", user.as_str()]));
    command.args(ssh.port.iter().flat_map(|port| ["-p".to_owned(), port.to_string()]));
    command.arg("--").arg(&ssh.host).args(remote);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// What goes through a program, which ends with it.
pub(crate) struct Piped {
    _child: Child,
    to: ChildStdin,
    from: ChildStdout,
}

/// Opens a connection to the engine of that machine.
pub(crate) async fn connect(ssh: &Ssh, at: &Address) -> Result<Piped, Fault> {
    // A connection of its own: whoever else is on that machine by `ssh` may go at any time.
    let mut command = command(ssh, &["-T", "-o", "ControlMaster=no", "-o", "ControlPath=none"], &REMOTE);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| not_started(&e, at))?;
    let (Some(to), Some(from), Some(words)) = (child.stdin.take(), child.stdout.take(), child.stderr.take()) else {
        return Err(unreachable(at, "`ssh` has no pipes"));
    };
    let words = tokio::spawn(listen(words));
    let mut piped = Piped { _child: child, to, from };
    match greet(&mut piped).await {
        Ok(()) => Ok(piped),
        Err(error) => Err(piped.why(words, &error, ssh, at).await),
    }
}

/// What it says is read to the end, or it would wait for that.
async fn listen(mut words: ChildStderr) -> String {
    let mut said = Vec::new();
    let _ = (&mut words).take(WORDS_MAX).read_to_end(&mut said).await;
    let _ = tokio::io::copy(&mut words, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&said).into_owned()
}

impl Piped {
    async fn why(mut self, words: JoinHandle<String>, error: &io::Error, ssh: &Ssh, at: &Address) -> Fault {
        let code = tokio::time::timeout(LAST_WORDS, self._child.wait()).await;
        let code = code.ok().and_then(|ended| ended.ok()?.code());
        let said = tokio::time::timeout(LAST_WORDS, words).await.ok().and_then(Result::ok).unwrap_or_default();
        match said.trim() {
            "" => unreachable(at, &error.to_string()),
            said => why(code, said, ssh, at),
        }
    }
}

/// `ssh` itself cannot be run.
pub(crate) fn not_started(error: &io::Error, at: &Address) -> Fault {
    unreachable(at, &format!("`ssh` cannot be run here: {error}")).hint("install the package `openssh-client`")
}

/// What its last words mean, and who can mend it.
pub(crate) fn why(code: Option<i32>, said: &str, ssh: &Ssh, at: &Address) -> Fault {
    let has = |words: &str| said.contains(words);
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    let host = &ssh.host;
    let user = ssh.user.clone().unwrap_or_else(|| "the user there".into());
    if has("HOST IDENTIFICATION HAS CHANGED") {
        return denied(at, &format!("the key of {host} is another one than the one that is known")).hint(
            "somebody may stand in between; if it was renewed, mend known_hosts of the user of deployctl's engine",
        );
    }
    if has("Host key verification failed") || has("host key is known for") {
        return denied(at, &format!("the key of {host} is not known, and deployctl says yes to none"))
            .hint(format!("as the user of deployctl's engine, once: `ssh {host}`, and compare the key that it shows"));
    }
    if code == Some(OWN) && has("Permission denied") {
        return denied(at, &format!("{host} lets us not in: {last}"))
            .hint("the key of the user of deployctl's engine must be in authorized_keys there, without a password");
    }
    if code == Some(OWN) {
        return unreachable(at, last.trim_start_matches("ssh: "));
    }
    if code == Some(NO_PROGRAM) {
        return denied(at, &format!("there is no `docker` on {host}: {last}"))
            .hint("install Docker's client there: `docker system dial-stdio` must run");
    }
    if has("permission denied") {
        return denied(at, &format!("{user} may not use the engine's socket: {last}"))
            .hint("that user must be in the group `docker` there, or be root");
    }
    unreachable(at, last)
}

impl AsyncRead for Piped {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.from).poll_read(cx, buf)
    }
}

impl AsyncWrite for Piped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.to).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.to).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.to).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deployctl_core::fault::{FaultKind, Retry};

    #[test]
    fn last_words_are_understood() {
        let ssh = Ssh { user: Some("me".into()), host: "far".into(), port: None };
        let at = Address::Ssh { ssh: ssh.clone() };
        let cases = [
            (
                255,
                "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
                true,
                "another one than",
            ),
            (
                255,
                "No ED25519 host key is known for far and you have requested strict checking.\r\nHost key verification failed.",
                true,
                "says yes to none",
            ),
            (
                255,
                "me@far: Permission denied (publickey).",
                true,
                "lets us not in: me@far: Permission denied (publickey).",
            ),
            (
                255,
                "ssh: Could not resolve hostname far: Name or service not known",
                false,
                "reached: Could not resolve hostname far",
            ),
            (
                255,
                "ssh: connect to host far port 22: Connection refused",
                false,
                "reached: connect to host far port 22: Connection refused",
            ),
            (127, "bash: line 1: docker: command not found", true, "there is no `docker` on far"),
            (
                1,
                "failed to open the raw stream connection: dial unix /s: connect: permission denied",
                true,
                "me may not use the engine's socket",
            ),
            (
                1,
                "failed to open the raw stream connection: dial unix /s: connect: no such file or directory",
                false,
                "no such file or directory",
            ),
        ];
        for (code, said, is_denied, wanted) in cases {
            let fault = why(Some(code), said, &ssh, &at);
            assert!(fault.message.starts_with("the Docker Engine at ssh://me@far cannot be reached: "), "{fault}");
            assert!(fault.message.contains(wanted), "{fault}");
            assert_eq!(fault.kind, if is_denied { FaultKind::Denied } else { FaultKind::Platform }, "{said}");
            // It may be mended while somebody waits; it never condemns anything.
            assert_eq!((fault.retry, fault.hint.is_some()), (Retry::Soon, true));
        }
    }

    #[test]
    fn nothing_of_an_address_is_an_option() {
        let ssh = Ssh { user: Some("me".into()), host: "far".into(), port: Some(2222) };
        let command = command(&ssh, &["-T"], &REMOTE);
        let args: Vec<&str> = command.as_std().get_args().filter_map(|arg| arg.to_str()).collect();
        let end = ["-l", "me", "-p", "2222", "--", "far", "docker", "system", "dial-stdio"];
        assert_eq!(args[args.len() - end.len()..], end);
        assert!(args.contains(&"BatchMode=yes") && args.contains(&"StrictHostKeyChecking=yes"));
    }
}
