//! What the rules find.

use crate::subject::Subject;
use serde::Serialize;
use std::fmt;

/// What runs artifacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A process on a machine.
    Process,
    /// A container of a Docker Engine.
    Docker,
    /// A pod of Kubernetes.
    Kubernetes,
}

impl Target {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Process, Self::Docker, Self::Kubernetes];

    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Docker => "docker",
            Self::Kubernetes => "kubernetes",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Good to know.
    Note,
    /// It may fail, or is not as it should be.
    Warning,
    /// It fails, or harms.
    Error,
}

impl Level {
    /// In one word; those of SARIF.
    pub fn word(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Declares the codes, what each is called, how bad it is, what it is and what to do.
macro_rules! rules {
    ($($code:ident = $word:literal, $level:ident, $what:literal, $advice:literal;)*) => {
        /// A kind of finding. Codes are stable; `docs/artifacts.md` has a line for each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $what] $code,)*
        }

        impl Code {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$code,)*];

            /// The code itself.
            pub fn word(self) -> &'static str {
                match self { $(Self::$code => $word,)* }
            }

            /// How bad it is.
            pub fn level(self) -> Level {
                match self { $(Self::$code => Level::$level,)* }
            }

            /// What it is.
            pub fn what(self) -> &'static str {
                match self { $(Self::$code => $what,)* }
            }

            /// What to do.
            pub fn advice(self) -> &'static str {
                match self { $(Self::$code => $advice,)* }
            }
        }
    };
}

rules! {
    WrongKind = "wrong-kind", Error, "The target cannot run this kind of artifact.", "Build the kind that the target runs: an image for containers, an archive or a program for processes.";
    NotAnImage = "not-an-image", Error, "It is an artifact of a registry, but no image.", "Name the image, not what refers to it.";
    ImagePlatform = "image-platform", Error, "There is no image for the machine's platform.", "Build it for this platform as well, such as `docker buildx build --platform`.";
    ImageNoCommand = "image-no-command", Error, "The image has neither ENTRYPOINT nor CMD.", "Set one in the Dockerfile, in the form of a list; or `command` in deployctl.yaml.";
    ProgramMissing = "program-missing", Error, "The program that the image starts is not in it.", "Copy it there, or correct ENTRYPOINT or CMD.";
    ProgramPlatform = "program-platform", Error, "The program is made for another platform.", "Compile it for the platform on which it will run.";
    ProgramNotExecutable = "program-not-executable", Error, "The program has no right to be executed.", "`chmod +x` it before it is packed; in a Dockerfile `COPY --chmod=755`.";
    LoaderMissing = "loader-missing", Error, "The program needs a loader or an interpreter that is not there.", "Link it statically, take a base image that has the loader, or install the interpreter.";
    ShellForm = "shell-form", Warning, "A shell is the first process, and passes no SIGTERM on.", "Write ENTRYPOINT and CMD as lists, or begin the line with `exec`.";
    RootUser = "root-user", Warning, "The image runs as root.", "Add `USER 10001` to the Dockerfile, or `user` in deployctl.yaml.";
    UserByName = "user-by-name", Warning, "The image's user is a name: Kubernetes cannot tell that it is not root.", "Write the number: `USER 10001`.";
    NoPort = "no-port", Note, "The image exposes no port.", "Add EXPOSE if it listens; say `port` in deployctl.yaml.";
    PrivilegedPort = "privileged-port", Warning, "A port below 1024 is exposed, and the user is not root.", "Listen on a port from 1024 on; outside it can be any.";
    NoHealth = "no-health", Note, "The image says nothing of its health.", "Add HEALTHCHECK, or `health` in deployctl.yaml: else a container counts as healthy when its port takes connections.";
    HealthIgnored = "health-ignored", Note, "Kubernetes does not look at HEALTHCHECK.", "Declare a readiness probe.";
    StopSignal = "stop-signal", Warning, "The image is stopped with a signal that cannot be handled.", "Leave STOPSIGNAL out, or name one that the program handles.";
    Volume = "volume", Note, "The image declares a volume: each container gets a new one, and leaves it behind.", "Mount a named volume there, or take VOLUME out of the Dockerfile.";
    Large = "large", Warning, "It is larger than 1 GiB: starting somewhere new takes long.", "Build in several stages, and leave out what is only needed to build.";
    ManyLayers = "many-layers", Error, "It has more layers than engines can mount.", "Join RUN lines, or build in several stages.";
    MutableTag = "mutable-tag", Warning, "The tag is one that moves: tomorrow it means another image.", "Name a version or a digest; `deployctl artifact resolve` prints it.";
    LocalOnly = "local-only", Warning, "The image is only here, in no registry: other machines cannot pull it.", "Push it to a registry.";
    NoRevision = "no-revision", Note, "No label says from which source and revision it was built.", "Set the labels org.opencontainers.image.source and org.opencontainers.image.revision.";
    SecretInLayer = "secret-in-layer", Error, "Something secret is in the files.", "Take it out, make it invalid, and give it at run time: `secrets` in deployctl.yaml. Removing it in a later layer does not help.";
    SecretInEnv = "secret-in-env", Error, "Something secret is in the image's environment.", "Take it out of the Dockerfile, make it invalid, and give it at run time: `secrets` in deployctl.yaml.";
    NotStarted = "not-started", Error, "The engine could not start it.", "The engine's words say what is missing.";
    ExitsAtOnce = "exits-at-once", Warning, "It ended by itself when it was tried.", "If it only lacks configuration, that is as it should be; else look at what it prints.";
    IgnoresTerm = "ignores-sigterm", Warning, "It does not end on SIGTERM: each stop takes the whole grace, and cuts requests off.", "Handle SIGTERM in the program; the first process of a container ignores it unless it does. Or start it by an init (`tini`).";
    ScanStopped = "scan-stopped", Note, "Not everything was looked at.", "What was not looked at may have more to say.";
    Damaged = "damaged", Error, "It cannot be read to its end.", "Build or download it again.";
    UnsafeEntry = "unsafe-entry", Error, "An entry must not be unpacked: it leads out of the folder, or is a device.", "Pack it again without this entry.";
    NoProgram = "no-program", Warning, "Nothing in it can be executed.", "Is this the right file? A `command` may name a program of the machine, such as an interpreter.";
    PythonBroken = "python-broken", Error, "It is no well-formed Python package.", "Build it again, such as with `python -m build`.";
    PythonPlatform = "python-platform", Error, "The wheel is made for other platforms.", "Build it for this platform, or as a pure wheel.";
    PythonNeedsInstall = "python-needs-install", Warning, "A package must be installed before it can run.", "Install it into a folder that is packed (`pip install --target`), make a zipapp, or install it in `hooks`.";
    PythonNeedsBuild = "python-needs-build", Warning, "A source distribution is built where it is installed: slow, and with tools that may lack there.", "Publish a wheel as well.";
    PythonNoCommand = "python-no-command", Note, "The package installs no command.", "Start it as a module, or declare a script in its metadata.";
}

/// Something that a rule found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind.
    pub code: Code,
    /// Which targets it is about.
    pub targets: Vec<Target>,
    /// Whether these cannot run the artifact because of it.
    pub blocks: bool,
    /// What was found.
    pub message: String,
    /// Where, if in a file of it.
    pub place: Option<String>,
}

/// Whether a target can run the artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The target.
    pub target: Target,
    /// Whether it can, as it stands.
    pub can_run: bool,
}

/// All that is to be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Of what.
    pub subject: Subject,
    /// Each target's.
    pub verdicts: Vec<Verdict>,
    /// The worst first.
    pub findings: Vec<Finding>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_words_and_documented() {
        let page = include_str!("../../../docs/artifacts.md");
        for code in Code::ALL {
            let word = code.word();
            assert!(word.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{word}");
            let line = format!("| `{word}` | {} | {} |", code.level().word(), code.what());
            assert!(page.contains(&line), "docs/artifacts.md lacks the line\n{line}");
        }
        let mut words: Vec<&str> = Code::ALL.iter().map(|code| code.word()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Code::ALL.len(), "each means one thing");
    }
}
