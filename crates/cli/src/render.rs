//! Asks Kustomize and Helm what they make of an overlay or a chart. The only place where they are run.

use crate::fail::Failure;
use deployctl_core::ask::{Refused, RefusedKind};
use deployctl_core::id::AppName;
use deployctl_spec::{Chart, ManifestSource, Manifests, Source, Spec, rendered_files};
use deployctl_sys::program::{self, Printed, Trouble};
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// So many are asked at once.
const AT_ONCE: usize = 4;
/// A chart may have to be fetched from far away.
const WITHIN: Duration = Duration::from_secs(120);
/// No set of objects that a release could hold is larger.
const BYTES_MAX: u64 = 4 << 20;
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
        ManifestSource::Helm(chart) => rendered_files(&helm(dir, chart, &from)?),
    };
    Ok(Manifests { from, files })
}

fn kustomize(dir: &Path, overlay: &str, from: &ManifestSource) -> Result<String, Failure> {
    for (program, args) in [("kustomize", ["build", overlay]), ("kubectl", ["kustomize", overlay])] {
        let mut command = Command::new(program);
        command.args(args).current_dir(dir);
        let done = program::run(command, "", WITHIN, BYTES_MAX);
        if !is_missing(&done) {
            return printed(dir, done, program, from, "`kustomize build DIRECTORY` says the same; mend the overlay");
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
    let done = program::run(command, &values, WITHIN, BYTES_MAX);
    if is_missing(&done) {
        return Err(missing("Helm is needed to render the chart", "no `helm`", "`helm`, 3 or 4"));
    }
    printed(dir, done, "helm", from, "`helm template` says the same; mend the chart or its values")
}

fn is_missing(done: &Result<Printed, Trouble>) -> bool {
    matches!(done, Err(Trouble::NotRun(error)) if error.kind() == ErrorKind::NotFound)
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
        Err(Trouble::NotRun(error)) => Err(failed(format!("`{program}` cannot be run: {error}"))),
        Err(Trouble::Late) => {
            Err(failed(format!("`{program}` did not end within {} s, and was ended", WITHIN.as_secs())))
        }
        Err(Trouble::TooMuch) => Err(failed(format!("`{program}` printed more than {} MiB", BYTES_MAX >> 20))),
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
