//! The output of a scope's instances: the last lines, then new ones as they come.

use crate::node::Inner;
use crate::tail::{last_lines, line};
use crate::tracked::Tracked;
use deployctl_core::fault::Fault;
use deployctl_core::id::{InstanceId, Scope};
use deployctl_core::instance::{LogLine, LogQuery};
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// New lines are looked for this often.
const LOOK: Duration = Duration::from_millis(100);
/// So much is read of one log at a time.
const READ: u64 = 256 * 1024;

struct Reader {
    node: Weak<Inner>,
    scope: Scope,
    query: LogQuery,
    followed: HashMap<InstanceId, Followed>,
    ready: VecDeque<LogLine>,
    begun: bool,
}

struct Followed {
    log: PathBuf,
    at: u64,
    partial: Vec<u8>,
}

/// The stream of lines; it ends by itself unless it follows.
pub(crate) fn stream(node: &Arc<Inner>, scope: Scope, query: LogQuery) -> BoxStream<'static, Result<LogLine, Fault>> {
    let node = Arc::downgrade(node);
    let reader = Reader { node, scope, query, followed: HashMap::new(), ready: VecDeque::new(), begun: false };
    futures_util::stream::unfold(reader, |mut reader| async move {
        loop {
            if let Some(line) = reader.ready.pop_front() {
                return Some((Ok(line), reader));
            }
            if reader.begun {
                if !reader.query.follow {
                    return None;
                }
                tokio::time::sleep(LOOK).await;
            }
            reader = tokio::task::spawn_blocking(move || reader.look()).await.ok().flatten()?;
        }
    })
    .boxed()
}

impl Reader {
    /// Reads what is new; `None` when the node is gone.
    fn look(mut self) -> Option<Self> {
        let node = self.node.upgrade()?;
        let mut all: Vec<Arc<Tracked>> = node.all().into_iter().filter(|t| *t.scope() == self.scope).collect();
        all.sort_by(|a, b| (a.spec.slot, &a.id).cmp(&(b.spec.slot, &b.id)));
        for tracked in all {
            match self.followed.get_mut(&tracked.id) {
                Some(followed) => followed.read(&tracked.id, &mut self.ready),
                None => self.take_up(&tracked),
            }
        }
        self.begun = true;
        Some(self)
    }

    fn take_up(&mut self, tracked: &Tracked) {
        let log = tracked.folder.log();
        // An instance that came while its scope is followed is shown from its first line.
        let at = if self.begun { 0 } else { log.metadata().map_or(0, |log| log.len()) };
        let mut followed = Followed { log, at, partial: Vec::new() };
        if self.begun {
            followed.read(&tracked.id, &mut self.ready);
        } else {
            let lines = last_lines(&tracked.folder, 0, self.query.tail);
            self.ready.extend(lines.into_iter().map(|line| LogLine { instance: tracked.id.clone(), line }));
        }
        self.followed.insert(tracked.id.clone(), followed);
    }
}

impl Followed {
    fn read(&mut self, id: &InstanceId, into: &mut VecDeque<LogLine>) {
        let Ok(new) = self.read_new() else { return };
        for byte in new {
            match byte {
                b'\n' => {
                    into.push_back(LogLine { instance: id.clone(), line: line(&std::mem::take(&mut self.partial)) })
                }
                0 if self.partial.is_empty() => {}
                byte => self.partial.push(byte),
            }
        }
    }

    fn read_new(&mut self) -> io::Result<Vec<u8>> {
        let mut file = File::open(&self.log)?;
        let length = file.metadata()?.len();
        if length < self.at {
            self.at = 0;
        }
        file.seek(SeekFrom::Start(self.at))?;
        let mut bytes = Vec::new();
        file.take((length - self.at).min(READ)).read_to_end(&mut bytes)?;
        self.at += bytes.len() as u64;
        Ok(bytes)
    }
}
