//! Jobs and CronJobs.

use super::Trouble;
use super::finding::Finding;
use super::pod;
use super::read::{self, Condition};
use super::set::Set;
use super::workload::{refused, status};
use serde_json::Value;

/// Right when it has completed; failed when it says so, which is final.
///
/// Conditions `Complete` and `Failed` are terminal; `SuccessCriteriaMet` and `FailureTarget` come before them, while pods
/// end. A pod that crashes is made again within `backoffLimit`, so it is a reason, not a failure.
pub(super) fn judge(set: &Set<'_>, object: &Value) -> Finding {
    let is = |kind| Condition::of(object, kind).filter(|c| c.is_true());
    if let Some(failed) = is("Failed").or_else(|| is("FailureTarget")) {
        return Finding::failed(match failed.reason() {
            "" => failed.says().to_owned(),
            reason => format!("{reason}: {}", failed.says()),
        });
    }
    let succeeded = status(object, "succeeded");
    if is("Complete").is_some() || is("SuccessCriteriaMet").is_some() {
        return Finding::ready("it has completed");
    }
    if read::is(object, "/spec/suspend") {
        return Finding::trouble("it is suspended");
    }
    let wanted = read::number(object, "/spec/completions").or(read::number(object, "/spec/parallelism")).unwrap_or(1);
    let mut progress = format!("{succeeded} of {wanted} completed");
    let failed = status(object, "failed");
    if failed > 0 {
        let limit = read::number(object, "/spec/backoffLimit").unwrap_or(6);
        progress.push_str(&format!(", {failed} failed (of {limit} that may)"));
    }
    if let Some(refused) = refused(set, object).filter(|_| status(object, "active") == 0) {
        return refused.after(&progress);
    }
    let found = pod::explain(set, &progress, set.owned(object, "Pod"));
    let trouble = if failed > 0 { Trouble::Wrong } else { found.trouble };
    Finding { trouble, ..found }
}

/// Right as soon as it is there: what its jobs do is theirs. That the last one failed is said.
pub(super) fn judge_cron(set: &Set<'_>, object: &Value) -> Finding {
    if let Some(said) = set.complaint(object, &["UnparseableSchedule", "InvalidSchedule", "UnknownTimeZone"], &[]) {
        return Finding::failed(said);
    }
    if read::is(object, "/spec/suspend") {
        return Finding::ready("it is suspended");
    }
    let schedule = format!("it runs at {}", read::text(object, "/spec/schedule"));
    let jobs = set.owned(object, "Job");
    let last = jobs.into_iter().max_by_key(|job| read::text(job, "/metadata/creationTimestamp"));
    let failed = last.and_then(|job| Some((job, Condition::of(job, "Failed").filter(|c| c.is_true())?)));
    Finding::ready(match failed {
        Some((job, why)) => format!("{schedule}; its last job {} failed: {}", read::name(job), why.says()),
        None => schedule,
    })
}
