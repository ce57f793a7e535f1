//! The description of an artifact: all that the rules look at.

use deployctl_oci::Platform;
use std::collections::{BTreeMap, BTreeSet};

/// An artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// As it was asked for: a reference or a path.
    pub name: String,
    /// Its digest, `sha256:HEX`, if it has one.
    pub digest: Option<String>,
    /// Its size as it is carried, in bytes.
    pub size_bytes: u64,
    /// What it is.
    pub kind: Kind,
}

/// What an artifact is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A container image.
    Image(Box<Image>),
    /// A Python wheel or source distribution.
    Python(Package),
    /// An archive or a folder of files.
    Files(Files),
    /// One file.
    Program(Entry),
    /// An artifact of a registry that is no image.
    Other(String),
}

impl Kind {
    /// In one word, for scripts.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Image(_) => "image",
            Self::Python(_) => "python",
            Self::Files(files) if files.is_folder => "folder",
            Self::Files(_) => "archive",
            Self::Program(_) => "file",
            Self::Other(_) => "other",
        }
    }
}

/// Where an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a registry.
    Registry,
    /// In a Docker Engine, and, as far as that knows, in no registry.
    Engine,
    /// In a file.
    File,
}

/// A container image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Where it is.
    pub place: Place,
    /// The tag by which it was asked for; none: by digest, or it has none.
    pub tag: Option<String>,
    /// The platforms that there are.
    pub platforms: Vec<Platform>,
    /// The one that was looked at; none if there is none for the machine.
    pub platform: Option<Platform>,
    /// `ENTRYPOINT`.
    pub entrypoint: Vec<String>,
    /// `CMD`.
    pub command: Vec<String>,
    /// `WORKDIR`.
    pub folder: String,
    /// Where programs are looked up: `PATH`.
    pub path: Vec<String>,
    /// `USER`.
    pub user: String,
    /// `EXPOSE`, such as `8080/tcp`.
    pub ports: Vec<String>,
    /// `HEALTHCHECK`.
    pub health: Health,
    /// `STOPSIGNAL`.
    pub stop_signal: Option<String>,
    /// `VOLUME`.
    pub volumes: Vec<String>,
    /// `LABEL`.
    pub labels: BTreeMap<String, String>,
    /// How many layers.
    pub layers: usize,
    /// What is in its layers.
    pub content: Content,
    /// What came of starting it.
    pub trial: Option<Trial>,
}

/// What an image says of its health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nothing.
    Unsaid,
    /// `HEALTHCHECK NONE`.
    Off,
    /// How to ask.
    Asked,
}

/// How far files were looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Bytes that were read, unpacked.
    pub bytes: u64,
    /// Why not everything was; none if everything was.
    pub stopped: Option<String>,
}

/// What is in the layers of an image, the upper over the lower.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Files that can be executed, and links, by their paths without the first slash.
    pub programs: BTreeMap<String, Entry>,
    /// Links, by their paths without the first slash.
    pub links: BTreeMap<String, Link>,
    /// Every path there is.
    pub paths: BTreeSet<String>,
    /// What should not be there.
    pub secrets: Vec<Secret>,
    /// How far it was looked at.
    pub scan: Scan,
}

/// A link of an image: where it points, as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link(pub String);

/// A file that may be a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path.
    pub path: String,
    /// Whether it has the right to be executed.
    pub executable: bool,
    /// How it is started.
    pub start: Start,
}

/// How a file is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// By the kernel.
    Binary(Binary),
    /// By the program in its first line.
    Script(String),
    /// It is neither.
    Unknown,
}

/// What an ELF file says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binary {
    /// The architecture, as images name it, such as `amd64`.
    pub architecture: String,
    /// The loader that it needs; none: it is linked statically.
    pub loader: Option<String>,
}

impl Binary {
    /// Whether the processors of a platform run it.
    pub fn runs_on(&self, platform: &Platform) -> bool {
        let (own, there) = (self.architecture.as_str(), platform.architecture.as_str());
        own == there || (own == "386" && there == "amd64")
    }
}

/// Something secret in the open.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Secret {
    /// The path, or the name of the variable.
    pub place: String,
    /// What it looks like. Never its value.
    pub what: String,
    /// Whether it is in the image's environment.
    pub in_env: bool,
    /// Whether an upper layer hides it; whoever has the image can read it all the same.
    pub hidden: bool,
}

/// What came of starting an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trial {
    /// It could not be started, in the engine's words.
    NotStarted(String),
    /// It ended by itself, before it was asked to.
    Exited(i64),
    /// It ended on SIGTERM, after so many milliseconds.
    Ended(u64),
    /// It went on for so many seconds after SIGTERM, and was killed.
    WentOn(u64),
}

/// Files in an archive or a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Whether it is a folder.
    pub is_folder: bool,
    /// How many files.
    pub count: u64,
    /// Files that may be programs.
    pub programs: Vec<Entry>,
    /// Entries that must not be unpacked, with the reason.
    pub unsafe_entries: Vec<(String, String)>,
    /// What should not be there.
    pub secrets: Vec<Secret>,
    /// Why it cannot be read to its end.
    pub damaged: Option<String>,
    /// How far it was looked at.
    pub scan: Scan,
}

/// A Python package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Package {
    /// Whether it is a wheel; else a source distribution.
    pub is_wheel: bool,
    /// Its name.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// What it says that Python must be.
    pub requires_python: Option<String>,
    /// The platforms in the wheel's name, such as `any` or `manylinux_2_17_x86_64`.
    pub platforms: Vec<String>,
    /// The commands that it installs.
    pub commands: Vec<String>,
    /// What is wrong with it as a package.
    pub broken: Option<String>,
    /// Its files.
    pub files: Files,
}
