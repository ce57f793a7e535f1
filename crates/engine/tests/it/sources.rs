//! Artifacts whose sources are gone or have other bytes than before.

use crate::world::{World, config, deploy, id_of, leg, verdict};
use deployctl_core::ask::{Answer, Deploy, DeployLeg, Refused};
use deployctl_core::config::{ArtifactSource, Strategy};

fn from(path: &str) -> DeployLeg {
    let artifact = Some(ArtifactSource::Path(path.into()));
    DeployLeg { artifact, ..leg("api", "v1", config(Strategy::Recreate)) }
}

#[tokio::test]
async fn what_a_plan_or_a_known_version_names_needs_no_source() {
    let engine = World::default().engine().await;
    let plan = engine.plan(&deploy(vec![from("dist")])).await.unwrap();
    let code = |answer: Result<Answer, Refused>| answer.unwrap_err().code;
    assert_eq!(
        code(engine.deploy(&deploy(vec![from("gone/dist")])).await),
        "artifact-missing",
        "a plan teaches nothing"
    );

    let with_plan = |leg: DeployLeg| Deploy { plan: serde_json::to_string(&plan).ok(), ..deploy(vec![leg]) };
    assert_eq!(code(engine.deploy(&with_plan(from("other"))).await), "plan-stale", "a source that is there counts");
    assert_eq!(code(engine.deploy(&with_plan(from("wrong/dist"))).await), "artifact-missing");
    let id = id_of(engine.deploy(&with_plan(from("gone/dist"))).await);
    assert_eq!(crate::world::end(&engine, &id).await.closed.unwrap().verdict.word(), "succeeded");

    let again = engine.deploy(&deploy(vec![from("gone/dist")])).await;
    assert!(matches!(again, Ok(Answer::Nothing { .. })), "the version is known now, and the same: {again:?}");
    assert_eq!(code(engine.deploy(&deploy(vec![from("wrong/dist")])).await), "artifact-missing");
    assert_eq!(code(engine.deploy(&deploy(vec![from("other")])).await), "version-changed");
    let other = plan.releases[0].id();
    let pinned = DeployLeg { sha256: Some(other), ..from("gone/dist") };
    assert_eq!(code(engine.deploy(&deploy(vec![pinned])).await), "version-changed", "not what the specification says");
}

#[tokio::test]
async fn where_no_source_is_given_the_plan_names_what_was_built() {
    let engine = World::default().engine().await;
    let built = DeployLeg { built_here: true, ..from("dist") };
    let plan = engine.plan(&deploy(vec![built])).await.unwrap();
    let nothing = DeployLeg { artifact: None, ..from("") };
    let ask = Deploy { plan: serde_json::to_string(&plan).ok(), ..deploy(vec![nothing]) };
    assert_eq!(verdict(&engine, &ask).await.0, "succeeded");
    let known = engine.version(&crate::world::scope("api"), &"v1".parse().unwrap()).await.unwrap();
    assert_eq!(known, plan.releases[0].artifact.as_ref().map(|artifact| artifact.sha256.clone()));
}
