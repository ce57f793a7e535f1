//! The paths of version 1.

/// GET: who answers.
pub const HELLO: &str = "/v1/hello";
/// POST: leave, so that another build may take over.
pub const HANDOVER: &str = "/v1/handover";
/// POST a `Deploy`: what it would do.
pub const PLAN: &str = "/v1/plan";
/// POST a `Deploy`.
pub const DEPLOY: &str = "/v1/deploy";
/// POST a `Rollback`.
pub const ROLLBACK: &str = "/v1/rollback";
/// POST a `Simple`.
pub const RESTART: &str = "/v1/restart";
/// POST a `Simple`.
pub const DOWN: &str = "/v1/down";
/// POST a `Maintenance`.
pub const MAINTENANCE: &str = "/v1/maintenance";
/// GET: what runs.
pub const STATUS: &str = "/v1/status";
/// GET: what runs, by health checks that are run now.
pub const HEALTH: &str = "/v1/health";
/// GET: deployments, newest first.
pub const HISTORY: &str = "/v1/history";
/// GET: a release by name.
pub const RELEASE: &str = "/v1/release";
/// GET: whether a version is known.
pub const VERSION: &str = "/v1/version";
/// GET: output of instances, a line each, as JSON lines.
pub const LOGS: &str = "/v1/logs";
/// GET: the newest journal entries.
pub const AUDIT: &str = "/v1/audit";
/// GET: a check of the whole journal.
pub const VERIFY: &str = "/v1/audit/verify";
/// GET: a deployment as it stands.
pub const DEPLOYMENT: &str = "/v1/deployments/{id}";
/// GET: the same whenever it changes until it ends, as JSON lines.
pub const WATCH: &str = "/v1/deployments/{id}/watch";
/// GET: the entries of its stream.
pub const ENTRIES: &str = "/v1/deployments/{id}/entries";
/// POST a `Steer`.
pub const STEER: &str = "/v1/deployments/{id}/steer";

/// A path with its id filled in.
pub fn with_id(path: &str, id: &str) -> String {
    path.replace("{id}", &crate::escape(id))
}
