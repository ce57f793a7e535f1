//! Hooks of charts: objects that run at a moment of a deployment, and are no part of the release.

use serde_json::Value;
use std::fmt;

/// The annotation that makes an object a hook.
pub const HOOK: &str = "helm.sh/hook";
const WEIGHT: &str = "helm.sh/hook-weight";
const DELETION: &str = "helm.sh/hook-delete-policy";

/// When a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// Before the first release.
    PreInstall,
    /// After it was applied.
    PostInstall,
    /// Before another release.
    PreUpgrade,
    /// After it was applied.
    PostUpgrade,
    /// Before a way back.
    PreRollback,
    /// After it.
    PostRollback,
    /// Before everything is taken away.
    PreDelete,
    /// After that.
    PostDelete,
    /// When somebody asks for it.
    Test,
}

const MOMENTS: &[(&str, Moment)] = &[
    ("pre-install", Moment::PreInstall),
    ("post-install", Moment::PostInstall),
    ("pre-upgrade", Moment::PreUpgrade),
    ("post-upgrade", Moment::PostUpgrade),
    ("pre-rollback", Moment::PreRollback),
    ("post-rollback", Moment::PostRollback),
    ("pre-delete", Moment::PreDelete),
    ("post-delete", Moment::PostDelete),
    ("test", Moment::Test),
    // As charts for Helm 2 say it.
    ("test-success", Moment::Test),
];

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MOMENTS.iter().find(|(_, moment)| moment == self).map_or("", |(name, _)| name))
    }
}

/// When a hook's object is taken away again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// Before it is made anew.
    BeforeCreation,
    /// When it succeeded.
    Succeeded,
    /// When it failed.
    Failed,
}

/// What an object says about itself as a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// When it runs.
    pub moments: Vec<Moment>,
    /// Of one moment, those with less weight run first.
    pub weight: i64,
    /// When it is taken away; before it is made anew, if it does not say.
    pub deletion: Vec<Deletion>,
}

/// What an object says about itself as a hook; none if it is none. The error says what is not understood.
pub fn of(object: &Value) -> Result<Option<Hook>, String> {
    let said = |key: &str| object["metadata"]["annotations"][key].as_str();
    let Some(moments) = said(HOOK) else { return Ok(None) };
    let moments = words(moments).map(|word| {
        let found = MOMENTS.iter().find(|(name, _)| *name == word).map(|(_, moment)| *moment);
        found.ok_or_else(|| format!("`{word}` is no moment of a hook"))
    });
    let moments: Vec<Moment> = moments.collect::<Result<_, _>>()?;
    if moments.is_empty() {
        return Err(format!("`{HOOK}` names no moment"));
    }
    let weight = said(WEIGHT).map_or(Ok(0), |text| text.trim().parse());
    let weight = weight.map_err(|_| format!("`{WEIGHT}` is no whole number"))?;
    let deletion = words(said(DELETION).unwrap_or("before-hook-creation")).map(|word| match word {
        "before-hook-creation" => Ok(Deletion::BeforeCreation),
        "hook-succeeded" => Ok(Deletion::Succeeded),
        "hook-failed" => Ok(Deletion::Failed),
        other => Err(format!("`{other}` is no policy of `{DELETION}`")),
    });
    Ok(Some(Hook { moments, weight, deletion: deletion.collect::<Result<_, _>>()? }))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty())
}

/// What is due at a moment, in its order: by weight, then kind, then name.
pub fn due<'a, T>(
    all: impl Iterator<Item = (&'a Hook, &'a Value, T)>,
    moment: Moment,
) -> Vec<(&'a Hook, &'a Value, T)> {
    let mut due: Vec<_> = all.filter(|(hook, _, _)| hook.moments.contains(&moment)).collect();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    due.sort_by_cached_key(|(hook, object, _)| (hook.weight, text(&object["kind"]), text(&object["metadata"]["name"])));
    due
}

/// How a hook's object stands: whether it has done what it is for, and why it never will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stand {
    /// It runs.
    Runs,
    /// It is done; what runs nothing is done as soon as it is there.
    Done,
    /// It failed, and why.
    Failed(String),
}

/// How a hook's object stands, as the server prints it.
pub fn stand(object: &Value) -> Stand {
    let status = &object["status"];
    match object["kind"].as_str().unwrap_or_default() {
        "Job" => {
            let conditions = status["conditions"].as_array().into_iter().flatten();
            let is = |kind: &'static [&str]| {
                let mut conditions = conditions.clone();
                conditions.find(|one| one["status"] == "True" && kind.iter().any(|kind| one["type"] == *kind))
            };
            if let Some(failed) = is(&["Failed"]) {
                return Stand::Failed(failed["message"].as_str().unwrap_or("it failed").to_owned());
            }
            if is(&["Complete"]).is_some() { Stand::Done } else { Stand::Runs }
        }
        "Pod" => match status["phase"].as_str() {
            Some("Succeeded") => Stand::Done,
            Some("Failed") => Stand::Failed(status["message"].as_str().unwrap_or("its container failed").to_owned()),
            _ => Stand::Runs,
        },
        _ => Stand::Done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn job(name: &str, annotations: &[(&str, &str)]) -> Value {
        let annotations: Value = annotations.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": name, "annotations": annotations } })
    }

    #[test]
    fn an_object_says_when_it_runs() {
        assert_eq!(of(&job("x", &[])), Ok(None));
        let said = of(&job("x", &[(HOOK, "pre-install, pre-upgrade")])).unwrap().unwrap();
        assert_eq!(said.moments, [Moment::PreInstall, Moment::PreUpgrade]);
        assert_eq!((said.weight, said.deletion), (0, vec![Deletion::BeforeCreation]));
        let said = of(&job("x", &[(HOOK, "test-success"), (WEIGHT, "-5"), (DELETION, "hook-succeeded,hook-failed")]));
        let said = said.unwrap().unwrap();
        assert_eq!((said.moments, said.weight), (vec![Moment::Test], -5));
        assert_eq!(said.deletion, [Deletion::Succeeded, Deletion::Failed]);
        for (name, moment) in MOMENTS.iter().filter(|(name, _)| *name != "test-success") {
            assert_eq!(moment.to_string(), *name);
        }
    }

    #[test]
    fn what_is_not_understood_is_told() {
        let why = |annotations: &[(&str, &str)]| of(&job("x", annotations)).unwrap_err();
        assert_eq!(why(&[(HOOK, "crd-install")]), "`crd-install` is no moment of a hook");
        assert_eq!(why(&[(HOOK, " ,")]), "`helm.sh/hook` names no moment");
        assert_eq!(why(&[(HOOK, "test"), (WEIGHT, "heavy")]), "`helm.sh/hook-weight` is no whole number");
        assert_eq!(why(&[(HOOK, "test"), (DELETION, "never")]), "`never` is no policy of `helm.sh/hook-delete-policy`");
    }

    #[test]
    fn hooks_are_due_by_weight_and_name() {
        let all: Vec<(Hook, Value)> =
            [("c", "0", "pre-install"), ("b", "0", "pre-install"), ("z", "-1", "pre-install"), ("t", "0", "test")]
                .iter()
                .map(|(name, weight, moment)| job(name, &[(HOOK, moment), (WEIGHT, weight)]))
                .map(|object| (of(&object).unwrap().unwrap(), object))
                .collect();
        let due = due(all.iter().map(|(hook, object)| (hook, object, ())), Moment::PreInstall);
        let names: Vec<&str> = due.iter().filter_map(|(_, object, ())| object["metadata"]["name"].as_str()).collect();
        assert_eq!(names, ["z", "b", "c"]);
    }

    #[test]
    fn jobs_and_pods_are_waited_for_and_everything_else_is_done() {
        let job = |kind: &str| json!({ "kind": "Job", "status": { "conditions": [{ "type": kind, "status": "True", "message": "too often" }] } });
        let pod = |phase: &str| json!({ "kind": "Pod", "status": { "phase": phase } });
        let cases = [
            (job("Complete"), Stand::Done),
            (job("Suspended"), Stand::Runs),
            (json!({ "kind": "Job" }), Stand::Runs),
            (job("Failed"), Stand::Failed("too often".into())),
            (pod("Succeeded"), Stand::Done),
            (pod("Running"), Stand::Runs),
            (pod("Failed"), Stand::Failed("its container failed".into())),
            (json!({ "kind": "ConfigMap" }), Stand::Done),
        ];
        for (object, wanted) in cases {
            assert_eq!(stand(&object), wanted, "{object}");
        }
    }
}
