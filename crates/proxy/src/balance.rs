//! Which side, and which of its instances, takes a request. Pure.

/// Shares are kept to for clients that stay on a side by dealing them so many buckets.
pub(crate) const BUCKETS: u32 = 1 << 16;

/// Smooth weighted round robin: over any run of `sum(weights)` choices each side is chosen exactly by its weight, and
/// the choices of one side are spread. `current` is its memory. None if all weights are 0.
pub(crate) fn smooth(weights: impl Iterator<Item = u32> + Clone, current: &mut [i64]) -> Option<usize> {
    let total: i64 = weights.clone().map(i64::from).sum();
    if total == 0 {
        return None;
    }
    let mut best: Option<usize> = None;
    for (at, weight) in weights.enumerate() {
        if weight == 0 {
            continue;
        }
        current[at] += i64::from(weight);
        if best.is_none_or(|best| current[at] > current[best]) {
            best = Some(at);
        }
    }
    let best = best?;
    current[best] -= total;
    Some(best)
}

/// The side that a client with this bucket is on. When one weight of two grows, clients only move to that side.
pub(crate) fn of_bucket(weights: impl Iterator<Item = u32> + Clone, bucket: u32) -> Option<usize> {
    let total: u64 = weights.clone().map(u64::from).sum();
    if total == 0 {
        return None;
    }
    let point = u64::from(bucket % BUCKETS) * total;
    let mut upper = 0;
    weights.enumerate().find_map(|(at, weight)| {
        upper += u64::from(weight) * u64::from(BUCKETS);
        (point < upper).then_some(at)
    })
}

/// A bucket of side `side`, chosen by `random` among those that it has; none if it has none.
pub(crate) fn bucket_of(weights: impl Iterator<Item = u32> + Clone, side: usize, random: u64) -> Option<u32> {
    let total: u64 = weights.clone().map(u64::from).sum();
    let before: u64 = weights.clone().take(side).map(u64::from).sum();
    let weight = u64::from(weights.clone().nth(side)?);
    if weight == 0 {
        return None;
    }
    let buckets = u64::from(BUCKETS);
    let first = (before * buckets).div_ceil(total);
    let end = ((before + weight) * buckets).div_ceil(total);
    let bucket = if end > first { first + random % (end - first) } else { return None };
    u32::try_from(bucket).ok()
}

/// The bucket of a client that is known by a text.
pub(crate) fn bucket_of_text(text: &[u8]) -> u32 {
    let hash = text
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    // The low bits of this hash depend on few bits of the text; fold the rest in.
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 48) as u32
}

/// The one with the fewest requests among those that are `fit`, in turn from `start` where several have as few; among
/// all if none is fit. `avoid` only counts as long as there is another.
pub(crate) fn least(
    count: usize,
    start: usize,
    load: impl Fn(usize) -> u64,
    fit: impl Fn(usize) -> bool,
    avoid: impl Fn(usize) -> bool,
) -> Option<usize> {
    let rank = |at: usize| (avoid(at), !fit(at), load(at));
    (0..count).map(|turn| (start + turn) % count).min_by_key(|at| rank(*at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact_over_time() {
        for weights in [vec![9000, 1000], vec![1, 1, 1], vec![0, 5], vec![9999, 1], vec![3, 0, 7]] {
            let (mut current, mut seen) = (vec![0; weights.len()], vec![0; weights.len()]);
            let total: u32 = weights.iter().sum();
            for _ in 0..total * 3 {
                seen[smooth(weights.iter().copied(), &mut current).unwrap()] += 1;
            }
            assert_eq!(seen, weights.iter().map(|w| w * 3).collect::<Vec<_>>());
        }
        assert_eq!(smooth([0, 0].into_iter(), &mut [0, 0]), None);
    }

    #[test]
    fn ten_percent_is_every_tenth() {
        let mut current = [0; 2];
        let seen: Vec<_> = (0..20).map(|_| smooth([90, 10].into_iter(), &mut current).unwrap()).collect();
        for window in seen.windows(10) {
            assert_eq!(window.iter().sum::<usize>(), 1, "{seen:?}");
        }
    }

    #[test]
    fn buckets_follow_the_weights_and_only_move_to_what_grows() {
        let mut on_second = Vec::new();
        for weight in [0, 1, 10, 50, 99, 100] {
            let weights = [100 - weight, weight];
            let side = |bucket| of_bucket(weights.into_iter(), bucket).unwrap();
            let now: Vec<u32> = (0..BUCKETS).filter(|bucket| side(*bucket) == 1).collect();
            assert!((now.len() as i64 - i64::from(BUCKETS * weight / 100)).abs() <= 1, "{weight}: {}", now.len());
            assert!(on_second.iter().all(|bucket| now.contains(bucket)), "{weight}: a client went back");
            on_second = now.into_iter().step_by(997).collect();
        }
    }

    #[test]
    fn a_bucket_leads_back_to_its_side() {
        for weights in [vec![9000, 1000], vec![1, 1, 1], vec![9999, 1], vec![0, 3], vec![5, 0, 5]] {
            for side in (0..weights.len()).filter(|side| weights[*side] > 0) {
                for random in [0, 1, 77, u64::MAX] {
                    let bucket = bucket_of(weights.iter().copied(), side, random).unwrap();
                    assert_eq!(of_bucket(weights.iter().copied(), bucket), Some(side), "{weights:?} {random}");
                }
            }
        }
        assert_eq!(bucket_of([0, 3].into_iter(), 0, 1), None);
    }

    #[test]
    fn texts_spread_over_the_buckets() {
        let half = (0..10_000).filter(|n| bucket_of_text(format!("user-{n}").as_bytes()) < BUCKETS / 2).count();
        assert!((4_800..5_200).contains(&half), "{half}");
    }

    #[test]
    fn the_least_busy_in_turn() {
        let any = |_| true;
        let none = |_| false;
        assert_eq!(least(3, 0, |at| [2, 1, 1][at], any, none), Some(1));
        assert_eq!(least(3, 2, |at| [2, 1, 1][at], any, none), Some(2));
        assert_eq!(least(3, 0, |_| 0, |at| at == 2, none), Some(2), "the unfit is left out");
        assert_eq!(least(2, 1, |_| 0, none, none), Some(1), "the last one is never taken out");
        assert_eq!(least(2, 0, |_| 0, any, |at| at == 0), Some(1), "another one than before");
        assert_eq!(least(1, 0, |_| 0, any, any), Some(0), "the same if there is no other");
        assert_eq!(least(0, 0, |_| 0, any, none), None);
    }
}
