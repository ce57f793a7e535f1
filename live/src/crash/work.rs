//! Several cases at a time: most of them wait for something.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Does `work` for each of `all`, with so many at a time, and gives the results in their order.
pub(crate) fn each<T: Sync, R: Send>(all: &[T], at_a_time: usize, work: impl Fn(usize, &T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, R)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..at_a_time.clamp(1, all.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(one) = all.get(at) else { return };
                    let result = work(at, one);
                    results.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((at, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn results_come_in_the_order_of_the_work() {
        let all: Vec<usize> = (0..100).collect();
        assert_eq!(super::each(&all, 7, |at, one| at + one), all.iter().map(|one| one * 2).collect::<Vec<_>>());
        assert_eq!(super::each(&[] as &[u8], 7, |_, _| 1), Vec::<i32>::new());
    }
}
