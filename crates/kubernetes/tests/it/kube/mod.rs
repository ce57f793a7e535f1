//! Every class of failure on a real control plane and a real node: made, and judged from what the cluster then says.
//!
//! With `DEPLOYCTL_RECORD` set, what was seen goes into `tests/cases/recorded`.

mod classes;
mod record;
mod registry;

use classes::{Class, classes};
use deployctl_kubernetes::verdict::{self, Verdict, Word};
use deployctl_live::kube::{Cluster, lacking};
use registry::Broken;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What is looked at; all of it at once, so that the API server is asked once for all classes.
const KINDS: &str = "deployments,replicasets,statefulsets,daemonsets,pods,jobs,cronjobs,persistentvolumeclaims,services,\
    endpointslices.discovery.k8s.io,ingresses,horizontalpodautoscalers,poddisruptionbudgets,resourcequotas,configmaps,secrets,serviceaccounts,events";
/// Even where other tests want the processor too.
const PATIENCE: Duration = Duration::from_secs(240);

fn cluster() -> Option<Cluster> {
    if let Some(what) = lacking() {
        assert_ne!(std::env::var("DEPLOYCTL_LIVE").as_deref(), Ok("all"), "a real cluster needs {what}");
        eprintln!("skipped: it needs {what}");
        return None;
    }
    Some(Cluster::start().expect("a cluster"))
}

/// All objects of each namespace.
fn look(cluster: &Cluster) -> BTreeMap<String, Vec<Value>> {
    let mut spaces: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let Ok(list) = cluster.get(&[KINDS, "--all-namespaces"]) else { return spaces };
    for object in list["items"].as_array().expect("items") {
        let space = object["metadata"]["namespace"].as_str().unwrap_or_default();
        spaces.entry(space.to_owned()).or_default().push(object.clone());
    }
    spaces
}

fn about<'a>(verdicts: &'a [Verdict], which: &str) -> Option<&'a Verdict> {
    verdicts.iter().find(|one| format!("{}/{}", one.kind, one.name) == which)
}

fn is_met(class: &Class, verdicts: &[Verdict]) -> bool {
    class.wanted.iter().all(|(which, word, words)| {
        about(verdicts, which).is_some_and(|one| one.verdict == *word && one.reason.contains(words))
    })
}

#[test]
fn every_class_of_failure_is_seen_on_a_real_node() {
    let Some(cluster) = cluster() else { return };
    let Some(registry) = deployctl_live::registry::Registry::open_at(&cluster.gateway()) else { return };
    let broken = Broken::start(&cluster.gateway());
    for address in [registry.address(), broken.address()] {
        cluster.trust(address).expect("a trusted registry");
    }
    let classes = classes(registry.address(), broken.address());
    for class in &classes {
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": class.objects });
        cluster.apply(&list.to_string()).unwrap_or_else(|why| panic!("{}: {why}", class.name));
    }
    let end = Instant::now() + PATIENCE;
    let mut open: Vec<&Class> = classes.iter().collect();
    let mut seen = BTreeMap::new();
    while !open.is_empty() {
        let spaces = look(&cluster);
        open.retain(|class| {
            let Some(objects) = spaces.get(class.name) else { return true };
            let verdicts = verdict::of(objects);
            for (which, word, words) in &class.wanted {
                // What heals, or is well, is never called lost on the way there.
                let one = about(&verdicts, which);
                let lost = one.filter(|one| *word != Word::Failed && one.verdict == Word::Failed);
                assert!(lost.is_none(), "{}: {which} is to be {word} ({words}): {lost:?}", class.name);
            }
            if is_met(class, &verdicts) {
                seen.insert(class.name, objects.clone());
            }
            !is_met(class, &verdicts)
        });
        if Instant::now() > end {
            let left = open.iter().map(|class| {
                let verdicts = spaces.get(class.name).map(|objects| verdict::of(objects)).unwrap_or_default();
                format!("{}: wanted {:?}\n  but {verdicts:#?}", class.name, class.wanted)
            });
            panic!("not seen within {PATIENCE:?}:\n{}", left.collect::<Vec<_>>().join("\n"));
        }
    }
    if std::env::var_os("DEPLOYCTL_RECORD").is_some() {
        record::write(&classes, &seen, registry.address(), broken.address());
    }
    heals(&cluster);
    an_old_version_that_crashes_does_not_count(&cluster);
}

/// Waits until an object of a namespace has a verdict.
fn wait(cluster: &Cluster, space: &str, which: &str, word: Word) {
    let end = Instant::now() + PATIENCE;
    loop {
        let objects = look(cluster).remove(space).unwrap_or_default();
        let verdicts = verdict::of(&objects);
        if about(&verdicts, which).is_some_and(|one| one.verdict == word) {
            return;
        }
        assert!(Instant::now() < end, "{space}: {which} does not become {word}: {verdicts:#?}");
    }
}

/// What was missing comes: as soon as it is among the objects, nobody calls it a failure, and then all is well.
fn heals(cluster: &Cluster) {
    let space = "no-config-map";
    let map =
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "settings", "namespace": space } });
    cluster.apply(&map.to_string()).expect("a ConfigMap");
    let verdicts = verdict::of(&look(cluster).remove(space).expect("objects"));
    let now = about(&verdicts, "Deployment/web").expect("a Deployment");
    assert_ne!(now.verdict, Word::Failed, "{}", now.reason);
    wait(cluster, space, "Deployment/web", Word::Ready);
}

/// The version before crashes; the next one does not, and is never blamed for it.
fn an_old_version_that_crashes_does_not_count(cluster: &Cluster) {
    let space = "exits";
    let next = classes::deployment(space, json!({ "args": ["serve", "8080"] }), json!({}));
    cluster.apply(&next.to_string()).expect("the next version");
    let end = Instant::now() + PATIENCE;
    loop {
        let verdicts = verdict::of(&look(cluster).remove(space).expect("objects"));
        let now = about(&verdicts, "Deployment/web").expect("a Deployment");
        assert!(!now.reason.contains("exit code") && now.verdict != Word::Failed, "{}", now.reason);
        if now.verdict == Word::Ready {
            return;
        }
        assert!(Instant::now() < end, "{}", now.reason);
    }
}
