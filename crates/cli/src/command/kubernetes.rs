//! `kubernetes`: what Kubernetes objects say, without a cluster, an engine or a project; and what a Job in a cluster runs.

use super::Context;
use crate::args::{Kubernetes, Objects, Output};
use crate::fail::Failure;
use crate::output::table::table;
use crate::output::{err, json, one_line, out};
use deployctl_core::ask::{Refused, RefusedKind};
use deployctl_kubernetes::verdict::{self, Verdict, Word};
use serde_json::Value;
use std::io::Read;
use std::path::Path;

/// Something is on its way: the one exit code that asks to be called again.
const NOT_YET: u8 = 6;

pub(crate) async fn kubernetes(context: &Context, what: &Kubernetes) -> Result<(), Failure> {
    match what {
        Kubernetes::Verdict(args) => judge(context, args),
        Kubernetes::Carry(args) => super::carry::carried(context, &args.file).await,
    }
}

fn judge(context: &Context, args: &Objects) -> Result<(), Failure> {
    let text = read(&args.file)?;
    let objects = verdict::parse(&text).map_err(|why| unreadable(&args.file, &why))?;
    let verdicts = verdict::of(&objects);
    match context.output() {
        Output::Json => json::print(&Value::Array(verdicts.iter().map(Verdict::json).collect())),
        Output::Human => out(&rows(&verdicts)),
    }
    let count = |word: Word| verdicts.iter().filter(|one| one.verdict == word).count();
    let words = [Word::Failed, Word::Progressing, Word::Unknown, Word::Ready];
    let parts = words.map(|word| (count(word), word)).into_iter().filter(|(count, _)| *count > 0);
    let parts: Vec<String> = parts.map(|(count, word)| format!("{count} {word}")).collect();
    err(&if parts.is_empty() { "there is no object in it".to_owned() } else { parts.join(", ") });
    match () {
        () if count(Word::Failed) > 0 => Err(Failure::Said(1)),
        () if count(Word::Progressing) > 0 => Err(Failure::Said(NOT_YET)),
        () => Ok(()),
    }
}

/// The input, no more of it than can be judged.
fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let most = verdict::BYTES_MAX as u64 + 1;
    let done = if file == Path::new("-") {
        std::io::stdin().lock().take(most).read_to_end(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(most).read_to_end(&mut text))
    };
    done.map(|_| text).map_err(|e| unreadable(file, &format!("it cannot be read: {e}")))
}

fn unreadable(file: &Path, why: &str) -> Failure {
    let name = if file == Path::new("-") { "standard input".into() } else { file.display().to_string() };
    let hint = "give it what `kubectl get ... -o json` prints";
    Refused::new(RefusedKind::Usage, "objects-unreadable", format!("{name}: {why}")).hint(hint).into()
}

fn rows(verdicts: &[Verdict]) -> String {
    let row = |one: &Verdict| {
        let name = match &one.namespace {
            Some(namespace) => format!("{namespace}/{}", one.name),
            None => one.name.clone(),
        };
        vec![one.verdict.to_string(), one.kind.clone(), name, one_line(&one.reason)]
    };
    table(&["VERDICT", "KIND", "NAME", "REASON"], &verdicts.iter().map(row).collect::<Vec<_>>())
}
