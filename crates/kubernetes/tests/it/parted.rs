//! StatefulSets some of whose pods are of another release: which, how many, and how they get there.

use deployctl_core::desired::FULL;
use deployctl_kubernetes::sides::{
    Parted, SIDE, at_a_time, config_of, divisible, is_beside, led_sets, parted, pick, turn,
};
use serde_json::{Value, json};

const MARK: &str = "ab12cd34";

fn object(api_version: &str, kind: &str, name: &str, more: Value) -> Value {
    let mut object = json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": name } });
    object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    object
}

/// A Service, a StatefulSet behind it that reads a ConfigMap, and one that takes no requests.
fn release(image: &str) -> Vec<Value> {
    let set = |name: &str, app: &str| {
        let container = json!({ "name": "c", "image": image, "envFrom": [{ "configMapRef": { "name": "settings" } }] });
        let template = json!({ "metadata": { "labels": { "app": app } }, "spec": { "containers": [container] } });
        let selector = json!({ "matchLabels": { "app": app } });
        let spec = json!({ "replicas": 3, "serviceName": name, "selector": selector, "template": template });
        object("apps/v1", "StatefulSet", name, json!({ "spec": spec }))
    };
    let spec = json!({ "clusterIP": "None", "selector": { "app": "db" }, "ports": [{ "port": 80 }] });
    vec![
        object("v1", "ConfigMap", "settings", json!({ "data": { "word": "a" } })),
        object("v1", "Service", "db", json!({ "spec": spec })),
        set("db", "db"),
        set("quiet", "quiet"),
    ]
}

#[test]
fn what_takes_requests_and_changes_is_replaced_in_its_places_and_nothing_else() {
    let (old, new) = (release("v1"), release("v2"));
    assert_eq!(parted(&old, &new, true).unwrap(), ["db"]);
    assert_eq!(parted(&old, &old, false).unwrap(), Vec::<String>::new(), "what stays may stay as it is");
    assert_eq!(parted(&old[..2], &new, false).unwrap(), Vec::<String>::new(), "one that comes is made at the end");
    assert_eq!(pick(&old, &new, true).unwrap(), [], "there is no second one of it");
    assert_eq!(config_of(&new, &["db".to_owned()]).into_iter().collect::<Vec<_>>(), ["settings"]);
    assert_eq!(at_a_time(&new, "db"), "one");
    let mut fast = new;
    fast[2]["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = 2.into();
    assert_eq!(at_a_time(&fast, "db"), "2");
}

#[test]
fn what_cannot_be_in_two_releases_is_refused_with_the_reason() {
    type Change<'a> = &'a dyn Fn(&mut Vec<Value>, &str);
    let strategy = |all: &mut Vec<Value>, strategy: Value| all[2]["spec"]["updateStrategy"] = strategy;
    let cases: [(Change<'_>, &str); 8] = [
        (
            &|all, _| strategy(all, json!({ "type": "OnDelete" })),
            "has `updateStrategy: OnDelete`, so the cluster replaces none of its pods",
        ),
        (
            &|all, _| strategy(all, json!({ "rollingUpdate": { "partition": 1 } })),
            "says a `partition` itself, and a canary goes by that",
        ),
        (
            &|all, version| all[2]["spec"]["volumeClaimTemplates"] = json!([{ "metadata": { "name": version } }]),
            "changes in `volumeClaimTemplates`, which cannot change in place, so no share of its pods can",
        ),
        (
            &|all, _| {
                let target = json!({ "kind": "StatefulSet", "name": "db" });
                let spec = json!({ "spec": { "scaleTargetRef": target } });
                all.push(object("autoscaling/v2", "HorizontalPodAutoscaler", "db", spec));
            },
            "has an autoscaler, which decides how many pods there are, so their number cannot stand for a share",
        ),
        (
            &|all, version| all[0]["data"]["word"] = version.into(),
            "reads ConfigMap/settings, which changes under its name, so pods of both versions would read the same; give it another name \
             for other values, as Kustomize's `configMapGenerator` does",
        ),
        (
            &|all, version| {
                all[1]["spec"]["selector"]["tier"] = version.into();
                all[2]["spec"]["template"]["metadata"]["labels"]["tier"] = version.into();
            },
            "has other labels, and Service/db would not lead to its new pods",
        ),
        (
            &|all, version| all[1]["spec"]["ports"][0]["targetPort"] = version.into(),
            "is behind Service/db, whose ports change, and pods of both versions would be behind it",
        ),
        (&|_, _| {}, ""),
    ];
    for (change, why) in cases {
        let with = |version: &str| {
            let mut all = release(version);
            change(&mut all, version);
            all
        };
        match (parted(&with("v1"), &with("v2"), true), why) {
            (Ok(sets), "") => assert_eq!(sets, ["db"]),
            (said, why) => assert_eq!(said, Err(format!("StatefulSet/db {why}"))),
        }
    }
    let why = parted(&release("v1"), &release("v2"), false).unwrap_err();
    let words = "StatefulSet/db takes requests and changes, and two of it cannot run beside each other: its pods have names and claims of \
                 their own; `strategy: canary` replaces a share of them in their places (by partition), `strategy: rolling` all of them";
    assert_eq!(why, words);
}

#[test]
fn a_share_is_so_many_of_its_pods_or_is_told_with_the_nearest() {
    assert_eq!(divisible(4, 5_000), Ok(2));
    assert_eq!(divisible(3, 3_300), Ok(1), "within half a point");
    assert_eq!(divisible(10, 1_000), Ok(1));
    assert_eq!(divisible(3, 1_000), Err(vec![3_333, 6_666]));
    assert_eq!(divisible(3, 5_000), Err(vec![3_333, 6_666]));
    assert_eq!(divisible(3, 9_990), Err(vec![3_333, 6_666]), "all is no share");
    assert_eq!(divisible(2, 3_000), Err(vec![5_000]));
    assert_eq!((divisible(1, 5_000), divisible(0, 5_000)), (Err(vec![]), Err(vec![])));
    let at = |of, share| Parted::at("db", of, share).new;
    assert_eq!((at(3, 0), at(3, FULL), at(3, 100), at(3, 9_900)), (0, 3, 1, 2), "some, and not all");
}

#[test]
fn it_is_the_stable_one_with_the_new_template_and_a_partition_until_it_has_all() {
    let (mut old, new) = (release("v1"), release("v2"));
    old[2]["spec"]["minReadySeconds"] = 5.into();
    old[2]["spec"]["updateStrategy"] = json!({ "rollingUpdate": { "maxUnavailable": 2 } });
    let one = |of, share| vec![Parted::at("db", of, share)];
    let led = |share| led_sets(&old, &new, &one(3, share), MARK, share).remove(0);
    assert_eq!(led(0), old[2], "as the release says it");
    let part = led(3_300);
    assert_eq!(part["spec"]["template"], new[2]["spec"]["template"]);
    let strategy = json!({ "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 2, "partition": 2 } });
    assert_eq!((&part["spec"]["updateStrategy"], &part["spec"]["minReadySeconds"]), (&strategy, &json!(5)));
    assert_eq!(part["metadata"]["annotations"][SIDE], MARK, "it says whose template it has");
    let mut all = led(FULL);
    assert_eq!(all["metadata"]["annotations"][SIDE], MARK);
    all["metadata"].as_object_mut().unwrap().remove("annotations");
    assert_eq!(all, new[2], "whoever has all says how they are");
    // What somebody scaled stays so; what says nothing of it goes on saying nothing.
    let scaled = led_sets(&old, &new, &one(5, 4_000), MARK, 4_000).remove(0);
    let replicas = |set: &Value| set["spec"]["replicas"].clone();
    assert_eq!(
        (replicas(&scaled), &scaled["spec"]["updateStrategy"]["rollingUpdate"]["partition"]),
        (json!(5), &json!(3))
    );
    old[2]["spec"].as_object_mut().unwrap().remove("replicas");
    assert_eq!(replicas(&led_sets(&old, &new, &one(5, 4_000), MARK, 4_000)[0]), Value::Null);
}

/// A StatefulSet as its controller sees it, and its pods: of which revision, and whether they are ready.
#[derive(Clone, Debug)]
struct Cluster {
    update: &'static str,
    partition: usize,
    pods: Vec<Option<(&'static str, bool)>>,
}

const FIRST: usize = 5;

impl Cluster {
    fn set(&self) -> Value {
        let spec = json!({
            "replicas": self.pods.len(), "ordinals": { "start": FIRST },
            "updateStrategy": { "rollingUpdate": { "partition": self.partition } },
        });
        let status = json!({ "observedGeneration": 2, "currentRevision": "old", "updateRevision": self.update });
        json!({ "metadata": { "uid": "db", "generation": 2 }, "spec": spec, "status": status })
    }

    fn pods(&self) -> Vec<Value> {
        let there = self.pods.iter().enumerate().filter_map(|(at, pod)| Some((at + FIRST, (*pod)?)));
        let pod = |(at, (hash, ready)): (usize, (&str, bool))| {
            let metadata = json!({
                "name": format!("db-{at}"), "labels": { "controller-revision-hash": hash }, "ownerReferences": [{ "uid": "db" }],
            });
            let word = if ready { "True" } else { "False" };
            json!({ "metadata": metadata, "status": { "conditions": [{ "type": "Ready", "status": word }] } })
        };
        there.map(pod).collect()
    }

    /// One thing that the controller does: it makes what is not there, waits for what is not ready, and replaces one.
    fn acts(&mut self) {
        let (update, partition) = (self.update, self.partition);
        if let Some((at, pod)) = self.pods.iter_mut().enumerate().find(|(_, pod)| !matches!(pod, Some((_, true)))) {
            // Pods of `bad` never become ready.
            *pod = match *pod {
                None => Some((if at < partition { "old" } else { update }, false)),
                Some((hash, _)) => Some((hash, hash != "bad")),
            };
            return;
        }
        let above = self.pods.iter_mut().skip(partition).rev();
        if let Some(pod) = above.into_iter().find(|pod| pod.is_some_and(|(hash, _)| hash != update)) {
            *pod = None;
        }
    }
}

#[test]
fn what_is_left_to_be_replaced_is_told_and_what_is_in_the_way() {
    let cluster = |update, partition, pods: &[(&'static str, bool)]| Cluster {
        update,
        partition,
        pods: pods.iter().copied().map(Some).collect(),
    };
    let told = |cluster: &Cluster| {
        let pods = cluster.pods();
        let turn = turn(&cluster.set(), &pods).unwrap();
        (turn.left, turn.stuck.iter().map(|pod| pod["metadata"]["name"].clone()).collect::<Vec<_>>())
    };
    let none = Vec::<Value>::new();
    let stands = cluster("new", 2, &[("old", true), ("old", true), ("new", false)]);
    assert_eq!(told(&stands), (0, none.clone()), "that it is not ready is not about whose it is");
    assert_eq!(told(&cluster("new", 1, &[("old", true), ("old", true), ("new", true)])), (1, none.clone()));
    assert_eq!(told(&cluster("new", 0, &[("old", false), ("new", true)])), (1, vec![json!("db-5")]));
    let back = cluster("old", 0, &[("old", true), ("old", false), ("bad", false)]);
    assert_eq!(told(&back), (1, vec![json!("db-7")]), "its own may come up");
    assert_eq!(told(&cluster("new", 3, &[("old", true), ("old", false), ("bad", false)])), (0, none));
    let mut pods = back.pods();
    pods[2]["metadata"]["deletionTimestamp"] = "x".into();
    assert_eq!(turn(&back.set(), &pods).map(|turn| (turn.left, turn.stuck.len())), Some((1, 0)), "it goes");
    let mut by_hand = back.set();
    by_hand["spec"]["updateStrategy"] = json!({ "type": "OnDelete" });
    assert_eq!(turn(&by_hand, &back.pods()).map(|turn| (turn.left, turn.stuck.len())), Some((0, 0)));
    let mut unseen = back.set();
    unseen["metadata"]["generation"] = 3.into();
    assert_eq!(turn(&unseen, &pods), None);
}

#[test]
fn pods_are_of_the_release_that_made_them() {
    let (set, pods) = {
        let cluster = Cluster { update: "new", partition: 1, pods: vec![Some(("old", true)), Some(("new", true))] };
        (cluster.set(), cluster.pods())
    };
    let whose = |set: &Value| pods.iter().map(|pod| is_beside(set, pod, MARK)).collect::<Vec<_>>();
    let marked = |mut set: Value, update: &str, generation: u64| {
        set["metadata"]["annotations"] = json!({ SIDE: MARK });
        set["status"]["updateRevision"] = update.into();
        set["metadata"]["generation"] = generation.into();
        set
    };
    assert_eq!(whose(&marked(set.clone(), "new", 2)), [false, true], "a step stands");
    assert_eq!(whose(&marked(set.clone(), "old", 3)), [false, true], "and is not seen yet");
    let mut back = set;
    back["status"]["updateRevision"] = "old".into();
    assert_eq!(whose(&back), [false, true], "it is gone back from");
    back["metadata"]["generation"] = 3.into();
    assert_eq!(whose(&back), [false, true]);
}

/// All that pods may be in when somebody begins to look.
fn states() -> Vec<Option<(&'static str, bool)>> {
    vec![
        None,
        Some(("old", true)),
        Some(("old", false)),
        Some(("new", true)),
        Some(("new", false)),
        Some(("bad", false)),
    ]
}

#[test]
fn from_whatever_is_there_pods_become_what_they_are_to_be() {
    for (update, partition) in ["old", "new"].into_iter().flat_map(|update| (0..=3).map(move |p| (update, p))) {
        for (a, b, c) in states()
            .into_iter()
            .flat_map(|a| states().into_iter().flat_map(move |b| states().into_iter().map(move |c| (a, b, c))))
        {
            // Below a partition nobody replaces anything, so what is broken there stays so.
            let begun = Cluster { update, partition, pods: vec![a, b, c] };
            if begun.pods.iter().take(partition).any(|pod| pod.is_some_and(|(hash, _)| hash == "bad")) {
                continue;
            }
            let mut cluster = begun.clone();
            let mut rounds = 0;
            loop {
                let pods = cluster.pods();
                let turn = turn(&cluster.set(), &pods).unwrap();
                for pod in &turn.stuck {
                    let name = pod["metadata"]["name"].as_str().unwrap();
                    let at: usize = name.trim_start_matches("db-").parse().unwrap();
                    assert!(cluster.pods[at - FIRST].is_some_and(|(_, ready)| !ready), "{name} answers: {cluster:?}");
                    cluster.pods[at - FIRST] = None;
                }
                let answers = cluster.pods.iter().all(|pod| matches!(pod, Some((_, true))));
                if turn.left == 0 && answers {
                    break;
                }
                cluster.acts();
                rounds += 1;
                assert!(rounds < 30, "{begun:?} never gets there: {cluster:?}");
            }
            let above = cluster.pods.iter().skip(partition);
            assert!(above.flatten().all(|(hash, _)| *hash == update), "{begun:?} became {cluster:?}");
        }
    }
}
