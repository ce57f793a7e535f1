//! The reader of plan files: whatever the bytes, it ends; what it takes reads the same when it is written again, so that
//! a signature is over what will be done.
//!
//! `cargo +nightly fuzz run plan -- -max_total_time=60`
#![no_main]

use deployctl_core::ask::SavedPlan;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(saved) = SavedPlan::parse(text) else { return };
    let written = serde_json::to_string(&saved).expect("plans have string keys only");
    let again = SavedPlan::parse(&written).expect("what was written can be read");
    assert_eq!(saved, again);
    assert_eq!(saved.signed_bytes(), again.signed_bytes());
});
