//! Random steps against the plainest journal there could be: a map of streams to events.

use super::{batch, event, stream};
use deployctl_core::id::Fence;
use deployctl_core::journal::{AppendError, Batch, Journal, Seq, StreamId, Write};
use futures_util::future::join_all;
use std::collections::BTreeMap;

/// What one writer tries: writes as (stream, how far off it expects the stream, events), and a fence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The writes: a stream's number, by how much the expected number is wrong, how many events.
    pub writes: Vec<(u8, u64, u8)>,
    /// The scope's number and the fence, if it names one.
    pub fence: Option<(u8, u64)>,
}

/// `count` steps drawn from `seed`.
pub fn random_steps(seed: u64, count: usize) -> Vec<Vec<Step>> {
    let mut draw = Draw(seed.wrapping_add(0x9E37_79B9_7F4A_7C15));
    (0..count).map(|_| (0..=draw.below(3)).map(|_| draw.step()).collect()).collect()
}

/// Numbers that a seed draws (splitmix64).
pub struct Draw(pub u64);

impl Draw {
    /// One below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % end
    }

    fn step(&mut self) -> Step {
        let mut writes = BTreeMap::new();
        for _ in 0..=self.below(2) {
            let wrong = u64::from(self.below(8) == 0);
            writes.insert(self.below(4), (wrong, self.below(4)));
        }
        let small = |n: u64| u8::try_from(n).unwrap_or_default();
        Step {
            writes: writes.into_iter().map(|(s, (wrong, events))| (small(s), wrong, small(events))).collect(),
            fence: (self.below(3) == 0).then(|| (small(self.below(2)), self.below(6))),
        }
    }
}

#[derive(Default)]
struct Model {
    streams: BTreeMap<StreamId, Vec<String>>,
    fences: BTreeMap<StreamId, Fence>,
    entries: u64,
}

impl Model {
    fn batch(&self, step: &Step, n: u64) -> Batch {
        let writes = step.writes.iter().map(|(number, wrong, events)| {
            let stream = stream(&format!("s/{number}"));
            let expected = Seq(self.streams.get(&stream).map_or(0, |s| s.len() as u64) + wrong);
            let entries = (0..u64::from(*events)).map(|e| event("step", n * 100 + e)).collect();
            Write { stream, expected, entries }
        });
        let fences = step.fence.iter().map(|(scope, fence)| (stream(&format!("f/{scope}")), Fence(*fence)));
        Batch { fences: fences.collect(), ..batch(writes.collect()) }
    }

    fn apply(&mut self, batch: &Batch) -> Result<Vec<Seq>, AppendError> {
        for (stream, given) in &batch.fences {
            let found = self.fences.get(stream).copied().unwrap_or_default();
            if *given < found {
                return Err(AppendError::Fenced { stream: stream.clone(), given: *given, found });
            }
        }
        for Write { stream, expected, .. } in &batch.writes {
            let found = Seq(self.streams.get(stream).map_or(0, |s| s.len() as u64));
            if *expected != found {
                return Err(AppendError::Conflict { stream: stream.clone(), expected: *expected, found });
            }
        }
        self.fences.extend(batch.fences.iter().cloned());
        let seqs = batch.writes.iter().map(|write| {
            self.entries += write.entries.len() as u64;
            if write.entries.is_empty() {
                return write.expected;
            }
            let events = self.streams.entry(write.stream.clone()).or_default();
            events.extend(write.entries.iter().map(|entry| entry.event.clone()));
            Seq(events.len() as u64)
        });
        Ok(seqs.collect())
    }
}

/// Takes `steps` on an empty journal; those of one group are tried at once, in this order. Panics where the journal
/// and the model part.
pub async fn steps(journal: &dyn Journal, steps: &[Vec<Step>]) {
    let mut model = Model::default();
    for (n, group) in (0..).zip(steps) {
        let batches: Vec<Batch> = (0..).zip(group).map(|(w, step)| model.batch(step, n * 10 + w)).collect();
        let got = join_all(batches.iter().map(|batch| journal.append(batch.clone()))).await;
        for (batch, got) in batches.iter().zip(got) {
            let got = got.map(|heads| heads.into_iter().map(|head| head.seq).collect::<Vec<_>>());
            assert_eq!(got, model.apply(batch), "step {n}: {batch:?}");
        }
    }
    for (name, events) in &model.streams {
        let entries = journal.read(name, Seq(0), usize::MAX).await.unwrap();
        let kept: Vec<&String> = entries.iter().map(|entry| &entry.event).collect();
        assert_eq!(kept, events.iter().collect::<Vec<_>>(), "stream {name}");
    }
    for (name, fence) in &model.fences {
        assert_eq!(journal.fence(name).await, Ok(*fence));
    }
    assert_eq!(journal.streams("s/").await.unwrap(), model.streams.keys().cloned().collect::<Vec<_>>());
    let verified = journal.verify(None).await.unwrap();
    assert_eq!((verified.entries, verified.streams), (model.entries, model.streams.len() as u64));
    let newest = journal.newest("s/", &["step"], None, usize::MAX).await.unwrap();
    let positions: Vec<u64> = newest.iter().map(|(position, _)| *position).collect();
    assert_eq!(positions, (1..=model.entries).rev().collect::<Vec<_>>());
}
