//! What images are asked.

use super::{CONTAINERS, Found};
use crate::finding::{Code, Target};
use crate::subject::{Content, Entry, Health, Image, Place, Start, Trial};
use deployctl_oci::Platform;

const DOCKER: &[Target] = &[Target::Docker];
const KUBERNETES: &[Target] = &[Target::Kubernetes];
/// What overlay file systems mount at most.
const LAYERS_MAX: usize = 125;
const LINKS_MAX: usize = 40;
const SHELLS: &[&str] = &["sh", "bash", "ash", "dash", "busybox"];

pub(super) fn rules(image: &Image, here: &Platform, found: &mut Found) {
    let message = "a process runs no image; give it the program or an archive";
    found.blocks(Code::WrongKind, &[Target::Process], message);
    identity(image, found);
    let Some(platform) = &image.platform else {
        let there: Vec<String> = image.platforms.iter().map(ToString::to_string).collect();
        found.blocks(Code::ImagePlatform, CONTAINERS, format!("it has {}, and is needed for {here}", there.join(", ")));
        return;
    };
    if !platform.suits(here) {
        found.blocks(Code::ImagePlatform, CONTAINERS, format!("it is for {platform}, and is needed for {here}"));
    }
    if image.layers > LAYERS_MAX {
        found.blocks(Code::ManyLayers, CONTAINERS, format!("{} layers, at most {LAYERS_MAX}", image.layers));
    }
    command(image, platform, found);
    user(image, found);
    network(image, found);
    labels(image, found);
    if let Some(trial) = &image.trial {
        tried(trial, found);
    }
    found.secrets(&image.content.secrets);
    found.scan(&image.content.scan);
}

fn identity(image: &Image, found: &mut Found) {
    if image.place == Place::Engine {
        found.says(Code::LocalOnly, CONTAINERS, "the engine knows no registry that has it");
    }
    const MOVING: &[&str] =
        &["latest", "stable", "edge", "main", "master", "develop", "dev", "trunk", "nightly", "prod", "production"];
    match image.tag.as_deref() {
        Some(tag) if MOVING.contains(&tag) => found.says(Code::MutableTag, CONTAINERS, format!("`{tag}` moves")),
        _ => {}
    }
}

fn command(image: &Image, platform: &Platform, found: &mut Found) {
    let words: Vec<&str> = image.entrypoint.iter().chain(&image.command).map(String::as_str).collect();
    let Some(first) = words.first() else {
        found.blocks(Code::ImageNoCommand, CONTAINERS, "there is nothing to start");
        return;
    };
    let name = first.rsplit('/').next().unwrap_or_default();
    if SHELLS.contains(&name)
        && let Some(line) = words.iter().skip_while(|word| **word != "-c").nth(1)
        && !line.trim_start().starts_with("exec ")
    {
        found.says(Code::ShellForm, CONTAINERS, format!("`{first}` runs `{}`", shortened(line)));
    }
    if image.content.scan.stopped.is_some() {
        return;
    }
    match locate(image, first, &image.folder) {
        Located::Found(entry) => program(image, platform, entry, found),
        Located::NotExecutable(path) => {
            let message = format!("/{path} is there, but may not be executed");
            found.blocks_at(Code::ProgramNotExecutable, CONTAINERS, &path, message);
        }
        Located::Nowhere => found.blocks(Code::ProgramMissing, CONTAINERS, format!("`{first}` is not in the image")),
    }
}

fn program(image: &Image, platform: &Platform, entry: &Entry, found: &mut Found) {
    let missing = |loader: &str| matches!(locate(image, loader, "/"), Located::Nowhere);
    match &entry.start {
        Start::Binary(binary) => {
            if !binary.runs_on(platform) {
                let message = format!("/{} is for {}, the image for {platform}", entry.path, binary.architecture);
                found.blocks_at(Code::ProgramPlatform, CONTAINERS, &entry.path, message);
            }
            if let Some(loader) = binary.loader.as_deref().filter(|loader| missing(loader)) {
                let message = format!("/{} needs {loader}, which is not in the image", entry.path);
                found.blocks_at(Code::LoaderMissing, CONTAINERS, &entry.path, message);
            }
        }
        Start::Script(interpreter) if missing(interpreter) => {
            let message = format!("/{} is run by {interpreter}, which is not in the image", entry.path);
            found.blocks_at(Code::LoaderMissing, CONTAINERS, &entry.path, message);
        }
        Start::Script(_) | Start::Unknown => {}
    }
}

enum Located<'a> {
    Found(&'a Entry),
    NotExecutable(String),
    Nowhere,
}

/// The program that `name` means in an image: a path, or a name that is looked up where programs are.
fn locate<'a>(image: &'a Image, name: &str, folder: &str) -> Located<'a> {
    let content = &image.content;
    let places: Vec<String> = match name {
        path if path.starts_with('/') => vec![path.to_owned()],
        path if path.contains('/') => vec![format!("{folder}/{path}")],
        name => image.path.iter().map(|place| format!("{place}/{name}")).collect(),
    };
    let mut not_executable = None;
    for place in places {
        let Some(path) = followed(content, &place) else { continue };
        match content.programs.get(&path) {
            Some(entry) if entry.executable => return Located::Found(entry),
            _ if content.paths.contains(&path) => not_executable = Some(path),
            _ => {}
        }
    }
    not_executable.map_or(Located::Nowhere, Located::NotExecutable)
}

/// A path with all links in it followed; none if they lead in a circle.
fn followed(content: &Content, path: &str) -> Option<String> {
    let mut waiting: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
    let mut done: Vec<String> = Vec::new();
    let mut links = 0;
    while let Some(part) = waiting.pop() {
        match part.as_str() {
            "" | "." => continue,
            ".." => drop(done.pop()),
            _ => done.push(part),
        }
        let here = done.join("/");
        if let Some(link) = content.links.get(&here) {
            links += 1;
            if links > LINKS_MAX {
                return None;
            }
            match link.0.starts_with('/') {
                true => done.clear(),
                false => drop(done.pop()),
            }
            waiting.extend(link.0.split('/').rev().map(str::to_owned));
        }
    }
    Some(done.join("/"))
}

fn user(image: &Image, found: &mut Found) {
    let user = image.user.split(':').next().unwrap_or_default();
    match user {
        "" | "root" | "0" => {
            found.says(Code::RootUser, CONTAINERS, if user.is_empty() { "it names no user" } else { "USER is root" });
        }
        name if name.parse::<u32>().is_err() => {
            found.says(Code::UserByName, KUBERNETES, format!("`{name}`; `runAsNonRoot` refuses it"));
        }
        _ => {}
    }
}

fn network(image: &Image, found: &mut Found) {
    if image.ports.is_empty() {
        found.says(Code::NoPort, CONTAINERS, "EXPOSE says nothing");
    }
    let is_root = matches!(image.user.split(':').next(), None | Some("" | "root" | "0"));
    for port in &image.ports {
        let number: u16 = port.split(['/', '-']).next().and_then(|port| port.parse().ok()).unwrap_or(0);
        if !is_root && (1..1024).contains(&number) {
            found.says(Code::PrivilegedPort, KUBERNETES, format!("{port} as user `{}`", image.user));
        }
    }
    match image.health {
        Health::Unsaid | Health::Off => found.says(Code::NoHealth, DOCKER, "there is no HEALTHCHECK"),
        Health::Asked => found.says(Code::HealthIgnored, KUBERNETES, "there is a HEALTHCHECK"),
    }
    for volume in &image.volumes {
        found.says(Code::Volume, CONTAINERS, volume.clone());
    }
    if let Some(signal @ ("SIGKILL" | "KILL" | "9" | "SIGSTOP" | "STOP" | "19")) = image.stop_signal.as_deref() {
        found.says(Code::StopSignal, CONTAINERS, format!("STOPSIGNAL is {signal}"));
    }
}

fn labels(image: &Image, found: &mut Found) {
    let lacks = |name: &&str| {
        image.labels.get(&format!("org.opencontainers.image.{name}")).is_none_or(|value| value.trim().is_empty())
    };
    let lacking: Vec<&str> = ["revision", "source"].into_iter().filter(lacks).collect();
    if !lacking.is_empty() {
        found.says(Code::NoRevision, CONTAINERS, format!("it lacks {}", lacking.join(" and ")));
    }
}

fn tried(trial: &Trial, found: &mut Found) {
    match trial {
        Trial::NotStarted(why) => found.blocks(Code::NotStarted, DOCKER, why.clone()),
        Trial::Exited(code) => found.says(Code::ExitsAtOnce, CONTAINERS, format!("with exit code {code}")),
        Trial::WentOn(seconds) => {
            found.says(Code::IgnoresTerm, CONTAINERS, format!("it was still there after {seconds} s, and was killed"));
        }
        Trial::Ended(_) => {}
    }
}

fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let start: String = line.chars().take(60).collect();
    if start.len() == text.len() { start } else { format!("{start}...") }
}
