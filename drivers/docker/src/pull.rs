//! What a registry's trouble means when the Docker Engine asks it, and how long it is waited for.

use crate::client::Trouble;
use bollard::models::ImageInspect;
use deployctl_core::fault::{Fault, FaultKind, Retry};
use deployctl_core::ports::NotTaken;
use std::time::Duration;

/// A registry that does not say for so long what a name means is in trouble.
pub(crate) const ANSWER: Duration = Duration::from_secs(30);
/// So is one of which for so long no byte of an image comes.
pub(crate) const STALL: Duration = Duration::from_secs(60);
/// A pull that takes longer is given up.
pub(crate) const WHOLE: Duration = Duration::from_secs(20 * 60);
/// The pauses before a registry in trouble is asked again by who cannot wait for long.
pub(crate) const PAUSES: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

/// After this it is not asked again by them.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// The code of trouble that passes.
pub(crate) const UNREACHABLE: &str = "registry-unreachable";

/// The engine's words for a registry that does not let us. The last four are of one whose answer says no more, such as a page
/// of whatever stands before it.
const DENIED: &[&str] = &[
    "unauthorized",
    "authentication required",
    "denied",
    "no basic auth",
    "does not exist or may require",
    "http 401 response body",
    "http 403 response body",
    "http status: 401",
    "http status: 403",
];

/// Who asks a registry for what.
pub(crate) struct Asked<'a> {
    /// The image.
    pub(crate) image: &'a str,
    /// `HOST` or `HOST:PORT`.
    pub(crate) registry: &'a str,
    /// Whether it was told who we are.
    pub(crate) known: bool,
    /// As whom the engine of deployctl runs.
    pub(crate) user: &'a str,
}

/// What a registry was too slow for, as the engine would say it.
pub(crate) fn slow(limit: Duration) -> Trouble {
    let message = format!("the registry does not go on: nothing came of it for {} s", limit.as_secs());
    Trouble::Said { status: 504, message }
}

/// Why an image cannot be had: trouble that passes is a fault of the platform, what can never be is refused.
pub(crate) fn why(asked: &Asked<'_>, trouble: Trouble) -> NotTaken {
    let Trouble::Said { message, status } = trouble else { return trouble.fault("").into() };
    let lower = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let Asked { image, registry, user, .. } = asked;
    let text = format!("the image {image} cannot be had: {message}");
    let refused = |kind, code, hint: String| NotTaken {
        fault: Fault::refused(kind, text.clone()).hint(hint),
        is_wrong: false,
        code,
    };
    if says(&["verification failed", "digest mismatch", "does not match digest", "digest did not match"]) {
        let hint = "the registry, or something between, altered or lost bytes: push the image again, or look there";
        let fault = Fault::refused(FaultKind::Spec, format!("{text}: these are not the bytes of its digest"));
        return NotTaken { fault: fault.hint(hint), is_wrong: true, code: "registry-wrong" };
    }
    if says(&["no matching manifest", "does not match the specified platform", "cannot be used on this platform"]) {
        return refused(FaultKind::Spec, "image-missing", "build and push it for this machine's platform, too".into());
    }
    if says(&["manifest unknown", "name unknown", "manifest invalid"]) || (status == 404 && !says(&["denied"])) {
        return refused(FaultKind::Spec, "image-missing", "build or push it, or check `image:` and the version".into());
    }
    if says(DENIED) {
        let hint = match asked.known {
            true => format!(
                "{registry} does not allow it to who is logged in there: `docker login {registry}` as {user}, or ask for the right to pull; and check the name"
            ),
            false => format!(
                "nobody is logged in to {registry}: `docker login {registry}` as {user}, as whom deployctl's engine runs; and check the name"
            ),
        };
        return refused(FaultKind::Denied, "registry-denied", hint);
    }
    let fault = Fault { retry: Retry::Soon, ..Fault::platform(text) };
    let hint = format!(
        "nothing was changed; look at the registry {registry} and at the way to it: trying again helps when that has passed"
    );
    NotTaken { fault: fault.hint(hint), is_wrong: false, code: UNREACHABLE }
}

/// That an image is for another kind of machine than the engine's, `OS/ARCHITECTURE` each, if it is.
pub(crate) fn other_platform(name: &str, image: &ImageInspect, engine: (&str, &str)) -> Option<NotTaken> {
    let of = |text: &Option<String>| text.clone().unwrap_or_default();
    let (os, architecture) = (of(&image.os), of(&image.architecture));
    let fits = os.is_empty() || architecture.is_empty() || (os == engine.0 && runs(engine.1, &architecture));
    let text = || {
        let message = format!(
            "the image {name} is for {os}/{architecture}, and the Docker Engine is one for {}/{}",
            engine.0, engine.1
        );
        let hint = format!("build and push it for {}/{}, too", engine.0, engine.1);
        NotTaken { code: "image-missing", ..Fault::refused(FaultKind::Spec, message).hint(hint).into() }
    };
    (!fits).then(text)
}

/// Whether a machine runs programs of that kind: its own, those of its smaller sister, and what an emulator was set up for.
fn runs(machine: &str, program: &str) -> bool {
    let emulator = match program {
        "amd64" => "x86_64",
        "386" => "i386",
        "arm64" => "aarch64",
        other => other,
    };
    machine == program
        || matches!((machine, program), ("amd64", "386") | ("arm64", "arm"))
        || std::path::Path::new(&format!("/proc/sys/fs/binfmt_misc/qemu-{emulator}")).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, message: &str, known: bool) -> NotTaken {
        let asked = Asked { image: "r.example/a:1", registry: "r.example", known, user: "ci" };
        why(&asked, Trouble::Said { status, message: message.into() })
    }

    #[test]
    fn trouble_that_passes_is_tried_again_and_condemns_nothing() {
        for message in [
            "received unexpected HTTP status: 500 Internal Server Error",
            "toomanyrequests: slow down",
            "error parsing HTTP 429 response body: no error details found in HTTP response body: \"{}\"",
            "Get \"http://r.example/v2/\": dial tcp 127.0.0.1:1: connect: connection refused",
            "unexpected EOF",
        ] {
            let not = of(500, message, true);
            let is = (not.fault.kind, not.fault.retry, not.is_wrong, not.code);
            assert_eq!(is, (FaultKind::Platform, Retry::Soon, false, "registry-unreachable"), "{message}");
            assert_eq!(not.fault.message, format!("the image r.example/a:1 cannot be had: {message}"));
        }
        assert_eq!(
            why(&Asked { image: "a", registry: "r", known: false, user: "u" }, slow(ANSWER)).fault.message,
            "the image a cannot be had: the registry does not go on: nothing came of it for 30 s"
        );
    }

    #[test]
    fn what_can_never_be_is_refused() {
        for (message, code, kind) in [
            (
                "manifest for r.example/a:1 not found: manifest unknown: manifest unknown",
                "image-missing",
                FaultKind::Spec,
            ),
            ("no matching manifest for linux/amd64 in the manifest list entries", "image-missing", FaultKind::Spec),
            ("manifest verification failed for digest sha256:00", "registry-wrong", FaultKind::Spec),
            ("filesystem layer verification failed for digest sha256:00", "registry-wrong", FaultKind::Spec),
            ("unauthorized: authentication required", "registry-denied", FaultKind::Denied),
            (
                "error parsing HTTP 403 response body: invalid character '<' looking for beginning of value: \"<html>\"",
                "registry-denied",
                FaultKind::Denied,
            ),
            (
                "pull access denied for a, repository does not exist or may require 'docker login'",
                "registry-denied",
                FaultKind::Denied,
            ),
        ] {
            let not = of(500, message, false);
            assert_eq!((not.fault.kind, not.fault.retry, not.code), (kind, Retry::Never, code), "{message}");
        }
        let hint = of(401, "unauthorized", false).fault.hint.unwrap();
        assert!(hint.starts_with("nobody is logged in to r.example: `docker login r.example` as ci, "), "{hint}");
        let hint = of(401, "unauthorized", true).fault.hint.unwrap();
        assert!(hint.starts_with("r.example does not allow it to who is logged in there"), "{hint}");
    }

    #[test]
    fn a_machine_runs_its_own_programs() {
        let image = |os: &str, architecture: &str| ImageInspect {
            os: Some(os.into()),
            architecture: Some(architecture.into()),
            ..ImageInspect::default()
        };
        let here = ("linux", "amd64");
        assert_eq!(other_platform("a", &image("linux", "amd64"), here), None);
        assert_eq!(other_platform("a", &image("linux", "386"), here), None);
        assert_eq!(other_platform("a", &ImageInspect::default(), here), None);
        let not = other_platform("a:1", &image("linux", "no-such"), here).unwrap();
        let says = "the image a:1 is for linux/no-such, and the Docker Engine is one for linux/amd64";
        assert_eq!((not.fault.message.as_str(), not.code), (says, "image-missing"));
        assert!(other_platform("a", &image("windows", "amd64"), here).is_some());
    }
}
