//! Which strategies there are for objects of a cluster.

use super::super::Context;
use crate::code::Code;
use crate::raw::{Either, Settings, StrategyMap, StrategyName};
use deployctl_core::config::ManifestObject;
use serde_json::json;

/// With `recreate` no Deployment starts a pod before those of the old template have ended. Other workloads replace their pods one by
/// one in any case.
pub(super) fn applied(mut objects: Vec<ManifestObject>, settings: &Settings) -> Vec<ManifestObject> {
    let recreates = settings.strategy.as_ref().is_some_and(|said| match &said.value {
        Either::Short(name) => matches!(name, StrategyName::Recreate),
        Either::Full(map) => map.recreate.is_some(),
    });
    let deployments = objects.iter_mut().filter(|one| recreates && one.object["kind"] == "Deployment");
    deployments.for_each(|one| one.object["spec"]["strategy"] = json!({ "type": "Recreate" }));
    objects
}

/// Refuses what is not built, and settings that the manifests have.
pub(super) fn check(settings: &Settings, cx: &mut Context<'_, '_>) {
    let Some(said) = &settings.strategy else { return };
    let Either::Full(StrategyMap { rolling, canary, .. }) = &said.value else { return };
    let (rolling, canary) = (rolling.as_ref().map(|x| x.at), canary.as_ref());
    if let Some(at) = rolling {
        let message = "`rolling` has no settings with `target: kubernetes`";
        let help = "write `strategy: rolling`; the manifests say the rest: `strategy` of a Deployment";
        cx.findings.error_help(at, Code::Contradiction, message, help);
    }
    let canary = canary.map(|canary| &canary.value);
    let counted = canary.and_then(|canary| canary.analysis.as_ref()).map(|x| (x.at, "analysis"));
    let kept = canary.and_then(|canary| canary.sticky.as_ref()).map(|x| (x.at, "sticky"));
    for (at, key) in counted.into_iter().chain(kept) {
        let message = format!("`{key}` is not built for `target: kubernetes`");
        let help = "requests do not come by deployctl there, so it cannot count or keep them; a `smoke` test can ask";
        cx.findings.error_help(at, Code::NotBuilt, message, help);
    }
}
