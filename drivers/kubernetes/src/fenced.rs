//! Writes of an owner that may have been replaced: each rests on what was seen, and on a right that was looked at just before.

use crate::cluster::How;
use crate::record::Entry;
use crate::site::Site;
use crate::trouble::Trouble;
use deployctl_core::fault::{Fault, FaultKind};
use deployctl_core::id::Fence;
use deployctl_kubernetes::{applyset, replace, same};
use deployctl_sys::crash;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Whoever was replaced finds it out so late at most. A successor comes after the lease time at the earliest, which is longer.
const FRESH: Duration = Duration::from_secs(1);
/// An object whose status changes all the time is tried so often.
const TRIES: usize = 8;
/// What is to be made anew is waited for so long; then it is tried again.
const GONE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(200);

/// By which fence an owner was admitted, and when that was last so.
#[derive(Clone, Default)]
pub(crate) struct Right(Arc<Mutex<Option<(Fence, Instant)>>>);

impl Right {
    pub(crate) fn seen(&self, fence: Fence) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((fence, Instant::now()));
    }

    /// The fence by which it has to be looked at again.
    fn stale(&self) -> Option<Fence> {
        let seen = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.filter(|(_, at)| at.elapsed() > FRESH).map(|(fence, _)| fence)
    }
}

impl Site {
    /// Just before a write: whoever was replaced since it was admitted stops here, also one that was asleep.
    pub(crate) async fn still_admitted(&self) -> Result<(), Fault> {
        crash::point("kubernetes.before-fence");
        self.look_again().await?;
        crash::point("kubernetes.after-fence");
        Ok(())
    }

    async fn look_again(&self) -> Result<(), Fault> {
        match self.right.stale() {
            Some(fence) => self.admitted(fence).await.map(drop),
            None => Ok(()),
        }
    }

    /// Just after something was made that was not there: whoever was asleep meanwhile, and was replaced, takes it back, unless the
    /// successor has it, too. That it may have it, it writes down before.
    pub(crate) async fn still_owns(&self, entry: &Entry) -> Result<(), Fault> {
        let Err(fault) = self.look_again().await else { return Ok(()) };
        if fault.kind == FaultKind::Conflict
            && self.record().await?.is_some_and(|record| !record.has(entry))
            && let Some(there) = self.find(entry).await?
            && applyset::stranger(&there, &self.set()).is_none()
        {
            self.delete_as(entry, &there, "Foreground").await?;
        }
        Err(fault)
    }

    /// Applies an object over what was `seen` of it, if anything was: what another owner applied or deleted since is not undone, and what
    /// was told to go since is looked at again. That its status changed since makes no difference.
    pub(crate) async fn over(&self, path: &str, object: &Value, seen: Option<&Value>, how: How) -> Result<(), Trouble> {
        let Some(seen) = seen else { return self.cluster.apply(path, object, how).await.map(drop) };
        let mut over = object.clone();
        // By its version alone one that is gone would be made again.
        for field in ["uid", "resourceVersion"] {
            over["metadata"][field] = seen["metadata"][field].clone();
        }
        for _ in 1..TRIES {
            match self.cluster.apply(path, &over, how).await {
                Err(trouble) if trouble.is_outdated() => match self.cluster.find(path).await? {
                    Some(now) if same::mark(&now) == same::mark(seen) && same::ends(&now) == same::ends(seen) => {
                        over["metadata"]["resourceVersion"] = now["metadata"]["resourceVersion"].clone();
                    }
                    _ => return Err(trouble),
                },
                done => return done.map(drop),
            }
        }
        self.cluster.apply(path, &over, how).await.map(drop)
    }

    /// Takes an object of ours away that is in the way of `wanted`, and returns when it is gone.
    pub(crate) async fn clear(&self, entry: &Entry, wanted: &Value) -> Result<(), Fault> {
        let (name, end) = (entry.name(), Instant::now() + GONE);
        loop {
            let Some(there) = self.find(entry).await? else { return Ok(()) };
            if let Some(why) = applyset::stranger(&there, &self.set()) {
                return Err(Fault::platform(format!("{name} is to be made anew, and is not ours any more: {why}")));
            }
            if !same::ends(&there) {
                self.still_admitted().await?;
                let keeps = replace::keeps_pods(&there, wanted);
                self.delete_as(entry, &there, if keeps { "Orphan" } else { "Foreground" }).await?;
            }
            if Instant::now() > end {
                return Err(Fault::platform(format!("{name} is to end before it is made anew")));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Deletes an object as it was seen, unless it changed since, is gone, or may not be deleted.
    pub(crate) async fn delete_seen(&self, entry: &Entry, there: &Value) -> Result<(), Fault> {
        self.delete_unless(entry, there, "Background", &[403, 404, 409]).await.map(drop)
    }

    /// Deletes an object as it was seen.
    pub(crate) async fn delete_as(&self, entry: &Entry, there: &Value, policy: &str) -> Result<(), Fault> {
        if self.delete_unless(entry, there, policy, &[404]).await? {
            crash::point("kubernetes.deleted");
        }
        Ok(())
    }

    /// Whether it was told to go: with one of these statuses it was not, and that is all right.
    async fn delete_unless(&self, entry: &Entry, there: &Value, policy: &str, statuses: &[u16]) -> Result<bool, Fault> {
        let what = entry.name().to_string();
        let path = self.path(entry, &what).await?;
        let metadata = &there["metadata"];
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": policy,
            "preconditions": { "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"] },
        });
        match self.cluster.delete(&path, &options).await {
            Err(trouble) if trouble.status().is_some_and(|status| statuses.contains(&status)) => Ok(false),
            done => done.map(|_| true).map_err(|trouble| self.fault(trouble, &what)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::Wanted;
    use crate::cluster::Cluster;
    use crate::record::Record;
    use deployctl_core::config::ManifestObject;
    use deployctl_core::id::{RegionName, Scope};
    use deployctl_kubernetes::object::Name;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;

    /// What an API server was asked: the method, and what was sent.
    type Asked = Arc<Mutex<Vec<(String, Value)>>>;

    /// An API server that has these answers, and where its kubeconfig is.
    fn server(answers: Vec<(u16, Value)>) -> (tempfile::TempDir, Asked) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Asked::default();
        let kept = asked.clone();
        std::thread::spawn(move || {
            for (status, body) in answers {
                let (stream, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(stream);
                let (mut first, mut length) = (String::new(), 0);
                reader.read_line(&mut first).unwrap();
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line).unwrap();
                    let line = line.trim().to_lowercase();
                    match line.strip_prefix("content-length:") {
                        Some(said) => length = said.trim().parse().unwrap(),
                        None if line.is_empty() => break,
                        None => {}
                    }
                }
                let mut sent = vec![0; length];
                reader.read_exact(&mut sent).unwrap();
                let method = first.split(' ').next().unwrap_or_default().to_owned();
                kept.lock().unwrap().push((method, serde_json::from_slice(&sent).unwrap_or_default()));
                let text = body.to_string();
                let head =
                    format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", text.len());
                reader.get_mut().write_all(format!("{head}{text}").as_bytes()).unwrap();
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "clusters": [{ "name": "c", "cluster": { "server": url } }],
            "users": [{ "name": "u", "user": {} }], "contexts": [{ "name": "test", "context": { "cluster": "c", "user": "u" } }],
        });
        std::fs::write(folder.path().join("kubeconfig"), config.to_string()).unwrap();
        (folder, asked)
    }

    fn site(folder: &tempfile::TempDir) -> Site {
        let scope = Scope {
            project: "shop".parse().unwrap(),
            environment: "dev".parse().unwrap(),
            region: RegionName::default_region(),
            app: "api".parse().unwrap(),
        };
        Site {
            cluster: Arc::new(Cluster::new(Some("test".into()), Some(folder.path().join("kubeconfig")))),
            namespace: "shop".into(),
            scope,
            state: "abc".into(),
            right: Right::default(),
            watched: Arc::default(),
            secrets: Arc::new(|_| Err(Fault::platform("no secrets here"))),
        }
    }

    fn web(version: &str, mark: &str) -> Value {
        let marks = json!({ same::APPLIED: mark });
        let metadata = json!({ "name": "web", "uid": "u-1", "resourceVersion": version, "annotations": marks });
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata })
    }

    fn modified() -> (u16, Value) {
        (409, json!({ "kind": "Status", "message": "Operation cannot be fulfilled: the object has been modified" }))
    }

    const PATH: &str = "/apis/apps/v1/namespaces/shop/deployments/web";

    #[tokio::test]
    async fn a_status_that_changed_is_no_obstacle_and_what_another_owner_applied_is() {
        let (folder, asked) = server(vec![modified(), (200, web("2", "old")), (200, web("3", "new"))]);
        let how = How { force: false, dry: false };
        let wanted = json!({ "metadata": { "name": "web", "annotations": { same::APPLIED: "new" } } });
        site(&folder).over(PATH, &wanted, Some(&web("1", "old")), how).await.unwrap();
        let sent = |field: &str| -> Vec<Value> {
            asked.lock().unwrap().iter().map(|(_, sent)| sent["metadata"][field].clone()).collect()
        };
        assert_eq!(sent("resourceVersion"), [json!("1"), json!(null), json!("2")]);
        assert_eq!(sent("uid"), [json!("u-1"), json!(null), json!("u-1")], "one that is gone is not made again");

        let (folder, asked) = server(vec![modified(), (200, web("2", "of the successor"))]);
        let trouble = site(&folder).over(PATH, &wanted, Some(&web("1", "old")), how).await.unwrap_err();
        assert!(trouble.is_outdated(), "{trouble:?}");
        assert_eq!(asked.lock().unwrap().len(), 2, "it is not written again");
        assert_eq!(
            trouble.fault("`test`", "Deployment/web").kind,
            FaultKind::Platform,
            "looked at again, it is decided anew"
        );
    }

    #[tokio::test]
    async fn what_was_told_to_go_is_gone_before_it_is_applied_again() {
        let kinds = json!({ "resources": [{ "name": "deployments", "kind": "Deployment", "namespaced": true }] });
        let mut ending = web("1", "old");
        ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        let own = site(&tempfile::tempdir().unwrap()).set();
        ending["metadata"]["labels"] = json!({ applyset::PART_OF: own });
        let list = json!({ "metadata": { "resourceVersion": "1" }, "items": [ending] });
        let gone = (404, json!({ "kind": "Status" }));
        let (folder, asked) = server(vec![(200, kinds), (200, list), (200, ending), gone, (200, web("2", "new"))]);
        let name = Name::of(&web("1", "new")).unwrap();
        let manifest = ManifestObject {
            from: "web.yaml:1".into(),
            object: json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" } }),
        };
        let wanted = Wanted { entry: Entry::of(&name), name, manifest };
        let site = site(&folder);
        let there = site.there(std::slice::from_ref(&wanted)).await.unwrap();
        site.apply(&wanted, &Record::new("abc".into()), &there, false).await.unwrap();
        let methods: Vec<String> = asked.lock().unwrap().iter().map(|(method, _)| method.clone()).collect();
        assert_eq!(
            methods,
            ["GET", "GET", "GET", "GET", "PATCH"],
            "kinds, a list, twice the object, and then it is made"
        );

        // Told to go between the list and the write: looked at again, it is decided anew.
        let (folder, _) = server(vec![modified(), (200, json!({ "metadata": { "deletionTimestamp": "x" } }))]);
        let how = How { force: false, dry: false };
        let plain = json!({ "metadata": { "name": "web", "resourceVersion": "1" } });
        let trouble = self::site(&folder).over(PATH, &plain, Some(&plain), how).await.unwrap_err();
        assert!(trouble.is_outdated(), "{trouble:?}");
    }

    #[tokio::test]
    async fn who_slept_looks_at_its_right_again_before_it_writes() {
        let record = Record { fence: Fence(8), ..Record::new("abc".into()) };
        let (folder, asked) = server(vec![(200, record.object(&site(&tempfile::tempdir().unwrap()).scope, "shop"))]);
        let site = site(&folder);
        assert_eq!(site.still_admitted().await, Ok(()), "nobody was admitted by a fence: nothing is written by one");
        site.right.seen(Fence(7));
        assert_eq!(site.still_admitted().await, Ok(()), "a moment ago it was so");
        assert_eq!(asked.lock().unwrap().len(), 0);
        let Some(long_ago) = Instant::now().checked_sub(FRESH * 2) else { return };
        *site.right.0.lock().unwrap() = Some((Fence(7), long_ago));
        let fault = site.still_admitted().await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Conflict);
        assert!(fault.message.ends_with("the owner with fence 7 was replaced by one with 8"), "{fault}");
    }

    #[tokio::test]
    async fn who_slept_takes_back_what_it_made_unless_the_successor_has_it() {
        let entry = Entry { api_version: "v1".into(), kind: "ConfigMap".into(), name: "more".into() };
        let scope = site(&tempfile::tempdir().unwrap()).scope;
        let owned = |inventory: Vec<Entry>| {
            let record = Record { fence: Fence(8), inventory, ..Record::new("abc".into()) };
            (200, record.object(&scope, "shop"))
        };
        let kinds = json!({ "resources": [{ "name": "configmaps", "kind": "ConfigMap", "namespaced": true }] });
        let set = site(&tempfile::tempdir().unwrap()).set();
        let there = json!({ "kind": "ConfigMap", "metadata": {
            "name": "more", "uid": "1", "resourceVersion": "5", "labels": { applyset::PART_OF: set },
        } });
        let late = |folder: &tempfile::TempDir| {
            let site = site(folder);
            let long_ago = Instant::now().checked_sub(FRESH * 2);
            *site.right.0.lock().unwrap() = long_ago.map(|at| (Fence(7), at));
            site
        };
        let answers = vec![owned(vec![]), owned(vec![]), (200, kinds), (200, there), (200, json!({}))];
        let (folder, asked) = server(answers);
        let fault = late(&folder).still_owns(&entry).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Conflict);
        let (method, options) = asked.lock().unwrap().last().cloned().unwrap();
        assert_eq!((&*method, &options["preconditions"]), ("DELETE", &json!({ "uid": "1", "resourceVersion": "5" })));

        let known = owned(vec![entry.clone()]);
        let (folder, asked) = server(vec![known.clone(), known]);
        assert_eq!(late(&folder).still_owns(&entry).await.unwrap_err().kind, FaultKind::Conflict);
        assert_eq!(asked.lock().unwrap().len(), 2, "what the successor has stays");
    }
}
