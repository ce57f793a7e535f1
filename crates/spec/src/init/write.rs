//! The text of a start.

use super::cluster;
use super::found::{App, Container, Found};
use std::collections::BTreeSet;
use std::fmt::Write as _;

const HEAD: &str = "\
# What is deployed, and where to. `deployctl validate` checks this file, `deployctl schema` describes it to editors.
";

const LISTEN: &str = "    # listen: 0.0.0.0:80 # without it, a free port on 127.0.0.1 is chosen once and kept
";

pub(super) fn write(folder: &str, found: &Found) -> String {
    let mut out = String::from(HEAD);
    let _ = writeln!(out, "project: {}", label(folder));
    let cluster = found.apps.iter().find_map(|app| Some((app, app.cluster.as_ref()?)));
    if let Some((app, _)) = cluster {
        cluster::write_state(&mut out, &label(&app.name));
    }
    write_environments(&mut out, cluster.map_or(&[], |(_, cluster)| cluster.environments.as_slice()));
    if cluster.is_none() {
        out.push_str(LISTEN);
    }
    if !found.later.is_empty() {
        out.push_str("\n# Found here, and not deployed by this file:\n");
        for line in &found.later {
            let _ = writeln!(out, "#   {}", comment(line));
        }
    }
    out.push_str("\napps:\n");
    let mut names = BTreeSet::new();
    for app in &found.apps {
        let name = label(&app.name);
        if names.insert(name.clone()) {
            write_app(&mut out, &name, app);
        }
    }
    if names.is_empty() {
        write_placeholder(&mut out, &label(folder));
    }
    out
}

/// In order of promotion; without names, the usual ones.
fn write_environments(out: &mut String, names: &[String]) {
    let usual = ["dev".to_owned(), "prod".to_owned()];
    let names = if names.is_empty() { &usual } else { names };
    out.push_str("\nenvironments: # in order of promotion\n");
    let mut before: Option<&str> = None;
    for name in names {
        let _ = match before {
            None => writeln!(out, "  {name}: {{}}"),
            Some(before) => {
                writeln!(out, "  {name}:\n    after: {before} # only what succeeded in {before} may come here")
            }
        };
        before = Some(name);
    }
}

fn write_app(out: &mut String, name: &str, app: &App) {
    if let Some(cluster) = &app.cluster {
        return cluster::write(out, name, cluster);
    }
    if let Some(services) = &app.compose {
        return write_compose(out, name, &app.seen, services);
    }
    let _ = writeln!(out, "  {name}: # from {}", comment(&app.seen));
    match &app.container {
        Some(container) => write_container(out, name, container),
        None => write_process(out, name, app),
    }
    if app.web {
        let _ = writeln!(out, "    route:\n      host: {name}.localhost");
    }
    match &app.container {
        Some(Container { health: true, .. }) => {
            out.push_str("    # health: { http: /healthz } # without it the image's own HEALTHCHECK\n")
        }
        _ if app.web => out.push_str("    health:\n      tcp: true # better: `http: /healthz`\n"),
        _ => {}
    }
    if !app.migrate.is_empty() {
        let _ = writeln!(out, "    migrate: # before the first new instance; once per version and environment");
        let _ = writeln!(out, "      run: {}", list(&app.migrate));
    }
    out.push_str("    instances: 1\n    strategy: rolling # or recreate, blue-green, canary\n");
    out.push_str("    # in:\n    #   prod: { instances: 4 }\n");
}

fn write_container(out: &mut String, name: &str, container: &Container) {
    out.push_str("    target: docker\n");
    let _ = writeln!(out, "    image: \"{name}:{{{{ version }}}}\"");
    let file = match container.file {
        "Dockerfile" => "{}".to_owned(),
        file => format!("{{ dockerfile: {file} }}"),
    };
    let _ = writeln!(out, "    build: {file} # made for a version that is not known yet, from the commit of that tag");
    let (port, why) = match container.port {
        Some(port) => (port, "where the program listens in its container"),
        None => (8080, "check this: where the program listens in its container"),
    };
    let _ = writeln!(out, "    port: {port} # {why}");
}

fn write_process(out: &mut String, name: &str, app: &App) {
    match (&app.artifact_file, app.artifact) {
        (Some(file), _) => {
            let _ = writeln!(out, "    artifact: {}", word(file));
        }
        (None, Some(folder)) => {
            let _ =
                writeln!(out, "    artifact: {folder} # the whole folder; better: an archive that your build makes,");
            let _ = writeln!(out, "    #             such as dist/{name}-{{{{ version }}}}.tar.gz");
        }
        (None, None) => {
            let _ = writeln!(out, "    # artifact: dist/{name}-{{{{ version }}}}.tar.gz # what a version is");
        }
    }
    if !app.build.is_empty() {
        let _ = writeln!(out, "    build: {} # runs only for a version that is not known yet", list(&app.build));
    }
    let _ = writeln!(out, "    command: {}", list(&app.command));
    if app.port_in_env {
        out.push_str("    env:\n      PORT: \"{{ port }}\" # each instance gets its own\n");
    }
}

/// A Compose project is the app, as it stands.
fn write_compose(out: &mut String, name: &str, path: &str, services: &[String]) {
    let list = if services.is_empty() { String::new() } else { format!(": {}", services.join(", ")) };
    let _ = writeln!(out, "  {name}: # from {}{}", comment(path), comment(&list));
    out.push_str("    target: compose\n");
    let first = services.first().map_or("web", String::as_str);
    if path.contains('/') {
        let _ = writeln!(out, "    file: {}", word(path));
        out.push_str(
            "    # project_name: NAME # volumes and networks are called by it; without it, as Docker Compose does\n",
        );
    }
    out.push_str("    # The version is ${VERSION} in that file. Where it does not say so:\n");
    let _ = writeln!(out, "    # images: {{ {}: \"{name}:{{{{ version }}}}\" }}", comment(first));
    out.push_str("    # What that file cannot say of a service:\n");
    let _ = writeln!(
        out,
        "    # services: {{ {}: {{ strategy: blue-green, health: {{ http: /healthz }} }} }}",
        comment(first)
    );
    out.push_str("    # Another environment on the same machine has volumes and networks of its own:\n");
    let _ = writeln!(out, "    # in: {{ prod: {{ project_name: {name}-prod }} }}");
}

fn write_placeholder(out: &mut String, name: &str) {
    let _ = write!(
        out,
        "  {name}:
    # artifact: dist/{name}-{{{{ version }}}}.tar.gz # what a version is: a folder, a file or an archive
    command: [./{name}, --port, \"{{{{ port }}}}\"] # what runs; looked up in the artifact, then in PATH
    route:
      host: {name}.localhost
    # health: {{ http: /healthz }}
    # instances: 2
    # strategy: rolling # or recreate, blue-green, canary
"
    );
}

/// A name that is well formed, as near to `text` as can be.
pub(super) fn label(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = text.chars().map(plain).take(40).collect();
    match name.trim_matches('-') {
        "" => "app".into(),
        trimmed => trimmed.into(),
    }
}

/// A list on one line.
fn list(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|text| word(text)).collect();
    format!("[{}]", words.join(", "))
}

/// A text as YAML, in which braces that were not ours are no template.
pub(super) fn word(text: &str) -> String {
    let ours = matches!(text, "{{ port }}" | "127.0.0.1:{{ port }}");
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let text = if ours { text } else { text.replace("{{", "{{ \"{{\" }}") };
    let plain = |c: char| c.is_ascii_alphanumeric() || "./_-".contains(c);
    let word = text.starts_with(|c: char| c.is_ascii_alphanumeric() || "./-".contains(c))
        && text.chars().all(plain)
        && text.chars().any(|c| c.is_ascii_alphabetic())
        && !text.eq_ignore_ascii_case("null");
    if word { text } else { serde_json::Value::from(text).to_string() }
}

pub(super) fn comment(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_well_formed() {
        for (text, name) in [("Shop API", "shop-api"), ("--", "app"), ("", "app"), ("ümläut", "ml-ut")] {
            assert_eq!(label(text), name);
        }
        assert!(label(&"x".repeat(100)).len() <= 63);
    }

    #[test]
    fn words_are_quoted_where_they_must_be() {
        assert_eq!(word("./a-b_c.d"), "./a-b_c.d");
        for text in ["null", "", "5", "a b", "a: b", "# x", "{{ x }}", "-", "~", "a\nb"] {
            assert!(word(text).starts_with('"'), "{text}");
        }
        assert_eq!(word("{{ x }}"), r#""{{ \"{{\" }} x }}""#);
    }
}
