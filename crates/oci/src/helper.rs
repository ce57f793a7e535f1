//! Credential helpers: programs that know who we are.

use crate::trouble::{Trouble, TroubleKind};
use deployctl_core::login::Login;
use deployctl_sys::program::{self as sys, Printed, Trouble as Stopped};
use serde::Deserialize;
use std::process::Command;
use std::time::Duration;

/// No helper has more to say.
const SAYS_MAX: u64 = 1 << 20;
/// As whom helpers say that there is a token, not a password.
const TOKEN_USER: &str = "<token>";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Who we are to `key`, as the helper `docker-credential-NAME` says within `limit`; it is ended then, with all that it
/// started.
pub(crate) fn ask(name: &str, key: &str, limit: Duration) -> Result<Login, Trouble> {
    let program = format!("docker-credential-{name}");
    if name.is_empty() || name.contains('/') {
        return Err(denied(format!("`{name}` is not the name of a credential helper")));
    }
    run(&program, &program, key, limit)
}

fn run(path: &str, program: &str, key: &str, limit: Duration) -> Result<Login, Trouble> {
    let mut command = Command::new(path);
    command.arg("get");
    let odd = || denied(format!("what the credential helper {program} answers for {key} is not understood"));
    let Printed { success, out, err } = match sys::run(command, key, limit, SAYS_MAX) {
        Ok(printed) => printed,
        Err(Stopped::NotRun(e)) => return Err(denied(format!("the credential helper {program} cannot be run: {e}"))),
        Err(Stopped::TooMuch) => return Err(odd()),
        Err(Stopped::Late) => {
            let within = limit.as_secs();
            let message =
                format!("the credential helper {program} did not answer for {key} within {within} s, and was ended");
            let hint = format!("`echo {key} | {program} get` shows what it waits for: somebody at a keyboard, often");
            return Err(Trouble::new(TroubleKind::Unreachable, message).hint(hint));
        }
    };
    if !success {
        // How helpers say that nobody logged in. What they print on standard output may be a secret.
        if [&out, &err].iter().any(|text| text.contains("credentials not found")) {
            return Ok(Login::Anonymous);
        }
        let why = err.lines().next().unwrap_or("without a word");
        return Err(denied(format!("the credential helper {program} failed for {key}: {why}")));
    }
    let answer: Answer = serde_json::from_str(&out).map_err(|_| odd())?;
    Ok(match answer.username.as_str() {
        TOKEN_USER => Login::Identity(answer.secret),
        _ => Login::Password { user: answer.username, password: answer.secret },
    })
}

fn denied(message: String) -> Trouble {
    Trouble::new(TroubleKind::Denied, message).hint("log in again with `docker login`, or correct Docker's config.json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// Puts a helper with this script where programs are looked for, as long as the guard lives.
    fn helper(script: &str) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker-credential-it");
        // By another process: a file that is open for writing somewhere, as after a fork, is not run.
        let mut write = Command::new("sh");
        write.args(["-c", "printf '#!/bin/sh\n%s\n' \"$1\" > \"$0\" && chmod +x \"$0\""]).arg(&path).arg(script);
        assert!(write.status().unwrap().success());
        let found = path.display().to_string();
        (folder, found)
    }

    fn asked(script: &str, limit: Duration) -> Result<Login, Trouble> {
        let (_folder, program) = helper(script);
        run(&program, "docker-credential-it", "r.example", limit)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_helper_says_who_we_are() {
        let password = Login::Password { user: "me".into(), password: "pw of r.example".into() };
        let script = r#"read key; printf '{"ServerURL":"%s","Username":"me","Secret":"pw of %s"}' "$key" "$key""#;
        assert_eq!(asked(script, LONG), Ok(password));
        assert_eq!(asked(r#"echo '{"Username":"<token>","Secret":"t"}'"#, LONG), Ok(Login::Identity("t".into())));
        let none = "echo 'credentials not found in native keychain'; exit 1";
        assert_eq!(asked(none, LONG), Ok(Login::Anonymous));
    }

    #[test]
    fn what_it_fails_for_is_said_without_what_it_printed_as_an_answer() {
        let failed = asked("echo h8sh-h8sh; echo 'the store is locked' >&2; exit 3", LONG).unwrap_err();
        assert_eq!(
            failed.message,
            "the credential helper docker-credential-it failed for r.example: the store is locked"
        );
        let odd = asked("echo h8sh-h8sh", LONG).unwrap_err();
        assert_eq!(
            odd.message,
            "what the credential helper docker-credential-it answers for r.example is not understood"
        );
        assert_eq!((failed.kind, odd.kind), (TroubleKind::Denied, TroubleKind::Denied));
    }

    #[test]
    fn one_that_hangs_is_ended_with_all_that_it_started() {
        let (folder, program) = helper("echo $$ > \"$0.pid\"; sleep 1000 & wait");
        let trouble = run(&program, "docker-credential-it", "r.example", Duration::from_secs(1)).unwrap_err();
        let says = "the credential helper docker-credential-it did not answer for r.example within 1 s, and was ended";
        assert_eq!((trouble.kind, trouble.message.as_str()), (TroubleKind::Unreachable, says));
        let group = std::fs::read_to_string(folder.path().join("docker-credential-it.pid")).unwrap();
        let group = rustix::process::Pid::from_raw(group.trim().parse().unwrap()).unwrap();
        let end = Instant::now() + LONG;
        // Whoever was started by it is a child of nobody of us: its end may take a moment.
        while rustix::process::test_kill_process_group(group).is_ok() {
            assert!(Instant::now() < end, "something of it still runs");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn one_that_talks_without_end_is_ended() {
        let trouble = asked("exec yes", Duration::from_secs(2)).unwrap_err();
        assert!(trouble.message.ends_with("answers for r.example is not understood"), "{trouble}");
    }
}
