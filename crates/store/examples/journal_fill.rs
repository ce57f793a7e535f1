//! Makes a long history: `journal_fill JOURNAL SCOPE_STREAM COUNT` repeats the last deployment of a scope, with other ids,
//! through the journal's port. No engine may run. For the benchmarks.

use deployctl_core::id::{Fence, Sha256Hex};
use deployctl_core::journal::{Batch, Entry, Journal, NewEntry, Seq, Snapshot, StreamId, Write};
use deployctl_core::scope;
use deployctl_core::time::Millis;
use deployctl_store::SqliteJournal;
use std::path::Path;

/// So many deployments in one append.
const TOGETHER: u64 = 100;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [journal, stream, count] = &arguments[..] else { panic!("journal_fill JOURNAL SCOPE_STREAM COUNT") };
    let journal = SqliteJournal::open(Path::new(journal)).expect("a journal");
    let stream = StreamId(stream.clone());
    let count: u64 = count.parse().expect("a number");
    let all = journal.read(&stream, Seq(0), 1_000_000).await.expect("the scope's stream");
    let template = Template::of(&journal, &all).await;
    let mut seq = all.last().expect("an entry").seq;
    let mut fence = journal.fence(&stream).await.expect("a fence");
    let mut state = all.iter().fold(scope::State::default(), |state, entry| fold(state, &entry.event, entry.at));
    for start in (0..count).step_by(usize::try_from(TOGETHER).expect("small")) {
        let mut batch = Batch::default();
        let mut here = Vec::new();
        for number in start..(start + TOGETHER).min(count) {
            fence = Fence(fence.0 + 1);
            let (deployment, scope) = template.copy(number, fence);
            let id = StreamId(format!("deployment/{}", id(number)));
            batch.writes.push(Write { stream: id, expected: Seq(0), entries: deployment });
            here.extend(scope);
        }
        state = here.iter().fold(state, |state, entry| fold(state, &entry.event, entry.at));
        let added = here.len() as u64;
        batch.writes.push(Write { stream: stream.clone(), expected: seq, entries: here });
        batch.fences.push((stream.clone(), fence));
        let heads = journal.append(batch).await.expect("an append");
        seq = Seq(seq.0 + added);
        let head = heads.last().expect("the scope's head").clone();
        let snapshot = Snapshot { head, state: serde_json::to_vec(&state).expect("a state") };
        journal.save_snapshot(&stream, snapshot).await.expect("a snapshot");
    }
}

fn fold(state: scope::State, event: &str, at: Millis) -> scope::State {
    scope::evolve(state, &serde_json::from_str(event).expect("an event of a scope"), at, "bench")
}

fn id(number: u64) -> String {
    let digest = Sha256Hex::of(&number.to_be_bytes());
    let hex = digest.as_str();
    format!("019{:05x}-{}-7{}-8{}-{}", number & 0xfffff, &hex[..4], &hex[4..7], &hex[7..10], &hex[10..22])
}

/// One deployment that was closed.
struct Template {
    id: String,
    fence: u64,
    deployment: Vec<Entry>,
    scope: Vec<Entry>,
}

impl Template {
    async fn of(journal: &SqliteJournal, all: &[Entry]) -> Self {
        let opened = all.iter().rposition(|entry| entry.event.starts_with("{\"type\":\"opened\""));
        let scope = all[opened.expect("a deployment")..].to_vec();
        let event: serde_json::Value = serde_json::from_str(&scope[0].event).expect("an event");
        let id = event["deployment"].as_str().expect("its id").to_owned();
        let stream = StreamId(format!("deployment/{id}"));
        let deployment = journal.read(&stream, Seq(0), 1_000).await.expect("its entries");
        Self { id, fence: event["fence"].as_u64().expect("its fence"), deployment, scope }
    }

    fn copy(&self, number: u64, fence: Fence) -> (Vec<NewEntry>, Vec<NewEntry>) {
        let old = format!("\"fence\":{}", self.fence);
        let again = |entry: &Entry| NewEntry {
            at: Millis(entry.at.0 + number),
            actor: entry.actor.clone(),
            event: entry.event.replace(&self.id, &id(number)).replace(&old, &format!("\"fence\":{}", fence.0)),
        };
        (self.deployment.iter().map(again).collect(), self.scope.iter().map(again).collect())
    }
}
