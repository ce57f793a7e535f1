//! The output of containers: the last lines, then new ones as they come.

use crate::client::{Trouble, USUAL};
use crate::docker::Inner;
use crate::labels;
use crate::view::moment;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::query_parameters::LogsOptionsBuilder;
use deployctl_core::fault::Fault;
use deployctl_core::id::{InstanceId, Scope};
use deployctl_core::instance::{LogLine, LogQuery};
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// So many of its last lines are shown with a failure.
const LAST_LINES: usize = 20;
/// A longer line is cut in pieces.
const LINE_MAX: usize = 64 * 1024;
/// New containers are looked for this often.
const LOOK: Duration = Duration::from_millis(500);

/// The last lines that a container printed; none if they cannot be had.
pub(crate) async fn last_lines(node: &Arc<Inner>, container: &str) -> Vec<String> {
    let Ok(engine) = node.engine() else { return Vec::new() };
    let Ok(api) = engine.client.api().await else { return Vec::new() };
    let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(&LAST_LINES.to_string()).build();
    let read = async {
        let mut lines = Lines::default();
        let mut output = Box::pin(api.logs(container, Some(options)));
        while let Some(Ok(piece)) = output.next().await {
            lines.take(&piece.into_bytes());
        }
        lines.end()
    };
    let mut lines = timeout(USUAL, read).await.unwrap_or_default();
    let many = lines.len().saturating_sub(LAST_LINES);
    lines.drain(..many);
    lines
}

/// What a piece of output says.
pub(crate) fn text(piece: LogOutput) -> String {
    String::from_utf8_lossy(&piece.into_bytes()).into_owned()
}

/// Pieces of output as lines.
#[derive(Default)]
struct Lines {
    partial: Vec<u8>,
    whole: Vec<String>,
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' || self.partial.len() >= LINE_MAX {
                let line = std::mem::take(&mut self.partial);
                let line = line.strip_suffix(b"\r").unwrap_or(&line);
                self.whole.push(String::from_utf8_lossy(line).into_owned());
            }
            if *byte != b'\n' {
                self.partial.push(*byte);
            }
        }
    }

    fn end(mut self) -> Vec<String> {
        if !self.partial.is_empty() {
            self.take(b"\n");
        }
        self.whole
    }
}

/// The stream of lines; it ends by itself unless it follows.
pub(crate) fn stream(node: &Arc<Inner>, scope: Scope, query: LogQuery) -> BoxStream<'static, Result<LogLine, Fault>> {
    let (to, from) = mpsc::channel(256);
    tokio::spawn(read_all(Arc::downgrade(node), scope, query, to));
    futures_util::stream::unfold(from, |mut from| async move { from.recv().await.map(|line| (line, from)) }).boxed()
}

type Sender = mpsc::Sender<Result<LogLine, Fault>>;

async fn read_all(node: Weak<Inner>, scope: Scope, query: LogQuery, to: Sender) {
    let mut known = BTreeSet::new();
    let mut readers = JoinSet::new();
    let mut begun = false;
    loop {
        let Some(inner) = node.upgrade() else { return };
        match containers(&inner, &scope).await {
            Ok(all) => {
                for (id, container) in all {
                    if known.insert(container.clone()) {
                        // One that came while its scope is followed is shown from its first line.
                        let tail = if begun { "all".to_owned() } else { query.tail.to_string() };
                        let reader = read_one(Arc::clone(&inner), id, container, tail, query.follow, to.clone());
                        if query.follow {
                            readers.spawn(reader);
                        } else {
                            reader.await;
                        }
                    }
                }
            }
            Err(trouble) if !begun => {
                let _ = to.send(Err(trouble.fault("the containers cannot be listed"))).await;
                return;
            }
            Err(_) => {}
        }
        begun = true;
        drop(inner);
        if !query.follow {
            return;
        }
        tokio::select! {
            () = to.closed() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn containers(node: &Arc<Inner>, scope: &Scope) -> Result<Vec<(InstanceId, String)>, Trouble> {
    let place = scope.to_string();
    let all = node.containers(&[(labels::SCOPE, place.as_str()), (labels::KIND, labels::INSTANCE)]).await?;
    let mut found: Vec<_> = all
        .into_iter()
        .filter_map(|container| {
            let id = container.labels.as_ref()?.get(labels::ID)?.clone();
            Some((InstanceId::new(id).ok()?, container.id?))
        })
        .collect();
    found.sort();
    Ok(found)
}

async fn read_one(node: Arc<Inner>, id: InstanceId, container: String, tail: String, follow: bool, to: Sender) {
    let node = Arc::downgrade(&node);
    let mut reader = Reader { node, id, container, tail, follow, to, last: String::new() };
    while reader.read().await && follow {
        // The engine ends the stream when the process ends, or when it is restarted itself.
        tokio::select! {
            () = reader.to.closed() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

struct Reader {
    node: Weak<Inner>,
    id: InstanceId,
    container: String,
    tail: String,
    follow: bool,
    to: Sender,
    /// When the last line was printed, as the engine writes it; these texts sort as the moments do.
    last: String,
}

impl Reader {
    /// Reads until the stream ends; `false` if there is no use in reading on.
    async fn read(&mut self) -> bool {
        let Some(node) = self.node.upgrade() else { return false };
        let Ok(engine) = node.engine() else { return false };
        let Ok(api) = engine.client.api().await else { return true };
        drop(node);
        let since = moment(&self.last).and_then(|at| i32::try_from(at.0 / 1000).ok()).unwrap_or(0);
        let tail = if since == 0 { self.tail.as_str() } else { "all" };
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).timestamps(true);
        let options = options.tail(tail).since(since).follow(self.follow).build();
        let mut output = Box::pin(api.logs(&self.container, Some(options)));
        let mut lines = Lines::default();
        loop {
            let next = tokio::select! {
                () = self.to.closed() => return false,
                next = output.next() => next,
            };
            let (over, missing) = match next {
                Some(Ok(piece)) => {
                    lines.take(&piece.into_bytes());
                    (false, false)
                }
                Some(Err(Error::DockerResponseServerError { status_code: 404, .. })) => (true, true),
                _ => (true, false),
            };
            if over && !lines.partial.is_empty() {
                lines.take(b"\n");
            }
            for line in std::mem::take(&mut lines.whole) {
                if !self.send(&line).await {
                    return false;
                }
            }
            if over {
                return !missing;
            }
        }
    }

    async fn send(&mut self, stamped: &str) -> bool {
        let (stamp, line) = stamped.split_once(' ').unwrap_or((stamped, ""));
        if stamp <= self.last.as_str() {
            return true;
        }
        stamp.clone_into(&mut self.last);
        self.to.send(Ok(LogLine { instance: self.id.clone(), line: line.to_owned() })).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;

    #[test]
    fn lines_are_put_together_from_pieces() {
        let mut lines = Lines::default();
        lines.take(b"one\r\ntw");
        lines.take(b"o\nthree");
        assert_eq!(lines.end(), ["one", "two", "three"]);
    }
}
