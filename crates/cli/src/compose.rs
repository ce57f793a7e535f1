//! Asks Docker Compose what its files say. The only place where it is run.

use crate::fail::Failure;
use deployctl_compose::{Document, mask, redact};
use deployctl_core::ask::{Refused, RefusedKind, SecretBytes};
use deployctl_core::config::SecretRef;
use deployctl_core::id::AppName;
use deployctl_spec::{ComposeAsk, Composed, Source, Spec, compose_trouble, compose_unset, printed_document};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

/// The names of files that Compose looks for, in its order.
const FILE_NAMES: &[&str] = &["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
/// So many questions are asked at once.
const AT_ONCE: usize = 4;
/// No Compose file is larger.
const BYTES_MAX: u64 = 1 << 20;

/// Values that are not kept in the document.
pub(crate) type Values = BTreeMap<SecretRef, SecretBytes>;

/// The specification with what its Compose files say, and the secrets of these; with `only`, those of the files that this app
/// needs.
pub(crate) fn read(spec: Spec, only: Option<&AppName>) -> Result<(Spec, Values), Failure> {
    let asks = spec.compose_asks(only)?;
    if asks.is_empty() {
        return Ok((spec, Values::new()));
    }
    let (mut all, mut values) = (Vec::new(), Values::new());
    for (composed, secrets) in together(spec.dir(), asks)? {
        all.push(composed);
        values.extend(secrets);
    }
    Ok((spec.with_composed(all)?, values))
}

/// The secrets of its Compose files alone, as they are now.
pub(crate) fn values(spec: &Spec) -> Result<Values, Failure> {
    let mut values = Values::new();
    let known: Vec<ComposeAsk> = spec.composed().into_iter().map(|composed| composed.ask).collect();
    for ask in spec.compose_asks(None)?.into_iter().filter(|ask| known.contains(ask)) {
        values.extend(one(spec.dir(), ask)?.1);
    }
    Ok(values)
}

/// The answers to several questions, in their order, a few asked at a time: each takes a tenth of a second or more. The first
/// that fails is what failed.
fn together(dir: &Path, asks: Vec<ComposeAsk>) -> Result<Vec<(Composed, Values)>, Failure> {
    let mut all = Vec::new();
    for few in asks.chunks(AT_ONCE) {
        let answers: Vec<_> = std::thread::scope(|scope| {
            let asked: Vec<_> = few.iter().map(|ask| scope.spawn(|| one(dir, ask.clone()))).collect();
            asked.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
        });
        for answer in answers {
            all.push(answer.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
    }
    Ok(all)
}

fn one(dir: &Path, ask: ComposeAsk) -> Result<(Composed, Values), Failure> {
    let source = source(dir, &ask)?;
    let output = run(dir, &ask, &[])?;
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(match is_there() {
            true => compose_trouble(&source, &printed).into(),
            false => missing("`docker compose` is not there"),
        });
    }
    let unset = unset(&printed);
    if !unset.is_empty() {
        return Err(compose_unset(&source, &unset).into());
    }
    let Some(mut document) = printed_document(&String::from_utf8_lossy(&output.stdout)) else {
        let message = format!("what `docker compose config` printed for {} cannot be read", source.name);
        return Err(Failure::usage("compose-missing", message));
    };
    let taken = redact(&mut document, ask.app.as_str());
    let source = Source { text: mask(&source.text, &taken), ..source };
    let mut values: Values = taken.into_iter().map(|(reference, value)| (reference, bytes(&value))).collect();
    values.extend(of_environment(dir, &ask, &document)?);
    Ok((Composed { ask, source, document: document.kept().clone() }, values))
}

/// The file, as the person names it: only for places in it.
fn source(dir: &Path, ask: &ComposeAsk) -> Result<Source, Failure> {
    let path = match &ask.file {
        Some(file) => PathBuf::from(file),
        None => FILE_NAMES.iter().map(|name| dir.join(name)).find(|path| path.is_file()).ok_or_else(|| {
            let message = format!("{} has no Compose file for the app `{}`", dir.display(), ask.app);
            Failure::from(Refused::new(RefusedKind::Usage, "spec-not-found", message).hint("say which: `file: PATH`"))
        })?,
    };
    let name = path.strip_prefix(dir).unwrap_or(&path).display().to_string();
    let failed =
        |why: String| Failure::usage("spec-not-found", format!("the Compose file {name} cannot be read: {why}"));
    let size = std::fs::metadata(&path).map_err(|e| failed(e.to_string()))?.len();
    if size > BYTES_MAX {
        return Err(failed("it is larger than 1 MiB".into()));
    }
    let bytes = std::fs::read(&path).map_err(|e| failed(e.to_string()))?;
    Ok(Source { name, text: String::from_utf8_lossy(&bytes).into_owned() })
}

fn run(dir: &Path, ask: &ComposeAsk, more: &[&str]) -> Result<Output, Failure> {
    let mut command = Command::new("docker");
    command.arg("compose");
    command.args(ask.file.iter().flat_map(|file| ["-f", file.as_str()]));
    command.args(ask.project_name.iter().flat_map(|name| ["-p", name.as_str()]));
    command.args(ask.profiles.iter().flat_map(|profile| ["--profile", profile.as_str()]));
    command.arg("config").args(more).envs(&ask.env).current_dir(dir).stdin(Stdio::null());
    command.output().map_err(|e| missing(&format!("`docker` cannot be run: {e}")))
}

fn is_there() -> bool {
    let mut command = Command::new("docker");
    command.args(["compose", "version"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn missing(why: &str) -> Failure {
    let message = format!("Docker Compose is needed to read the Compose file: {why}");
    Refused::new(RefusedKind::Usage, "compose-missing", message)
        .hint("install its plugin for the Docker client: the package `docker-compose-plugin`, or `docker-compose`")
        .into()
}

/// The variables of which Compose warns that it puts in nothing for them.
fn unset(printed: &str) -> Vec<String> {
    let warnings = printed.lines().filter(|line| line.contains("variable is not set"));
    let mut names: Vec<String> =
        warnings.filter_map(|line| Some(line.split("The \\\"").nth(1)?.split('\\').next()?.to_owned())).collect();
    names.sort();
    names.dedup();
    names
}

/// Values of secrets with `environment:` that are not in this process's environment, but in `.env`.
fn of_environment(dir: &Path, ask: &ComposeAsk, document: &Document) -> Result<Values, Failure> {
    let secrets = document.kept().get("secrets").and_then(|all| all.as_object());
    let names = secrets.into_iter().flatten().filter_map(|(_, secret)| secret.get("environment")?.as_str());
    let names: Vec<&str> = names.filter(|name| std::env::var_os(name).is_none()).collect();
    if names.is_empty() {
        return Ok(Values::new());
    }
    let output = run(dir, ask, &["--environment"])?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = printed.lines().filter_map(|line| line.split_once('='));
    let found = lines.filter(|(name, _)| names.contains(name));
    Ok(found.map(|(name, value)| (SecretRef(format!("env:{name}")), bytes(value))).collect())
}

fn bytes(value: &str) -> SecretBytes {
    SecretBytes(Arc::from(value.as_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::unset;

    #[test]
    fn variables_without_a_value_are_told_by_compose() {
        let line = r#"time="x" level=warning msg="The \"TAG\" variable is not set. Defaulting to a blank string.""#;
        assert_eq!(unset(&format!("{line}\nother\n{line}\n")), ["TAG"]);
    }
}
