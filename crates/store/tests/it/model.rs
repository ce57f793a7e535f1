//! Random batches from several writers, against the model, with shrinking.

use deployctl_core::journal::Journal;
use deployctl_store::conformance::{Step, steps};
use deployctl_store::{MemoryJournal, SqliteJournal};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

fn step() -> impl Strategy<Value = Step> {
    let wrong = prop_oneof![6 => Just(0_u64), 1 => 1_u64..3];
    let writes = btree_map(0_u8..5, (wrong, 0_u8..4), 0..4);
    (writes, option::of((0_u8..3, 0_u64..6))).prop_map(|(writes, fence)| Step {
        writes: writes.into_iter().map(|(stream, (wrong, events))| (stream, wrong, events)).collect(),
        fence,
    })
}

fn run(journal: &dyn Journal, taken: &[Vec<Step>]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(steps(journal, taken));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_memory(taken in vec(vec(step(), 1..6), 0..30)) {
        run(&MemoryJournal::default(), &taken);
    }

    #[test]
    fn in_sqlite(taken in vec(vec(step(), 1..6), 0..20)) {
        let folder = tempfile::tempdir().unwrap();
        run(&SqliteJournal::open(&folder.path().join("journal.db")).unwrap(), &taken);
    }
}
