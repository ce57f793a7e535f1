//! The rules: a description in, findings out. Pure.

mod files;
mod image;
mod python;

use crate::finding::{Code, Finding, Report, Target, Verdict};
use crate::subject::{Kind, Scan, Secret, Subject};
use deployctl_oci::Platform;

const CONTAINERS: &[Target] = &[Target::Docker, Target::Kubernetes];
/// Above this, an artifact is large.
const LARGE_BYTES: u64 = 1 << 30;
/// So many of one kind are listed one by one.
const LISTED_MAX: usize = 10;

/// Judges an artifact for these targets on machines of the platform `here`.
pub fn judge(subject: Subject, here: &Platform, targets: &[Target]) -> Report {
    let mut found = Found { findings: Vec::new() };
    match &subject.kind {
        Kind::Image(image) => image::rules(image, here, &mut found),
        Kind::Python(package) => python::rules(package, here, &mut found),
        Kind::Files(files) => files::rules(files, here, &mut found),
        Kind::Program(entry) => files::program(entry, here, &mut found),
        Kind::Other(media_type) => {
            found.blocks(Code::NotAnImage, Target::ALL, format!("it is an artifact of the type {media_type}"));
        }
    }
    if subject.size_bytes > LARGE_BYTES {
        found.says(Code::Large, Target::ALL, format!("{} MiB", subject.size_bytes >> 20));
    }
    let mut findings: Vec<Finding> = found.findings;
    for finding in &mut findings {
        finding.targets.retain(|target| targets.contains(target));
    }
    findings.retain(|finding| !finding.targets.is_empty());
    findings.sort_by_key(|finding| (std::cmp::Reverse((finding.blocks, finding.code.level())), finding.code));
    let blocked = |target: &Target| findings.iter().any(|one| one.blocks && one.targets.contains(target));
    let verdict = |target: &Target| Verdict { target: *target, can_run: !blocked(target) };
    Report { verdicts: targets.iter().map(verdict).collect(), subject, findings }
}

/// What was found so far.
pub(crate) struct Found {
    findings: Vec<Finding>,
}

impl Found {
    fn push(&mut self, code: Code, targets: &[Target], blocks: bool, message: String, place: Option<String>) {
        self.findings.push(Finding { code, targets: targets.to_vec(), blocks, message, place });
    }

    /// Something that is good to know, or should be otherwise.
    fn says(&mut self, code: Code, targets: &[Target], message: impl Into<String>) {
        self.push(code, targets, false, message.into(), None);
    }

    /// Something for which these targets cannot run it.
    fn blocks(&mut self, code: Code, targets: &[Target], message: impl Into<String>) {
        self.push(code, targets, true, message.into(), None);
    }

    /// The same, in a file.
    fn blocks_at(&mut self, code: Code, targets: &[Target], place: &str, message: impl Into<String>) {
        self.push(code, targets, true, message.into(), Some(place.to_owned()));
    }

    fn secrets(&mut self, secrets: &[Secret]) {
        for secret in secrets.iter().take(LISTED_MAX) {
            let hidden = if secret.hidden { "; an upper layer hides it, and it is still there" } else { "" };
            match secret.in_env {
                true => self.says(Code::SecretInEnv, Target::ALL, format!("{}: {}", secret.place, secret.what)),
                false => {
                    let message = format!("{}: {}{hidden}", secret.place, secret.what);
                    self.push(Code::SecretInLayer, Target::ALL, false, message, Some(secret.place.clone()));
                }
            }
        }
        if let Some(more) = secrets.len().checked_sub(LISTED_MAX).filter(|more| *more > 0) {
            self.says(Code::SecretInLayer, Target::ALL, format!("and {more} more"));
        }
    }

    fn scan(&mut self, scan: &Scan) {
        if let Some(why) = &scan.stopped {
            self.says(Code::ScanStopped, Target::ALL, why.clone());
        }
    }
}
