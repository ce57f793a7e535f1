//! Snapshots and renewal counters.

use super::{put, stream};
use deployctl_core::id::{OwnerId, Sha256Hex};
use deployctl_core::journal::{AppendError, Head, Journal, Seq, Snapshot};
use std::sync::Arc;

pub(super) async fn all(make: &impl AsyncFn() -> Arc<dyn Journal>) {
    snapshots(&*make().await).await;
    beats(&*make().await).await;
}

async fn snapshots(journal: &dyn Journal) {
    let name = stream("s");
    assert_eq!(journal.snapshot(&name).await, Ok(None));
    let mut heads = vec![];
    for n in 0..3 {
        heads.push(put(journal, "s", n, "x").await);
    }
    let of = |n: usize, state: &[u8]| Snapshot { head: heads[n].clone(), state: state.into() };
    journal.save_snapshot(&name, of(1, b"two")).await.unwrap();
    assert_eq!(journal.snapshot(&name).await, Ok(Some(of(1, b"two"))));
    journal.save_snapshot(&name, of(0, b"late")).await.unwrap();
    assert_eq!(journal.snapshot(&name).await, Ok(Some(of(1, b"two"))), "an older fold does not replace a newer one");
    journal.save_snapshot(&name, of(1, b"again")).await.unwrap();
    journal.save_snapshot(&name, of(2, b"")).await.unwrap();
    assert_eq!(journal.snapshot(&name).await, Ok(Some(of(2, b""))));
    let elsewhere = Snapshot { head: Head { seq: Seq(3), hash: Sha256Hex::of(b"else") }, state: vec![] };
    let refused = journal.save_snapshot(&name, elsewhere).await;
    assert_eq!(refused, Err(AppendError::Failed("a snapshot at 3 does not fit stream s".into())));
    assert_eq!(journal.snapshot(&stream("t")).await, Ok(None));
}

async fn beats(journal: &dyn Journal) {
    let (a, b) = (OwnerId::new("owner-a").unwrap(), OwnerId::new("owner-b").unwrap());
    assert_eq!(journal.beats(&a).await, Ok(None));
    journal.beat(&a).await.unwrap();
    journal.beat(&b).await.unwrap();
    journal.beat(&a).await.unwrap();
    assert_eq!(journal.beats(&a).await, Ok(Some(2)));
    assert_eq!(journal.beats(&b).await, Ok(Some(1)));
    assert_eq!(journal.verify(None).await.unwrap().entries, 0, "a beat is no entry");
}
