//! What others changed by hand is said, and taken back when that is asked for.

use crate::world::{World, config, deploy, leg, verdict};
use deployctl_core::ask::{Answer, Deploy, RefusedKind};
use deployctl_core::config::Strategy;

fn v(version: &str) -> Deploy {
    deploy(vec![leg("api", version, config(Strategy::BlueGreen))])
}

fn correcting(version: &str) -> Deploy {
    Deploy { correct_drift: true, ..v(version) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_changed_is_said_and_taken_back_when_that_is_asked_for() {
    let world = World::default();
    let engine = world.engine().await;
    assert_eq!(verdict(&engine, &v("v1")).await.0, "succeeded");
    let nothing = |answer: Answer| match answer {
        Answer::Nothing { why } => why,
        Answer::Deployment { .. } => panic!("it is current: {answer:?}"),
    };
    let same = "it is current and healthy already; nothing was changed";
    // Where nobody can change anything there is nothing to take back.
    assert_eq!(nothing(engine.deploy(&correcting("v1")).await.unwrap()), same);
    world.fake.lets_change(&["replicas: 3 instead of 2", "label: nothing instead of x"]);
    let note = "2 things of api were changed by hand: `deployctl status --drift` lists it, and `--correct-drift` takes it back";
    assert_eq!(nothing(engine.deploy(&v("v1")).await.unwrap()), format!("{same}; {note}"));
    let saved = engine.plan(&v("v1")).await.unwrap();
    assert_eq!((saved.plan.legs.len(), saved.note.as_deref()), (0, Some(note)));

    let saved = engine.plan(&correcting("v1")).await.unwrap();
    assert!(saved.plan.legs[0].corrects && saved.note.is_none(), "{saved:?}");
    let other = serde_json::to_string(&engine.plan(&v("v2")).await.unwrap()).unwrap();
    let refused = engine.deploy(&Deploy { plan: Some(other), ..correcting("v2") }).await.unwrap_err();
    assert_eq!((refused.kind, refused.code.as_str()), (RefusedKind::Usage, "plan-other"));
    assert_eq!(refused.message, "the plan does not take back what others changed");
    // By the saved plan alone; and then there is nothing more.
    let exact = Deploy { plan: serde_json::to_string(&saved).ok(), ..v("v1") };
    assert_eq!(verdict(&engine, &exact).await.0, "succeeded");
    assert_eq!(nothing(engine.deploy(&correcting("v1")).await.unwrap()), same);
    // Another version leaves it alone unless it is told.
    world.fake.lets_change(&["replicas: 3 instead of 2"]);
    assert!(!engine.plan(&v("v2")).await.unwrap().plan.legs[0].corrects);
    assert_eq!(verdict(&engine, &v("v2")).await.0, "succeeded");
    assert_ne!(nothing(engine.deploy(&v("v2")).await.unwrap()), same, "it was left alone");
    assert_eq!(verdict(&engine, &correcting("v2")).await.0, "succeeded");
    assert_eq!(nothing(engine.deploy(&v("v2")).await.unwrap()), same);
}
