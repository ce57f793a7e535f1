//! How many pods a side has.

use super::{Means, Sided, TOLERANCE, deployment};
use deployctl_core::desired::{Extent, FULL};
use serde_json::Value;
use std::collections::BTreeMap;

/// How many pods each Deployment of a side has, by its name in the release.
pub type Sizes = BTreeMap<String, u32>;

/// How many pods a Deployment of the side has, where the stable one has `beside` now. By route and switch it has what the share asks
/// for, so that capacity is there before traffic; by ratio its number is the share, and the stable one keeps all that it has.
pub fn size(sided: &Sided, new: &[Value], beside: u32, extent: Extent, share: u32) -> u32 {
    let said = deployment(new, &sided.name).and_then(|one| one["spec"]["replicas"].as_u64());
    let whole = said.map_or(beside, |said| u32::try_from(said).unwrap_or(u32::MAX));
    match (sided.means, extent) {
        (Means::Ratio, _) if share >= FULL => whole,
        (Means::Ratio, _) => nearest(beside, share),
        (Means::Route | Means::Switch, Extent::Enough(enough)) => part(whole, enough),
        (Means::Route | Means::Switch, _) => whole,
    }
}

/// Rounded up, and at least one of what is not nothing.
fn part(whole: u32, share: u32) -> u32 {
    let part = (u64::from(whole) * u64::from(share)).div_ceil(u64::from(FULL));
    u32::try_from(part).unwrap_or(u32::MAX)
}

/// So many pods beside `beside` others come nearest to a share.
fn nearest(beside: u32, share: u32) -> u32 {
    if share == 0 {
        return 0;
    }
    let (beside, share, full) = (u64::from(beside), u64::from(share.min(FULL - 1)), u64::from(FULL));
    let rest = full - share;
    let rounded = (beside * share + rest / 2) / rest;
    u32::try_from(rounded.max(1)).unwrap_or(u32::MAX)
}

/// Whether the number of pods can stand for a share, beside so many others; else the two shares around it that can be.
pub fn expressible(beside: u32, share: u32) -> Result<u32, Vec<u32>> {
    let of = |count: u32| {
        let all = u64::from(beside) + u64::from(count);
        u32::try_from((u64::from(FULL) * u64::from(count)).checked_div(all).unwrap_or(0)).unwrap_or(FULL)
    };
    let count = nearest(beside, share);
    if of(count).abs_diff(share) <= TOLERANCE && beside > 0 {
        return Ok(count);
    }
    Err(around(count, share, of))
}

/// The shares around one that can be: two at the most, of about so many pods.
pub(super) fn around(count: u32, share: u32, of: impl Fn(u32) -> u32) -> Vec<u32> {
    let mut near: Vec<u32> = [count.saturating_sub(1), count, count + 1].into_iter().map(of).collect();
    near.retain(|share| (1..FULL).contains(share));
    near.sort_by_key(|one| one.abs_diff(share));
    near.truncate(2);
    near.sort_unstable();
    near
}
