//! Credentials that a program tells: `exec` in a kubeconfig, by which the clusters of clouds know who asks. The protocol is
//! <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins>.
//!
//! The client library could do it, but it waits without an end on the thread of whoever asks, runs the program three times
//! for each connection, and when it fails repeats its environment and output, in which there are secrets.

use crate::trouble::Trouble;
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_sys::program::{self, Printed};
use jiff::{SignedDuration, Timestamp};
use kube::config::{AuthInfo, ExecConfig};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::process::Command;
use std::time::Duration;

/// A program that has not ended then is ended.
const WITHIN: Duration = Duration::from_secs(60);
/// More than any certificate and its key.
const BYTES_MAX: u64 = 1 << 20;
/// Of what it says about its failure.
const WORDS_MAX: usize = 300;
/// It is asked again so long before its answer ends: a client lives for a minute.
const EARLY: SignedDuration = SignedDuration::from_secs(90);

/// What a program told, and what it was asked by.
pub(crate) struct Told {
    asked: String,
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
    #[serde(rename = "expirationTimestamp")]
    until: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Answer {
    kind: String,
    status: Option<Status>,
}

/// The program of these credentials, if it is the one that decides: what stands there itself goes before it.
pub(crate) fn of(user: &AuthInfo) -> Option<&ExecConfig> {
    let is_said = user.auth_provider.is_some() || user.username.is_some() && user.password.is_some();
    let is_said = is_said || user.token.is_some() || user.token_file.is_some();
    user.exec.as_ref().filter(|_| !is_said)
}

impl Told {
    /// Asks the program. Waits for it, on a thread of its own.
    pub(crate) async fn by(exec: &ExecConfig) -> Result<Self, Trouble> {
        let (name, hint) = (exec.command.clone().unwrap_or_default(), exec.install_hint.clone());
        let command = command(exec)?;
        let done = tokio::task::spawn_blocking(move || program::run(command, "", WITHIN, BYTES_MAX)).await;
        let done = done.map_err(|e| Trouble::Lost(e.to_string()))?;
        let status = read(&name, hint.as_deref(), done).map_err(Trouble::Unusable)?;
        Ok(Self { asked: identity(exec), status })
    }

    /// Whether it answers what `exec` asks, and is good for a while.
    pub(crate) fn is_good(&self, exec: &ExecConfig, now: Timestamp) -> bool {
        self.asked == identity(exec) && self.status.until.is_none_or(|until| now + EARLY < until)
    }

    /// Puts it where the client looks, instead of the program.
    pub(crate) fn give(&self, user: &mut AuthInfo) {
        user.exec = None;
        user.token = self.status.token.clone().map(Into::into);
        if let (Some(certificate), Some(key)) = (&self.status.client_certificate_data, &self.status.client_key_data) {
            // A kubeconfig has them in base64, a program's answer as they are.
            use base64::Engine;
            let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
            user.client_certificate_data = Some(base64(certificate));
            user.client_key_data = Some(base64(key).into());
        }
    }
}

/// The same for the same question, in whatever order a map of the library has its keys.
fn identity(exec: &ExecConfig) -> String {
    let env: Vec<BTreeMap<&String, &String>> = exec.env.iter().flatten().map(|pair| pair.iter().collect()).collect();
    format!("{:?}", (&exec.api_version, &exec.command, &exec.args, env, exec.provide_cluster_info))
}

fn command(exec: &ExecConfig) -> Result<Command, Trouble> {
    let wrong = |message: String| Err(Trouble::Unusable(Fault::refused(FaultKind::Spec, message).hint(MEND)));
    let Some(name) = exec.command.as_deref().filter(|name| !name.is_empty()) else {
        return wrong("the `exec` of the kubeconfig's user names no command".into());
    };
    if name.contains('/') && !name.starts_with('/') {
        return wrong(format!(
            "the command `{name}` of the kubeconfig's user is neither a name nor a path from the root"
        ));
    }
    let mut spec = json!({ "interactive": false });
    if exec.provide_cluster_info {
        spec["cluster"] = serde_json::to_value(&exec.cluster).unwrap_or_default();
    }
    let info = json!({ "apiVersion": exec.api_version, "kind": "ExecCredential", "spec": spec });
    let mut command = Command::new(name);
    command.args(exec.args.iter().flatten()).env("KUBERNETES_EXEC_INFO", info.to_string());
    for pair in exec.env.iter().flatten() {
        if let (Some(name), Some(value)) = (pair.get("name"), pair.get("value")) {
            command.env(name, value);
        }
    }
    Ok(command)
}

const MEND: &str = "mend the user of this context in the kubeconfig";

/// What it told, or what to do about it. Its output is never repeated: it may be a token.
fn read(name: &str, hint: Option<&str>, done: Result<Printed, program::Trouble>) -> Result<Status, Fault> {
    let by = format!("the kubeconfig gets its credentials from the program `{name}`");
    let again = |why: String| {
        Err(Fault::platform(format!("{by}, {why}")).hint("log in again where it wants that; it is tried again"))
    };
    let printed = match done {
        Ok(printed) => printed,
        Err(program::Trouble::NotRun(error)) if error.kind() == ErrorKind::NotFound => {
            let install = hint.map(str::trim).filter(|hint| !hint.is_empty());
            let install = install.unwrap_or("install it where deployctl's engine runs, in a folder of its PATH");
            return Err(Fault::refused(FaultKind::Spec, format!("{by}, which is not there")).hint(install));
        }
        Err(program::Trouble::NotRun(error)) => {
            return Err(Fault::refused(FaultKind::Spec, format!("{by}, which cannot be run: {error}")).hint(MEND));
        }
        Err(program::Trouble::Late) => {
            return again(format!("which did not end within {} s, and was ended", WITHIN.as_secs()));
        }
        Err(program::Trouble::TooMuch) => return again("which prints more than credentials are".into()),
    };
    if !printed.success {
        return again(format!("which failed: {}", words(&printed.err)));
    }
    let wrong = |why: &str| Err(Fault::refused(FaultKind::Spec, format!("{by}, which {why}")).hint(MEND));
    let Ok(answer) = serde_json::from_str::<Answer>(&printed.out) else {
        return wrong("prints no ExecCredential in JSON");
    };
    let Some(status) = answer.status.filter(|_| answer.kind == "ExecCredential") else {
        return wrong("prints no ExecCredential with a status");
    };
    let has_key = status.client_certificate_data.is_some() && status.client_key_data.is_some();
    match status.token.is_some() || has_key {
        true => Ok(status),
        false => wrong("tells neither a token nor a certificate with its key"),
    }
}

/// What it says of its failure: its last line.
fn words(err: &str) -> String {
    let last = err.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it says nothing");
    last.chars().take(WORDS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec(more: serde_json::Value) -> ExecConfig {
        let mut all = json!({ "apiVersion": "client.authentication.k8s.io/v1", "command": "aws" });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(all).unwrap()
    }

    fn printed(success: bool, out: &str, err: &str) -> Result<Printed, program::Trouble> {
        Ok(Printed { success, out: out.into(), err: err.into() })
    }

    #[test]
    fn a_program_is_asked_with_its_arguments_and_without_a_person() {
        let exec = exec(json!({
            "args": ["eks", "get-token"], "env": [{ "name": "AWS_PROFILE", "value": "prod" }], "interactiveMode": "IfAvailable",
        }));
        let command = command(&exec).ok().unwrap();
        let args: Vec<_> = command.get_args().collect();
        let env: Vec<_> =
            command.get_envs().filter_map(|(name, value)| Some((name.to_str()?, value?.to_str()?))).collect();
        assert_eq!(args, ["eks", "get-token"]);
        assert_eq!(env[0], ("AWS_PROFILE", "prod"));
        let info =
            r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","spec":{"interactive":false}}"#;
        assert_eq!(env[1], ("KUBERNETES_EXEC_INFO", info));
    }

    #[test]
    fn what_it_tells_is_good_until_it_ends_and_for_who_asked() {
        let of = |until: &str| {
            let out =
                format!(r#"{{"kind":"ExecCredential","status":{{"token":"t","expirationTimestamp":"{until}"}}}}"#);
            Told { asked: identity(&exec(json!({}))), status: read("aws", None, printed(true, &out, "")).ok().unwrap() }
        };
        let now: Timestamp = "2026-01-01T10:00:00Z".parse().unwrap();
        assert!(of("2026-01-01T10:15:00Z").is_good(&exec(json!({})), now));
        assert!(!of("2026-01-01T10:01:00Z").is_good(&exec(json!({})), now), "it would end in the middle of its use");
        assert!(!of("2026-01-01T10:15:00Z").is_good(&exec(json!({ "args": ["other"] })), now));
        let with_env = || identity(&exec(json!({ "env": [{ "name": "AWS_PROFILE", "value": "prod" }] })));
        assert!((0..64).all(|_| with_env() == with_env()), "it would be asked each time");
        assert_ne!(with_env(), identity(&exec(json!({}))));
        let mut user = AuthInfo { exec: Some(exec(json!({}))), ..AuthInfo::default() };
        assert!(super::of(&user).is_some());
        of("2026-01-01T10:15:00Z").give(&mut user);
        assert!(user.token.is_some() && super::of(&user).is_none());
    }

    #[test]
    fn what_goes_wrong_is_told_without_what_it_printed() {
        let by = "the kubeconfig gets its credentials from the program `aws`";
        let missing = Err(program::Trouble::NotRun(ErrorKind::NotFound.into()));
        let fault = read("aws", Some("brew install awscli\n"), missing).err().unwrap();
        assert_eq!(
            (fault.message, fault.hint.as_deref()),
            (format!("{by}, which is not there"), Some("brew install awscli"))
        );
        let cases = [
            (Err(program::Trouble::Late), true, "which did not end within 60 s, and was ended"),
            (
                printed(false, "secret", "a\nThe SSO session has expired\n"),
                true,
                "which failed: The SSO session has expired",
            ),
            (printed(true, "kind: ExecCredential # secret", ""), false, "which prints no ExecCredential in JSON"),
            (
                printed(true, r#"{"kind":"Secret","status":{"token":"secret"}}"#, ""),
                false,
                "which prints no ExecCredential with a status",
            ),
            (
                printed(true, r#"{"kind":"ExecCredential","status":{"clientCertificateData":"secret"}}"#, ""),
                false,
                "which tells neither a token nor a certificate with its key",
            ),
        ];
        for (done, passes, says) in cases {
            let fault = read("aws", None, done).err().unwrap();
            assert_eq!(fault.message, format!("{by}, {says}"));
            assert_eq!(fault.kind == FaultKind::Platform, passes, "{says}");
        }
    }

    #[test]
    fn a_command_that_depends_on_a_folder_is_refused() {
        for (command, says) in [("", "names no command"), ("./plugin", "is neither a name nor a path from the root")] {
            let Err(Trouble::Unusable(fault)) = super::command(&exec(json!({ "command": command }))) else { panic!() };
            assert!(fault.message.contains(says), "{}", fault.message);
        }
    }
}
