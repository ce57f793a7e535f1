//! What can be told from the files of a directory.

use super::Listing;
use super::cluster::{self, Cluster};
use crate::diagnostic::Findings;
use crate::source::{Source, Sources};
use serde_json::Value;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) apps: Vec<App>,
    /// What is there and cannot be deployed yet, a line each.
    pub(super) later: Vec<String>,
}

/// An app that was found.
#[derive(Debug, Default)]
pub(super) struct App {
    pub(super) name: String,
    /// Where it was seen.
    pub(super) seen: String,
    pub(super) artifact: Option<&'static str>,
    pub(super) artifact_file: Option<String>,
    pub(super) build: Vec<String>,
    pub(super) command: Vec<String>,
    /// It gets its port in `PORT`.
    pub(super) port_in_env: bool,
    /// It takes requests.
    pub(super) web: bool,
    pub(super) migrate: Vec<String>,
    /// It is a container.
    pub(super) container: Option<Container>,
    /// It is a Compose project, of these services.
    pub(super) compose: Option<Vec<String>>,
    /// It is objects of a cluster.
    pub(super) cluster: Option<Cluster>,
}

/// What a file for images says of the container.
#[derive(Debug, Default)]
pub(super) struct Container {
    /// The file.
    pub(super) file: &'static str,
    /// Where its program listens, if that is said.
    pub(super) port: Option<u16>,
    /// It says itself how it is asked whether it is healthy.
    pub(super) health: bool,
}

/// Where a Compose file may be, in the order in which they are looked for: first what Compose finds by itself.
pub(super) const COMPOSE: &[&str] = &[
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
    "docker/compose.yaml",
    "docker/compose.yml",
    "docker/docker-compose.yml",
    "docker/docker-compose.yaml",
];

pub(super) fn look(listing: &Listing) -> Found {
    let file = |name: &str| listing.files.get(name).map(String::as_str);
    let mut found = Found::default();
    let cluster = cluster::look(listing);
    if let Some((path, text)) = COMPOSE.iter().find_map(|path| Some((path, file(path)?))) {
        // It says what there is; what else lies there is what it builds.
        let (name, seen) = (listing.name.clone(), (*path).to_owned());
        found.apps.push(App { name, seen, compose: Some(services(text)), ..App::default() });
        let elsewhere = "on a cluster an app says `target: kubernetes`; see docs/kubernetes.md";
        found.later.extend(cluster.map(|cluster| format!("{}: {elsewhere}", cluster.path)));
        return found;
    }
    if let Some(cluster) = cluster {
        let images = ["Dockerfile", "Containerfile"].into_iter().filter(|name| file(name).is_some());
        found.later.extend(images.map(|name| format!("{name}: build its image and push it before you deploy")));
        found.apps.push(App { name: listing.name.clone(), cluster: Some(cluster), ..App::default() });
        return found;
    }
    if let Some(text) = file("Procfile") {
        found.apps = procfile(text);
    }
    let image = ["Dockerfile", "Containerfile"].into_iter().find_map(|name| Some((name, file(name)?)));
    match image {
        Some((name, text)) if found.apps.is_empty() => found.apps.push(dockerfile(name, text, &listing.name)),
        Some((name, _)) => found.later.push(format!("{name}: for containers say `target: docker` and `image`")),
        None => {}
    }
    if found.apps.is_empty() {
        let one = file("Cargo.toml").map(|text| cargo(text, &listing.name));
        let one = one.or_else(|| file("package.json").map(|text| npm(text, &listing.name)));
        found.apps.extend(one.or_else(|| python(listing)));
    }
    let runs = |app: &App| app.command.first().is_some_and(|program| !program.trim().is_empty());
    found.apps.retain(|app| app.container.is_some() || runs(app));
    found
}

fn cargo(text: &str, folder: &str) -> App {
    let name = toml_value(text, "package", "name").unwrap_or_else(|| folder.to_string());
    App {
        seen: "Cargo.toml".into(),
        artifact_file: Some(format!("target/release/{name}")),
        build: words(&["cargo", "build", "--release"]),
        command: words(&[&format!("./{name}"), "--port", "{{ port }}"]),
        web: true,
        name,
        ..App::default()
    }
}

fn npm(text: &str, folder: &str) -> App {
    let json: Value = serde_json::from_str(text).unwrap_or_default();
    let name = json["name"].as_str().map(|name| name.rsplit('/').next().unwrap_or(name)).unwrap_or(folder);
    let command = match (json["scripts"]["start"].is_string(), json["main"].as_str()) {
        (true, _) => words(&["npm", "start"]),
        (false, Some(main)) => words(&["node", main]),
        (false, None) => words(&["node", "server.js"]),
    };
    App {
        name: name.into(),
        seen: "package.json".into(),
        artifact: Some("."),
        build: words(&["npm", "ci"]),
        command,
        port_in_env: true,
        web: true,
        ..App::default()
    }
}

fn python(listing: &Listing) -> Option<App> {
    let files = ["pyproject.toml", "manage.py", "requirements.txt", "setup.py", "app.py", "main.py"];
    let seen = files.iter().find(|name| listing.files.contains_key(**name))?;
    let named = listing.files.get("pyproject.toml").and_then(|text| toml_value(text, "project", "name"));
    let name = named.unwrap_or_else(|| listing.name.clone());
    let has = |name: &str| listing.files.contains_key(name);
    let django = has("manage.py");
    let command = if django {
        words(&["python3", "manage.py", "runserver", "--noreload", "127.0.0.1:{{ port }}"])
    } else if let Some(main) = ["app.py", "main.py"].into_iter().find(|name| has(name)) {
        words(&["python3", main])
    } else {
        words(&["python3", "-m", &name.replace('-', "_")])
    };
    let migrate = if django { words(&["python3", "manage.py", "migrate"]) } else { Vec::new() };
    Some(App {
        name,
        seen: (*seen).into(),
        artifact: Some("."),
        command,
        port_in_env: !django,
        web: true,
        migrate,
        ..App::default()
    })
}

fn procfile(text: &str) -> Vec<App> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let entries: Vec<(&str, &str)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, command)| (name.trim(), command.trim()))
        .filter(|(name, command)| !name.is_empty() && !command.is_empty())
        .take(20)
        .collect();
    let release = entries.iter().find(|(name, _)| *name == "release");
    let mut apps: Vec<App> = Vec::new();
    for (name, command) in entries.iter().filter(|(name, _)| *name != "release") {
        let web = *name == "web";
        apps.push(App {
            name: (*name).into(),
            seen: "Procfile".into(),
            artifact: Some("."),
            command: words(&["sh", "-c", &format!("exec {command}")]),
            port_in_env: web,
            web,
            ..App::default()
        });
    }
    if let (Some((_, command)), Some(first)) = (release, apps.first_mut()) {
        first.migrate = words(&["sh", "-c", command]);
    }
    apps
}

/// A container of the image that this file makes.
fn dockerfile(name: &'static str, text: &str, folder: &str) -> App {
    let says = |word: &str| {
        let rest =
            |line: &'_ str| line.trim().split_once(' ').filter(|(said, _)| said.eq_ignore_ascii_case(word)).is_some();
        text.lines().rev().find(|line| rest(line))
    };
    let exposed = says("EXPOSE").and_then(|line| line.split_whitespace().nth(1)?.split('/').next()?.parse().ok());
    let port = exposed.filter(|port| *port > 0);
    let health = says("HEALTHCHECK").is_some_and(|line| !line.trim_end().to_ascii_uppercase().ends_with(" NONE"));
    App {
        name: folder.into(),
        seen: name.into(),
        web: true,
        container: Some(Container { file: name, port, health }),
        ..App::default()
    }
}

fn services(text: &str) -> Vec<String> {
    let source = Source { name: "compose".into(), text: text.into() };
    let sources = Sources(vec![source.clone()]);
    let mut findings = Findings::new(&sources);
    let node = crate::yaml::parse(0, &source, &mut findings);
    let services = node.as_ref().and_then(|node| node.get("services"));
    services.iter().flat_map(|node| node.entries()).map(|(key, _)| key.name.clone()).take(20).collect()
}

/// `key = "value"` in `[table]`.
fn toml_value(text: &str, table: &str, key: &str) -> Option<String> {
    let header = format!("[{table}]");
    let inside = text.lines().map(str::trim).skip_while(|line| *line != header).skip(1);
    let mut lines = inside.take_while(|line| !line.starts_with('['));
    lines.find_map(|line| {
        let (name, value) = line.split_once('=')?;
        let value = value.trim().strip_prefix('"')?;
        (name.trim() == key).then(|| value.split('"').next().unwrap_or(value).to_string())
    })
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_string()).collect()
}
