//! Requests that are sent when they are due.

use crate::http1::Http1;
use crate::load::Context;
use crate::outcome::{Answer, Kind, Loss, Lost, Outcome};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// One kind's schedule: request number `n` is due `n` periods after the beginning.
struct Schedule {
    kind: Kind,
    rate: u32,
    begun: u64,
}

impl Schedule {
    fn next_due(&self) -> Duration {
        Duration::from_nanos(self.begun * 1_000_000_000 / u64::from(self.rate))
    }
}

/// Kept-alive connections.
#[derive(Default)]
struct Kept {
    /// The longest idle one first.
    idle: RefCell<VecDeque<Http1>>,
    /// Those in use counted too.
    open: Cell<u32>,
}

/// Sends requests until the load is to stop; returns when all have ended.
pub(crate) async fn run(context: &Rc<Context>) {
    let rates = context.load.rates;
    let wanted =
        [(Kind::Kept, rates.kept), (Kind::Fresh, rates.fresh), (Kind::Upload, rates.upload), (Kind::H2, rates.h2)];
    let mut schedules: Vec<Schedule> = wanted
        .into_iter()
        .filter(|(_, rate)| *rate > 0)
        .map(|(kind, rate)| Schedule { kind, rate, begun: 0 })
        .collect();
    let kept = Rc::new(Kept::default());
    warm_up(context, &kept).await;
    let started = Instant::now();
    let in_flight = Rc::new(Cell::new(0usize));
    let mut requests = JoinSet::new();
    while !context.stopping() {
        let now = started.elapsed();
        for schedule in &mut schedules {
            while schedule.next_due() <= now {
                let due = started + schedule.next_due();
                schedule.begun += 1;
                if in_flight.get() >= context.load.in_flight_max {
                    context.tally.note_skipped();
                    continue;
                }
                in_flight.set(in_flight.get() + 1);
                requests.spawn_local(one(
                    Rc::clone(context),
                    Rc::clone(&kept),
                    schedule.kind,
                    due,
                    Rc::clone(&in_flight),
                ));
            }
        }
        while requests.try_join_next().is_some() {}
        let next = schedules.iter().map(Schedule::next_due).min().unwrap_or(Duration::from_secs(3600));
        context.rest((started + next).saturating_duration_since(Instant::now())).await;
    }
    while requests.join_next().await.is_some() {}
}

/// Opens the kept-alive connections, so that not all of them begin with the same request.
async fn warm_up(context: &Context, kept: &Kept) {
    if context.load.rates.kept + context.load.rates.upload == 0 {
        return;
    }
    for _ in 0..context.load.kept_connections {
        if let Ok(connection) = Http1::connect(&context.load.target, context.load.timeout).await {
            context.tally.note(Kind::Kept, |seen| seen.connections += 1);
            kept.open.set(kept.open.get() + 1);
            kept.idle.borrow_mut().push_back(connection);
        }
    }
}

async fn one(context: Rc<Context>, kept: Rc<Kept>, kind: Kind, due: Instant, in_flight: Rc<Cell<usize>>) {
    let sent = Instant::now();
    context.tally.note_behind(sent.saturating_duration_since(due));
    let load = &context.load;
    let result = match kind {
        Kind::H2 => context.h2.get(&context, &load.paths.version).await,
        Kind::Fresh => fresh(&context).await,
        Kind::Upload => {
            let size = load.upload_bytes;
            let mut request = request_to(&context, "POST", &load.paths.upload, &format!("Content-Length: {size}\r\n"));
            request.resize(request.len() + size, b'u');
            let answer = kept.exchange(&context, kind, &request).await;
            answer.and_then(|answer| came_back(answer, size))
        }
        _ => kept.exchange(&context, kind, &request_to(&context, "GET", &load.paths.version, "")).await,
    };
    context.tally.record(Outcome { kind, due, sent, result });
    in_flight.set(in_flight.get() - 1);
}

async fn fresh(context: &Context) -> Result<Answer, Lost> {
    let limit = context.load.timeout;
    context.tally.note(Kind::Fresh, |seen| seen.connections += 1);
    let mut connection = Http1::connect(&context.load.target, limit).await?;
    let request = request_to(context, "GET", &context.load.paths.version, "Connection: close\r\n");
    connection.exchange(&request, limit).await
}

impl Kept {
    async fn exchange(&self, context: &Context, kind: Kind, request: &[u8]) -> Result<Answer, Lost> {
        let mut connection = self.take(context, kind).await?;
        let answer = connection.exchange(request, context.load.timeout).await;
        if answer.is_ok() && !connection.last {
            self.idle.borrow_mut().push_back(connection);
        } else {
            self.open.set(self.open.get() - 1);
        }
        answer
    }

    /// The longest idle one; a new one if there are too few, or all are in use.
    async fn take(&self, context: &Context, kind: Kind) -> Result<Http1, Lost> {
        while self.open.get() >= context.load.kept_connections {
            let next = self.idle.borrow_mut().pop_front();
            let Some(mut connection) = next else { break };
            if !connection.ended().await {
                return Ok(connection);
            }
            self.open.set(self.open.get() - 1);
            context.tally.note(kind, |seen| seen.closed_between += 1);
        }
        context.tally.note(kind, |seen| seen.connections += 1);
        let connection = Http1::connect(&context.load.target, context.load.timeout).await?;
        self.open.set(self.open.get() + 1);
        Ok(connection)
    }
}

/// A 2xx answer to an upload has the body that was sent.
fn came_back(answer: Answer, size: usize) -> Result<Answer, Lost> {
    if answer.status == 200 && (answer.length != size as u64 || answer.body.iter().any(|byte| *byte != b'u')) {
        return Err(Lost::new(Loss::Malformed, format!("{size} bytes were sent, {} came back", answer.length)));
    }
    Ok(answer)
}

/// A request's head.
pub(crate) fn request_to(context: &Context, method: &str, path: &str, headers: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", context.load.target.authority()).into_bytes()
}
