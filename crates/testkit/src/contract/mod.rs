//! The contract that every driver must keep, as a suite to run it through.
//!
//! A target's tests implement [`Bench`] and say `deployctl_testkit::driver_contract!(MyBench::new())` in a module of
//! their own: each case becomes a test, on a bench of its own. Cases assert by what the driver observes *and* by the bench's
//! own evidence. All waits are bounded, and none is measured.

mod bench;
pub mod cases;
mod trial;

pub use bench::{Bench, Character, LAST_LINE, Task};
pub use trial::{Broken, PATIENCE, Trial, Verdict};

/// Runs a case; panics with its name and what was seen if the driver breaks it.
pub async fn keeps(name: &str, case: impl Future<Output = Verdict>) {
    match case.await {
        Ok(()) => {}
        Err(Broken(why)) => panic!("the contract of drivers, {name}: {why}"),
    }
}

/// A test for each case of the contract, on the bench that the expression makes.
#[macro_export]
macro_rules! driver_contract {
    ($bench:expr) => {
        $crate::driver_contract! { $bench;
            observe_says_what_was_asked,
            converge_twice_is_converge_once,
            interrupted_anywhere_it_ends_the_same,
            the_way_down_leaves_nothing,
            what_was_taken_away_is_made_good,
            a_replaced_owner_starts_and_stops_nothing,
            who_shows_a_newer_fence_is_the_owner,
            a_replaced_owner_moves_no_traffic,
            a_replaced_owner_runs_and_kills_no_job,
            what_exits_at_once_is_said_with_its_last_lines,
            what_never_is_healthy_is_said_with_its_last_lines,
            looking_changes_nothing,
            who_waits_is_woken,
            out_of_reach_is_no_verdict,
            a_job_begins_once,
            a_job_that_fails_says_how,
            a_job_whose_caller_goes_away_begins_once,
            a_killed_job_is_gone_with_all_it_started,
            a_job_that_was_killed_before_never_begins,
        }
    };
    ($bench:expr; $($case:ident),* $(,)?) => { $(
        #[tokio::test]
        async fn $case() {
            let bench = $bench;
            $crate::contract::keeps(stringify!($case), $crate::contract::cases::$case(&bench)).await;
        }
    )* };
}
