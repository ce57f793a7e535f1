//! Asks Kustomize and Helm what they make of an overlay or a chart. The only place where they are run.

mod program;

use crate::fail::Failure;
use deployctl_core::ask::{Refused, RefusedKind};
use deployctl_core::id::AppName;
use deployctl_spec::{Chart, ManifestSource, Manifests, Source, Spec};
use program::{Printed, Trouble};
use std::path::Path;
use std::process::Command;

/// So many are asked at once.
const AT_ONCE: usize = 4;
/// Of the words of a program so many characters are repeated.
const WORDS_MAX: usize = 1_200;

/// The specification with what is rendered of its overlays and charts: of all, or of those that `only` needs.
pub(crate) fn read(spec: Spec, only: Option<&AppName>) -> Result<Spec, Failure> {
    let rendered = |source: &ManifestSource| !matches!(source, ManifestSource::Directory(_));
    let asks: Vec<ManifestSource> = spec.manifest_sources(only)?.into_iter().filter(rendered).collect();
    if asks.is_empty() {
        return Ok(spec);
    }
    let mut all = Vec::new();
    for few in asks.chunks(AT_ONCE) {
        let answers: Vec<_> = std::thread::scope(|scope| {
            let asked: Vec<_> = few.iter().map(|ask| scope.spawn(|| one(spec.dir(), ask.clone()))).collect();
            asked.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
        });
        for answer in answers {
            all.push(answer.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
    }
    Ok(spec.with_manifests(all)?)
}

fn one(dir: &Path, from: ManifestSource) -> Result<Manifests, Failure> {
    let files = match &from {
        ManifestSource::Directory(_) => Vec::new(),
        ManifestSource::Kustomize(overlay) => {
            let text = kustomize(dir, overlay, &from)?;
            vec![Source { name: format!("rendered {}", relative(dir, overlay)), text }]
        }
        ManifestSource::Helm(chart) => files_of(&helm(dir, chart, &from)?),
    };
    Ok(Manifests { from, files })
}

fn kustomize(dir: &Path, overlay: &str, from: &ManifestSource) -> Result<String, Failure> {
    for (program, args) in [("kustomize", ["build", overlay]), ("kubectl", ["kustomize", overlay])] {
        let mut command = Command::new(program);
        command.args(args).current_dir(dir);
        match program::run(command, "") {
            Err(Trouble::Missing) => {}
            done => {
                return printed(
                    dir,
                    done,
                    program,
                    from,
                    "`kustomize build DIRECTORY` says the same; mend the overlay",
                );
            }
        }
    }
    Err(missing(
        "Kustomize is needed to render the overlay",
        "neither `kustomize` nor `kubectl`",
        "`kustomize`, or `kubectl`",
    ))
}

fn helm(dir: &Path, chart: &Chart, from: &ManifestSource) -> Result<String, Failure> {
    let mut command = Command::new("helm");
    command.args(argv(chart)).current_dir(dir);
    let values = serde_json::Value::Object(chart.set.clone()).to_string();
    match program::run(command, &values) {
        Err(Trouble::Missing) => Err(missing("Helm is needed to render the chart", "no `helm`", "`helm`, 3 or 4")),
        done => printed(dir, done, "helm", from, "`helm template` says the same; mend the chart or its values"),
    }
}

/// The arguments of `helm`. Single values come by its standard input: they are in no list of processes.
fn argv(chart: &Chart) -> Vec<String> {
    let mut argv: Vec<String> = ["template", &chart.release, &chart.chart].map(str::to_owned).into();
    let mut say = |flag: &str, value: &str| argv.extend([flag.to_owned(), value.to_owned()]);
    say("--namespace", &chart.namespace);
    chart.repository.iter().for_each(|address| say("--repo", address));
    chart.version.iter().for_each(|version| say("--version", version));
    chart.kube_version.iter().for_each(|version| say("--kube-version", version));
    chart.api_versions.iter().for_each(|api| say("--api-versions", api));
    chart.values.iter().for_each(|file| say("--values", file));
    if !chart.set.is_empty() {
        say("--values", "-");
    }
    // What `helm test` would run is no part of a release.
    argv.extend(["--include-crds".to_owned(), "--skip-tests".to_owned()]);
    argv
}

/// What Helm printed, by the templates that it comes from: `# Source: FILE` stands before each document.
fn files_of(text: &str) -> Vec<Source> {
    let mut files: Vec<Source> = Vec::new();
    for document in text.split("\n---\n") {
        let document = document.strip_prefix("---\n").unwrap_or(document);
        let said = document.lines().find_map(|line| line.strip_prefix("# Source: "));
        let name = said.map(|name| format!("rendered {}", name.trim()));
        match (files.iter_mut().find(|file| Some(&file.name) == name.as_ref()), name) {
            (Some(file), _) => file.text.push_str(&format!("---\n{document}\n")),
            (None, Some(name)) => files.push(Source { name, text: format!("{document}\n") }),
            // Of one template several documents may come, of which only the first says so.
            (None, None) => match files.last_mut() {
                Some(file) => file.text.push_str(&format!("---\n{document}\n")),
                None => files.push(Source { name: "rendered chart".into(), text: format!("{document}\n") }),
            },
        }
    }
    files
}

/// What was printed, or what went wrong in the program's own words.
fn printed(
    dir: &Path,
    done: Result<Printed, Trouble>,
    program: &str,
    from: &ManifestSource,
    hint: &str,
) -> Result<String, Failure> {
    let failed = |why: String| {
        let what = from.words().replace(&format!("{}/", dir.display()), "");
        let message = format!("{what} does not render: {why}");
        Failure::from(
            Refused::new(RefusedKind::Usage, "render-failed", message).hint(format!("nothing was changed; {hint}")),
        )
    };
    match done {
        Ok(printed) if printed.success => Ok(printed.out),
        Ok(printed) => Err(failed(words(&printed.err))),
        Err(Trouble::Missing) => Err(failed(format!("`{program}` is not there"))),
        Err(Trouble::Failed(why)) => Err(failed(format!("`{program}` {why}"))),
    }
}

/// The words of a program in one line, bounded. What it says about itself and others is left out.
fn words(printed: &str) -> String {
    let lines = printed.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines = lines.filter(|line| !line.starts_with("Use --debug flag") && !line.starts_with("level="));
    let text = lines.collect::<Vec<_>>().join(" ");
    let text = text.strip_prefix("Error: ").unwrap_or(&text);
    match text.char_indices().nth(WORDS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None if text.is_empty() => "it failed without a word".into(),
        None => text.to_owned(),
    }
}

fn missing(what: &str, which: &str, install: &str) -> Failure {
    let message = format!("{what}: there is {which} in `PATH`");
    Refused::new(RefusedKind::Usage, "renderer-missing", message)
        .hint(format!(
            "nothing was changed; install {install} where the command runs; it changes nothing in the cluster"
        ))
        .into()
}

fn relative(dir: &Path, path: &str) -> String {
    Path::new(path).strip_prefix(dir).unwrap_or(Path::new(path)).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_helm_prints_is_told_by_its_templates() {
        let text = "---\n# Source: shop/crds/x.yaml\na: 1\n---\n# Source: shop/templates/web.yaml\nb: 1\n---\n\
                    # Source: shop/templates/web.yaml\nc: 1\n---\nd: 1\n";
        let files: Vec<(String, String)> = files_of(text).into_iter().map(|file| (file.name, file.text)).collect();
        let web =
            "# Source: shop/templates/web.yaml\nb: 1\n---\n# Source: shop/templates/web.yaml\nc: 1\n---\nd: 1\n\n";
        let wanted = [
            ("rendered shop/crds/x.yaml".to_owned(), "# Source: shop/crds/x.yaml\na: 1\n".to_owned()),
            ("rendered shop/templates/web.yaml".to_owned(), web.to_owned()),
        ];
        assert_eq!(files, wanted);
    }

    #[test]
    fn the_words_of_a_program_are_one_line() {
        let said = "level=WARN msg=old\nError: parse error at (shop/templates/web.yaml:3):\n  function \"x\" not defined\n\nUse --debug flag to render out invalid YAML\n";
        assert_eq!(words(said), "parse error at (shop/templates/web.yaml:3): function \"x\" not defined");
        assert_eq!(words(" \n"), "it failed without a word");
        assert!(words(&"x".repeat(5_000)).len() < 1_300);
    }

    #[test]
    fn helm_is_asked_for_everything_but_tests_and_sees_values_on_its_input() {
        let chart = Chart {
            chart: "shop".into(),
            repository: Some("https://charts.example.com".into()),
            version: Some("1.2.3".into()),
            values: vec!["/p/a.yaml".into()],
            set: [("key".to_owned(), "hunter2".into())].into_iter().collect(),
            release: "web".into(),
            namespace: "prod".into(),
            kube_version: None,
            api_versions: vec!["x/v1".into()],
        };
        let said = argv(&chart).join(" ");
        let wanted = "template web shop --namespace prod --repo https://charts.example.com --version 1.2.3 \
                      --api-versions x/v1 --values /p/a.yaml --values - --include-crds --skip-tests";
        assert_eq!(said, wanted);
    }
}
