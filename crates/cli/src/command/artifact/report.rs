//! What `artifact check` found, in words and as JSON.

use deployctl_oci::Platform;
use deployctl_readiness::{Finding, Kind, Report, Trial};
use serde_json::{Value, json};

pub(super) fn json(report: &Report, platform: &Platform) -> Value {
    let subject = &report.subject;
    let verdict =
        |verdict: &deployctl_readiness::Verdict| json!({ "target": verdict.target, "can_run": verdict.can_run });
    json!({
        "name": subject.name, "kind": subject.kind.word(), "digest": subject.digest, "size_bytes": subject.size_bytes,
        "platform": platform.to_string(),
        "targets": report.verdicts.iter().map(verdict).collect::<Vec<_>>(),
        "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
        "trial": trial(report).map(|trial| match trial {
            Trial::NotStarted(why) => json!({ "outcome": "not_started", "detail": why }),
            Trial::Exited(code) => json!({ "outcome": "exited", "exit_code": code }),
            Trial::Ended(millis) => json!({ "outcome": "ended", "after_ms": millis }),
            Trial::WentOn(seconds) => json!({ "outcome": "went_on", "after_ms": seconds * 1_000 }),
        }),
    })
}

fn finding(finding: &Finding) -> Value {
    json!({
        "code": finding.code.word(), "level": finding.code.level(), "targets": finding.targets, "blocks": finding.blocks,
        "what": finding.code.what(), "message": finding.message, "advice": finding.code.advice(), "place": finding.place,
    })
}

fn trial(report: &Report) -> Option<&Trial> {
    match &report.subject.kind {
        Kind::Image(image) => image.trial.as_ref(),
        _ => None,
    }
}

pub(super) fn words(report: &Report, platform: &Platform) -> String {
    let subject = &report.subject;
    let size = match subject.size_bytes {
        0..1_048_576 => format!("{} KiB", subject.size_bytes.div_ceil(1 << 10)),
        bytes => format!("{} MiB", bytes >> 20),
    };
    let mut lines = vec![format!("{}: {}, {size}, for {platform}", subject.name, subject.kind.word())];
    lines.extend(subject.digest.as_ref().map(|digest| format!("  {digest}")));
    if let Some(Trial::Ended(millis)) = trial(report) {
        lines.push(format!("  tried: it ended {millis} ms after it was asked to"));
    }
    for verdict in &report.verdicts {
        let blocking = report.findings.iter().find(|one| one.blocks && one.targets.contains(&verdict.target));
        lines.push(match blocking {
            None => format!("  {}: can run it", verdict.target),
            Some(one) => format!("  {}: cannot run it: {} ({})", verdict.target, one.message, one.code.word()),
        });
    }
    for one in &report.findings {
        let targets: Vec<&str> = one.targets.iter().map(|target| target.word()).collect();
        lines.push(String::new());
        lines.push(format!("{}[{}]: {}", one.code.level().word(), one.code.word(), one.code.what()));
        lines.push(format!("  {} ({})", one.message, targets.join(", ")));
        lines.push(format!("  next: {}", one.code.advice()));
    }
    lines.join("\n")
}

/// The last line, complete in itself.
pub(super) fn verdict(report: &Report) -> String {
    let of = |can: bool| -> Vec<&str> {
        report.verdicts.iter().filter(|one| one.can_run == can).map(|one| one.target.word()).collect()
    };
    let (can, cannot) = (of(true), of(false));
    let listed = |targets: &[&str]| targets.join(" and ");
    let name = &report.subject.name;
    match (can.as_slice(), cannot.as_slice()) {
        (all, []) => format!("{name}: {} can run it", listed(all)),
        ([], all) => format!("{name}: {} cannot run it", listed(all)),
        (can, cannot) => format!("{name}: {} can run it, {} cannot", listed(can), listed(cannot)),
    }
}
