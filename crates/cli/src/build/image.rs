//! Builds of images by the program `docker`: with BuildKit where its client can, else with the engine's own builder; what
//! goes wrong is said with the place in the Dockerfile.

use super::checkout::Origin;
use super::{begins, failed, message};
use crate::fail::Failure;
use crate::output::err;
use crate::secrets::Reader;
use deployctl_core::ask::{Refused, RefusedKind};
use deployctl_driver_docker::BUILT;
use deployctl_spec::{ImageBuild, ResolvedApp};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

/// Which builder the client is to use, if the caller says it.
const CHOICE: &str = "DOCKER_BUILDKIT";
/// Of what a build prints so much is kept to be looked at.
const KEPT_BYTES: usize = 64 << 10;
/// What to do where a build needs BuildKit.
const BUILDKIT: &str = "nothing was changed; install BuildKit for Docker's client: the package `docker-buildx-plugin`, or \
                        `docker-buildx`";
/// In memory.
const SECRETS: &str = "/dev/shm";

/// Makes an image.
pub(super) fn make(
    build: &ImageBuild,
    app: &ResolvedApp,
    origin: &Origin,
    dir: &Path,
    secrets: &mut Reader<'_>,
) -> Result<(), Failure> {
    let buildkit = has_buildkit();
    let files = Secrets::of(build, app, buildkit, secrets)?;
    let argv = argv(build, app, origin, &files);
    begins(app, &argv);
    let mut command = Command::new("docker");
    command.args(&argv[1..]).current_dir(dir);
    if buildkit {
        // Without it the client itself says what is missing.
        command.env(CHOICE, "1");
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (status, printed) = shown(command).map_err(|e| failed(app, &format!("`docker` cannot be run: {e}")))?;
    if status.success() {
        return Ok(());
    }
    let name = build.dockerfile.clone().unwrap_or_else(|| match build.context.as_str() {
        "." => "Dockerfile".into(),
        context => format!("{context}/Dockerfile"),
    });
    if let Some(refused) = no_engine(&printed) {
        return Err(refused.into());
    }
    let text = std::fs::read_to_string(dir.join(&name)).unwrap_or_default();
    let why = explained(&printed, &name, &text);
    let why = why.unwrap_or_else(|| format!("`{}` ended with {status}", argv.join(" ")));
    match !buildkit && why.contains("BuildKit") {
        true => Err(Refused::new(RefusedKind::Usage, "build-failed", message(app, &why)).hint(BUILDKIT).into()),
        false => Err(failed(app, &why)),
    }
}

/// That the engine could not be asked: nothing is wrong with the build.
fn no_engine(printed: &str) -> Option<Refused> {
    let line = |marks: &[&str]| printed.lines().find(|line| marks.iter().any(|mark| line.contains(mark)));
    let refused = |kind, code, line: &str, hint| {
        let why = line.trim().trim_start_matches("ERROR: ").trim_start_matches("error: ");
        Some(Refused::new(kind, code, format!("the Docker Engine cannot build: {why}")).hint(hint))
    };
    if let Some(line) = line(&["permission denied while trying to connect to the Docker"]) {
        let hint = "nothing was changed; run it as root, or as a user of the group `docker`";
        return refused(RefusedKind::Denied, "target-denied", line, hint);
    }
    let away = ["Cannot connect to the Docker daemon", "error during connect", "failed to connect to the docker API"];
    let hint =
        "nothing was changed; start it (`systemctl start docker`), or say where it is with DOCKER_HOST=unix://PATH";
    refused(RefusedKind::Unreachable, "target-unreachable", line(&away)?, hint)
}

/// Whether the client builds with BuildKit: as the caller says, else if its part for that is there.
fn has_buildkit() -> bool {
    if let Ok(said) = std::env::var(CHOICE) {
        return !matches!(said.as_str(), "" | "0" | "false");
    }
    let mut command = Command::new("docker");
    command.args(["buildx", "version"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Program and arguments. The image is made for the engine that the containers run on, and says what it is made from.
fn argv(image: &ImageBuild, app: &ResolvedApp, origin: &Origin, secrets: &Secrets) -> Vec<String> {
    let mut argv: Vec<String> = ["docker", "build", "--tag", &image.tag].map(str::to_owned).into();
    let labels = [
        ("version", Some(app.version.as_str())),
        ("revision", origin.revision.as_deref()),
        ("source", origin.source.as_deref()),
    ];
    for (name, value) in labels.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        argv.extend(["--label".into(), format!("org.opencontainers.image.{name}={value}")]);
    }
    argv.extend(image.labels.iter().flat_map(|(name, value)| ["--label".to_owned(), format!("{name}={value}")]));
    argv.extend(["--label".into(), format!("{BUILT}={}", app.app)]);
    argv.extend(image.dockerfile.iter().flat_map(|file| ["--file".to_owned(), file.clone()]));
    argv.extend(image.stage.iter().flat_map(|stage| ["--target".to_owned(), stage.clone()]));
    for (name, value) in &image.args {
        argv.extend(["--build-arg".into(), format!("{name}={value}")]);
    }
    for name in image.secrets.keys() {
        argv.extend(["--secret".into(), format!("id={name},src={}", secrets.0.join(name).display())]);
    }
    argv.push(image.context.clone());
    argv
}

/// Files with the secrets of a build, gone with the value.
struct Secrets(PathBuf);

impl Secrets {
    fn of(build: &ImageBuild, app: &ResolvedApp, buildkit: bool, reader: &mut Reader<'_>) -> Result<Self, Failure> {
        let folder = Path::new(SECRETS).join(format!("deployctl-build-{}-{}", std::process::id(), app.app));
        let files = Self(folder);
        if build.secrets.is_empty() {
            return Ok(files);
        }
        if !buildkit {
            let message = format!(
                "{} {} cannot be built: its build needs secrets, and only BuildKit keeps those out of the image",
                app.app, app.version
            );
            return Err(Refused::new(RefusedKind::Usage, "build-failed", message).hint(BUILDKIT).into());
        }
        let cannot = |e: std::io::Error| failed(app, &format!("its secrets cannot be put into {SECRETS}: {e}"));
        std::fs::DirBuilder::new().mode(0o700).create(&files.0).map_err(cannot)?;
        for (name, reference) in &build.secrets {
            let value = reader.read(reference)?;
            let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(files.0.join(name));
            file.and_then(|mut file| file.write_all(&value.0)).map_err(cannot)?;
        }
        Ok(files)
    }
}

impl Drop for Secrets {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs a command, shows what it prints as progress, and says the end of it.
fn shown(mut command: Command) -> std::io::Result<(std::process::ExitStatus, String)> {
    let mut child = command.spawn()?;
    let kept = Arc::new(Mutex::new(String::new()));
    let out = child.stdout.take().map(|out| follow(out, Arc::clone(&kept)));
    let err = child.stderr.take().map(|err| follow(err, Arc::clone(&kept)));
    for reader in [out, err].into_iter().flatten() {
        let _ = reader.join();
    }
    let status = child.wait()?;
    let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    Ok((status, kept.clone()))
}

fn follow(from: impl Read + Send + 'static, kept: Arc<Mutex<String>>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            err(line.trim_end());
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            // The end of it is what counts.
            if kept.len() > KEPT_BYTES {
                kept.clear();
            }
            kept.push_str(&line);
            kept.push('\n');
        }
    })
}

/// What a builder says went wrong, with the place in the Dockerfile `name` if that can be told.
fn explained(printed: &str, name: &str, dockerfile: &str) -> Option<String> {
    let lines: Vec<&str> = printed.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let is_step = |line: &&&str| line.starts_with("Step ") || line.starts_with(" --->") || line.starts_with('-');
    let said = ["ERROR: ", "Error response from daemon: ", "error: "];
    let marked = lines.iter().rev().find_map(|line| said.iter().find_map(|mark| line.strip_prefix(mark)));
    let why = marked.or_else(|| lines.iter().rev().find(|line| !is_step(line)).copied())?;
    let why =
        ["failed to build: ", "failed to solve: "].iter().fold(why, |why, lead| why.strip_prefix(lead).unwrap_or(why));
    let (line, why) = match why.split_once("parse error ").and_then(|(_, rest)| numbered(rest)) {
        Some((line, rest)) => (Some(line), rest),
        None => (shown_line(&lines).or_else(|| step_line(&lines, dockerfile)), why),
    };
    Some(match line {
        Some(line) => format!("{name}:{line}: {why}"),
        None => format!("{name}: {why}"),
    })
}

/// The number and the rest of `on line 2: unknown instruction`.
fn numbered(text: &str) -> Option<(usize, &str)> {
    let (place, rest) = text.split_once(": ")?;
    let number = place.strip_prefix("on ").unwrap_or(place).strip_prefix("line ")?;
    Some((number.parse().ok()?, rest))
}

/// BuildKit shows the place as `Dockerfile:3` above a ruled-off piece of it.
fn shown_line(lines: &[&str]) -> Option<usize> {
    let is_ruled = |two: &&[&str]| two[1].len() > 3 && two[1].chars().all(|c| c == '-');
    // The piece ends with such a line as well.
    lines.windows(2).filter(is_ruled).rev().find_map(|two| two[0].rsplit_once(':')?.1.parse().ok())
}

/// Builders name the step that they were at, as it stands in the Dockerfile but for its white space: the classic one as
/// `Step 2/3 : COPY a b`, BuildKit where it shows no place as ` > [stage 2/3] COPY a b:`.
fn step_line(lines: &[&str], dockerfile: &str) -> Option<usize> {
    let step = lines.iter().rev().find_map(|line| {
        let classic = line.strip_prefix("Step ").and_then(|rest| rest.split_once(" : "));
        let other = || line.trim_start().strip_prefix("> [")?.strip_suffix(':')?.split_once("] ");
        Some(classic.or_else(other)?.1)
    })?;
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let wanted = words(step);
    let is_it = |line: &str| {
        let mut first = words(line);
        if first.last().is_some_and(|last| last == "\\") {
            first.pop();
        }
        !first.is_empty() && wanted.starts_with(&first)
    };
    dockerfile.lines().position(is_it).map(|line| line + 1)
}

#[cfg(test)]
mod tests {
    use super::{explained, no_engine};
    use deployctl_core::ask::RefusedKind;

    const FILE: &str = "FROM base:1\n\nCOPY  app.conf \\\n  /app.conf\nRUN exit 3\n";

    #[test]
    fn what_builders_say_has_its_place() {
        let classic = "Sending build context to Docker daemon  2.5kB\nError response from daemon: dockerfile parse error line 2: unknown instruction: COPI\n";
        assert_eq!(explained(classic, "Dockerfile", "").unwrap(), "Dockerfile:2: unknown instruction: COPI");
        let newer = "Error response from daemon: dockerfile parse error on line 2: unknown instruction: COPI (did you mean COPY?)";
        let says = "x/Dockerfile.api:2: unknown instruction: COPI (did you mean COPY?)";
        assert_eq!(explained(newer, "x/Dockerfile.api", "").unwrap(), says);
        let buildkit = "#5 DONE 0.1s\nDockerfile:5\n--------------------\n   5 | >>> RUN exit 3\n--------------------\nERROR: failed to solve: process \"/bin/sh -c exit 3\" did not complete successfully: exit code: 3\n";
        let says = "Dockerfile:5: process \"/bin/sh -c exit 3\" did not complete successfully: exit code: 3";
        assert_eq!(explained(buildkit, "Dockerfile", FILE).unwrap(), says);
    }

    #[test]
    fn an_engine_that_cannot_be_asked_is_no_failure_of_the_build() {
        let away =
            "Sending build context\nCannot connect to the Docker daemon at unix:///s. Is the docker daemon running?\n";
        let refused = no_engine(away).unwrap();
        assert_eq!((refused.kind, refused.code.as_str()), (RefusedKind::Unreachable, "target-unreachable"));
        let says = "the Docker Engine cannot build: Cannot connect to the Docker daemon at unix:///s. Is the docker daemon running?";
        assert_eq!(refused.message, says);
        let denied =
            "ERROR: permission denied while trying to connect to the Docker daemon socket at unix:///s: Get \"x\"";
        let refused = no_engine(denied).unwrap();
        assert_eq!((refused.kind, refused.code.as_str()), (RefusedKind::Denied, "target-denied"));
        assert_eq!(no_engine("Step 1/1 : RUN exit 3\nThe command returned a non-zero code: 3\n"), None);
    }

    #[test]
    fn a_step_that_fails_is_found_in_the_file() {
        let copy = "Step 1/3 : FROM base:1\n ---> 12\nStep 2/3 : COPY app.conf   /app.conf\nCOPY failed: file not found in build context: stat app.conf: file does not exist\n";
        let says = "Dockerfile:3: COPY failed: file not found in build context: stat app.conf: file does not exist";
        assert_eq!(explained(copy, "Dockerfile", FILE).unwrap(), says);
        let run =
            "Step 3/3 : RUN exit 3\n ---> Running in 12\nThe command '/bin/sh -c exit 3' returned a non-zero code: 3\n";
        let says = "Dockerfile:5: The command '/bin/sh -c exit 3' returned a non-zero code: 3";
        assert_eq!(explained(run, "Dockerfile", FILE).unwrap(), says);
        let buildkit = "#6 ERROR: \"/app.conf\" not found: not found\n------\n > [2/3] COPY  app.conf   /app.conf:\n------\nERROR: failed to build: failed to solve: failed to compute cache key: \"/app.conf\" not found: not found\n";
        let says = "Dockerfile:3: failed to compute cache key: \"/app.conf\" not found: not found";
        assert_eq!(explained(buildkit, "Dockerfile", FILE).unwrap(), says);
        let none = "error: unable to read Dockerfile: no such file";
        assert_eq!(explained(none, "Dockerfile", "").unwrap(), "Dockerfile: unable to read Dockerfile: no such file");
        assert_eq!(explained("", "Dockerfile", ""), None);
    }
}
