//! How long a registry is waited for, and how often it is asked again.

use crate::trouble::{Trouble, TroubleKind};
use std::sync::Arc;
use std::time::Duration;

/// How long and how often. The time that is spent is bounded by all of it together.
#[derive(Clone)]
pub struct Patience {
    /// How often a request is made at most.
    pub attempts_max: u32,
    /// The first pause between two; each one after it is twice as long.
    pub pause: Duration,
    /// The longest pause; a registry that asks for a longer one is given up at once, and that is said.
    pub pause_max: Duration,
    /// How long a connection, and then the beginning of an answer, may take.
    pub answer_max: Duration,
    /// How long no byte of a body may come or go.
    pub stall_max: Duration,
    /// How long one body may take in all.
    pub body_max: Duration,
    /// Waits. Tests put in one that only notes for how long.
    pub wait: Arc<dyn Fn(Duration) + Send + Sync>,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempts_max: 5,
            pause: Duration::from_millis(500),
            pause_max: Duration::from_secs(30),
            answer_max: Duration::from_secs(30),
            stall_max: Duration::from_secs(30),
            body_max: Duration::from_secs(60 * 60),
            wait: Arc::new(std::thread::sleep),
        }
    }
}

impl std::fmt::Debug for Patience {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Patience").field("attempts_max", &self.attempts_max).finish_non_exhaustive()
    }
}

impl Patience {
    /// Does `work` until it is done, its trouble is none that passes, or patience ends.
    pub(crate) fn retry<T>(&self, mut work: impl FnMut() -> Result<T, Trouble>) -> Result<T, Trouble> {
        let mut pause = self.pause;
        let mut attempt = 1;
        loop {
            let trouble = match work() {
                Err(trouble) if trouble.is_passing() => trouble,
                done => return done,
            };
            let wanted = trouble.retry_after.unwrap_or(pause);
            if attempt >= self.attempts_max || wanted > self.pause_max {
                return Err(given_up(trouble, attempt));
            }
            (self.wait)(wanted.max(pause.min(self.pause_max)));
            attempt += 1;
            pause = (pause * 2).min(self.pause_max);
        }
    }
}

fn given_up(mut trouble: Trouble, attempts: u32) -> Trouble {
    if attempts > 1 {
        trouble.message.push_str(&format!(" (asked {attempts} times)"));
    }
    if let (TroubleKind::Busy, Some(after)) = (trouble.kind, trouble.retry_after) {
        trouble.hint = Some(format!("the registry wants to be asked again in {} s", after.as_secs()));
    }
    trouble
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    fn noting(attempts_max: u32) -> (Patience, Arc<Mutex<Vec<u64>>>) {
        let waits = Arc::new(Mutex::new(Vec::new()));
        let note = waits.clone();
        let wait = Arc::new(move |pause: Duration| note.lock().unwrap().push(pause.as_millis() as u64));
        (Patience { attempts_max, wait, ..Patience::default() }, waits)
    }

    #[test]
    fn pauses_double_and_the_registry_has_its_say() {
        let (patience, waits) = noting(5);
        let mut asked = 0;
        let done = patience.retry(|| {
            asked += 1;
            let retry_after = (asked == 2).then(|| Duration::from_secs(7));
            let busy = Trouble { retry_after, ..Trouble::new(TroubleKind::Busy, "busy") };
            if asked < 5 { Err(busy) } else { Ok(asked) }
        });
        assert_eq!(done, Ok(5));
        assert_eq!(*waits.lock().unwrap(), [500, 7_000, 2_000, 4_000]);
    }

    #[test]
    fn it_ends() {
        let (patience, waits) = noting(3);
        let never = patience.retry(|| Err::<(), _>(Trouble::new(TroubleKind::Unreachable, "no route")));
        assert_eq!(never.unwrap_err().message, "no route (asked 3 times)");
        assert_eq!(waits.lock().unwrap().len(), 2);
        let later = patience.retry(|| {
            let retry_after = Some(Duration::from_secs(3_600));
            Err::<(), _>(Trouble { retry_after, ..Trouble::new(TroubleKind::Busy, "429") })
        });
        assert_eq!(later.unwrap_err().hint.as_deref(), Some("the registry wants to be asked again in 3600 s"));
        let (patience, waits) = noting(3);
        let missing = patience.retry(|| Err::<(), _>(Trouble::new(TroubleKind::Missing, "no such image")));
        assert_eq!(missing.unwrap_err().message, "no such image");
        assert!(waits.lock().unwrap().is_empty(), "what is missing is not asked for again");
    }
}
