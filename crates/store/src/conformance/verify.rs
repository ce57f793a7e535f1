//! The chain over all entries.

use super::{batch, event, put, write};
use deployctl_core::id::Sha256Hex;
use deployctl_core::journal::{Journal, chain_link, chain_start};
use std::sync::Arc;

pub(super) async fn all(make: &impl AsyncFn() -> Arc<dyn Journal>) {
    chain(&*make().await).await;
}

async fn chain(journal: &dyn Journal) {
    let empty = journal.verify(Some(&chain_start())).await.unwrap();
    assert_eq!((empty.streams, empty.entries, &empty.head, empty.known_at), (0, 0, &chain_start(), Some(0)));
    let first = put(journal, "a", 0, "x").await;
    let early = journal.verify(None).await.unwrap();
    assert_eq!((early.streams, early.entries, early.known_at), (1, 1, None));
    assert_eq!(early.head, chain_link(&chain_start(), &first.hash));
    let heads =
        journal.append(batch(vec![write("b", 0, vec![event("x", 1)]), write("a", 1, vec![event("x", 2)])])).await;
    let expected = heads.unwrap().iter().fold(early.head.clone(), |chain, head| chain_link(&chain, &head.hash));
    let now = journal.verify(Some(&early.head)).await.unwrap();
    assert_eq!((now.streams, now.entries, now.known_at, &now.head), (2, 3, Some(1), &expected));
    assert_eq!(journal.verify(Some(&now.head)).await.unwrap().known_at, Some(3));
    assert_eq!(journal.verify(Some(&Sha256Hex::of(b"elsewhere"))).await.unwrap().known_at, None);
    assert_eq!(journal.verify(Some(&first.hash)).await.unwrap().known_at, None, "an entry's hash is no head");
}
