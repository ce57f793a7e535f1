//! What was listed of a scope, kept true by watching, for as long as somebody looks.
//!
//! Everything begins with a list that is made *after* the record was read and says what the API server has then; the
//! record changes with every release that is applied, and with it all is listed anew. So what is kept is never older than
//! what was applied. When a watch ends otherwise than by its time, nothing of what was kept is used again.

use crate::cluster::Cluster;
use crate::kinds::{KEPT_MAX, Kind, Listed};
use crate::trouble::Trouble;
use futures_util::FutureExt;
use futures_util::TryStreamExt;
use futures_util::future::select_all;
use http::{HeaderValue, Request, header};
use kube::Client;
use kube::core::WatchEvent;
use serde_json::Value;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Whatever the watches say, all is listed anew after this long: one that hangs is noticed by nothing else.
const RESYNC: Duration = Duration::from_secs(10);
/// Who has not looked for so long looks no more.
const IDLE: Duration = Duration::from_secs(60);
/// Nobody knows what was between two looks that are so far apart.
const GAP: Duration = Duration::from_secs(30);
/// Controllers and nodes may not notice for so long that an API server is back: a watch of theirs is tried again after 30 s at the latest, with
/// jitter after twice that (the reflectors of client-go).
const RECOVERY: Duration = Duration::from_secs(60);
/// Changes come in swarms.
const SWARM: Duration = Duration::from_millis(20);
/// Who waits is woken after this long, whether anything changed or not.
const WAKE: Duration = Duration::from_secs(5);
/// A watch that lived so long is none that fails at once.
const LIVED: Duration = Duration::from_secs(5);
/// For how long the server is asked to watch, in seconds.
const WATCH_SECS: u32 = 290;

/// What is known of one scope.
#[derive(Default)]
pub(crate) struct Watched {
    now: Mutex<Now>,
    moved: Moved,
}

/// Counts what happened.
#[derive(Clone)]
struct Moved(watch::Sender<u64>);

impl Default for Moved {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Moved {
    fn on(&self) {
        self.0.send_modify(|count| *count += 1);
    }
}

#[derive(Default)]
struct Now {
    shelf: Option<Shelf>,
    /// What had happened when it was looked last.
    seen: u64,
    looked: Option<Instant>,
    /// Since when the cluster answered whenever it was asked, and when it did so last.
    answers: Option<(Instant, Instant)>,
    /// Whether it did not answer before that.
    was_away: bool,
    /// How often watches ended at once, and until when none is begun for that.
    falls: u32,
    best: Option<Best>,
    rests_until: Option<Instant>,
}

/// As far as it ever came with one version of the record, and since when nothing came up any more on its course.
struct Best {
    course: u64,
    record: Option<String>,
    far: u64,
    at: Instant,
}

/// All that was listed at one time.
struct Shelf {
    /// The version of the record that was read before.
    record: Option<String>,
    kinds: Vec<Arc<Mutex<Kept>>>,
    listed: Instant,
    watching: Option<Ends>,
}

/// A task that ends with whoever has this.
struct Ends(AbortHandle);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Kept {
    listed: Listed,
    is_live: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watched {
    /// Something was changed by ourselves: whoever waits looks again.
    pub(crate) fn touched(&self) {
        self.moved.on();
    }

    /// Begins a look: from now on what happens is news.
    pub(crate) fn looks(&self) {
        let mut now = lock(&self.now);
        now.seen = *self.moved.0.borrow();
        now.looked = Some(Instant::now());
    }

    /// Notes whether the cluster answered.
    pub(crate) fn answered(&self, well: bool) {
        let mut now = lock(&self.now);
        let since = now.answers.filter(|(_, last)| last.elapsed() < GAP).map_or_else(Instant::now, |(since, _)| since);
        // Where nobody looked meanwhile, it was not away as far as anybody knows.
        now.was_away = !well || (now.was_away && now.answers.is_none_or(|(before, _)| before == since));
        now.answers = well.then(|| (since, Instant::now()));
    }

    /// For how long nothing came up any more on this course, if the cluster answered whenever it was asked since then, and was asked often:
    /// a time of which nobody knows is none, and neither is one in which controllers and nodes may not know yet that it is back.
    pub(crate) fn answers_for(&self, course: u64) -> Duration {
        let now = lock(&self.now);
        let since = now.answers.filter(|(_, last)| last.elapsed() < GAP).map(|(since, _)| since);
        let best = now.best.as_ref().filter(|best| best.course == course).map(|best| best.at);
        match (since, best) {
            (Some(since), Some(best)) if since <= best && now.was_away => best.max(since + RECOVERY).elapsed(),
            (Some(since), Some(best)) if since <= best => best.elapsed(),
            _ => Duration::ZERO,
        }
    }

    /// What is kept, if it is as new as this version of the record, and true by watching.
    pub(crate) fn kept(&self, record: Option<&str>, kinds: &[Kind]) -> Option<Vec<Vec<Value>>> {
        let now = lock(&self.now);
        let shelf = now.shelf.as_ref()?;
        let is_new = shelf.record.as_deref() == record && shelf.listed.elapsed() < RESYNC && shelf.watching.is_some();
        if !is_new || shelf.kinds.len() != kinds.len() {
            return None;
        }
        let of = |(kept, kind): (&Arc<Mutex<Kept>>, &Kind)| {
            let kept = lock(kept);
            (kept.is_live && kept.listed.kind == *kind).then(|| kept.listed.items.values().cloned().collect())
        };
        shelf.kinds.iter().zip(kinds).map(of).collect()
    }

    /// Whether what was applied has come farther than ever with this version of the record. That there is another version is no sign
    /// that anything came up: for how long nothing did goes on.
    pub(crate) fn progressed(&self, (course, record): (u64, Option<&str>), far: u64) -> bool {
        let mut now = lock(&self.now);
        let (at, record) = (Instant::now(), record.map(str::to_owned));
        match now.best.as_mut().filter(|best| best.course == course) {
            Some(best) if best.record != record => (best.record, best.far) = (record, far),
            Some(best) if far > best.far => (best.far, best.at) = (far, at),
            Some(_) => return false,
            None => now.best = Some(Best { course, record, far, at }),
        }
        true
    }

    /// Keeps what was listed just now, to be watched from there on.
    pub(crate) fn keep(&self, record: Option<String>, listed: Vec<Listed>) {
        let is_much = listed.iter().any(|listed| listed.items.len() > KEPT_MAX);
        let kept = |listed: Listed| Arc::new(Mutex::new(Kept { is_live: true, listed }));
        let kinds = listed.into_iter().map(kept).collect();
        lock(&self.now).shelf = (!is_much).then(|| Shelf { record, kinds, listed: Instant::now(), watching: None });
    }

    /// Returns when something may have changed since it was looked last. Watches meanwhile, if somebody looked at all.
    pub(crate) async fn changed(self: &Arc<Self>, cluster: Option<Arc<Cluster>>) {
        let mut moved = self.moved.0.subscribe();
        let seen = lock(&self.now).seen;
        if let Some(cluster) = cluster {
            self.begin(cluster);
        }
        let news = async {
            // The sender lives as long as this does.
            let _ = moved.wait_for(|count| *count > seen).await;
            tokio::time::sleep(SWARM).await;
        };
        let _ = tokio::time::timeout(WAKE, news).await;
    }

    fn begin(self: &Arc<Self>, cluster: Arc<Cluster>) {
        let mut now = lock(&self.now);
        let rests = now.rests_until.is_some_and(|until| Instant::now() < until);
        let is_idle = now.looked.is_none_or(|looked| looked.elapsed() > IDLE);
        let Some(shelf) = now.shelf.as_mut().filter(|shelf| !rests && !is_idle && shelf.watching.is_none()) else {
            return;
        };
        let kinds = shelf.kinds.clone();
        let watched = Arc::downgrade(self);
        let moved = self.moved.clone();
        let task = tokio::spawn(async move {
            let begun = Instant::now();
            let idle = async {
                loop {
                    tokio::time::sleep(IDLE).await;
                    let Some(watched) = watched.upgrade() else { return };
                    if lock(&watched.now).looked.is_none_or(|looked| looked.elapsed() > IDLE) {
                        return;
                    }
                }
            };
            let ended = tokio::select! {
                () = watch_all(&cluster, &kinds, &moved) => true,
                () = idle => false,
            };
            if let Some(watched) = watched.upgrade() {
                watched.ended(ended, begun.elapsed());
            }
        });
        shelf.watching = Some(Ends(task.abort_handle()));
    }

    /// The watches have ended: what was kept is of no use any more.
    fn ended(&self, badly: bool, lived: Duration) {
        let mut now = lock(&self.now);
        now.shelf = None;
        if badly {
            now.falls = if lived > LIVED { 0 } else { now.falls + 1 };
            let rest = Duration::from_millis(250 << now.falls.min(7));
            now.rests_until = Some(Instant::now() + rest);
        }
        drop(now);
        self.moved.on();
    }
}

/// Watches all kinds until the first of them cannot be watched any more.
async fn watch_all(cluster: &Cluster, kinds: &[Arc<Mutex<Kept>>], moved: &Moved) {
    let Ok(client) = cluster.patient().await else { return };
    let watches: Vec<_> = kinds.iter().map(|kept| watch_one(&client, kept, moved).boxed()).collect();
    if !watches.is_empty() {
        let _ = select_all(watches).await;
    }
}

async fn watch_one(client: &Client, kept: &Mutex<Kept>, moved: &Moved) {
    let Some(path) = lock(kept).listed.path.clone() else { return std::future::pending().await };
    loop {
        let begun = Instant::now();
        let said = watch_once(client, &path, kept, moved).await;
        // A server ends a watch when its time is over, or when it stops; then one may go on from there.
        if said.is_err() || begun.elapsed() < LIVED {
            lock(kept).is_live = false;
            return;
        }
    }
}

async fn watch_once(client: &Client, path: &str, kept: &Mutex<Kept>, moved: &Moved) -> Result<(), Trouble> {
    let lost = |why: String| Trouble::Lost(why);
    let (version, accept) = {
        let kept = lock(kept);
        (kept.listed.version.clone(), kept.listed.kind.accept(false))
    };
    let path = format!("{path}&watch=1&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECS}&resourceVersion={version}");
    let mut request = Request::new(Vec::new());
    *request.uri_mut() = path.parse().map_err(|e| lost(format!("`{path}` is no address: {e}")))?;
    request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static(accept));
    let events = client.request_events::<Value>(request).await.map_err(|e| lost(e.to_string()))?;
    let mut events = pin!(events);
    while let Some(event) = events.try_next().await.map_err(|e| lost(e.to_string()))? {
        if !lock(kept).take(event)? {
            continue;
        }
        moved.on();
    }
    Ok(())
}

impl Kept {
    /// Takes in an event; whether it is news.
    fn take(&mut self, event: WatchEvent<Value>) -> Result<bool, Trouble> {
        let object = match event {
            WatchEvent::Bookmark(bookmark) => {
                self.listed.version = bookmark.metadata.resource_version;
                return Ok(false);
            }
            // Such as that what has happened since is not known any more (410).
            WatchEvent::Error(status) => return Err(Trouble::Lost(status.message.clone())),
            WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, true),
            WatchEvent::Deleted(object) => (object, false),
        };
        let (object, is_there) = object;
        if let Some(version) = object["metadata"]["resourceVersion"].as_str() {
            self.listed.version = version.to_owned();
        }
        let Some((name, object)) = self.listed.kind.kept(object) else { return Ok(false) };
        match is_there {
            true => self.listed.items.insert(name, object),
            false => self.listed.items.remove(&name),
        };
        match self.listed.items.len() > KEPT_MAX {
            true => Err(Trouble::Lost("there are too many".into())),
            false => Ok(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn pods() -> Kind {
        Kind::near("v1", "Pod", false)
    }

    fn listed() -> Listed {
        let items = [("a".to_owned(), json!({ "metadata": { "name": "a" } }))];
        Listed { kind: pods(), path: Some("/x?".into()), items: BTreeMap::from(items), version: "7".into() }
    }

    fn event(text: Value) -> WatchEvent<Value> {
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn events_change_what_is_kept_and_from_where_it_goes_on() {
        let mut kept = Kept { listed: listed(), is_live: true };
        let pod = |name: &str, version: &str| json!({ "metadata": { "name": name, "resourceVersion": version } });
        let added = event(json!({ "type": "ADDED", "object": pod("b", "8") }));
        assert!(kept.take(added).unwrap());
        assert!(kept.take(event(json!({ "type": "DELETED", "object": pod("a", "9") }))).unwrap());
        let names: Vec<&String> = kept.listed.items.keys().collect();
        assert_eq!((names, kept.listed.version.as_str()), (vec![&"b".to_owned()], "9"));
        let metadata = json!({ "resourceVersion": "12" });
        let bookmark =
            json!({ "type": "BOOKMARK", "object": { "apiVersion": "v1", "kind": "Pod", "metadata": metadata } });
        assert!(!kept.take(event(bookmark)).unwrap(), "it is no news");
        assert_eq!(kept.listed.version, "12");
        let gone =
            json!({ "kind": "Status", "status": "Failure", "code": 410, "message": "too old", "reason": "Expired" });
        let why = kept.take(event(json!({ "type": "ERROR", "object": gone }))).unwrap_err();
        assert_eq!(why, Trouble::Lost("too old".into()));
    }

    #[test]
    fn a_time_in_which_the_cluster_did_not_answer_once_is_none() {
        let watched = Watched::default();
        let long = Duration::from_secs(20);
        let Some(long_ago) = Instant::now().checked_sub(long) else { return };
        let Some(before) = long_ago.checked_sub(Duration::from_secs(1)) else { return };
        let answers_since = |since: Instant| lock(&watched.now).answers = Some((since, Instant::now()));
        answers_since(before);
        assert_eq!(watched.answers_for(1), Duration::ZERO, "nobody knows when it came so far");
        assert!(
            watched.progressed((1, Some("a")), 3)
                && !watched.progressed((1, Some("a")), 3)
                && !watched.progressed((1, Some("a")), 2)
        );
        assert!(watched.answers_for(1) < long, "it came farther just now");
        lock(&watched.now).best.as_mut().unwrap().at = long_ago;
        watched.answered(true);
        assert!(watched.answers_for(1) >= long);
        assert_eq!(watched.answers_for(2), Duration::ZERO, "another release was applied since");
        // It was away, however long ago, and nothing came up since.
        watched.answered(false);
        assert_eq!(watched.answers_for(1), Duration::ZERO);
        answers_since(long_ago + Duration::from_secs(1));
        assert_eq!(watched.answers_for(1), Duration::ZERO);
        assert!(watched.progressed((1, Some("a")), 4));
        lock(&watched.now).best.as_mut().unwrap().at = long_ago + Duration::from_secs(2);
        assert_eq!(watched.answers_for(1), Duration::ZERO, "controllers may not know yet that it is back");
        let Some(much_before) = before.checked_sub(RECOVERY) else { return };
        answers_since(much_before);
        watched.answered(true);
        assert!(watched.answers_for(1) >= Duration::from_secs(18), "they do now");
        lock(&watched.now).was_away = false;
        answers_since(long_ago + Duration::from_secs(1));
        // It was away while it was applied: that this was written down since is no progress.
        assert!(watched.progressed((2, Some("b")), 3));
        lock(&watched.now).best.as_mut().unwrap().at = long_ago;
        assert!(watched.progressed((2, Some("c")), 2), "there is patience for another version");
        assert!(!watched.progressed((2, Some("c")), 2));
        assert_eq!(watched.answers_for(2), Duration::ZERO);
        answers_since(before);
        assert!(watched.answers_for(2) >= long, "it was there all the time");
        assert!(watched.progressed((2, Some("c")), 3));
        assert!(watched.answers_for(2) < long);
        let Some(too_long_ago) = Instant::now().checked_sub(GAP) else { return };
        lock(&watched.now).answers = Some((too_long_ago, too_long_ago));
        assert!(watched.progressed((1, Some("a")), 1));
        assert_eq!(watched.answers_for(1), Duration::ZERO, "nobody looked for so long");
    }

    #[test]
    fn what_is_not_watched_or_older_than_the_record_is_not_used() {
        let watched = Watched::default();
        watched.looks();
        watched.keep(Some("1".into()), vec![listed()]);
        assert_eq!(watched.kept(Some("1"), &[pods()]), None, "nobody watches it");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let task = runtime.spawn(std::future::pending::<()>());
        lock(&watched.now).shelf.as_mut().unwrap().watching = Some(Ends(task.abort_handle()));
        assert_eq!(watched.kept(Some("1"), &[pods()]).unwrap()[0].len(), 1);
        assert_eq!(watched.kept(Some("2"), &[pods()]), None, "another release was applied since");
        assert_eq!(watched.kept(Some("1"), &[]), None, "it is something else that is wanted");
        watched.ended(true, Duration::ZERO);
        assert_eq!(watched.kept(Some("1"), &[pods()]), None, "a watch has ended");
        let now = lock(&watched.now);
        assert!(now.falls == 1 && now.rests_until.is_some_and(|until| until > Instant::now()));
    }
}
