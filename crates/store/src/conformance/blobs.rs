//! Bytes by their digest.

use deployctl_core::id::Sha256Hex;
use deployctl_core::journal::Blobs;
use futures_util::future::join_all;
use std::sync::Arc;

/// Runs the suite of blobs on those from `make`.
pub async fn blobs(make: impl AsyncFn() -> Arc<dyn Blobs>) {
    put_and_get(&*make().await).await;
    retain(&*make().await).await;
    at_once(&*make().await).await;
}

async fn put_and_get(blobs: &dyn Blobs) {
    let all_bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    for bytes in [&b""[..], b"a", &all_bytes] {
        let digest = Sha256Hex::of(bytes);
        assert_eq!(blobs.get(&digest).await, Ok(None));
        assert_eq!(blobs.put(bytes.into()).await, Ok(digest.clone()));
        assert_eq!(blobs.put(bytes.into()).await, Ok(digest.clone()), "keeping twice is keeping once");
        assert_eq!(blobs.get(&digest).await.unwrap().as_deref(), Some(bytes));
    }
}

async fn retain(blobs: &dyn Blobs) {
    let mut digests = vec![];
    for n in 0..20_u8 {
        digests.push(blobs.put(vec![n]).await.unwrap());
    }
    assert_eq!(blobs.retain(&digests[5..]).await, Ok(5));
    assert_eq!(blobs.retain(&digests[5..]).await, Ok(0));
    for (n, digest) in digests.iter().enumerate() {
        assert_eq!(blobs.get(digest).await.unwrap().is_some(), n >= 5);
    }
    assert_eq!(blobs.retain(&[]).await, Ok(15));
    assert_eq!(blobs.get(&digests[9]).await, Ok(None));
}

async fn at_once(blobs: &dyn Blobs) {
    let put = join_all((0..24_u8).map(|n| blobs.put(vec![n / 3; 5000]))).await;
    for (n, digest) in (0..24_u8).zip(put) {
        assert_eq!(blobs.get(&digest.unwrap()).await.unwrap(), Some(vec![n / 3; 5000]));
    }
}
