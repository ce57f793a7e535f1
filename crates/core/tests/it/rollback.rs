//! What a rollback goes to: the stack of releases that succeeded, and the migrations that they know.

use crate::make::{id, pin, rev};
use deployctl_core::deployment::Verdict;
use deployctl_core::desired::{Desired, FULL, Share};
use deployctl_core::id::{Fence, OwnerId, Sha256Hex, Version};
use deployctl_core::instance::Binding;
use deployctl_core::plan::{Action, Pin};
use deployctl_core::scope::{Closed, Event, KEPT, Opened, StackChange, State, evolve};
use deployctl_core::time::{Millis, Span};

/// A scope to which things happen.
#[derive(Default)]
struct Place(State);

impl Place {
    fn event(&mut self, event: &Event) {
        self.0 = evolve(std::mem::take(&mut self.0), event, Millis(7), "alice");
    }

    fn open(&mut self, action: Action) {
        let fence = Fence(self.0.fence.0 + 1);
        self.event(&Event::Opened(Opened {
            deployment: id("d1"),
            action,
            version: None,
            previous: None,
            strategy: "rolling".into(),
            reason: None,
            owner: OwnerId::new("a").unwrap(),
            fence,
            deadline: Span::secs(1),
        }));
    }

    fn close(&mut self, verdict: Verdict, restored: bool, current: Option<Pin>, stack: StackChange) {
        let resting = current.as_ref().map_or_else(Desired::nothing, |c| Desired::only(&c.revision, 2, true));
        let (deployment, reason, binding) = (id("d1"), "so".into(), Binding::default());
        let last = Sha256Hex::of(b"last");
        let closed = Closed { deployment, verdict, restored, reason, resting, binding, current, stack, last };
        self.event(&Event::Closed(closed));
    }

    fn succeed(&mut self, action: Action, n: u32, keep: usize) {
        let pin = version(n);
        self.open(action);
        self.close(Verdict::Succeeded, false, Some(pin.clone()), StackChange::Put { keep, pin });
    }

    fn deploy(&mut self, n: u32) {
        self.succeed(Action::Deploy, n, self.0.stack.len());
    }

    fn turned_back(&mut self) {
        self.open(Action::Deploy);
        self.close(Verdict::RolledBack, true, self.0.current.clone(), StackChange::Same);
    }

    /// Deployed with most of the traffic, and then neither finished nor restored.
    fn fail(&mut self, n: u32) {
        let mut resting = self.0.resting.clone();
        self.open(Action::Deploy);
        self.close(Verdict::Failed, false, Some(version(n)), StackChange::Same);
        resting.parts.extend(self.0.resting.parts.clone());
        self.0.resting = resting;
    }

    fn down(&mut self) {
        self.open(Action::Down);
        self.close(Verdict::Succeeded, false, None, StackChange::Same);
    }

    /// Goes back without a version, as the planner and a deployment that succeeds would.
    fn back(&mut self) -> String {
        if self.0.last_was_turned_back() {
            return "nothing left to undo".into();
        }
        let Some((keep, pin)) = self.0.undo_target() else { return "nothing before".into() };
        let (keep, n) = (keep, pin.version.as_str()[1..].parse().unwrap());
        self.succeed(Action::Rollback, n, keep);
        format!("v{n}")
    }

    fn migrate(&mut self, n: u32, irreversible: bool) {
        self.event(&Event::Migrated { release: rev(n).release, irreversible });
    }

    fn above(&self, keep: usize) -> Vec<String> {
        self.0.migrations_above(keep).iter().map(|(r, _)| crate::make::rev_name(&rev_of(r))).collect()
    }
}

fn rev_of(release: &Sha256Hex) -> deployctl_core::id::Revision {
    deployctl_core::id::Revision { release: release.clone(), nonce: 0 }
}

fn version(n: u32) -> Pin {
    pin(rev(n), &format!("v{n}"))
}

fn stack(place: &Place) -> Vec<&str> {
    place.0.stack.iter().map(|pin| pin.version.as_str()).collect()
}

#[test]
fn a_rollback_goes_further_back_each_time_and_never_forward() {
    let mut place = Place::default();
    assert_eq!(place.back(), "nothing before");
    (1..=4).for_each(|n| place.deploy(n));
    assert_eq!([place.back(), place.back()], ["v3", "v2"]);
    place.deploy(5);
    assert_eq!(stack(&place), ["v1", "v2", "v5"]);
    assert_eq!([place.back(), place.back(), place.back()], ["v2", "v1", "nothing before"]);
    assert_eq!(stack(&place), ["v1"]);
}

#[test]
fn after_a_deployment_that_was_turned_back_nothing_is_left_to_undo() {
    let mut place = Place::default();
    (1..=2).for_each(|n| place.deploy(n));
    place.turned_back();
    assert_eq!(place.back(), "nothing left to undo");
    assert_eq!(stack(&place), ["v1", "v2"]);
    place.deploy(3);
    assert_eq!(place.back(), "v2");
}

#[test]
fn after_a_deployment_that_was_not_restored_the_last_good_one_comes_back() {
    let mut place = Place::default();
    (1..=2).for_each(|n| place.deploy(n));
    place.fail(3);
    assert!(!place.0.is_whole());
    assert_eq!([place.back(), place.back()], ["v2", "v1"]);
}

#[test]
fn what_was_taken_down_comes_back_and_then_what_was_before_it() {
    let mut place = Place::default();
    (1..=2).for_each(|n| place.deploy(n));
    place.down();
    assert_eq!(place.0.current, None);
    assert_eq!([place.back(), place.back(), place.back()], ["v2", "v1", "nothing before"]);
}

#[test]
fn the_current_release_and_the_last_five_are_retained() {
    let mut place = Place::default();
    (1..=8).for_each(|n| place.deploy(n));
    assert_eq!(stack(&place), ["v3", "v4", "v5", "v6", "v7", "v8"]);
    assert_eq!(place.0.recent.len(), KEPT + 1);
    let find = |place: &Place, v: &str| place.0.retained(&Version::new(v).unwrap()).map(|(keep, _)| keep);
    assert_eq!([find(&place, "v2"), find(&place, "v3"), find(&place, "v8")], [None, Some(0), Some(5)]);
    assert_eq!([place.back(), place.back()], ["v7", "v6"]);
    assert_eq!(find(&place, "v8"), Some(4), "it was undone, and is retained all the same");
    place.deploy(6);
    assert_eq!(find(&place, "v6"), Some(4), "the newest of two");
}

#[test]
fn migrations_are_left_behind_by_those_that_never_knew_them() {
    let mut place = Place::default();
    place.deploy(1);
    place.migrate(2, false);
    place.deploy(2);
    place.migrate(3, true);
    place.deploy(3);
    assert_eq!([place.above(2), place.above(1), place.above(0)], [vec![], vec!["v3"], vec!["v3", "v2"]]);
    place.event(&Event::Unmigrated { release: rev(3).release });
    assert_eq!([place.above(1), place.above(0)], [vec![], vec!["v2"]]);
}

#[test]
fn a_migration_of_a_release_that_left_the_stack_is_not_taken_back() {
    let mut place = Place::default();
    place.migrate(1, false);
    (1..=8).for_each(|n| place.deploy(n));
    assert!(!stack(&place).contains(&"v1"));
    assert_eq!((0..6).map(|keep| place.above(keep).len()).sum::<usize>(), 0, "every release here knows it");
}

#[test]
fn who_went_back_across_a_migration_lives_with_it() {
    let mut place = Place::default();
    place.deploy(1);
    place.migrate(2, true);
    place.deploy(2);
    assert_eq!(place.above(0), ["v2"]);
    assert_eq!(place.back(), "v1");
    place.deploy(3);
    assert_eq!(place.above(0), [""; 0], "v1 ran with the migrated data");
    let v2 = place.0.retained(&Version::new("v2").unwrap()).unwrap().1.clone();
    assert_eq!(place.0.migrations_since(&v2), Vec::<&(Sha256Hex, bool)>::new());
}

#[test]
fn a_migration_of_a_release_that_failed_is_left_behind_by_all_before_it() {
    let mut place = Place::default();
    place.deploy(1);
    place.migrate(2, true);
    place.fail(2);
    assert_eq!(place.above(0), ["v2"]);
}

#[test]
fn a_state_kept_by_an_earlier_build_still_loads() {
    let mut place = Place::default();
    (1..=2).for_each(|n| place.deploy(n));
    let mut kept = serde_json::to_value(&place.0).unwrap();
    assert!(kept.as_object_mut().unwrap().remove("lived_with").is_some());
    let old: State = serde_json::from_value(kept).unwrap();
    assert_eq!(old.undo_target(), place.0.undo_target());
}

#[test]
fn whole_is_one_release_alone() {
    let mut place = Place::default();
    assert!(place.0.is_whole());
    place.deploy(1);
    assert!(place.0.is_whole());
    place.0.resting = crate::make::desired(&[(1, 2, Share::Weight(FULL)), (2, 1, Share::Weight(0))]);
    assert!(!place.0.is_whole());
    place.0.resting = crate::make::desired(&[(2, 1, Share::Weight(FULL))]);
    assert!(!place.0.is_whole());
}
