//! `plan`, and plans in files.

use super::Context;
use crate::args::{Output, Plan};
use crate::fail::Failure;
use crate::output::{err, json, out};
use crate::project::Wanted;
use crate::pulls::Known;
use crate::{asking, build, project};
use deployctl_api::paths;
use deployctl_core::ask::{Deploy, Refused, RefusedKind, SavedPlan};
use deployctl_core::desired::Gate;
use deployctl_core::id::Revision;
use deployctl_core::plan::Leg;
use deployctl_core::view::waypoint_words;
use deployctl_sys::durable;
use serde_json::json;
use std::io::Read;
use std::path::Path;

/// A plan file is never larger.
const PLAN_BYTES_MAX: u64 = 16 << 20;

pub(crate) async fn plan(context: &Context, args: &Plan) -> Result<(), Failure> {
    let only = args.place.apps.app.as_ref();
    let spec = project::load(context.project(), &args.overlays.config, only, args.version.as_ref())?;
    let mut wanted = Wanted::new(spec, &args.place, args.version.as_ref())?;
    let built = build::missing(context, &mut wanted, &args.build, None).await?;
    wanted.pinned(Known::new()).await?;
    let ask = wanted.ask(asking::by(None), None, built.here)?;
    let ask = Deploy { correct_drift: args.correct_drift, ..ask };
    let saved: SavedPlan = context.engine().await?.post(paths::PLAN, &ask).await?;
    let unchanged = saved.plan.legs.is_empty();
    match context.output() {
        Output::Json if unchanged => json::print(&json!({ "unchanged": true, "legs": [], "note": saved.note })),
        Output::Json => json::print(&as_json(&saved)),
        Output::Human if unchanged => err("nothing to do: it is current and healthy already"),
        Output::Human => out(&words(&saved)),
    }
    saved.note.iter().for_each(|note| err(note));
    if let Some(path) = &args.out {
        let bytes = serde_json::to_vec_pretty(&saved).unwrap_or_default();
        durable::replace(path, &bytes, 0o600).map_err(|e| {
            let message = format!("the plan cannot be written to {}: {e}", path.display());
            Failure::from(Refused::new(RefusedKind::Unreachable, "plan-unwritable", message))
        })?;
        err(&format!("kept in {}; do exactly this with --plan {}", path.display(), path.display()));
    }
    Ok(())
}

/// A plan file's text, bounded.
pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    let bad =
        |why: String| Failure::usage("plan-unreadable", format!("the plan {} cannot be read: {why}", path.display()));
    let file = std::fs::File::open(path).map_err(|e| bad(e.to_string()))?;
    let mut bytes = Vec::new();
    file.take(PLAN_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|e| bad(e.to_string()))?;
    if bytes.len() as u64 > PLAN_BYTES_MAX {
        return Err(bad("it is larger than 16 MiB".into()));
    }
    String::from_utf8(bytes).map_err(|_| bad("it is not text; it was altered".into()))
}

fn as_json(saved: &SavedPlan) -> serde_json::Value {
    let legs: Vec<_> = saved.plan.legs.iter().map(leg_json).collect();
    json!({ "id": saved.plan.id, "action": saved.plan.action, "legs": legs, "deadline_ms": saved.plan.deadline, "note": saved.note })
}

fn leg_json(leg: &Leg) -> serde_json::Value {
    let version = |side: &Option<deployctl_core::plan::Side>| side.as_ref().map(|side| side.pin.version.to_string());
    json!({
        "app": leg.scope.app, "environment": leg.scope.environment, "region": leg.scope.region,
        "from": version(&leg.from), "to": version(&leg.to), "strategy": leg.strategy(),
        "release": leg.to.as_ref().map(|side| &side.pin.revision.release),
        "migration": leg.migration.as_ref().map(|m| json!({ "undo": m.undo, "irreversible": m.irreversible })),
        "costs": leg.costs,
        "corrects": leg.corrects,
        "changes": leg.changes,
        "waypoints": leg.path.iter().map(|w| json!({
            "desired": waypoint_words(&w.desired, |r| name(leg, r)),
            "gates": w.gates.iter().map(|g| gate(leg, g)).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    })
}

fn words(saved: &SavedPlan) -> String {
    let mut lines = Vec::new();
    for leg in &saved.plan.legs {
        let version = |side: &Option<deployctl_core::plan::Side>| {
            side.as_ref().map_or("nothing".to_owned(), |side| side.pin.version.to_string())
        };
        let region =
            if leg.scope.region.as_str() == "default" { String::new() } else { format!("/{}", leg.scope.region) };
        lines.push(format!(
            "{} in {}{region}: {} -> {}, {}",
            leg.scope.app,
            leg.scope.environment,
            version(&leg.from),
            version(&leg.to),
            leg.strategy()
        ));
        lines.extend(leg.costs.iter().map(|cost| format!("  ! {cost}")));
        if let Some(migration) = &leg.migration {
            lines.push(match (migration.irreversible, migration.undo) {
                (true, _) => "  ! runs a migration that cannot be undone: no automatic way back after it".into(),
                (false, true) => "  runs a migration, which is undone on the way back".into(),
                (false, false) => "  runs a migration that older releases work with too".to_owned(),
            });
        }
        lines.extend(leg.changes.iter().map(|change| format!("  {change}")));
        for (index, waypoint) in leg.path.iter().enumerate() {
            let gates: Vec<String> = waypoint.gates.iter().map(|g| gate(leg, g)).collect();
            let gates = if gates.is_empty() { String::new() } else { format!("   then: {}", gates.join(", ")) };
            lines.push(format!("  {}. {}{gates}", index + 1, waypoint_words(&waypoint.desired, |r| name(leg, r))));
        }
    }
    lines.join("\n")
}

fn name(leg: &Leg, revision: &Revision) -> String {
    let sides = leg.to.iter().chain(&leg.from);
    let same: Vec<_> = sides.clone().filter(|side| side.pin.revision == *revision).collect();
    let twice = leg.to.as_ref().zip(leg.from.as_ref()).is_some_and(|(to, from)| to.pin.version == from.pin.version);
    match same.first() {
        Some(side) if twice && leg.to.as_ref().is_some_and(|to| to.pin.revision == *revision) => {
            format!("{} (new)", side.pin.version)
        }
        Some(side) => side.pin.version.to_string(),
        None => revision.release.short().to_owned(),
    }
}

fn gate(leg: &Leg, gate: &Gate) -> String {
    match gate {
        Gate::Ready(revision) => format!("{} healthy", name(leg, revision)),
        Gate::Gone(revision) => format!("{} gone", name(leg, revision)),
        Gate::Job(job) => job.what.to_string(),
        Gate::Smoke { index, .. } => format!("smoke test #{}", index + 1),
        Gate::Hold(span) => format!("hold {} s", span.0.as_secs_f64()),
        Gate::Analysis { requests_min, .. } => format!("no worse over {requests_min} requests"),
    }
}
